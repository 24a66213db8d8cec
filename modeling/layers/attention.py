"""Multi-head self-attention (Vaswani et al. 2017, section 3.2)."""

import tensorflow as tf

from errors import UserError
from modeling.layers import base, dense, dropout, fused

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
      UserError: the heads do not divide the width.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, dropout_rate: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        if hidden_size % num_heads:
            raise UserError(
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
        parts = (self.query, self.key, self.value)
        x = tf.cast(x, self.compute_dtype)
        kernel = tf.concat([tf.cast(part.kernel, x.dtype) for part in parts], axis=1)
        offset = tf.concat([part.bias for part in parts], axis=0)
        mixed = tf.matmul(x, kernel)  # [B*S, 3H]
        attend = fused.self_attention if self.fused else self_attention
        return attend(
            mixed,
            offset,
            bias,
            self.num_heads,
            self.dropout_rate,
            dropout_seed,
            self.site,
        )


def self_attention(
    mixed: tf.Tensor,
    offset: tf.Tensor,
    bias: tf.Tensor,
    heads: int,
    rate: float,
    seed: tf.Tensor | None,
    site: int,
) -> tf.Tensor:
    """Dropout(softmax(Q K^T / sqrt(D) + bias)) V, of all heads: equation 1.

    Args:
      mixed: float [B*S, 3H], queries, keys and values without their biases.
      offset: float32 [3H], their biases.
      bias: float32 [1 or B, 1, 1 or S, S], added to the scores; a constant.
      heads: int, N.
      rate: float, of the dropout.
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.

    Returns:
      [B*S, H] as `mixed`; softmax in float32.
    """
    length = base.shape_list(bias)[-1]
    query, key, value = split_heads(mixed, offset, length, heads)
    return attend(query, key, value, bias, rate, seed, site)


def split_heads(
    mixed: tf.Tensor, offset: tf.Tensor, length: int | tf.Tensor, heads: int
) -> list[tf.Tensor]:
    """Adds the biases and takes the heads apart.

    Args:
      mixed: float [B*S, 3H], queries, keys and values without their biases.
      offset: float32 [3H], their biases.
      length: S.
      heads: int, N.

    Returns:
      Query, key and value, [B, N, S, D] each, as `mixed`.
    """
    size = mixed.shape[-1] // (3 * heads)
    mixed += tf.cast(offset, mixed.dtype)
    mixed = tf.reshape(mixed, [-1, length, 3, heads, size])
    return tf.unstack(tf.transpose(mixed, [2, 0, 3, 1, 4]))


def attend(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    bias: tf.Tensor,
    rate: float = 0.0,
    seed: tf.Tensor | None = None,
    site: int = 0,
) -> tf.Tensor:
    """Dropout(softmax(Q K^T / sqrt(D) + bias)) V, of heads that are taken apart.

    Args:
      query: float [B, N, F, D].
      key: float [B, N, T, D].
      value: float [B, N, T, D].
      bias: float32 [1 or B, 1, 1 or F, T], added to the scores.
      rate: float, of the dropout.
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.

    Returns:
      [B*F, H] as `query`; softmax in float32.
    """
    heads, size = query.shape[1], query.shape[3]
    scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
    probs = tf.nn.softmax(scores * size**-0.5 + bias)  # [B, N, F, T]
    probs = dropout.dropout(probs, rate, seed, site)
    context = tf.matmul(tf.cast(probs, value.dtype), value)  # [B, N, F, D]
    return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, heads * size])
