"""Texts to BERT's inputs inside a graph, laid out as features/bert.py does."""

from collections.abc import Mapping

import tensorflow as tf

from data_pipeline.features.tokens_graph import head, kept_lengths
from tokenization_tf import InGraphTokenizer


class TextEncoder(tf.Module):
    """Texts to a batch of token ids, laid out as features/bert.py does."""

    def __init__(
        self, vocab: Mapping[str, int], do_lower_case: bool, max_seq_length: int
    ):
        """Builds the tokenizer.

        Args:
          vocab: piece -> id, in the order of the ids.
          do_lower_case: as for FullTokenizer.
          max_seq_length: most pieces of an input, [CLS] and [SEP] included.
        """
        super().__init__()
        self._tokenizer = InGraphTokenizer(list(vocab), do_lower_case)
        self._cls, self._sep = vocab["[CLS]"], vocab["[SEP]"]
        self._max_seq_length = max_seq_length

    def __call__(
        self, text_a: tf.Tensor, text_b: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Tokenizes, truncates, lays out, and pads to the longest of the batch.

        Args:
          text_a: string [B], UTF-8.
          text_b: string [B]; None, or "" in one row, where there is no second text.

        Returns:
          `input_ids`, `input_mask` and `segment_ids`, int32 [B, S].
        """
        if text_b is None:
            text_b = tf.zeros_like(text_a)
        check = tf.debugging.assert_equal(
            tf.size(text_a), tf.size(text_b), "text_a and text_b differ in number"
        )
        # In eager mode the assertion has run and is None.
        with tf.control_dependencies([check] if check is not None else []):
            a, b = self._tokenizer(text_a), self._tokenizer(text_b)
        kept_a, kept_b = kept_lengths(
            a.row_lengths(), b.row_lengths(), self._max_seq_length
        )
        has_b = tf.cast(kept_b > 0, tf.int64)
        first = [self._once(self._cls, tf.ones_like(has_b)), head(a, kept_a)]
        first = tf.concat([*first, self._once(self._sep, tf.ones_like(has_b))], axis=1)
        second = tf.concat([head(b, kept_b), self._once(self._sep, has_b)], axis=1)
        input_ids = tf.concat([first, second], axis=1)
        segment_ids = tf.concat([tf.zeros_like(first), tf.ones_like(second)], axis=1)
        lengths = input_ids.row_lengths()
        # An empty batch has no longest row, but the model reads the first position.
        longest = tf.maximum(tf.reduce_max(lengths), 2)
        shape = tf.stack([input_ids.nrows(), longest])
        return {
            "input_ids": input_ids.to_tensor(shape=shape),
            "input_mask": tf.sequence_mask(lengths, longest, tf.int32),
            "segment_ids": segment_ids.to_tensor(shape=shape),
        }

    @staticmethod
    def _once(token: int, times: tf.Tensor) -> tf.RaggedTensor:
        """Returns `token`, 0 or 1 `times` [B], in each row."""
        tokens = tf.fill([tf.reduce_sum(times)], token)
        return tf.RaggedTensor.from_row_lengths(tokens, times, validate=False)
