"""Texts to numbers of words inside a graph, laid out as features/elmo.py does."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline.features.elmo import NUM_MARKS
from data_pipeline.features.tokens_graph import head, kept_lengths

# What str.split takes for white space, of which tf.strings.split knows ASCII's.
_SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())


class WordEncoder(tf.Module):
    """Texts to a batch of numbers of words, split where white space is."""

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
        super().__init__()
        self._numbers, self._marks = numbers, marks
        self._max_seq_length = max_seq_length

    def __call__(
        self, text_a: tf.Tensor, text_b: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Splits, truncates, lays out, and pads to the longest of the batch.

        Args:
          text_a: string [B], UTF-8.
          text_b: string [B]; None, or "" in one row, where there is no second text.

        Returns:
          `input_ids`, int32 [B, S].
        """
        if text_b is None:
            text_b = tf.zeros_like(text_a)
        a, b = self._split(text_a), self._split(text_b)
        kept_a, kept_b = kept_lengths(
            a.row_lengths(), b.row_lengths(), self._max_seq_length, NUM_MARKS
        )
        has_b = tf.cast(kept_b > 0, tf.int64)
        rows = tf.concat(
            [
                *self._between_marks(head(a, kept_a), tf.ones_like(has_b)),
                *self._between_marks(head(b, kept_b), has_b),
            ],
            axis=1,
        )
        # An empty batch has no longest row, but the model leaves out two marks.
        longest = tf.maximum(tf.reduce_max(rows.row_lengths()), 2)
        return {"input_ids": rows.to_tensor(shape=tf.stack([rows.nrows(), longest]))}

    def _split(self, texts):
        texts = tf.strings.regex_replace(texts, f"[{re.escape(_SPACES)}]", " ")
        words = tf.strings.split(texts)
        return words.with_values(self._numbers(words.values))

    def _between_marks(self, rows, times):
        """Puts a mark before and after each row that has any, 0 or 1 `times` [B]."""
        before, after = (
            tf.RaggedTensor.from_row_lengths(
                tf.fill([tf.reduce_sum(times)], np.int32(mark)), times, validate=False
            )
            for mark in self._marks
        )
        return before, rows, after
