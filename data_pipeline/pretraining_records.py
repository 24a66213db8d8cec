"""Pre-training instances as tf.train.Examples, encoded many at once.

A tf.train.Example made in Python takes 37 us, twice as long as making the instance.
So its bytes are laid down here, by the rules of the protocol
buffer encoding: a field is a tag, a length and its contents, an integer is a varint
(7 bits a byte, the lowest first).

The features are the parent's, at their real lengths, without padding. numpy only.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipeline.instances import Instances

# Field numbers of tf.train.Feature: which kind of list it is.
_FLOAT_LIST, _INT64_LIST = 2, 3


def encode(instances: Instances) -> Iterator[bytes]:
    """Yields each instance as a serialised tf.train.Example."""
    lengths, counts = instances.lengths, instances.counts
    real = np.arange(instances.tokens.shape[1]) < lengths[:, None]
    ids = _varints(instances.tokens[real], lengths)
    positions = _varints(instances.positions, counts)
    labels = _varints(instances.labels, counts)
    for row, (length, first, count, is_random) in enumerate(
        zip(
            lengths.tolist(),
            (instances.length_a + 2).tolist(),
            counts.tolist(),
            instances.is_random_next.tolist(),
            strict=True,
        )
    ):
        entries = b"".join(
            (
                _entry_start("input_ids", _INT64_LIST, len(ids[row])),
                ids[row],
                _constant_entry("input_mask", _INT64_LIST, b"\1", length),
                _entry_start("segment_ids", _INT64_LIST, length),
                bytes(first) + b"\1" * (length - first),
                _entry_start("masked_lm_positions", _INT64_LIST, len(positions[row])),
                positions[row],
                _entry_start("masked_lm_ids", _INT64_LIST, len(labels[row])),
                labels[row],
                _constant_entry("masked_lm_weights", _FLOAT_LIST, _ONE, count),
                _constant_entry(
                    "next_sentence_labels", _INT64_LIST, b"\1" if is_random else b"\0"
                ),
            )
        )
        yield b"\x0a" + _varint(len(entries)) + entries


def encode_rows(rows: Sequence[np.ndarray]) -> Iterator[bytes]:
    """Yields rows of token ids, int [length] each, with nothing but `input_ids`."""
    lengths = np.array([len(row) for row in rows])
    for ids in _varints(np.concatenate(rows).astype(np.int32), lengths):
        entry = _entry_start("input_ids", _INT64_LIST, len(ids)) + ids
        yield b"\x0a" + _varint(len(entry)) + entry


_ONE = np.float32(1).tobytes()


@functools.cache
def _entry_start(name: str, kind: int, size: int) -> bytes:
    """What precedes the packed values, `size` bytes, of a feature in its map."""
    key = b"\x0a" + _varint(len(name)) + name.encode()
    packed = b"\x0a" + _varint(size)
    values = _field(kind, len(packed) + size) + packed
    feature = _field(2, len(values) + size) + values
    return _field(1, len(key) + len(feature) + size) + key + feature


@functools.cache
def _constant_entry(name: str, kind: int, value: bytes, count: int = 1) -> bytes:
    """A whole feature whose values are all the same."""
    values = value * count
    return _entry_start(name, kind, len(values)) + values


def _field(number: int, size: int) -> bytes:
    """Tag and length of a field that contains bytes."""
    return bytes([number << 3 | 2]) + _varint(size)


def _varint(value: int) -> bytes:
    """One integer, 0 or larger."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varints(values: np.ndarray, row_lengths: np.ndarray) -> list[bytes]:
    """Packs integers below 2^21 row by row.

    Args:
      values: int [sum of row_lengths].
      row_lengths: int64 [K].

    Returns:
      The K rows' bytes.
    """
    sizes = 1 + (values >= 1 << 7) + (values >= 1 << 14)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    encoded = np.empty(int(ends[-1]), np.uint8)
    encoded[starts] = (values & 127) | np.where(sizes > 1, 128, 0)
    for byte in (1, 2):
        longer = np.nonzero(sizes > byte)[0]
        more = np.where(sizes[longer] > byte + 1, 128, 0)
        encoded[starts[longer] + byte] = ((values[longer] >> 7 * byte) & 127) | more
    row_ends = ends[np.cumsum(row_lengths) - 1].tolist()
    everything = encoded.tobytes()
    row_starts = [0, *row_ends[:-1]]
    return [everything[a:b] for a, b in zip(row_starts, row_ends, strict=True)]
