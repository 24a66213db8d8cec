"""Pre-training instances as tf.train.Examples, encoded many at once.

A tf.train.Example made in Python takes 37 us, twice as long as making the instance.
So its bytes are laid down here, by the rules of the protocol
buffer encoding: a field is a tag, a length and its contents, an integer is a varint
(7 bits a byte, the lowest first).

The features are the parent's, at their real lengths or padded to full ones. numpy only.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from data_pipeline.corpora.instances import Instances

# Field numbers of tf.train.Feature: which kind of list it is.
_FLOAT_LIST, _INT64_LIST = 2, 3


def encode(
    instances: Instances, pad_to: tuple[int, int] | None = None
) -> Iterator[bytes]:
    """Yields each instance as a serialised tf.train.Example.

    Args:
      instances: what to encode.
      pad_to: the parent's shapes, for the parent's reader: how many pieces and how many
        masked ones every record has, filled up with zeros. None: as many as are real.
    """
    lengths, counts = instances.lengths, instances.counts
    size, predictions = pad_to or (0, 0)
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
        # A zero is a varint of one byte, 0.
        more = bytes(max(0, size - length))
        masked, more_masked = _ONE * count, bytes(max(0, predictions - count))
        segments = bytes(first) + b"\1" * (length - first)
        entries = b"".join(
            (
                _entry("input_ids", _INT64_LIST, ids[row] + more),
                _entry("input_mask", _INT64_LIST, b"\1" * length + more),
                _entry("segment_ids", _INT64_LIST, segments + more),
                _entry(
                    "masked_lm_positions", _INT64_LIST, positions[row] + more_masked
                ),
                _entry("masked_lm_ids", _INT64_LIST, labels[row] + more_masked),
                _entry("masked_lm_weights", _FLOAT_LIST, masked + 4 * more_masked),
                _entry("next_sentence_labels", _INT64_LIST, bytes([is_random])),
            )
        )
        yield b"\x0a" + _varint(len(entries)) + entries


def encode_rows(rows: Sequence[np.ndarray]) -> Iterator[bytes]:
    """Yields rows of token ids, int [length] each, with nothing but `input_ids`."""
    lengths = np.array([len(row) for row in rows])
    for ids in _varints(np.concatenate(rows).astype(np.int32), lengths):
        entry = _entry("input_ids", _INT64_LIST, ids)
        yield b"\x0a" + _varint(len(entry)) + entry


_ONE = np.float32(1).tobytes()


def _entry(name: str, kind: int, values: bytes) -> bytes:
    """A feature in its map; `values` are packed."""
    return _entry_start(name, kind, len(values)) + values


@functools.cache
def _entry_start(name: str, kind: int, size: int) -> bytes:
    """What precedes the packed values, `size` bytes, of a feature in its map."""
    key = b"\x0a" + _varint(len(name)) + name.encode()
    packed = b"\x0a" + _varint(size)
    values = _field(kind, len(packed) + size) + packed
    feature = _field(2, len(values) + size) + values
    return _field(1, len(key) + len(feature) + size) + key + feature


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
