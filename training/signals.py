"""Stopping when asked: what was reached is saved before the process ends."""

import signal

TERMINATED = 128 + signal.SIGTERM  # the shell's exit status of a terminated process


class StopSignal:
    """Remembers SIGTERM instead of dying of it, while the context lasts."""

    received = False

    def __enter__(self) -> "StopSignal":
        self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _receive(self, *_):
        self.received = True
