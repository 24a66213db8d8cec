"""Files of word vectors as bytes that come in order: local, remote, piped, gzip's."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import tensorflow as tf

import streams
from atomic_files import atomic_path
from checkpoints.mapping import CheckpointError

_GZIP = b"\x1f\x8b"


class Block(NamedTuple):
    """Some words of a file, as they follow one another, and their vectors.

    Attributes:
      words: N words, as bytes.
      vectors: float32 [N, D]; NaN also for what is no number.
      unit: what a word's vector stands in, for messages: "line", "word", "row".
      first: the number of the first one's, from 1.
    """

    words: list[bytes]
    vectors: np.ndarray
    unit: str
    first: int


class ByteReader:
    """Reads from start to end, and looks ahead.

    Attributes:
      path: the file, for messages.
    """

    def __init__(self, file: BinaryIO, path: str):
        self.path = path
        self._file = file
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """Returns the next bytes, fewer only at the end; `read` has them once more."""
        while len(self._ahead) < size:
            more = self._more(size - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Returns the next bytes; fewer only at the end."""
        found = self.peek(size)
        self._ahead = self._ahead[size:]
        return found

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _more(self, size):
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error}") from None
        except tf.errors.OpError as error:
            message = f"{self.path}: cannot be read: {error.message}"
            raise CheckpointError(message) from None


@contextlib.contextmanager
def open_reader(path: str) -> Iterator[ByteReader]:
    """Opens a file to read; what gzip made is unpacked, whatever its name.

    Raises:
      CheckpointError: it is not there, cannot be read, or is damaged.
    """
    try:
        packed = ByteReader(streams.open_bytes(path), path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    with contextlib.closing(packed):
        if packed.peek(2) == _GZIP:
            yield ByteReader(gzip.GzipFile(fileobj=packed), path)
        else:
            yield packed


@contextlib.contextmanager
def open_writer(path: str) -> Iterator[BinaryIO]:
    """Opens a file to write, which is there when it is complete; `.gz` packs it."""
    with atomic_path(path) as aside, tf.io.gfile.GFile(aside, "wb") as file:
        if path.endswith(".gz"):  # no name and no time in it: same vectors, same bytes
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                yield packed
        else:
            yield file
