"""Word vectors in binary: word2vec's, and all parameters of GloVe's `-binary 1`."""

import codecs
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from checkpoints import decimals
from checkpoints.mapping import CheckpointError
from checkpoints.word_vector_streams import Block, ByteReader
from checkpoints.word_vector_text import header

VOCAB, PARAMETERS = "vocab.txt", "vectors.bin"
_BLOCK = 1 << 20  # bytes that are read at once
# Control characters but for tabs, line's ends and the like.
_NOT_TEXT = bytes({*range(32)} - {*b"\t\n\v\f\r\x1c\x1d\x1e\x1f"})
_LONGEST = 1 << 16  # bytes of a word


def is_word2vec(head: bytes) -> bool:
    """Tells by its first bytes a file whose header has binary numbers behind it."""
    _, width = header(head)
    return is_binary(head.partition(b"\n")[2], width)


def is_binary(head: bytes, width: int = 2) -> bool:
    """Tells by first bytes what is no text.

    Args:
      head: the first bytes.
      width: how many numbers its first line ends with, at least, if it is text.
    """
    numbers = head.partition(b"\n")[0].rstrip(b"\r ").split(b" ")[-width:]
    if len(numbers) == width and all(map(decimals.is_number, numbers)):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return len(head.translate(None, _NOT_TEXT)) < len(head)


def read_word2vec(reader: ByteReader) -> Iterator[Block]:
    """Reads number of words and width on a line, then words and their vectors.

    A space ends a word, float32s follow it at once. word2vec.c puts a line's end behind
    them, others do not.

    Raises:
      CheckpointError: the file is cut, or goes on behind the last word.
    """
    count, width = header(reader.peek(64))
    reader.read(reader.peek(64).index(b"\n") + 1)
    size, number, data = 4 * width, 1, b""
    while number <= count:
        more = reader.read(_BLOCK + size)
        data += more
        words, values, place = [], [], 0
        while number + len(words) <= count:
            space = data.find(b" ", place, place + _LONGEST)
            if space < 0 or space + 1 + size > len(data):
                break
            words.append(data[place:space].lstrip(b"\n"))
            place = space + 1 + size
            values.append(data[space + 1 : place])
        if words:
            vectors = np.frombuffer(b"".join(values), "<f4").reshape(-1, width)
            yield Block(words, vectors, "word", number)
            number += len(words)
        elif not more or len(data) > _LONGEST + size:
            raise CheckpointError(
                f"{reader.path}: ends, or is damaged, at word {number}: line 1 says "
                f"that there are {count}, with {width} numbers each"
            )
        data = data[place:]
    if (data + reader.read(2)).strip(b"\r\n"):
        raise CheckpointError(
            f"{reader.path}: goes on behind the {count} vectors of {width} numbers "
            "that line 1 says"
        )


def write_word2vec(file: BinaryIO, words: Sequence[bytes], vectors: np.ndarray) -> None:
    """Writes what `read_word2vec` reads, as word2vec.c does.

    Args:
      file: to write to.
      words: V words without spaces.
      vectors: float32 [V, D].
    """
    file.write(b"%d %d\n" % vectors.shape)
    for start in range(0, len(words), 1000):
        rows = np.ascontiguousarray(vectors[start : start + 1000], "<f4")
        some = zip(words[start : start + 1000], rows, strict=True)
        file.write(b"".join(word + b" " + row.tobytes() + b"\n" for word, row in some))


def read_glove(path: str, words: Sequence[bytes]) -> Iterator[Block]:
    """Reads GloVe's parameters: a word's vector is the sum of its two, as in its text.

    The file has neither names nor sizes: float64 [2, V, D + 1], words' vectors before
    contexts', a bias at the end of each.

    Args:
      path: the file.
      words: its V words, from vocab.txt.

    Raises:
      CheckpointError: the file's size is not that of so many words.
    """
    size, count = tf.io.gfile.stat(path).length, len(words)
    width, rest = divmod(size, 16 * count) if count else (0, 0)
    if rest or width < 2:
        raise CheckpointError(
            f"{path}: {size} bytes are not two vectors and biases of 8-byte numbers "
            f"for each of {count} words: is the vocabulary another file's, or is the "
            "file cut short?"
        )
    rows = max(1, _BLOCK // (8 * width))
    with tf.io.gfile.GFile(path, "rb") as own, tf.io.gfile.GFile(path, "rb") as other:
        other.seek(size // 2)
        for start in range(0, count, rows):
            some = words[start : start + rows]
            data = (file.read(8 * width * len(some)) for file in (own, other))
            tables = [np.frombuffer(d, "<f8").reshape(-1, width) for d in data]
            with np.errstate(over="ignore"):
                found = sum(tables)[:, :-1].astype(np.float32)
            yield Block(some, found, "word", start + 1)


def write_glove(prefix: str, words: Sequence[bytes], vectors: np.ndarray) -> None:
    """Writes vectors.bin and vocab.txt; see `read_glove`.

    `prefix` stands before both names.

    Contexts and biases, of which vectors alone say nothing, are 0, and so are counts.
    """
    count, width = vectors.shape
    with tf.io.gfile.GFile(prefix + VOCAB, "wb") as file:
        file.write(b"".join(word + b" 0\n" for word in words))
    with tf.io.gfile.GFile(prefix + PARAMETERS, "wb") as file:
        for start in range(0, count, 1000):
            rows = vectors[start : start + 1000].astype("<f8")
            file.write(np.pad(rows, [(0, 0), (0, 1)]).tobytes())
        for _ in range(count):
            file.write(bytes(8 * (width + 1)))
