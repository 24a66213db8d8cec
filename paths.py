"""Paths that a user gives: patterns of inputs, and outputs that must not be inputs."""

import os
import pathlib
import re
import stat
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from atomic_files import is_aside
from errors import MissingFile, UserError

# Of files that are read where their prefix is given.
_CHECKPOINT_ENDING = r"\.(index|meta|data-\d+-of-\d+)$"


def find_files(patterns: Sequence[str], flag: str) -> list[str]:
    """Lists the files that a flag names, in its order, sorted within a pattern.

    A name that exists is that file, whatever characters it has; any other is a
    pattern of `*`, `?` and `[...]`. Unfinished files match no pattern.

    Args:
      patterns: names and patterns.
      flag: the flag's name, for the message.

    Raises:
      MissingFile: a pattern matches nothing.
    """
    files = []
    for pattern in patterns:
        pattern = pattern.strip()
        if tf.io.gfile.exists(pattern):
            found = [pattern]
        else:
            found = sorted(f for f in tf.io.gfile.glob(pattern) if not is_aside(f))
        if not found:
            raise MissingFile(f"--{flag}: no file matches {pattern!r}")
        files += found
    return files


def glob_escape(path: str) -> str:
    """Returns a pattern that matches only `path`, for tf.io.gfile.glob."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)


def check_outputs(
    outputs: Mapping[str, Sequence[str]], inputs: Mapping[str, Sequence[str | None]]
) -> None:
    """Refuses to write over what is read, and to write one file twice.

    Paths are the same where they lead to the same place: by links of any kind, `./`
    and the like. Nor may an output lie inside a folder that is read, as a model's.

    Args:
      outputs: flag -> files or folders to write.
      inputs: flag -> files, folders or checkpoints to read; None where not given.

    Raises:
      UserError: names the flags and the paths.
    """
    read, written = {}, set()
    for flag, source in _flat(inputs):
        read |= dict.fromkeys(_places(source), f"--{flag}={source}")
    for flag, path in _flat(outputs):
        places = set(_places(path))
        prefix = _real(re.sub(_CHECKPOINT_ENDING, "", path))
        if found := {*places, prefix} & read.keys():
            raise UserError(
                f"--{flag}: {path} is read as {read[found.pop()]}; give another name"
            )
        for folder in map(str, pathlib.PurePath(_real(path)).parents):
            if folder in read:
                raise UserError(
                    f"--{flag}: {path} lies inside {read[folder]}, which is read; "
                    "give another name"
                )
        if places & written:
            raise UserError(f"--{flag}: {path} would be written twice")
        written |= places


def refuse_folders(files: Mapping[str, Sequence[str | None]]) -> None:
    """Refuses a folder where a file is wanted.

    Args:
      files: flag -> files to read or to write; None where not given.

    Raises:
      UserError: names the flag and the folder.
    """
    for flag, path in _flat(files):
        if tf.io.gfile.isdir(path):
            raise UserError(f"--{flag}: {path} is a folder; wanted a file")


def same(path: str, other: str) -> bool:
    """Tells whether two paths lead to the same place."""
    return not set(_places(path)).isdisjoint(_places(other))


def _flat(paths):
    """Yields (flag, path) for all that are given."""
    return ((flag, p) for flag, found in paths.items() for p in found if p)


def _places(path: str) -> Iterator[str | tuple[int, int]]:
    """Yields where a path leads: its real name, and its number if it is there."""
    yield _real(path)
    try:
        found = os.stat(path)
    except OSError:  # not there, or remote
        return
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        yield found.st_dev, found.st_ino


def _real(path):
    """The path without links; a remote one's text."""
    return str(pathlib.PurePath(path if "://" in path else os.path.realpath(path)))
