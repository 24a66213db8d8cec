"""Multi-head self-attention (Vaswani et al. 2017, section 3.2).

What it computes stands once: `split_heads`, `attend`, `merge_heads`. It is executed in
one of two ways, which agree to rounding: `PLAIN`, or `FUSED`, where what lies between
the products is compiled (see `fused`) and the gradient is written by hand.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

from errors import UserError
from modeling.layers import base, dense, dropout, fused, packing

# B batch, S positions (F as queries, T as keys), N heads, D head size, H = N * D;
# M rows of activations, see `packing`.


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
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Mixes the positions of each sequence.

        Args:
          x: float [M, H].
          bias: float32 [1 or B, 1, 1 or S, S], added to the scores.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          compute dtype [M, H].
        """
        mixed, offset = self._project(x)
        mixed = self_attention(
            rows.pad(mixed),  # [B*S, 3H]
            offset,
            bias,
            self.num_heads,
            self.dropout_rate,
            dropout_seed,
            self.site,
            how=FUSED if self.fused else PLAIN,
        )
        return rows.unpad(mixed)

    def probabilities(self, x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Returns what each position attends to, see `probabilities`; as of `call`."""
        return probabilities(*self._project(x), bias, self.num_heads)

    def _project(self, x):
        """Returns queries, keys and values [M, 3H], and their biases [3H]."""
        parts = (self.query, self.key, self.value)
        x = tf.cast(x, self.compute_dtype)
        offset = tf.concat([part.bias for part in parts], axis=0)
        return tf.matmul(x, self.matrix(*parts)), offset


def probabilities(
    mixed: tf.Tensor, offset: tf.Tensor, bias: tf.Tensor, heads: int
) -> tf.Tensor:
    """Computes the attention probabilities alone, to be looked at.

    Args:
      mixed: float [B*S, 3H], queries, keys and values without their biases.
      offset: float32 [3H], their biases.
      bias: float32 [1 or B, 1, 1 or S, S], added to the scores.
      heads: int, N.

    Returns:
      float32 [B, N, S, S]: of each query, the last axis adding up to 1.
    """
    mixed = tf.reshape(mixed, [-1, base.shape_list(bias)[-1], mixed.shape[-1]])
    query, key, _ = split_heads(mixed, offset, heads=heads)
    return _softmax(tf.matmul(query, key, transpose_b=True), bias)


def attentions(
    layers: Iterable[base.Layer], inputs: Sequence[tf.Tensor], bias: tf.Tensor
) -> tf.Tensor:
    """Computes the attention probabilities of a stack of layers.

    Args:
      layers: have `probabilities`, as SelfAttention.
      inputs: of each layer, float [B, S, H].
      bias: float32 [1 or B, 1, 1 or S, S], added to the scores.

    Returns:
      float32 [B, layers, N, S, S].
    """
    found = [
        layer.probabilities(tf.reshape(x, [-1, x.shape[-1]]), bias)
        for layer, x in zip(layers, inputs, strict=True)
    ]
    return tf.stack(found, axis=1)


def split_heads(mixed: tf.Tensor, offset: tf.Tensor, *, heads: int) -> list[tf.Tensor]:
    """Adds the biases and takes the heads apart.

    Args:
      mixed: float [B, S, 3H], queries, keys and values without their biases.
      offset: float32 [3H], their biases.
      heads: int, N.

    Returns:
      Q / sqrt(D), K and V, [B, N, S, D] each, as `mixed`.
    """
    batch, length, width = base.shape_list(mixed)
    size = width // (3 * heads)
    mixed += tf.cast(offset, mixed.dtype)
    mixed = tf.reshape(mixed, [batch, length, 3, heads, size])
    query, key, value = tf.unstack(tf.transpose(mixed, [2, 0, 3, 1, 4]))
    return [query * size**-0.5, key, value]


def _softmax(scores: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """softmax(scores + bias), in float32."""
    return tf.nn.softmax(tf.cast(scores, tf.float32) + bias)


@fused.cluster
def _split_heads(mixed, offset, *, heads):
    parts = split_heads(tf.cast(mixed, tf.float32), offset, heads=heads)
    return [fused.narrow(part, mixed.dtype) for part in parts]


@fused.cluster
def _add_bias(scores, bias):
    # float16's own softmax would sum in float16; bfloat16's sums in float32.
    dtype = tf.bfloat16 if scores.dtype == tf.bfloat16 else tf.float32
    return fused.narrow(tf.cast(scores, tf.float32) + bias, dtype)


def _fused_softmax(scores, bias):
    biased = _add_bias(scores, bias)
    biased = tf.ensure_shape(biased, [None] * 4)  # known to the graph's optimizer
    # oneDNN's softmax, unlike XLA's, has a fast exponential: 2.6 ms against 7.3.
    return tf.cast(tf.nn.softmax(biased), scores.dtype)


class Execution(NamedTuple):
    """How what lies between the products of attention is computed.

    Attributes:
      split_heads: as the function of that name.
      softmax: as `_softmax`, or as narrow as the scores.
      dropout: as dropout.dropout.
    """

    split_heads: Callable[..., list[tf.Tensor]]
    softmax: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    dropout: Callable[..., tf.Tensor]


PLAIN = Execution(split_heads, _softmax, dropout.dropout)
FUSED = Execution(_split_heads, _fused_softmax, fused.dropout_alone)


class Attended(NamedTuple):
    """What `attend` finds.

    Attributes:
      context: float [B, N, F, D], the values that each query gets.
      probs: float [B, N, F, T], the attention probabilities.
      dropped: as `context` [B, N, F, T], the probabilities after dropout.
    """

    context: tf.Tensor
    probs: tf.Tensor
    dropped: tf.Tensor


def attend(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    bias: tf.Tensor,
    rate: float = 0.0,
    seed: tf.Tensor | None = None,
    site: int = 0,
    *,
    how: Execution = PLAIN,
) -> Attended:
    """Dropout(softmax(Q K^T / sqrt(D) + bias)) V, of each head: equation 1.

    Args:
      query: float [B, N, F, D], Q / sqrt(D).
      key: float [B, N, T, D].
      value: float [B, N, T, D].
      bias: float32 [1 or B, 1, 1 or F, T], added to the scores.
      rate: float, of the dropout.
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.
      how: PLAIN or FUSED, which has no gradient of its own: see `self_attention`.
    """
    probs = how.softmax(tf.matmul(query, key, transpose_b=True), bias)
    dropped = tf.cast(how.dropout(probs, rate, seed, site), value.dtype)
    return Attended(tf.matmul(dropped, value), probs, dropped)


def merge_heads(context: tf.Tensor) -> tf.Tensor:
    """Puts what the heads found side by side: [B, N, F, D] -> [B*F, H]."""
    _, heads, _, size = context.shape
    return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, heads * size])


def self_attention(
    mixed: tf.Tensor,
    offset: tf.Tensor,
    bias: tf.Tensor,
    heads: int,
    rate: float,
    seed: tf.Tensor | None,
    site: int,
    *,
    how: Execution,
) -> tf.Tensor:
    """Attention of sequences over themselves, of all heads.

    Args:
      mixed: float [B*S, 3H], queries, keys and values without their biases.
      offset: float32 [3H], their biases.
      bias: float32 [1 or B, 1, 1 or S, S], added to the scores; a constant.
      heads: int, N.
      rate: float, of the dropout.
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.
      how: PLAIN or FUSED.

    Returns:
      [B*S, H] as `mixed`; softmax in float32.
    """
    length, width = base.shape_list(bias)[-1], mixed.shape[-1]

    def op(mixed, offset):
        mixed = tf.reshape(mixed, [-1, length, width])
        query, key, value = how.split_heads(mixed, offset, heads=heads)
        found = attend(query, key, value, bias, rate, seed, site, how=how)

        def gradient(dout):
            dmixed = _gradient(query, key, value, found, dout, rate, seed, site)
            return dmixed, fused.column_sum(dmixed)

        return merge_heads(found.context), gradient

    if how is FUSED:
        return tf.custom_gradient(op)(mixed, offset)
    return op(mixed, offset)[0]


def _gradient(query, key, value, found, dout, rate, seed, site):
    """Returns the gradient [B*S, 3H] of `mixed` from that of the result, [B*S, H]."""
    _, heads, length, size = base.shape_list(query)
    dcontext = tf.reshape(dout, [-1, length, heads, size])
    dcontext = tf.transpose(dcontext, [0, 2, 1, 3])
    dvalue = tf.matmul(found.dropped, dcontext, transpose_a=True)
    ddropped = tf.matmul(dcontext, value, transpose_b=True)
    seed, site, _ = fused.draw(rate, seed, site)
    dscores = _softmax_grad(
        found.probs, ddropped, found.context, dcontext, seed, site, rate=rate
    )
    dquery = tf.matmul(dscores, key) * size**-0.5
    dkey = tf.matmul(dscores, query, transpose_a=True)
    dmixed = tf.transpose(tf.stack([dquery, dkey, dvalue]), [1, 3, 0, 2, 4])
    return tf.reshape(dmixed, [-1, 3 * heads * size])


@fused.cluster
def _softmax_grad(probs, ddropped, context, dcontext, seed, site, *, rate):
    """The sum of probs * dprobs over the keys is context * dcontext over D: shorter."""
    dtype = probs.dtype
    probs, ddropped, context, dcontext = (
        tf.cast(x, tf.float32) for x in (probs, ddropped, context, dcontext)
    )
    dprobs = fused.drop(ddropped, rate, seed, site)
    dscores = probs * (dprobs - fused.row_sum(context * dcontext))
    return fused.narrow(dscores, dtype)
