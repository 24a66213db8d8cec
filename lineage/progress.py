"""What is told while stages run: lines, and a bar on a terminal."""

import time
from collections.abc import Sequence

from rich import console, progress

from lineage.stages import Stage

Begun = Sequence[tuple[Stage, float]]  # what runs, and since when, by time.monotonic


class Progress:
    """Tells of stages; use it as a context manager."""

    def __init__(self, stages: Sequence[Stage]):
        """Starts the clock.

        Args:
          stages: that will be run, or left out.
        """
        self._expected = sum(stage.seconds for stage in stages)
        self._console = console.Console(highlight=False, soft_wrap=True)
        self._bar = progress.Progress(
            progress.MofNCompleteColumn(),
            progress.BarColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=len(stages), left="")
        self._all, self._ended = len(stages), 0
        self._started, self._finished = time.monotonic(), 0.0

    def __enter__(self) -> "Progress":
        """Shows the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_):
        """Takes it down."""
        self._bar.stop()

    def says(self, text: str) -> None:
        """Prints lines, above the bar."""
        self._console.print(text, markup=False, emoji=False)

    def done(self, stage: Stage) -> None:
        """Counts a stage, which need not have ended well."""
        self._finished += stage.seconds
        self._ended += 1
        self._bar.update(self._task, completed=self._ended)
        if not self._console.is_terminal:
            self.says(f"# {self._ended} of {self._all} stages{self._left(())}")

    def look(self, begun: Begun) -> None:
        """Tells what runs, and how long the rest may take."""
        names = ", ".join(stage.name for stage, _ in begun)
        self._bar.update(self._task, left=names + self._left(begun))

    def _left(self, begun: Begun) -> str:
        """The time left: by the estimates, corrected by what they were wrong so far."""
        now = time.monotonic()
        running = sum(min(now - since, stage.seconds) for stage, since in begun)
        made = self._finished + running
        if not self._finished or made >= self._expected:
            return ""
        seconds = (now - self._started) / made * (self._expected - made)
        return f"; about {seconds / 60:.0f} min left"
