"""Files and folders that are there whole or not at all: written aside, then renamed."""

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence

import tensorflow as tf

_ASIDE = ".writing-"


@contextlib.contextmanager
def atomic_path(path: str, suffixes: Sequence[str] = ("",)) -> Iterator[str]:
    """Yields a name beside `path` to write to; renames that to `path` on success.

    A reader never sees half a file, and two processes that write the same file at
    once each leave a whole one. On an error what was written is removed, and what
    `path` held before stays.

    Args:
      path: a file, or a folder that is new or empty; the folders above it are made.
      suffixes: what is written has the yielded name with each of these behind it; the
        last one is renamed last.
    """
    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    aside = f"{path}{_ASIDE}{uuid.uuid4().hex[:8]}"
    try:
        yield aside
        for suffix in suffixes:
            tf.io.gfile.rename(aside + suffix, path + suffix, overwrite=True)
    finally:
        for left in (aside + suffix for suffix in suffixes):
            if tf.io.gfile.isdir(left):
                tf.io.gfile.rmtree(left)
            elif tf.io.gfile.exists(left):
                tf.io.gfile.remove(left)


def is_aside(path: str) -> bool:
    """Tells whether `path` is an unfinished file of a running or a killed process."""
    return _ASIDE in os.path.basename(path)
