"""GPT's causal, post-norm decoder, its variables named as OpenAI released them.

It computes with BERT's parts. What differs is where the released scopes end, that a
position sees no later one, and that keys and values can be kept while text grows.
"""

from collections.abc import Callable

import tensorflow as tf

from modeling.layers import attention, base, dense, dropout, packing, transformer

# B batch, T new positions, S all positions, N heads, D head size, E = N * D; M rows of
# activations, see `packing`.
# What a block keeps of the positions it has seen: keys and values, [B, N, S, D] each.
Cache = tuple[tf.Tensor, tf.Tensor]


class Linear(dense.Dense):
    """x w + b, with w [in, out] from a normal distribution that is not truncated."""

    def build(self, input_shape):
        """Makes `w` and `b`."""
        shape = self.kernel_shape(input_shape[-1])
        self.w = self.add_normal("w", shape, tf.random.stateless_normal)
        self.bias = self.add_constant("b", [self.units], 0.0)

    def kernel_shape(self, width: int) -> list[int]:
        """Returns the shape of `w` for inputs of that width."""
        return [width, self.units]

    @property
    def kernel(self) -> tf.Tensor:
        """`w` as a matrix [in, out]."""
        return tf.reshape(self.w, self.w.shape[-2:])


class Convolution(Linear):
    """A convolution of width 1, which is an affine map: w is [1, in, out]."""

    def kernel_shape(self, width: int) -> list[int]:
        """Returns the shape of `w` for inputs of that width."""
        return [1, width, self.units]


class Norm(dense.LayerNorm):
    """Layer normalization whose scale is named `g` and whose offset is named `b`."""

    def build(self, input_shape):
        """Makes `g` and `b`, both [width]."""
        self.gamma = self.add_constant("g", input_shape[-1:], 1.0)
        self.beta = self.add_constant("b", input_shape[-1:], 0.0)


