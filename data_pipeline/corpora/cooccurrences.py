"""How often words stand near each other: counted, merged and shuffled on disk.

The files are those of the original GloVe programs `cooccur` and `shuffle`: records of
two words' ranks, from 1, and a count, sorted by the words or shuffled. Counts are kept
as whole multiples of 1 / S while they are summed, S being divisible by every distance:
sums are then exact, and the file is the same bytes whatever the memory, the engine and
the order in which parts of the corpus were counted.
"""

import contextlib
import dataclasses
import importlib.util
import math
import os
from collections.abc import Iterable, Iterator

import numpy as np

import atomic_files
from data_pipeline.corpora.word_corpus import Block
from errors import MissingFile, UserError

RECORD = np.dtype([("word1", "<i4"), ("word2", "<i4"), ("value", "<f8")])

_RUN = np.dtype([("key", "<i8"), ("sum", "<i8")])
_LARGEST_EXACT_WINDOW = 22  # lcm(1, ..., 22) = lcm(1, ..., 20) is below 2^28
_RUNS_AT_ONCE = 64
_READ = 1 << 20  # records
_BUCKET = 1 << 22  # records that are shuffled in memory: 64 MB
_MOST_BUCKETS = 512
_FIRST_TABLE = 1 << 12  # slots of the table of pairs before it grows


@dataclasses.dataclass(frozen=True)
class CooccurrenceConfig:
    """What counts as near; defaults are the original's.

    Attributes:
      window: the largest distance in words, within a line.
      symmetric: whether both words are each other's context; else only the left word is
        a context of the right one: (left, right) is counted, (right, left) is not.
      distance_weighting: whether two words at distance d count 1 / d, or 1.
      memory: gigabytes (2^30 bytes) to count in, about; more takes fewer passes.
    """

    window: int = 15
    symmetric: bool = True
    distance_weighting: bool = True
    memory: float = 4.0

    @property
    def scale(self) -> int:
        """What counts are multiplied by to be whole numbers.

        Exact for windows up to 22; of larger ones 1 / d is off by at most d / 2^33 of
        itself.
        """
        if not self.distance_weighting:
            return 1
        if self.window > _LARGEST_EXACT_WINDOW:
            return 1 << 32
        return math.lcm(*range(1, self.window + 1))

    @property
    def weights(self) -> np.ndarray:
        """What two words at distance 0, 1, ..., `window` count, times `scale`."""
        distances = np.arange(1, self.window + 1)
        if not self.distance_weighting:
            distances = np.ones_like(distances)
        return np.append(0, np.rint(self.scale / distances)).astype(np.int64)


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
        runs = _Runs(folder, config.memory)
        counter = _counter(engine)(vocab_size, config)
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


def _summed(keys, sums):
    """Sorts pairs and adds up those that occur more than once."""
    order = np.argsort(keys, kind="stable")
    keys, sums = keys[order], sums[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first], np.add.reduceat(sums, first)


class _Runs:
    """Sorted runs on disk, in which a pair occurs once each, and their sum."""

    def __init__(self, folder: str, memory: float):
        self._folder, self._names = folder, []
        # Of each run; with sorting, eight times as much is in memory.
        self._buffer = int(memory * 2**30 / 8 / _RUN.itemsize / _RUNS_AT_ONCE)
        self._buffer = max(self._buffer, 64)
        self.written = 0

    def write(self, keys, sums):
        with self._new_run() as file:
            self._append(file, keys, sums)

    def merged(self):
        """Yields ascending keys with their sums, a block at a time."""
        while len(self._names) > _RUNS_AT_ONCE:
            oldest = self._names[:_RUNS_AT_ONCE]
            del self._names[:_RUNS_AT_ONCE]
            with self._new_run() as file:
                for keys, sums in self._merge(oldest):
                    self._append(file, keys, sums)
        yield from self._merge(self._names)

    @contextlib.contextmanager
    def _new_run(self):
        self.written += 1
        name = os.path.join(self._folder, str(self.written))
        self._names.append(name)
        with open(name, "wb") as file:
            yield file

    def _append(self, file, keys, sums):
        for i in range(0, len(keys), _READ):
            part = np.empty(len(keys[i : i + _READ]), _RUN)
            part["key"], part["sum"] = keys[i : i + _READ], sums[i : i + _READ]
            part.tofile(file)

    def _merge(self, names):
        open_runs = [_Run(name, self._buffer) for name in names]
        while open_runs := [run for run in open_runs if run.fill()]:
            # Up to here, every run has what it holds in its buffer.
            bound = min(run.last_key for run in open_runs)
            parts = [run.take(bound) for run in open_runs]
            keys, sums = (
                np.concatenate([part[name] for part in parts]) for name in _RUN.names
            )
            yield _summed(keys, sums) if len(parts) > 1 else (keys, sums)
        for name in names:
            os.remove(name)


