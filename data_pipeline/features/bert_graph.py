"""Texts to BERT's inputs inside a graph, laid out as features/bert.py does."""

from collections.abc import Mapping

import tensorflow as tf

from data_pipeline.features.tokens_graph import PairEncoder, once, padded
from tokenization_tf import InGraphTokenizer


class TextEncoder(PairEncoder):
    """Texts to `input_ids`, `input_mask` and `segment_ids`."""

    def __init__(
        self, vocab: Mapping[str, int], do_lower_case: bool, max_seq_length: int
    ):
        """Builds the tokenizer.

        Args:
          vocab: piece -> id, in the order of the ids.
          do_lower_case: as for FullTokenizer.
          max_seq_length: most pieces of an input, [CLS] and [SEP] included.
        """
        super().__init__(max_seq_length, num_special=(2, 3))
        self._tokenizer = InGraphTokenizer(list(vocab), do_lower_case)
        self._cls, self._sep = vocab["[CLS]"], vocab["[SEP]"]

    def _split(self, texts):
        return self._tokenizer(texts)

    def _lay_out(self, a, b, has_b):
        always = tf.ones_like(has_b)
        first = [once(self._cls, always), a, once(self._sep, always)]
        first = tf.concat(first, axis=1)
        second = tf.concat([b, once(self._sep, has_b)], axis=1)
        rows = tf.concat([first, second], axis=1)
        segments = tf.concat([tf.zeros_like(first), tf.ones_like(second)], axis=1)
        input_ids = padded(rows)
        mask = tf.sequence_mask(rows.row_lengths(), tf.shape(input_ids)[1], tf.int32)
        return {
            "input_ids": input_ids,
            "input_mask": mask,
            "segment_ids": padded(segments),
        }
