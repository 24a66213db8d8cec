"""Word vectors as text: word2vec's, GloVe's, and SENNA's once they are in one file."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from checkpoints.mapping import CheckpointError


class WordVectors(NamedTuple):
    """The words of a file, and their vectors, float32 [N, D]."""

    words: list[str]
    vectors: np.ndarray


def read(path: str) -> WordVectors:
    """Reads a word and its vector a line, separated by spaces.

    word2vec puts the number of words and the width on a line before them; GloVe does
    not. A word may have spaces in it (some of GloVe's do), and is taken as it is.

    Args:
      path: UTF-8 text; of a word that is there twice, the first is kept.

    Raises:
      CheckpointError: not UTF-8, no vector, a line without the width of the first one,
        what is no finite number, or a header that says otherwise; names file and line.
    """
    found, width, header = {}, None, None
    with tf.io.gfile.GFile(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8").rstrip("\r\n ")
            except UnicodeDecodeError as error:
                raise CheckpointError(f"{path}, line {number}: {error}") from None
            fields = text.split(" ")
            if number == 1 and len(fields) == 2:  # nobody's vectors have one number
                header = _header(fields, path)
                continue
            width = width or len(fields) - 1
            if header and number == 2 and header[1] != width:
                raise CheckpointError(
                    f"{path}, line 1 says that vectors have {header[1]} numbers, but "
                    f"that of line 2 has {width}"
                )
            word, vector = _split(fields, width, f"{path}, line {number}")
            found.setdefault(word, vector)
    if not found:
        raise CheckpointError(f"{path}: no word vectors in it")
    if header and header[0] != number - 1:
        raise CheckpointError(
            f"{path}, line 1 says that there are {header[0]} vectors, but {number - 1} "
            "follow: is the file cut short?"
        )
    return WordVectors(list(found), np.stack(list(found.values())))


def _header(fields, path):
    """Returns word2vec's number of words and their width, on its first line."""
    if not all(field.isdecimal() for field in fields):
        raise CheckpointError(
            f"{path}, line 1: got {' '.join(fields)[:40]!r}, wanted a word and its "
            "vector, or the number of words and the width"
        )
    return tuple(map(int, fields))


def _split(fields, width, where):
    """Returns a line's word, and its vector."""
    word = " ".join(fields[:-width]) if width else ""
    try:
        vector = np.array(fields[len(fields) - width :], np.float32)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}; wanted {width} numbers") from None
    if not word or not np.isfinite(vector).all():
        raise CheckpointError(
            f"{where}: wanted a word and {width} finite numbers, as on the first line"
        )
    return word, vector
