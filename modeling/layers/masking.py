"""Additive attention biases; nothing else in the project makes one."""

import tensorflow as tf

# The parent's number: large enough to silence a key, finite in bfloat16 and float16.
_MASKED = -10000.0


def padding_bias(input_mask: tf.Tensor) -> tf.Tensor:
    """Turns a mask into what attention adds to its scores: 0 or -10000.

    Args:
      input_mask: int [B, S], 1 = real, 0 = padding.

    Returns:
      float32 [B, 1, 1, S], for scores [B, heads, queries, S].
    """
    return (1.0 - tf.cast(input_mask[:, None, None, :], tf.float32)) * _MASKED
