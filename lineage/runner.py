"""Runs stages: two at a time, each on one core, none twice.

A stage is done when its record is there, which is written last, and its folder: what a
killed run left half done is done again, or gone on with where its script can. A stage
that fails takes along only those that need its files.
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import json_files
from errors import UserError
from lineage import code
from lineage.progress import Progress
from lineage.stages import Stage, folder_of, near

# One thread makes sums of the same order, so the same bytes; and no system gets more of
# the machine than another.
THREADS = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
BEFORE = " ".join(f"{name}={value}" for name, value in THREADS.items())
JOBS = 2
_LAST_LINES = 12  # of the log of a stage that failed
_SECONDS_BETWEEN_LOOKS = 0.05
_KILL_WITH_PARENT = 1  # Linux's PR_SET_PDEATHSIG


@dataclasses.dataclass(frozen=True)
class Record:
    """What is told of a stage that is done.

    Attributes:
      name: the stage's.
      key: its hash.
      command: as it can be pasted into a shell, after the variables THREADS.
      flags: as in the command.
      seconds: wall time.
      cpu_seconds: of all cores.
      peak_mb: the most memory of its process, in 10^6 bytes.
      resumed: whether an earlier attempt was killed, so that the times are of a part.
    """

    name: str
    key: str
    command: str
    flags: dict[str, str]
    seconds: float
    cpu_seconds: float
    peak_mb: float
    resumed: bool


class Outcome:
    """What has come of a run of stages."""

    def __init__(self, work: pathlib.Path):
        """Of none yet."""
        self.work = work
        self.records: dict[str, Record] = {}  # by key
        self.failed: list[Stage] = []
        self.left_out: list[Stage] = []  # since what they need failed

    def is_done(self, *stages: Stage) -> bool:
        """Whether all of these are done."""
        return all(stage.key in self.records for stage in stages)

    def folder(self, stage: Stage) -> pathlib.Path:
        """Where a stage's files are."""
        if not self.is_done(stage):
            raise KeyError(f"{stage} is not done")
        return folder_of(stage, self.work)

    def record(self, stage: Stage) -> Record:
        """The record of a stage that is done."""
        return self.records[stage.key]


def run(stages: Sequence[Stage], work: str | pathlib.Path, jobs: int = JOBS) -> Outcome:
    """Runs stages and all that they need.

    Args:
      stages: those that are wanted.
      work: the folder in which each has its own; one process at a time may run there.
      jobs: how many run at a time.

    Returns:
      What is done and what is not; it is the caller who minds.

    Raises:
      UserError: another process runs stages there.
    """
    work = pathlib.Path(work)
    (work / "stages").mkdir(parents=True, exist_ok=True)
    with _alone(work), _terminated_as_interrupted():
        return _run(stages, work, jobs)


def _run(stages, work, jobs):
    plan = with_needs(stages)
    outcome = Outcome(work)
    for stage in plan:
        if record := read_record(stage, work):
            outcome.records[stage.key] = record
    with _Run([s for s in plan if not outcome.is_done(s)], outcome, work) as run_:
        while run_.left or run_.running:
            run_.start(jobs)
            run_.wait()
    return outcome


def with_needs(stages: Sequence[Stage]) -> list[Stage]:
    """All stages and those that they read, each once, the read ones first."""
    found: dict[str, Stage] = {}

    def add(stage):
        if stage.key not in found:
            for needed in stage.needs():
                add(needed)
            found[stage.key] = stage

    for stage in stages:
        add(stage)
    return list(found.values())


def new_record(
    stage: Stage,
    work: pathlib.Path,
    seconds: float,
    cpu_seconds: float,
    peak_mb: float,
    resumed: bool,
) -> Record:
    """Writes that a stage is done, and with what effort: see Record."""
    record = Record(
        name=stage.name,
        key=stage.key,
        command=shlex.join(command(stage, work)),
        flags=_flags(stage, work),
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        peak_mb=round(peak_mb, 1),
        resumed=resumed,
    )
    text = json.dumps(dataclasses.asdict(record), indent=2) + "\n"
    write(_beside(stage, work, "json"), text)
    return record


def read_record(stage: Stage, work: pathlib.Path) -> Record | None:
    """The record of a stage; None where it is not done.

    Raises:
      UserError: it is no record.
    """
    path = _beside(stage, work, "json")
    if not (path.exists() and folder_of(stage, work).exists()):
        return None
    try:
        return Record(**json_files.parse(path.read_bytes(), str(path)))
    except (TypeError, UserError) as error:
        raise UserError(
            f"{path}: no record of a stage ({error}): remove it, and the stage is done "
            "again"
        ) from None


def command(stage: Stage, work: pathlib.Path) -> list[str]:
    """The words of a stage's command."""
    if stage.script.endswith(".py"):
        script = [near(code.ROOT / stage.script)]
    else:
        script = ["-m", stage.script]
    return [near(sys.executable), *script, *stage.arguments(work)]


def write(path: pathlib.Path, text: str) -> None:
    """Writes aside, then renames: the file is whole or not there.

    As atomic_files does, which loads TensorFlow; this process has no use for it.
    """
    aside = path.with_name(path.name + ".writing")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


