"""Pairs of words that are near each other, counted in memory as far as it goes."""

import dataclasses
import importlib.util
import math

import numpy as np

from data_pipeline.corpora.cooccurrence_runs import RUN, summed
from errors import UserError

_LARGEST_EXACT_WINDOW = 22  # lcm(1, ..., 22) = lcm(1, ..., 20) is below 2^28
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


def counter(engine: str) -> type:
    """Returns the class that counts by "numba" or "numpy"; "auto": the best one."""
    if engine == "auto":
        engine = "numba" if importlib.util.find_spec("numba") else "numpy"
    return {"numba": _HashTable, "numpy": _SortedPairs}[engine]


class _HashTable:
    """Counts in an open-addressing table, by numba."""

    def __init__(self, vocab_size: int, config: CooccurrenceConfig):
        from data_pipeline.corpora import cooccurrence_table

        self._add, self._move = cooccurrence_table.add, cooccurrence_table.move
        # A quarter of the memory: emptying it takes the rest.
        slots = config.memory * 2**30 / 4 / RUN.itemsize
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
        pairs = config.memory * 2**30 / 8 / RUN.itemsize
        self._most = max(int(pairs), 1 << 12)
        self._step = max(self._most // (2 * config.window), 1)
        self._parts, self._size = [], 0

    def add(self, ids, places, start):
        """Counts words from `start` on; yields what is too much to keep."""
        for place in range(start, len(ids), self._step):
            keys, sums = summed(*self._pairs(ids, places, place))
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
        self._parts = [summed(*map(np.concatenate, columns))]
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
