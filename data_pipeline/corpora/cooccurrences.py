"""How often words stand near each other: counted, merged and shuffled on disk.

The files are those of the original GloVe programs `cooccur` and `shuffle`: records of
two words' ranks, from 1, and a count, sorted by the words or shuffled. Counts are kept
as whole multiples of 1 / S while they are summed, S being divisible by every distance:
sums are then exact, and the file is the same bytes whatever the memory, the engine and
the order in which parts of the corpus were counted.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator

import numpy as np

import atomic_files
from data_pipeline.corpora import cooccurrence_counters, cooccurrence_runs
from data_pipeline.corpora.cooccurrence_counters import CooccurrenceConfig
from data_pipeline.corpora.word_corpus import Block
from errors import MissingFile, UserError

RECORD = np.dtype([("word1", "<i4"), ("word2", "<i4"), ("value", "<f8")])

_READ = 1 << 20  # records
_BUCKET = 1 << 22  # records that are shuffled in memory: 64 MB
_MOST_BUCKETS = 512


@dataclasses.dataclass(frozen=True)
class Counted:
    """What a corpus gave.

    Attributes:
      words: how many words of the vocabulary it has.
      records: how many pairs are near each other anywhere.
      runs: how many sorted parts were written before they were merged.
    """

    words: int
    records: int
    runs: int


def count(
    blocks: Iterable[Block],
    vocab_size: int,
    path: str,
    config: CooccurrenceConfig,
    engine: str = "auto",
) -> Counted:
    """Writes the co-occurrences of a corpus, sorted by the first word, then the second.

    As in the original, words that are not in the vocabulary are left out before
    distances are measured, and a word near another of its kind counts from both sides.

    Args:
      blocks: the corpus, without words that are not kept.
      vocab_size: V, ids are below it.
      path: of the file to write.
      config: what counts.
      engine: "numba", "numpy", or "auto": numba where it is installed.

    Raises:
      UserError: no two words are near each other, or a count is beyond 63 bits.
    """
    words = 0
    with atomic_files.temporary_folder(path + ".runs") as folder:
        runs = cooccurrence_runs.Runs(folder, config.memory)
        counter = cooccurrence_counters.counter(engine)(vocab_size, config)
        for ids, places, start in _placed(blocks, config.window):
            words += len(ids) - start
            for keys, sums in counter.add(ids, places, start):
                runs.write(*_both_ways(keys, sums, vocab_size, config))
        for keys, sums in counter.rest():
            runs.write(*_both_ways(keys, sums, vocab_size, config))
        with atomic_files.atomic_path(path) as aside, open(aside, "wb") as file:
            records = 0
            for keys, sums in runs.merged():
                _to_records(keys, sums, vocab_size, config.scale).tofile(file)
                records += len(keys)
            if not records:
                raise UserError(
                    f"no two of the vocabulary's {vocab_size} words stand in one line "
                    f"of the corpus (it has {words} of them): nothing to count"
                )
    return Counted(words, records, runs.written)


def shuffle(source: str, path: str, seed: int) -> None:
    """Writes a file's records in random order, in memory that does not grow with it.

    Every record is put into a random bucket, then each bucket is shuffled: all orders
    are equally likely. The order depends on the seed and the number of records alone.

    Args:
      source: a file of records.
      path: the file to write.
      seed: of the order.
    """
    size = check_size(source)
    buckets = min(-(-size // _BUCKET), _MOST_BUCKETS)
    spread, order = np.random.default_rng(seed).spawn(2)
    with atomic_files.temporary_folder(path + ".buckets") as folder:
        names = [os.path.join(folder, str(bucket)) for bucket in range(buckets)]
        for records in read(source):
            bucket = spread.integers(0, buckets, len(records), np.uint16)
            records = records[np.argsort(bucket, kind="stable")]
            ends = np.cumsum(np.bincount(bucket, minlength=buckets))[:-1]
            for name, part in zip(names, np.split(records, ends), strict=True):
                with open(name, "ab") as file:
                    part.tofile(file)
        with atomic_files.atomic_path(path) as aside, open(aside, "wb") as file:
            for name in names:
                records = np.fromfile(name, RECORD)
                os.remove(name)
                records[order.permutation(len(records))].tofile(file)


def check_size(path: str) -> int:
    """Returns how many records a file has.

    Raises:
      UserError: there is no such file, it is empty, or it was cut within a record.
    """
    try:
        size = os.path.getsize(path)
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file") from None
    if not size or size % RECORD.itemsize:
        raise UserError(
            f"{path}: got {size} bytes, wanted co-occurrences in records of "
            f"{RECORD.itemsize}: is the file cut short?"
        )
    return size // RECORD.itemsize


def check(path: str, vocab_size: int) -> int:
    """Returns how many records a file has, after a look at each.

    Raises:
      UserError: see `check_size`; a word that the vocabulary does not have, or a count
        that is not positive and finite; names the record, from 1.
    """
    before = 0
    for records in read(path):
        low = np.minimum(records["word1"], records["word2"]) < 1
        high = np.maximum(records["word1"], records["word2"]) > vocab_size
        with np.errstate(invalid="ignore"):
            fine = (records["value"] > 0) & (records["value"] < np.inf)
        if (wrong := low | high).any():
            i = int(np.argmax(wrong))
            raise UserError(
                f"{path}, record {before + i + 1}: got words number "
                f"{records['word1'][i]} and {records['word2'][i]}, but the vocabulary "
                f"has words 1 to {vocab_size}: were these counted with another one?"
            )
        if not fine.all():
            i = int(np.argmin(fine))
            raise UserError(
                f"{path}, record {before + i + 1}: got a count of "
                f"{records['value'][i]}, wanted a positive number"
            )
        before += len(records)
    return before


def read(path: str) -> Iterator[np.ndarray]:
    """Yields a file's records, RECORD [at most 2^20].

    Raises:
      UserError: see `check_size`.
    """
    for start in range(0, check_size(path), _READ):
        yield read_part(path, start, _READ)


def read_part(path: str, start: int, number: int) -> np.ndarray:
    """Returns at most `number` records from record `start` on, RECORD [...]."""
    return np.fromfile(path, RECORD, number, offset=start * RECORD.itemsize)


def _placed(blocks, window):
    """Yields each block's words after the last `window` words before it.

    Those are no words of it, but may be contexts of its first line.

    Yields:
      int32 [T], words; int64 [T], how many words of its line stand before each; and
      the first word of the block.
    """
    ids, places = np.empty(0, np.int32), np.empty(0, np.int64)
    length = 0  # of the line that may go on
    for block in blocks:
        before = len(ids)
        lengths = np.diff(block.offsets)
        starts = block.offsets[:-1].copy()
        starts[0] = -length if block.goes_on else 0
        in_line = np.arange(len(block.ids)) - np.repeat(starts, lengths)
        ids = np.concatenate([ids, block.ids])
        places = np.concatenate([places, in_line])
        yield ids, places, before
        ids, places = ids[-window:], places[-window:]
        length = block.offsets[-1] - starts[-1]


def _to_records(keys, sums, vocab_size, scale):
    if sums.min() < 0:
        raise UserError(
            "a count is beyond 63 bits; count the corpus in parts, or with a smaller "
            "--window or --nodistance_weighting"
        )
    records = np.empty(len(keys), RECORD)
    records["word1"], records["word2"] = np.divmod(keys, vocab_size)
    records["word1"] += 1
    records["word2"] += 1
    records["value"] = sums / scale
    return records


def _both_ways(keys, sums, vocab_size, config):
    """Sorts what was counted; (word, context) of a symmetric one also the other way."""
    if config.symmetric:
        word, context = np.divmod(keys, vocab_size)
        sums = np.where(word == context, 2 * sums, sums)
        other = word != context
        keys = np.append(keys, (context * vocab_size + word)[other])
        sums = np.append(sums, sums[other])
    order = np.argsort(keys)
    return keys[order], sums[order]
