"""Pipes and terminals as inputs: `/dev/stdin`, named pipes, what a shell puts in `<()`.

They are read once, from start to end; TensorFlow's files, which go to and fro, are not
made for them.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import BinaryIO


def is_stream(path: str) -> bool:
    """Tells whether a path is a pipe, a socket or a device: no file and no folder."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # not there, or not on this machine
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_bytes(path: str) -> BinaryIO:
    """Opens a stream or a file, local or remote, to be read from start to end."""
    if is_stream(path):
        return open(path, "rb")
    import tensorflow as tf  # whoever only asks `is_stream` spares it

    return tf.io.gfile.GFile(path, "rb")


@contextlib.contextmanager
def kept(path: str) -> Iterator[str]:
    """Yields a path that can be read any number of times: of a stream, a copy's."""
    if not is_stream(path):
        yield path
        return
    with tempfile.NamedTemporaryFile() as copy:
        with open(path, "rb") as stream:
            shutil.copyfileobj(stream, copy)
        copy.flush()
        yield copy.name
