"""Sorted runs of keys and their sums on disk, and all of them merged into one."""

import contextlib
import os
from collections.abc import Iterator

import numpy as np

RUN = np.dtype([("key", "<i8"), ("sum", "<i8")])

_RUNS_AT_ONCE = 512
_WRITTEN = 1 << 20  # records at once


def summed(keys: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorts pairs and adds up those that occur more than once.

    Args:
      keys: int64 [N].
      sums: int64 [N].

    Returns:
      Both, by ascending keys, all different.
    """
    order = np.argsort(keys, kind="stable")
    keys, sums = keys[order], sums[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first], np.add.reduceat(sums, first)


class Runs:
    """Sorted runs on disk, in which a pair occurs once each, and their sum."""

    def __init__(self, folder: str, memory: float):
        """Takes an empty folder, and how many gigabytes a merge may take, about."""
        self._folder, self._names = folder, []
        # Of each run; with sorting, eight times as much is in memory.
        self._buffer = int(memory * 2**30 / 8 / RUN.itemsize / _RUNS_AT_ONCE)
        self._buffer = max(self._buffer, 64)
        self.written = 0

    def write(self, keys: np.ndarray, sums: np.ndarray) -> None:
        """Writes a run: int64 [N] each, by ascending keys, all different."""
        with self._new_run() as file:
            self._append(file, keys, sums)

    def merged(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields ascending keys with their sums, a block at a time."""
        # As few as possible are read and written once more.
        while (more := len(self._names) - _RUNS_AT_ONCE) > 0:
            number = min(more + 1, _RUNS_AT_ONCE)
            oldest = self._names[:number]
            del self._names[:number]
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
        for i in range(0, len(keys), _WRITTEN):
            part = np.empty(len(keys[i : i + _WRITTEN]), RUN)
            part["key"], part["sum"] = keys[i : i + _WRITTEN], sums[i : i + _WRITTEN]
            part.tofile(file)

    def _merge(self, names):
        open_runs = [_Run(name, self._buffer) for name in names]
        while open_runs := [run for run in open_runs if run.fill()]:
            # Up to here, every run has what it holds in its buffer.
            bound = min(run.last_key for run in open_runs)
            parts = [run.take(bound) for run in open_runs]
            keys, sums = (
                np.concatenate([part[name] for part in parts]) for name in RUN.names
            )
            yield summed(keys, sums) if len(parts) > 1 else (keys, sums)
        for name in names:
            os.remove(name)


class _Run:
    """A run that is read from start to end through a buffer."""

    def __init__(self, path: str, size: int):
        self._path, self._size = path, size
        self._place, self._buffer = 0, np.empty(0, RUN)

    @property
    def last_key(self):
        return self._buffer["key"][-1]

    def fill(self):
        """Fills up the buffer, so that all runs are taken from as far as possible.

        Returns:
          Whether anything is in it.
        """
        missing = self._size - len(self._buffer)
        more = np.fromfile(self._path, RUN, missing, offset=self._place * RUN.itemsize)
        self._place += len(more)
        self._buffer = np.concatenate([self._buffer, more])
        return len(self._buffer) > 0

    def take(self, bound):
        """Removes and returns what is up to a key."""
        end = np.searchsorted(self._buffer["key"], bound, side="right")
        taken, self._buffer = self._buffer[:end], self._buffer[end:]
        return taken
