"""Rows of tokens inside a graph, whatever the tokens are."""

import tensorflow as tf


def kept_lengths(
    tokens_a: tf.Tensor,
    tokens_b: tf.Tensor,
    max_seq_length: int,
    num_special: tuple[int, int] = (2, 3),
) -> tuple[tf.Tensor, tf.Tensor]:
    """`data_pipeline.features.tokens.truncated_lengths` in a graph.

    Args:
      tokens_a: int64 [B], tokens of the first texts.
      tokens_b: int64 [B], tokens of the second texts, 0 where there is none.
      max_seq_length: most tokens of an input.
      num_special: special tokens beside a text, and beside two.

    Returns:
      (kept_a, kept_b): int64 [B] each.
    """
    alone = tf.minimum(tokens_a, max_seq_length - num_special[0])
    room = max_seq_length - num_special[1]
    half = tf.constant((room + 1) // 2, tf.int64)  # the first keeps the odd token
    shared_a = tf.minimum(tokens_a, tf.maximum(room - tokens_b, half))
    fits = tokens_a + tokens_b <= room
    kept_a = tf.where(tokens_b == 0, alone, tf.where(fits, tokens_a, shared_a))
    kept_b = tf.where((tokens_b == 0) | fits, tokens_b, room - shared_a)
    return kept_a, kept_b


def head(rows: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Returns the first `lengths` [B] items of each row."""
    position = tf.ragged.range(rows.row_lengths())
    return tf.ragged.boolean_mask(rows, position < lengths[:, None])
