"""Additive attention biases, which nothing else in the project makes, and a softmax."""

import tensorflow as tf

# The parent's number: large enough to silence a key, finite in bfloat16 and float16.
_MASKED = -10000.0
# GPT's train.py: so far down that no score in float32 changes it.
_FUTURE = -1e9


def padding_bias(input_mask: tf.Tensor) -> tf.Tensor:
    """Turns a mask into what attention adds to its scores: 0 or -10000.

    Args:
      input_mask: int [B, S], 1 = real, 0 = padding.

    Returns:
      float32 [B, 1, 1, S], for scores [B, heads, queries, S].
    """
    return (1.0 - tf.cast(input_mask[:, None, None, :], tf.float32)) * _MASKED


def causal_bias(positions: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
    """Hides from every query the keys after it: 0 or -1e9, added to its scores.

    Args:
      positions: int [1 or B, T], the position of each query among the keys.
      length: S, the number of keys.

    Returns:
      float32 [1 or B, 1, T, S], for scores [B, heads, T, S].
    """
    seen = tf.range(length) <= positions[:, None, :, None]
    return tf.where(seen, 0.0, _FUTURE)


def masked_softmax(scores: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over what is real: exactly 0 elsewhere, and everywhere if nothing is.

    Args:
      scores: float32 [..., S].
      mask: bool [..., S], True = real.

    Returns:
      float32 [..., S].
    """
    weights = tf.nn.softmax(tf.where(mask, scores, tf.float32.min))
    return tf.where(mask, weights, 0.0)
