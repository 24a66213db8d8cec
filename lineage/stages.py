"""A stage: one command of the project, what it reads and the folder that it fills.

An experiment lists its stages, refers to the files of one in the flags of another, and
later reads what is in their folders:

    from lineage.stages import HERE, Input, Stage, join

    vocab = Stage("bert vocabulary", "create_vocab.py",
                  {"input_file": Input("text.txt"), "output_file": HERE / "vocab.txt",
                   "vocab_size": 8000})
    records = Stage("bert records", "create_pretraining_data.py",
                    {"input_file": Input("text.txt"), "vocab_file": vocab / "vocab.txt",
                     "output_file": HERE / "train.tfrecord", "num_workers": 1})
    probe = Stage("bert probe", "lineage.probe", {...})     # python -m lineage.probe

    outcome = runner.run([vocab, records, probe], "work")   # those they need, too
    outcome.folder(probe) / "scores.json"                   # a pathlib.Path

Flags may be words, numbers, booleans, `Input` (a file or a folder of the user's or the
project's), `stage / "name"`, `stage.folder`, `HERE` and `HERE / "name"` (of the stage's
own folder), several of them in a tuple (joined by commas), or `join("en:", ...)`.

A stage's key is a hash of the script, the flags, the contents of the inputs, the keys
of the stages that it reads, and the code. Its folder carries the key, so what is there
was made by the same command on the same input: it is never made twice.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

from lineage import code

KEY = 12  # hexadecimal digits of a key that are shown


@dataclasses.dataclass(frozen=True)
class Input:
    """A file or folder that no stage makes; its contents count, not its name."""

    path: str


@dataclasses.dataclass(frozen=True)
class Here:
    """The folder of the stage itself, or a file in it."""

    name: str = ""

    def __truediv__(self, name: str) -> "Here":
        """A file in the folder."""
        return Here(name)


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder of another stage, or a file in it."""

    stage: "Stage"
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Join:
    """Values one after the other, without anything between them."""

    parts: tuple["Value", ...]


HERE = Here()
Value = str | int | float | bool | Input | Here | Output | Join | tuple


def join(*parts: Value) -> Join:
    """Puts values together, as in `join("en:", stage / "text.txt")`."""
    return Join(parts)


class Stage:
    """One command.

    Attributes:
      name: what is shown, and begins the name of the folder; need not be unique.
      script: a script, `run_classifier.py`, or a module, `lineage.probe`.
      flags: the flags' names and values.
      seconds: about how long it takes, of one core; for the order and the time left.
    """

    def __init__(
        self,
        name: str,
        script: str,
        flags: Mapping[str, Value],
        seconds: float = 15.0,
    ):
        """See the attributes."""
        self.name, self.script, self.seconds = name, script, seconds
        self.flags = dict(flags)

    def __truediv__(self, name: str) -> Output:
        """A file in the stage's folder, for another stage's flag."""
        return Output(self, name)

    def __repr__(self) -> str:
        """The name."""
        return f"Stage({self.name!r})"

    @property
    def folder(self) -> Output:
        """The stage's folder, for another stage's flag."""
        return Output(self)

    @functools.cached_property
    def key(self) -> str:
        """The hash that tells this stage from every other."""
        digest = hashlib.sha256(code.version(self.script).encode())
        for flag, value in sorted(self.flags.items()):
            digest.update(f"\0{flag}={_identity(value)}".encode())
        return digest.hexdigest()

    @property
    def slug(self) -> str:
        """The name of the stage's folder."""
        return f"{re.sub('[^A-Za-z0-9.]+', '-', self.name)}-{self.key[:KEY]}"

    def needs(self) -> list["Stage"]:
        """The stages whose files this one reads, each once."""
        found = {}
        for value in self.flags.values():
            found |= {stage.key: stage for stage in _stages(value)}
        return list(found.values())

    def arguments(self, work: pathlib.Path) -> list[str]:
        """The command's flags, as words.

        Args:
          work: the folder in which all stages have theirs.
        """
        return [
            f"--{flag}={_word(value, work, self)}" for flag, value in self.flags.items()
        ]


def folder_of(stage: Stage, work: pathlib.Path) -> pathlib.Path:
    """Where a stage's files are."""
    return work / "stages" / stage.slug


def near(path: str | pathlib.Path) -> str:
    """A path as the reader would type it: relative, if it lies below this folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _stages(value: Value) -> Iterator[Stage]:
    if isinstance(value, Output):
        yield value.stage
    for part in _parts(value):
        yield from _stages(part)


def _parts(value: Value) -> tuple[Value, ...]:
    if isinstance(value, Join):
        return value.parts
    return value if isinstance(value, tuple) else ()


def _identity(value: Value) -> str:
    """What a value adds to the key."""
    if isinstance(value, Input):
        return f"input {_contents(value.path)}"
    if isinstance(value, Here):
        return f"here {value.name}"
    if isinstance(value, Output):
        return f"stage {value.stage.key} {value.name}"
    if isinstance(value, tuple | Join):
        kind = type(value).__name__
        return f"{kind}({' '.join(map(_identity, _parts(value)))})"
    return repr(value)


def _word(value: Value, work: pathlib.Path, stage: Stage) -> str:
    """A value as it stands in the command."""
    if isinstance(value, Input):
        return near(value.path)
    if isinstance(value, Here):
        return near(folder_of(stage, work) / value.name)
    if isinstance(value, Output):
        return near(folder_of(value.stage, work) / value.name)
    if isinstance(value, Join):
        return "".join(_word(part, work, stage) for part in value.parts)
    if isinstance(value, tuple):
        return ",".join(_word(part, work, stage) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@functools.lru_cache(None)
def _contents(path: str) -> str:
    """The hash of a file, or of a folder's files and their names."""
    found = pathlib.Path(path)
    if found.is_dir():
        files = sorted(
            file
            for file in found.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        )
        names = (f"{file.relative_to(found)} {_contents(str(file))}" for file in files)
        return hashlib.sha256("\n".join(names).encode()).hexdigest()
    with found.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
