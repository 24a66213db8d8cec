"""Paths that a user gives: patterns of inputs, and outputs that must not be inputs."""

import re
from collections.abc import Sequence

import tensorflow as tf

from atomic_files import is_aside
from errors import MissingFile


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
