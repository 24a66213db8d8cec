"""Tells how a run is doing: a bar on a terminal, plain lines elsewhere, TensorBoard."""

import collections
import sys
import time
from collections.abc import Mapping

import tensorflow as tf
from absl import logging

from checkpoints.files import write_text

_SECONDS_BETWEEN_LINES = 10.0
_RECENT_SECONDS = 60.0  # what the time left is reckoned from
# What tf.summary.scalar writes; that function needs TensorBoard to be installed.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
)


class Progress:
    """Reports steps and scores; use it as a context manager.

    On a terminal a bar shows loss, speed and the time left; elsewhere a line is
    logged every ten seconds. The time left goes by the speed of the last minute.
    TensorBoard events go to `events_dir`; among them is how many steps the process
    made in a second of its CPU time, which other processes hardly change.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int,
        events_dir: str | None = None,
        unit: str = "step",
    ):
        """Starts the clock.

        Args:
          first_step: updates made before this run.
          last_step: updates made when the run is complete.
          events_dir: where TensorBoard events are written; None writes none.
          unit: what is counted.
        """
        self._first, self._last, self._unit = first_step, last_step, unit
        self._writer = tf.summary.create_file_writer(events_dir) if events_dir else None
        self._started = self._last_line = time.monotonic()
        self._cpu_seconds = time.process_time()
        self._bar = self._bar_task = None
        self._step = first_step
        self._recent = collections.deque([(self._started, first_step)])  # time, step

    def __enter__(self) -> "Progress":
        """Shows the bar, on a terminal."""
        if sys.stderr.isatty():
            self._bar, self._bar_task = _bar(self._first, self._last, self._unit)
            self._bar.start()
        return self

    def __exit__(self, *_):
        """Takes the bar down, flushes the events, and tells how long it took."""
        if self._bar:
            self._bar.stop()
        if self._writer:
            self._writer.close()
        minutes = (time.monotonic() - self._started) / 60
        done = self._step - self._first
        logging.info("%d %ss in %.1f minutes", done, self._unit, minutes)

    def steps(self, step: int, scalars: Mapping[str, float]) -> None:
        """Reports updates.

        Args:
          step: updates made so far.
          scalars: what is known of the last ones, with a speed, "..._per_second"; that,
            "loss" and "alpha", if there are any, are shown, all are written as events.
        """
        pace = {f"{self._unit}s_per_cpu_second": self._pace(step)}
        self._step = step
        self.events(step, {**scalars, **pace})
        shown = [f"{x} {scalars[x]:.4f}" for x in ("loss", "alpha") if x in scalars]
        speed = next(name for name in scalars if name.endswith("_per_second"))
        what = speed.removesuffix("_per_second")
        shown = ", ".join([*shown, f"{scalars[speed]:,.1f} {what}/s"])
        if self._bar:
            self._bar.update(self._bar_task, completed=step, shown=shown)
        now = time.monotonic()
        seconds, done = self._lately(now, step)
        if self._bar or now - self._last_line < _SECONDS_BETWEEN_LINES or not done:
            return  # of less than one step nobody knows how long the rest takes
        self._last_line = now
        left = seconds / done * (self._last - step)
        logging.info(
            "%s %d of %d: %s, %.0f s left", self._unit, step, self._last, shown, left
        )

    def _pace(self, step):
        """Returns the steps in a CPU second, of all cores, since the last report."""
        before, self._cpu_seconds = self._cpu_seconds, time.process_time()
        return (step - self._step) / (self._cpu_seconds - before)

    def _lately(self, now, step):
        """Returns the seconds and the steps since about a minute ago, or one call."""
        while len(self._recent) > 1 and now - self._recent[1][0] >= _RECENT_SECONDS:
            self._recent.popleft()
        then, step_then = self._recent[0]
        self._recent.append((now, step))
        return now - then, step - step_then

    def events(self, step: int, scalars: Mapping[str, float], prefix: str = "train"):
        """Writes scalars for TensorBoard."""
        if self._writer is None:
            return
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.write(
                    f"{prefix}/{name}", tf.constant(value, tf.float32), metadata=_SCALAR
                )


def _bar(first_step, last_step, unit):
    from rich import console, progress  # loaded only where there is a terminal

    bar = progress.Progress(
        progress.TextColumn(unit),
        progress.MofNCompleteColumn(),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[shown]}"),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
    )
    return bar, bar.add_task("", total=last_step, completed=first_step, shown="")


def write_results(path: str, results: Mapping[str, float]) -> None:
    """Writes `name = value` lines, sorted by name, as the parent's eval_results.txt.

    The file is written aside and renamed, so that it is never seen half-written.
    """
    text = "".join(f"{name} = {results[name]}\n" for name in sorted(results))
    write_text(path, text)
