"""Multi-head self-attention (Vaswani et al. 2017, section 3.2)."""

import tensorflow as tf

from modeling.layers import base, dense, dropout

# B batch, S positions (F as queries, T as keys), N heads, D head size, H = N * D.


class SelfAttention(base.Layer):
    """Attention of a sequence over itself: the released scope `attention/self`.

    Query, key and value are three variables, as released, and one matrix product.

    Args:
      hidden_size: int, H.
      num_heads: int, N, a divisor of H.
      dropout_rate: float, on the attention probabilities.
      **kwargs: see `base.Layer`.

    Raises:
      ValueError: the heads do not divide the width.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout_rate: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        if hidden_size % num_heads:
            raise ValueError(
                f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}"
            )
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.query = dense.Dense(hidden_size, **self.inherit("query"))
        self.key = dense.Dense(hidden_size, **self.inherit("key"))
        self.value = dense.Dense(hidden_size, **self.inherit("value"))

    def build(self, input_shape):
        """Makes the variables of `query`, `key` and `value`."""
        for part in (self.query, self.key, self.value):
            part.build(input_shape)
        self.site = dropout.site_id(base.released_name(self.path))

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Mixes the positions of each sequence.

        Args:
          x: float [B*S, H].
          bias: float32 [B, 1, 1, S], added to the scores.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          compute dtype [B*S, H].
        """
        batch, _, _, length = base.shape_list(bias)
        heads, size = self.num_heads, x.shape[-1] // self.num_heads
        parts = (self.query, self.key, self.value)
        kernel = tf.concat([part.kernel for part in parts], axis=1)
        offset = tf.concat([part.bias for part in parts], axis=0)
        x = tf.cast(x, self.compute_dtype)
        mixed = tf.matmul(x, tf.cast(kernel, x.dtype)) + tf.cast(offset, x.dtype)
        mixed = tf.reshape(mixed, [batch, length, 3, heads, size])
        query, key, value = tf.unstack(tf.transpose(mixed, [2, 0, 3, 1, 4]))

        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        probs = tf.nn.softmax(scores * size**-0.5 + bias)  # eq. 1; [B, N, F, T]
        probs = dropout.dropout(probs, self.dropout_rate, dropout_seed, self.site)
        context = tf.matmul(tf.cast(probs, x.dtype), value)  # [B, N, F, D]
        return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, heads * size])
