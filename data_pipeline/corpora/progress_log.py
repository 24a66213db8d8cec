"""Tells in the log, every ten seconds, how far long work on a corpus is."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from absl import logging

_SECONDS_BETWEEN_LINES = 10.0  # as in training/progress.py
Item = TypeVar("Item")


class ProgressLog:
    """The lines on one piece of work."""

    def __init__(self, doing: str):
        """Starts the clock; `doing` begins each line."""
        self._doing = doing
        self._started = self._last_line = time.monotonic()

    def at(self, share: float) -> None:
        """Takes notice that a share in [0, 1] of the work is done; 0 tells nothing."""
        now = time.monotonic()
        if not share or now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        left = (now - self._started) * (1 - share) / share
        logging.info("%s: %.1f %%, %.0f s left", self._doing, 100 * share, left)


def watch(items: Sequence[Item], doing: str) -> Iterator[Item]:
    """Passes items on, each being the same share of the work."""
    log = ProgressLog(doing)
    for number, item in enumerate(items, 1):
        yield item
        log.at(number / len(items))
