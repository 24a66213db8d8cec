"""Texts to numbers of words inside a graph, laid out as features/elmo.py does."""

import re
from collections.abc import Callable, Sequence

import tensorflow as tf

from data_pipeline.features.elmo import NUM_MARKS
from data_pipeline.features.tokens_graph import PairEncoder, once, padded

# What str.split takes for white space, of which tf.strings.split knows ASCII's.
_SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())


def split(texts: tf.Tensor) -> tf.RaggedTensor:
    """Splits texts, string [B], where white space is: string [B, (words)]."""
    texts = tf.strings.regex_replace(texts, f"[{re.escape(_SPACES)}]", " ")
    return tf.strings.split(texts)


class WordEncoder(PairEncoder):
    """Texts to `input_ids`, numbers of words, split where white space is."""

    def __init__(
        self,
        numbers: Callable[[tf.Tensor], tf.Tensor],
        marks: Sequence[int],
        max_seq_length: int,
    ):
        """Keeps how.

        Args:
          numbers: what numbers words from 1 on, string [M] -> int32 [M].
          marks: the numbers of what stands before a text, and after it.
          max_seq_length: most words of an input, marks included.
        """
        super().__init__(max_seq_length, NUM_MARKS)
        self._numbers, self._marks = numbers, marks

    def _split(self, texts):
        words = split(texts)
        return words.with_values(self._numbers(words.values))

    def _lay_out(self, a, b, has_b):
        rows = self._between_marks(a, tf.ones_like(has_b))
        rows += self._between_marks(b, has_b)
        return {"input_ids": padded(tf.concat(rows, axis=1))}

    def _between_marks(self, rows, times):
        """Puts a mark before and after each row that has any, 0 or 1 `times` [B]."""
        before, after = (once(mark, times) for mark in self._marks)
        return [before, rows, after]
