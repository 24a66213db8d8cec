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
        or what is no finite number; names file and line.
    """
    found, width = {}, None
    with tf.io.gfile.GFile(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8").rstrip("\r\n ")
            except UnicodeDecodeError as error:
                raise CheckpointError(f"{path}, line {number}: {error}") from None
            fields = text.split(" ")
            if number == 1 and len(fields) == 2:
                continue  # word2vec's header; nobody's vectors have one number
            width = width or len(fields) - 1
            word, vector = _split(fields, width, f"{path}, line {number}")
            found.setdefault(word, vector)
    if not found:
        raise CheckpointError(f"{path}: no word vectors in it")
    return WordVectors(list(found), np.stack(list(found.values())))


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