class _Run:
    """A run that is read from start to end through a buffer."""

    def __init__(self, path: str, size: int):
        self._path, self._size = path, size
        self._place, self._buffer = 0, np.empty(0, _RUN)

    @property
    def last_key(self):
        return self._buffer["key"][-1]

    def fill(self):
        """Reads on if the buffer is empty; tells whether anything is in it."""
        if not len(self._buffer):
            self._buffer = np.fromfile(
                self._path, _RUN, self._size, offset=self._place * _RUN.itemsize
            )
            self._place += len(self._buffer)
        return len(self._buffer) > 0

    def take(self, bound):
        """Removes and returns what is up to a key."""
        end = np.searchsorted(self._buffer["key"], bound, side="right")
        taken, self._buffer = self._buffer[:end], self._buffer[end:]
        return taken


def _counter(engine):
    if engine == "auto":
        engine = "numba" if importlib.util.find_spec("numba") else "numpy"
    return {"numba": _HashTable, "numpy": _SortedPairs}[engine]


class _HashTable:
    """Counts in an open-addressing table, by numba."""

    def __init__(self, vocab_size: int, config: CooccurrenceConfig):
        from data_pipeline.corpora import cooccurrence_table

        self._add, self._move = cooccurrence_table.add, cooccurrence_table.move
        # A quarter of the memory: emptying it takes the rest.
        slots = config.memory * 2**30 / 4 / _RUN.itemsize
        self._largest = max(_FIRST_TABLE, 1 << int(math.log2(slots)))
        if self._largest // 2 <= config.window:
            raise UserError(f"--memory={config.memory} is too little for the window")
        # It grows as it fills, so that a small corpus touches little memory.
        self._table = np.zeros((_FIRST_TABLE, 2), np.int64)
        self._used = 0
        self._settings = vocab_size, config.weights, config.symmetric

    def add(self, ids, places, start):
        """Counts words from `start` on; yields keys and sums when the table is full."""
        window = len(self._settings[1]) - 1
        while start < len(ids):
            most = len(self._table) // 2 - window
            start, self._used = self._add(
                ids, places, start, *self._settings, self._table, self._used, most
            )
            if start == len(ids):
                return
            if len(self._table) < self._largest:
                size = min(4 * len(self._table), self._largest)
                larger = np.zeros((size, 2), np.int64)
                self._move(self._table, larger)
                self._table = larger
            else:
                yield from self.rest()
                self._table[:] = 0
                self._used = 0

    def rest(self):
        """Yields keys and sums of what is in the table."""
        if self._used:
            used = self._table[self._table[:, 0] > 0]
            yield used[:, 0] - 1, used[:, 1]


class _SortedPairs:
    """Counts by sorting, in numpy."""

    def __init__(self, vocab_size: int, config: CooccurrenceConfig):
        self._vocab_size, self._config = vocab_size, config
        self._weights = config.weights
        pairs = config.memory * 2**30 / 8 / _RUN.itemsize
        self._most = max(int(pairs), 1 << 12)
        self._step = max(self._most // (2 * config.window), 1)
        self._parts, self._size = [], 0

    def add(self, ids, places, start):
        """Counts words from `start` on; yields what is too much to keep."""
        for place in range(start, len(ids), self._step):
            keys, sums = _summed(*self._pairs(ids, places, place))
            self._parts.append((keys, sums))
            self._size += len(keys)
            if self._size > self._most:
                self._join()
                if self._size > self._most // 2:
                    yield from self.rest()

    def rest(self):
        """Yields keys and sums of what was counted."""
        if self._size:
            self._join()
            yield self._parts.pop()
            self._size = 0

    def _join(self):
        columns = zip(*self._parts, strict=True)
        self._parts = [_summed(*map(np.concatenate, columns))]
        self._size = len(self._parts[0][0])

    def _pairs(self, ids, places, start):
        """All pairs whose right word is among the `_step` words from `start` on."""
        right_place = np.arange(start, min(start + self._step, len(ids)))
        keys, sums = [], []
        for distance, weight in enumerate(self._weights[1:], 1):
            at = right_place[places[right_place] >= distance]
            left, right = ids[at - distance].astype(np.int64), ids[at].astype(np.int64)
            if self._config.symmetric:
                left, right = np.minimum(left, right), np.maximum(left, right)
            keys.append(left * self._vocab_size + right)
            sums.append(np.full(len(at), weight))
        return np.concatenate(keys), np.concatenate(sums)
