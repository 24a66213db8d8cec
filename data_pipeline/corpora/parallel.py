"""Jobs on several threads or processes, their results in order and few at a time."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

from errors import UserError


def in_order(
    pool: concurrent.futures.Executor,
    function: Callable,
    jobs: Iterable,
    num_workers: int,
) -> Iterator:
    """Yields each job's result in the jobs' order; few are under way at any time."""
    waiting = collections.deque()
    for job in jobs:
        waiting.append(pool.submit(function, job))
        if len(waiting) > 2 * num_workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def worker_processes(
    number: int, prepare: Callable[..., None] | None = None, arguments: tuple = ()
) -> Iterator[concurrent.futures.Executor]:
    """Processes started afresh: a copy of one with TensorFlow's threads may hang.

    An interrupt is the parent's to act on.

    Args:
      number: of processes.
      prepare: each calls it once, with `arguments`.
      arguments: for `prepare`.

    Raises:
      UserError: a process was ended from outside.
    """
    pool = concurrent.futures.ProcessPoolExecutor(
        number,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(prepare, arguments),
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, as the system does where memory runs out: "
            f"try fewer than --num_workers={number}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(prepare: Callable[..., None] | None, arguments: tuple) -> None:
    def follow_parent():
        multiprocessing.parent_process().join()
        os._exit(1)  # a killed run leaves no process behind

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow_parent, daemon=True).start()
    if prepare:
        prepare(*arguments)
