"""A tokenized corpus on disk: any document is three small reads away.

Three files: `tokens` (one word piece after the other), `sentences` (int64, where each
sentence begins in `tokens`) and `documents` (int64, with which sentence each document
begins), the last two with an end mark. They are read with pread, not mapped: mapped
pages would count as the process's memory and grow with the corpus.

A piece is stored as its id; the highest bit says that it continues a word. numpy only:
the processes that read it need no TensorFlow (3 s and 400 MB each).
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Sequence

import numpy as np

_FILES = ("tokens", "sentences", "documents")


@dataclasses.dataclass(frozen=True)
class Documents:
    """Some documents in memory, their pieces one after the other.

    Attributes:
      numbers: which document of the corpus each one is; one may occur twice.
      tokens: int32 [T], piece ids.
      continues: bool [T], whether the piece continues the word before it.
      bounds: for each document, where in `tokens` its sentences begin and, last,
        where it ends.
    """

    numbers: Sequence[int]
    tokens: np.ndarray
    continues: np.ndarray
    bounds: Sequence[list[int]]


def storage_dtype(vocab_size: int) -> np.dtype:
    """The smallest type that holds every id and one bit more."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 15 else np.uint32)


def pack(ids: np.ndarray, continues: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Puts ids and the continuation bit together."""
    bit = dtype.type(1 << (8 * dtype.itemsize - 1))
    return ids.astype(dtype) | np.where(continues, bit, dtype.type(0))


def join(
    numbers: Sequence[int], packed: Iterable[np.ndarray], starts: Iterable[np.ndarray]
) -> Documents:
    """Lays documents one after the other.

    Args:
      numbers: of each document.
      packed: each document's pieces, as `pack` returns them.
      starts: int64, of each document, where its sentences begin, and its end.
    """
    bounds, place = [], 0
    for offsets in starts:
        bounds.append((offsets - offsets[0] + place).tolist())
        place = bounds[-1][-1]
    flat = np.concatenate(list(packed))
    top = 8 * flat.dtype.itemsize - 1
    mask = flat.dtype.type((1 << top) - 1)
    return Documents(numbers, (flat & mask).astype(np.int32), flat > mask, bounds)


def temporary_folder(output_file: str) -> contextlib.AbstractContextManager[str]:
    """Returns a folder beside a file to be, or if that is remote, where /tmp is."""
    import atomic_files  # TensorFlow, which the worker processes spare

    path = os.path.join(os.path.dirname(output_file), ".tokens")
    return atomic_files.temporary_folder(path)


class TokenStoreWriter:
    """Appends lines to a new store; a context manager."""

    def __init__(self, folder: str, dtype: np.dtype):
        """Creates the files.

        Args:
          folder: exists.
          dtype: of the stored pieces, see `storage_dtype`.
        """
        self._dtype = dtype
        self._files = [open(os.path.join(folder, name), "wb") for name in _FILES]  # noqa: SIM115
        self._open_document = 0  # the sentence it begins with
        self.num_tokens = self.num_sentences = self.num_documents = 0
        self.longest_document = 0  # sentences

    def add(self, packed: np.ndarray, lengths: np.ndarray) -> None:
        """Appends lines.

        Args:
          packed: the pieces of all lines, as `pack` returns them.
          lengths: int64 [lines], pieces of each; -1 ends the document. A line without
            pieces is no sentence.
        """
        tokens, sentences, documents = self._files
        tokens.write(np.ascontiguousarray(packed, self._dtype).tobytes())
        real = lengths > 0
        ends = self.num_tokens + np.cumsum(lengths[real])
        sentences.write((ends - lengths[real]).astype(np.int64).tobytes())
        before = self.num_sentences + np.cumsum(real)[lengths < 0]
        before = np.unique(before[before > self._open_document])
        if before.size:
            starts = np.concatenate([[self._open_document], before[:-1]])
            documents.write(starts.astype(np.int64).tobytes())
            self.longest_document = max(
                self.longest_document, int((before - starts).max())
            )
            self._open_document = int(before[-1])
            self.num_documents += before.size
        self.num_sentences += int(real.sum())
        self.num_tokens += packed.size

    def __enter__(self) -> "TokenStoreWriter":
        return self

    def __exit__(self, *unused) -> None:
        ends = (None, self.num_tokens, self.num_sentences)
        for file, end in zip(self._files, ends, strict=True):
            if end is not None:
                file.write(np.int64(end).tobytes())
            file.close()


class TokenStore:
    """Reads documents in any order; memory is that of the documents asked for."""

    def __init__(self, folder: str, dtype: np.dtype):
        """Opens the files that TokenStoreWriter wrote; the arguments are its own."""
        self._dtype = dtype
        self._handles = [
            os.open(os.path.join(folder, name), os.O_RDONLY) for name in _FILES
        ]

    def read(self, numbers: Sequence[int]) -> Documents:
        """Returns the documents with these numbers, in this order."""
        tokens, sentences, documents = self._handles
        packed, starts = [], []
        for number in numbers:
            first, last = pread(documents, np.int64, number, 2).tolist()
            offsets = pread(sentences, np.int64, first, last - first + 1)
            size = int(offsets[-1] - offsets[0])
            packed.append(pread(tokens, self._dtype, int(offsets[0]), size))
            starts.append(offsets)
        return join(numbers, packed, starts)

    def close(self) -> None:
        """Closes the files."""
        for handle in self._handles:
            os.close(handle)


def pread(handle: int, dtype: np.dtype, start: int, count: int) -> np.ndarray:
    """Items `start` to `start + count` of a file."""
    size = np.dtype(dtype).itemsize
    parts, place, missing = [], start * size, count * size
    while missing:  # one call gives at most 2 GB
        part = os.pread(handle, missing, place)
        if not part:
            raise OSError(f"the token store ends {missing} bytes too early")
        parts.append(part)
        place, missing = place + len(part), missing - len(part)
    return np.frombuffer(b"".join(parts), dtype)
