"""The line that tells how long a run still takes."""

import re

import pytest

from training import progress


class Clock:
    """A time that a test moves on."""

    now = 1000.0

    def monotonic(self):
        return self.now

    process_time = monotonic


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def seconds_left(caplog):
    return [int(re.search(r"(\d+) s left", line)[1]) for line in caplog.messages]


def run(shown, clock, steps, seconds):
    """Makes steps of so many seconds each."""
    for step in steps:
        clock.now += seconds
        shown.steps(step, {"loss": 0.5, "examples_per_second": 32 / seconds})


def test_the_time_left_goes_by_the_last_minute_not_by_the_slow_one_before(
    clock, caplog
):
    caplog.set_level("INFO", logger="absl")
    shown = progress.Progress(0, 1000)
    run(shown, clock, range(1, 4), 20.0)
    assert seconds_left(caplog)[-1] == 20 * (1000 - 3)
    run(shown, clock, range(4, 126), 0.5)
    assert seconds_left(caplog)[-1] == pytest.approx(0.5 * (1000 - 125), rel=0.05)


def test_a_call_of_many_minutes_is_still_a_speed(clock, caplog):
    caplog.set_level("INFO", logger="absl")
    shown = progress.Progress(10, 50)
    run(shown, clock, (20, 30, 40), 300.0)
    assert seconds_left(caplog) == [900, 600, 300]
