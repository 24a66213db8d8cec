"""Pipes and terminals as inputs: `/dev/stdin`, named pipes, what a shell puts in `<()`.

They are read once, from start to end; TensorFlow's files, which go to and fro, are not
made for them. So are files that gzip has packed.
"""

import contextlib
import gzip
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from errors import UserError


def is_stream(path: str) -> bool:
    """Tells whether a path is a pipe, a socket or a device: no file and no folder."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # not there, or not on this machine
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_bytes(path: str) -> BinaryIO:
    """Opens a stream or a file, local or remote, to be read from start to end.

    What ends in .gz is unpacked.
    """
    if "://" not in path:
        file = open(path, "rb")  # noqa: SIM115
    else:
        import tensorflow as tf  # whoever has local files only spares it

        file = tf.io.gfile.GFile(path, "rb")
    return _Unpacked(path, file) if path.endswith(".gz") else file


def share_read(file: BinaryIO) -> float:
    """Returns how much of a file of `open_bytes` is read, in [0, 1]; of a stream, 0."""
    file = getattr(file, "packed", file)
    if hasattr(file, "size"):  # TensorFlow's
        return file.tell() / max(1, file.size())
    size = os.fstat(file.fileno()).st_size
    return file.tell() / size if size else 0.0


def decode(path: str, first_line: int, data: bytes) -> str:
    """Returns the text of some bytes of a file.

    Args:
      path: for the message.
      first_line: the number of the line that `data` begins with.
      data: UTF-8.

    Raises:
      UserError: it is not; names the line.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        place = error.start - data.rfind(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {line}: not UTF-8, 0x{data[error.start]:02x} is the line's "
            f"byte {place} ({error.reason})"
        ) from error


class _Unpacked(gzip.GzipFile):
    """What gzip has packed; `packed` is the file as it is."""

    def __init__(self, path: str, packed: BinaryIO):
        super().__init__(fileobj=packed, mode="rb")
        self._path, self.packed = path, packed

    def read(self, size: int | None = -1) -> bytes:
        """See gzip.GzipFile.

        Raises:
          UserError: the file is damaged, cut short, or not packed.
        """
        try:
            return super().read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{self._path}: not a whole .gz file: {error}") from error

    def close(self) -> None:
        """Closes both."""
        super().close()
        self.packed.close()


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