class _Run:
    """The stages that are left, and those that run."""

    def __init__(self, left: list[Stage], outcome: Outcome, work: pathlib.Path):
        self.left, self.outcome, self.work = left, outcome, work
        self.running: dict[int, _Running] = {}
        self._after = _seconds_to_the_end(left)
        self._progress = Progress(left)

    def __enter__(self):
        self._progress.__enter__()
        return self

    def __exit__(self, *_):
        """Ends what still runs: an exception is on its way."""
        for running in self.running.values():
            running.process.terminate()
        for running in self.running.values():
            running.process.wait()
        self._progress.__exit__()

    def start(self, jobs: int) -> None:
        """Starts as many of those as can be, the longest way to the end first."""
        ready = [stage for stage in self.left if self.outcome.is_done(*stage.needs())]
        ready.sort(key=lambda stage: -self._after[stage.key])
        for stage in ready[: jobs - len(self.running)]:
            self.left.remove(stage)
            self._progress.says(f"\n# {stage.name}\n{_shown(stage, self.work)}")
            running = _Running(stage, self.work)
            self.running[running.process.pid] = running

    def wait(self) -> None:
        """Waits until one of those that run has ended, if any does."""
        while self.running:
            for pid, running in list(self.running.items()):
                running.look()
                ended, status, usage = os.wait4(pid, os.WNOHANG)
                if ended:
                    del self.running[pid]
                    running.process.returncode = os.waitstatus_to_exitcode(status)
                    self._ended(running, usage)
                    return
            self._progress.look(
                [(running.stage, running.started) for running in self.running.values()]
            )
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _ended(self, running, usage):
        stage, status = running.stage, running.process.returncode
        seconds = time.monotonic() - running.started
        if status:
            self._failed(stage, status)
        else:
            self.outcome.records[stage.key] = running.write_record(seconds, usage)
            peak = self.outcome.record(stage).peak_mb
            self._progress.says(f"# {stage.name}: {seconds:.0f} s, {peak:,.0f} MB")
        self._progress.done(stage)

    def _failed(self, stage, status):
        """Tells the end of the log, and leaves out what needs the stage."""
        log = _beside(stage, self.work, "log")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        self._progress.says(
            f"\n# {stage.name}: FAILED with status {status}; the end of {near(log)}:\n"
            + "\n".join(f"    {line}" for line in lines[-_LAST_LINES:])
        )
        self.outcome.failed.append(stage)
        lost = {stage.key}
        for other in list(self.left):
            if lost & {needed.key for needed in other.needs()}:
                lost.add(other.key)
                self.left.remove(other)
                self.outcome.left_out.append(other)
                self._progress.says(f"# {other.name}: left out")
                self._progress.done(other)


class _Running:
    """A stage's process."""

    def __init__(self, stage: Stage, work: pathlib.Path):
        folder = folder_of(stage, work)
        self.stage, self._work, self._resumed = stage, work, folder.exists()
        folder.mkdir(exist_ok=True)
        self._peak = 0  # bytes
        self.started = time.monotonic()
        with _beside(stage, work, "log").open("wb") as log:
            self.process = subprocess.Popen(
                command(stage, work),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                preexec_fn=_die_with_parent,
            )

    def write_record(self, seconds: float, usage: Any) -> Record:
        """Writes that the stage is done."""
        cpu_seconds = usage.ru_utime + usage.ru_stime
        unit = 1 if sys.platform == "darwin" else 1024
        peak = self._peak or usage.ru_maxrss * unit  # of a short one: too much
        return new_record(
            self.stage, self._work, seconds, cpu_seconds, peak / 1e6, self._resumed
        )

    def look(self) -> None:
        """Sees how much memory it has had at most, where Linux tells.

        What wait4 says begins with the memory of the process that forked.
        """
        try:
            text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        except FileNotFoundError:
            return
        if found := re.search(r"^VmHWM:\s*(\d+) kB", text, re.MULTILINE):
            self._peak = int(found[1]) * 1024


def _seconds_to_the_end(stages: Sequence[Stage]) -> dict[str, float]:
    """By key: the seconds of the longest way from a stage to the end, with its own."""
    after = {stage.key: stage.seconds for stage in stages}
    for stage in reversed(stages):
        for needed in stage.needs():
            if needed.key in after:
                way = needed.seconds + after[stage.key]
                after[needed.key] = max(after[needed.key], way)
    return after


def _shown(stage: Stage, work: pathlib.Path) -> str:
    """The command over several lines, as it can be pasted into a shell."""
    words = [shlex.quote(word) for word in command(stage, work)]
    start = len(words) - len(stage.flags)
    return " \\\n    ".join([" ".join(words[:start]), *words[start:]])


def _flags(stage: Stage, work: pathlib.Path) -> dict[str, str]:
    words = (word.removeprefix("--") for word in stage.arguments(work))
    return dict(word.split("=", 1) for word in words)


def _beside(stage: Stage, work: pathlib.Path, ending: str) -> pathlib.Path:
    return work / "stages" / f"{stage.slug}.{ending}"


def _environment() -> dict[str, str]:
    paths = [str(code.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | THREADS | {"PYTHONPATH": os.pathsep.join(paths)}


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ends a stage with its parent, or the next run would meet it in its folder."""
    if _LIBC:
        _LIBC.prctl(_KILL_WITH_PARENT, signal.SIGKILL)


@contextlib.contextmanager
def _alone(work: pathlib.Path) -> Iterator[None]:
    """Keeps other runs out of the folder, as long as this process lives."""
    with (work / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"--output_dir={work} is in use by another run: wait for it, or give "
                "another folder"
            ) from None
        yield


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Makes SIGTERM an exception, so that what runs is ended, too."""

    def stop(*_):
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
