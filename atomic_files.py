"""Files and folders that are there whole or not at all: written aside, then renamed."""

import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import logging

import folder_lock
import processes

# Tells which process of which machine writes there, so that others know if it lives.
_ASIDE = re.compile(r"\.writing-(?P<machine>[0-9a-f]{8})(-(?P<pid>\d+)-[0-9a-f]{8})?")


@contextlib.contextmanager
def atomic_path(path: str, suffixes: Sequence[str] = ("",)) -> Iterator[str]:
    """Yields a name beside `path` to write to; renames that to `path` on success.

    A reader never sees half a file, and two processes that write the same file at
    once each leave a whole one. On an error what was written is removed, and what
    `path` held before stays. What killed processes left of the same file goes first.

    Args:
      path: a file, or a folder that is new or empty; the folders above it are made.
      suffixes: what is written has the yielded name with each of these behind it; the
        last one is renamed last.

    Raises:
      UserError: a folder that this process holds locked is no longer there.
    """
    folder_lock.check_in_place(path)
    folder, name = os.path.split(path)
    tf.io.gfile.makedirs(folder or ".")
    remove_left_behind(folder, name)
    aside = _aside(path)
    try:
        yield aside
        for suffix in suffixes:
            tf.io.gfile.rename(aside + suffix, path + suffix, overwrite=True)
    finally:
        for left in _names(folder):
            if left.startswith(os.path.basename(aside)):
                _remove(os.path.join(folder, left))


@contextlib.contextmanager
def temporary_folder(path: str) -> Iterator[str]:
    """Yields a new folder beside `path`, or if that is remote, where /tmp is.

    It is removed at the end; those of killed processes for the same `path` go first.
    """
    if "://" in path:
        path = os.path.join(tempfile.gettempdir(), os.path.basename(path))
    folder, name = os.path.split(path)
    os.makedirs(folder or ".", exist_ok=True)
    remove_left_behind(folder, name)
    aside = _aside(path)
    os.mkdir(aside, 0o700)
    try:
        yield aside
    finally:
        shutil.rmtree(aside)


def is_aside(path: str) -> bool:
    """Tells whether `path` is unfinished, of a running or a killed process."""
    return _ASIDE.search(path) is not None


def remove_left_behind(folder: str, name: str | None = None) -> None:
    """Removes what processes of this machine left unfinished that no longer run.

    Args:
      folder: where to look, not in the folders that are in it; may be missing.
      name: only what was to become this file or folder; None: all.
    """
    for left in _names(folder):
        found = _ASIDE.search(left)
        if (
            found
            and found["pid"]
            and name in (None, left[: found.start()])
            and found["machine"] == processes.machine()
            and not processes.is_running(int(found["pid"]))
        ):
            path = os.path.join(folder, left)
            logging.info("removing %s, which a killed process left", path)
            _remove(path)


def _aside(path):
    return f"{path}.writing-{processes.machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _names(folder):
    """What is in a folder; nothing if that is missing."""
    try:
        return [name.rstrip("/") for name in tf.io.gfile.listdir(folder or ".")]
    except tf.errors.NotFoundError:
        return []


def _remove(path):
    with contextlib.suppress(tf.errors.NotFoundError):  # another process did it
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        else:
            tf.io.gfile.remove(path)
