"""Threads that compute for all who ask: rows of requests, batched by length.

    requests -> rows, each of a length -> batches, padded to a length -> values

A batch has a row of the request whose turn it is. Small ones have theirs in the order
in which they come; a large one stands where it would if it had come `_PATIENCE` later:
small ones overtake it, but none that comes after that, so it is never starved.
"""

import bisect
import collections
import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from absl import logging

_PATIENCE = 1.0  # seconds that a large request lets small ones go first
# What a call costs beside its tokens, in tokens: on two cores MiniLM in bfloat16 takes
# 6.1 ms a call, .028 a token, and .0041 for padding, which it leaves out (`packing`).
_A_CALL = 200
PADDING = 0.15  # what padding costs where it is left out, of a token
# Seconds that a thread gives who has just been answered to ask again: of 32 clients
# that do, batches are of 10 rows, not 7.
_AGAIN = 0.003


class Work(Protocol):
    """What is computed of rows; compute threads call it, several at a time.

    Attributes:
      padding_cost: what padding costs, where a real token costs 1.
    """

    padding_cost: float

    def run(self, rows: Sequence[Any], size: int) -> Sequence[Any]:
        """Computes rows together.

        Args:
          rows: of about one length.
          size: rows to compute, no fewer; the values of the others do not matter.

        Returns:
          A value for each row, or more.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much is computed together.

    Attributes:
      max_batch_size: rows.
      max_batch_tokens: rows times their padded length.
      priority_batch_size: rows of the largest request that counts as small.
    """

    max_batch_size: int = 256
    max_batch_tokens: int = 2048
    priority_batch_size: int = 16

    def most(self, length: int) -> int:
        """Returns how many rows of a padded length make a full batch."""
        by_tokens = self.max_batch_tokens // max(length, 1)
        return max(1, min(self.max_batch_size, by_tokens))

    def sizes(self, length: int) -> Iterator[int]:
        """Yields the sizes that batches of a length have: powers of 2, and a full one.

        What is compiled for a shape is so compiled for few of them.
        """
        most = self.most(length)
        size = 1
        while size < most:
            yield size
            size *= 2
        yield most


class Stopped(Exception):
    """Nothing is computed any more."""


@dataclasses.dataclass
class Counters:
    """What the threads have done since they began.

    Attributes:
      batches: computed.
      rows: computed, of requests.
      failed_batches: whose computation raised an exception.
      tokens: of all rows of batches, padding included.
      seconds: spent computing, of all threads together.
    """

    batches: int = 0
    rows: int = 0
    failed_batches: int = 0
    tokens: int = 0
    seconds: float = 0.0