class CausalAttention(base.Layer):
    """Self-attention before its output is projected: the released scope `attn`.

    Args:
      width: int, E.
      num_heads: int, N, a divisor of E.
      dropout_rate: float, on the attention probabilities.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, width: int, num_heads: int, dropout_rate: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.c_attn = Convolution(3 * width, **self.inherit("c_attn"))
        self.c_proj = Convolution(width, **self.inherit("c_proj"))

    def build(self, input_shape):
        """Makes the variables of `c_attn` and `c_proj`."""
        self.c_attn.build(input_shape)
        self.c_proj.build(input_shape)
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
          x: float [M, E].
          bias: float32 [1 or B, 1, S, S], added to the scores.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          compute dtype [M, E], for `c_proj`.
        """
        mixed = attention.self_attention(
            rows.pad(self.c_attn.project(x)),
            tf.convert_to_tensor(self.c_attn.bias),
            bias,
            self.num_heads,
            self.dropout_rate,
            dropout_seed,
            self.site,
            how=attention.FUSED if self.fused else attention.PLAIN,
        )
        return rows.unpad(mixed)

    def probabilities(self, x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Returns what each position attends to, see attention.probabilities."""
        offset = tf.convert_to_tensor(self.c_attn.bias)
        return attention.probabilities(
            self.c_attn.project(x), offset, bias, self.num_heads
        )

    def step(
        self, x: tf.Tensor, bias: tf.Tensor, cache: Cache, places: tf.Tensor
    ) -> tuple[tf.Tensor, Cache]:
        """Mixes new positions with those before them.

        Args:
          x: float [B*T, E].
          bias: float32 [B, 1, T, S], added to the scores.
          cache: of the positions before.
          places: int [B, N, T, 3], where the new positions go in the cache.

        Returns:
          compute dtype [B*T, E], for `c_proj`; and the cache with the new positions.
        """
        length = base.shape_list(bias)[2]
        mixed = tf.reshape(self.c_attn.project(x), [-1, length, self.c_attn.units])
        query, *new = attention.split_heads(
            mixed, self.c_attn.bias, heads=self.num_heads
        )
        key, value = (
            tf.tensor_scatter_nd_update(old, places, part)
            for old, part in zip(cache, new, strict=True)
        )
        found = attention.attend(query, key, value, bias)
        return attention.merge_heads(found.context), (key, value)


class FeedForward(base.Layer):
    """The wide layer before its output is projected: the released scope `mlp`.

    Args:
      width: int, E; the layer is 4 E wide.
      activation: str, see `activations.get_activation`.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, width: int, activation: str, **kwargs):
        super().__init__(**kwargs)
        self.activation = activation
        self.c_fc = Convolution(4 * width, **self.inherit("c_fc"))
        self.c_proj = Convolution(width, **self.inherit("c_proj"))

    def build(self, input_shape):
        """Makes the variables of `c_fc` and `c_proj`."""
        self.c_fc.build(input_shape)
        self.c_proj.build([*input_shape[:-1], self.c_fc.units])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Widens.

        Args:
          x: float [M, E].

        Returns:
          compute dtype [M, 4E], for `c_proj`.
        """
        return transformer.project_and_activate(x, self.c_fc, self.activation)


class DecoderBlock(base.Layer):
    """One block: h = norm(n + mlp(n)) with n = norm(x + attn(x)).

    Args:
      width: int, E.
      num_heads: int.
      activation: str, see `activations.get_activation`.
      dropout_rate: float, on the outputs of the two sublayers.
      attention_dropout_rate: float, on the attention probabilities.
      epsilon: float, of the layer normalizations.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        activation: str,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dropout_rate = dropout_rate
        self.attn = CausalAttention(
            width, num_heads, attention_dropout_rate, **self.inherit("attn")
        )
        self.ln_1 = Norm(epsilon, **self.inherit("ln_1"))
        self.mlp = FeedForward(width, activation, **self.inherit("mlp"))
        self.ln_2 = Norm(epsilon, **self.inherit("ln_2"))

    def build(self, input_shape):
        """Makes the variables of `attn`, `ln_1`, `mlp` and `ln_2`."""
        for part in (self.attn, self.ln_1, self.mlp, self.ln_2):
            part.build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Transforms.

        Args:
          x: float [M, E].
          bias: float32 [1 or B, 1, S, S], added to the attention scores.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          compute dtype [M, E].
        """
        mixed = self.attn(x, bias, dropout_seed=dropout_seed, rows=rows)
        return self._finish(x, mixed, dropout_seed, rows.places)

    def step(
        self, x: tf.Tensor, bias: tf.Tensor, cache: Cache, places: tf.Tensor
    ) -> tuple[tf.Tensor, Cache]:
        """Transforms new positions; see `CausalAttention.step`."""
        mixed, cache = self.attn.step(x, bias, cache, places)
        return self._finish(x, mixed), cache

    def _finish(self, x, mixed, *draw):
        """All that follows the attention and looks at one position at a time."""
        n = self._add_and_norm(mixed, x, self.attn.c_proj, self.ln_1, *draw)
        return self._add_and_norm(self.mlp(n), n, self.mlp.c_proj, self.ln_2, *draw)

    def _add_and_norm(self, x, residual, projection, norm, seed=None, places=None):
        site = dropout.site_id(base.released_name(projection.path))
        return transformer.add_and_norm(
            x, residual, projection, norm, self.dropout_rate, seed, site, places
        )


def cache_places(positions: tf.Tensor, num_heads: int) -> tf.Tensor:
    """Says where the keys and values of positions lie in a block's cache.

    Args:
      positions: int32 [B, T].
      num_heads: int, N.

    Returns:
      int32 [B, N, T, 3]: row, head, position.
    """
    batch, new = base.shape_list(positions)
    places = (
        tf.range(batch)[:, None, None],
        tf.range(num_heads)[:, None],
        positions[:, None],
    )
    shape = [batch, num_heads, new]
    return tf.stack([tf.broadcast_to(x, shape) for x in places], axis=-1)


def embed(table: tf.Tensor, input_ids: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Adds a token's row and its position's row of one table.

    The table's gradient is one dense sum: its other use, the softmax, has a dense one.

    Args:
      table: float32 [rows, E].
      input_ids: int, any shape, rows of the tokens.
      positions: int, of the same shape, rows of the positions.

    Returns:
      float32 [..., E].
    """
    rows, width = base.shape_list(table)

    @tf.custom_gradient
    def op(table):
        def gradient(dy):
            dy = tf.reshape(dy, [-1, width])
            ids = tf.reshape(tf.stack([input_ids, positions]), [-1])
            return tf.math.unsorted_segment_sum(tf.concat([dy, dy], 0), ids, rows)

        return tf.gather(table, input_ids) + tf.gather(table, positions), gradient

    return op(table)


def next_token_losses(
    hidden: tf.Tensor,
    input_ids: tf.Tensor,
    input_mask: tf.Tensor,
    score: Callable[[tf.Tensor], tf.Tensor],
    gather: bool,
) -> tf.Tensor:
    """Cross entropy of each token given those before it.

    Args:
      hidden: float [B, S, E].
      input_ids: int [B, S].
      input_mask: int [B, S], 1 = real, 0 = padding.
      score: [M, E] -> float32 [M, V], logits of the next token.
      gather: whether only real positions are scored, in shapes that are known when
        running: a row of logits is long. False computes padding's too.

    Returns:
      float32 [B, S - 1], of the second to the last token; 0 where that is padding.
    """
    hidden, labels, real = hidden[:, :-1], input_ids[:, 1:], input_mask[:, 1:] > 0
    if gather:
        places = tf.where(real)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.gather_nd(labels, places), score(tf.gather_nd(hidden, places))
        )
        return tf.scatter_nd(places, losses, tf.shape(labels, tf.int64))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.reshape(labels, [-1]), score(tf.reshape(hidden, [-1, hidden.shape[-1]]))
    )
    return tf.where(real, tf.reshape(losses, tf.shape(labels)), 0.0)
