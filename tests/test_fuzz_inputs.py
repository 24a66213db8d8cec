"""Breaks every file that a script reads, and every flag, and counts what comes of it.

A case is right if it ends in a user's error that names the file or the flag, or if the
broken input gives what the whole one gives. It is wrong if it ends in a traceback, in a
message that does not say where, if it is taken though the results are others, or if it
does not end. `pytest -m slow -s tests/test_fuzz_inputs.py` prints the counts.
"""

import collections
import contextlib
import dataclasses
import io
import os
import pathlib
import re
import shutil
import signal
from collections.abc import Callable, Iterator

import startup

import fuzz_world
import pytest
import scripts
from absl import flags, logging
from fuzz_breaks import breaks
from fuzz_world import Subject

NAMED, SAME = "one line", "same result"
UNNAMED, TRACEBACK, CHANGED, HANG = "unnamed", "traceback", "changed result", "hang"
KINDS = (NAMED, SAME, UNNAMED, TRACEBACK, CHANGED, HANG)
KEPT = "kept"  # the folder of the whole inputs
_SECONDS = 120
_SCRIPTS = (
    *("create_vocab", "create_pretraining_data", "run_pretraining", "run_classifier"),
    *("run_squad", "run_tagger", "extract_features", "generate", "convert_checkpoint"),
    "export_saved_model",
)
pytestmark = pytest.mark.slow


@dataclasses.dataclass(frozen=True)
class Case:
    """A broken input.

    Attributes:
      name: what is broken.
      run: reads it; returns whether the results are those of the whole input.
      culprits: a message must name one of them.
    """

    name: str
    run: Callable[[], bool]
    culprits: tuple[str, ...]


class _Hang(BaseException):
    """A case did not end."""


def outcome(case: Case) -> tuple[str, str]:
    """Runs a case; returns one of KINDS, and the message."""

    def stop(*_):
        raise _Hang

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            same = case.run()
    except _Hang:
        return HANG, ""
    except Exception as error:
        message = startup.users_error(error)
        if message is None:
            return TRACEBACK, f"{type(error).__name__}: {error}"
        named = any(culprit in message for culprit in case.culprits)
        return (NAMED if named else UNNAMED), message
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return (SAME if same else CHANGED), ""


def result(path: pathlib.Path) -> object:
    """What a script wrote: a file's bytes, or those of a folder's files."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())}
    return path.read_bytes() if path.exists() else None


def file_cases(world: pathlib.Path, subject: Subject) -> Iterator[Case]:
    """Yields a case for each break of a subject's file."""
    (path,) = (world / KEPT / subject.folder).glob(subject.file)
    subject = dataclasses.replace(
        subject, file=str(path.relative_to(world / KEPT / subject.folder))
    )
    data = path.read_bytes()
    wanted = _run(world, subject, data)
    # A checkpoint goes by its prefix.
    file = re.sub(r"\.(index|data-.*)$", "", os.path.basename(subject.file))
    for name, broken, *keys in breaks(subject, data):
        culprits = (file, *keys, *subject.beside)
        if broken is None:  # then the folder is named, where it was looked for
            culprits = (file, os.path.dirname(f"{subject.folder}/{subject.file}"))
        yield Case(
            f"{subject.script}: {subject.folder}/{subject.file}: {name}",
            lambda broken=broken: _run(world, subject, broken) == wanted,
            culprits,
        )


def _run(world, subject, data):
    """Runs a subject in its folder, whose file has other data, or is not there."""
    folder = world / subject.folder
    for made in (folder, world / "made"):
        shutil.rmtree(made, ignore_errors=True)
    (world / "made").unlink(missing_ok=True)
    shutil.copytree(world / KEPT / subject.folder, folder)
    path = folder / subject.file
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    scripts.run(subject.script, *subject.flags(folder))
    return result(folder / subject.output)


def flag_cases(script: str) -> Iterator[Case]:
    """Yields a case for each flag of a script, with values that it cannot have."""
    scripts.load(script)
    ours = flags.FLAGS.flags_by_module_dict()
    found = [flag for name, f in ours.items() if name[:4] != "absl" for flag in f]
    for flag in sorted(found, key=lambda flag: flag.name):
        for value in _wrong_values(flag):
            word = f"--{flag.name}={value}"

            def run(word=word):
                scripts.run(script, word)
                return False

            yield Case(f"{script} {word!a}", run, (flag.name,))


def _wrong_values(flag):
    kind = flag.flag_type()
    if "int" in kind:
        return ["x", "", "0.5", "99999999999"]
    if "float" in kind:
        return ["x", "", "nan", "inf"]
    if "enum" in kind:
        return ["no such", ""]
    if "bool" in kind:
        return ["maybe"]
    return ["", "\udcff"] if kind == "string" else []


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The good inputs."""
    logging.set_verbosity(logging.FATAL)
    folder = tmp_path_factory.mktemp("world")
    fuzz_world.build(folder)
    for path in list(folder.iterdir()):
        shutil.copytree(path, folder / KEPT / path.name)
    yield folder
    logging.set_verbosity(logging.INFO)


@pytest.fixture(scope="module")
def counts():
    """Reader -> kind -> number of cases; printed at the end."""
    found = collections.defaultdict(collections.Counter)
    yield found
    total = sum(found.values(), collections.Counter())
    print()
    for name, row in [
        ("reader", {kind: kind for kind in KINDS}),
        *found.items(),
        ("all", total),
    ]:
        print(f"{name:24}" + "".join(f"{row[kind]!s:>16}" for kind in KINDS))


def check(cases, reader, counts):
    """Runs cases and counts them; fails where one is wrong."""
    wrong = []
    for case in cases:
        kind, message = outcome(case)
        counts[reader][kind] += 1
        if kind not in (NAMED, SAME):
            wrong.append(f"{kind}: {case.name}: {message[:300]}")
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.mark.parametrize(
    "subject", fuzz_world.subjects(), ids=lambda s: f"{s.script}-{s.folder}-{s.file}"
)
def test_a_broken_file_is_named_or_makes_no_difference(world, counts, subject):
    check(file_cases(world, subject), subject.reader, counts)


@pytest.mark.parametrize("script", _SCRIPTS)
def test_a_flag_that_cannot_be_is_named(counts, script):
    check(flag_cases(script), "flags", counts)