class _Job:
    """A request's rows: what waits, by length, and what has been computed."""

    def __init__(self, work, rows, lengths, turn, future):
        self.work, self.rows, self.turn, self.future = work, rows, turn, future
        self.values = [None] * len(rows)
        self.missing = self.num_waiting = len(rows)
        self.waiting: dict[int, collections.deque[int]] = {}
        for place, length in enumerate(lengths):
            self.waiting.setdefault(length, collections.deque()).append(place)

    def take(self, length):
        places = self.waiting[length]
        places.popleft()
        self.num_waiting -= 1
        if not places:
            del self.waiting[length]

    def put(self, place, value):
        self.values[place] = value
        self.missing -= 1

    def finish(self):
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(self.values)

    def fail(self, error):
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Engine:
    """Computes rows of many requests in a few threads.

    Attributes:
      counters: what they have done.
      num_threads: how many there are.
    """

    def __init__(self, limits: Limits, num_threads: int = 1):
        """Starts the threads.

        Args:
          limits: how much is computed together.
          num_threads: how many batches are computed at a time.
        """
        self.counters, self.num_threads = Counters(), num_threads
        self._limits = limits
        self._jobs: list[_Job] = []  # in the order of their turns
        self._changed = threading.Condition()  # guards all that is not a work's
        self._free = 0  # threads that compute nothing
        self._answered, self._answered_at = 0, 0.0  # requests, at once, and when
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"compute_{i}", daemon=True)
            for i in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        work: Work,
        rows: Sequence[Any],
        lengths: Sequence[int],
        values: "Future[list[Any]] | None" = None,
    ) -> "Future[list[Any]]":
        """Queues a request; from any thread.

        Args:
          work: what computes the rows.
          rows: one at least.
          lengths: of each, padded.
          values: what is returned; None: a new one.

        Returns:
          Their values, in their order, or the exception that computing them raised. A
          future that is cancelled takes its rows out of the queue.

        Raises:
          Stopped: `stop` has been called.
        """
        small = len(rows) <= self._limits.priority_batch_size
        turn = time.monotonic() + (0 if small else _PATIENCE)
        job = _Job(work, rows, lengths, turn, values or Future())
        with self._changed:
            if self._stopping:
                raise Stopped("the server is being stopped")
            bisect.insort(self._jobs, job, key=lambda job: job.turn)
            self._changed.notify()
        return job.future

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def waiting(self) -> int:
        """Returns the number of rows that are not yet being computed."""
        with self._changed:
            jobs = [job for job in self._jobs if not job.future.done()]
            return sum(job.num_waiting for job in jobs)

    def stop(self) -> None:
        """Computes what is queued, and ends the threads; takes nothing more."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _loop(self):
        while (batch := self._next()) is not None:
            self._run(*batch)

    def _next(self):
        """Waits for a batch; None when all is done."""
        with self._changed:
            self._free += 1
            while (seconds := self._seconds_to_wait()) != 0:
                self._changed.wait(seconds)
            batch = self._choose() if self._jobs else None
            self._free -= 1
            if any(job.waiting for job in self._jobs):
                self._changed.notify()  # what is left is for another thread
        return batch

    def _seconds_to_wait(self):
        """How long a batch is to be waited for; None: until something changes.

        Those whose requests were answered together are likely to ask again together:
        as many requests are waited for, so that they are computed together again.
        """
        self._jobs = [
            job for job in self._jobs if job.waiting and not job.future.done()
        ]
        if self._stopping:
            return 0
        if not self._jobs:
            return None
        if len(self._jobs) >= self._answered:
            return 0
        return max(0, self._answered_at + _AGAIN - time.monotonic())

    def _choose(self):
        """Takes a batch out of the queue: of all, that with most tokens for its cost.

        Its length is that of a request whose turn has come, no shorter than the first
        one's; shorter rows are padded to it, and so are too few of them to a size.
        Threads that are free share what is waiting, if that is worth their calls.
        """
        head, now = self._jobs[0], time.monotonic()
        jobs = [job for job in self._jobs if job.work is head.work]
        jobs = [job for job in jobs if job.turn <= now] or jobs
        share = -(-sum(job.num_waiting for job in jobs) // self._parts(jobs))
        lengths = {x for job in jobs for x in job.waiting if x >= max(head.waiting)}
        best = -1.0
        for length in sorted(lengths):
            rows = _rows_up_to(length, head, jobs)
            most = min(share, self._limits.most(length))
            rows = list(itertools.islice(rows, most))
            tokens = [0, *itertools.accumulate(own for _, own, _ in rows)]
            for size in self._limits.sizes(length):
                number = min(size, len(rows))
                padded = size * length - tokens[number]
                cost = _A_CALL + tokens[number] + head.work.padding_cost * padded
                if tokens[number] / cost > best:
                    best, batch = tokens[number] / cost, (rows[:number], length, size)
                if number < size:
                    break
        rows, length, size = batch
        for job, own, _ in rows:
            job.take(own)
        return [(job, place) for job, _, place in rows], length, size

    def _parts(self, jobs):
        """How many threads share what waits: each has what a call costs, or more."""
        tokens = sum(
            length * len(places)
            for job in jobs
            for length, places in job.waiting.items()
        )
        return max(1, min(self._free, tokens // _A_CALL))

    def _run(self, rows, length, size):
        """Computes a batch; where that fails, each of its requests for itself."""
        started = time.monotonic()
        jobs = list(dict.fromkeys(job for job, _ in rows))
        try:
            values = jobs[0].work.run([job.rows[i] for job, i in rows], size)
        except Exception as error:
            with self._changed:
                self.counters.failed_batches += 1
                if len(jobs) == 1:
                    logging.exception("a computation failed; its request is told")
                    jobs[0].fail(error)
                    return
            for job in jobs:
                own = [(j, i) for j, i in rows if j is job]
                self._run(own, length, len(own))
            return
        with self._changed:
            for (job, place), value in zip(rows, values, strict=False):
                job.put(place, value)
            done = [job for job in jobs if not job.missing]
            self._answered, self._answered_at = len(done), time.monotonic()
            self.counters.batches += 1
            self.counters.rows += len(rows)
            self.counters.tokens += size * length
            self.counters.seconds += self._answered_at - started
        for job in done:
            job.finish()


def _rows_up_to(longest, head, jobs):
    """Yields rows, (job, length, place): one of the head's, then the longest first."""
    first = max(head.waiting)
    yield head, first, head.waiting[first][0]
    lengths = {x for job in jobs for x in job.waiting if x <= longest}
    for length in sorted(lengths, reverse=True):
        for job in jobs:
            known = job is head and length == first
            for place in itertools.islice(job.waiting.get(length, ()), known, None):
                yield job, length, place
