"""The post-norm Transformer encoder (Vaswani et al. 2017, section 3.1), as BERT's.

Activations are two-dimensional, [M, H], from the first block to the last: one row for
each of the B*S positions, or for those that are no padding (see `packing`).
"""

from collections.abc import Sequence
from typing import ClassVar

import tensorflow as tf

from modeling.layers import (
    activations,
    attention,
    base,
    dense,
    dropout,
    fused,
    packing,
)


class ResidualOutput(base.Layer):
    """LayerNorm(residual + Dropout(Dense(x))): the released scopes named `output`.

    Args:
      units: int, the width of the residual.
      dropout_rate: float.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self, units: int, dropout_rate: float = 0.0, epsilon: float = 1e-12, **kwargs
    ):
        super().__init__(**kwargs)
        self.units = units
        self.dropout_rate = dropout_rate
        self.dense = dense.Dense(units, **self.inherit("dense"))
        self.norm = dense.LayerNorm(epsilon, **self.inherit("LayerNorm"))

    def build(self, input_shape):
        """Makes the variables of `dense` and `LayerNorm`."""
        self.dense.build(input_shape)
        self.norm.build([*input_shape[:-1], self.units])
        self.site = dropout.site_id(base.released_name(self.path))

    def call(
        self,
        x: tf.Tensor,
        residual: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Projects, drops, adds, normalizes.

        Args:
          x: float [M, in].
          residual: float [M, units].
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          compute dtype [M, units].
        """
        return add_and_norm(
            x,
            residual,
            self.dense,
            self.norm,
            self.dropout_rate,
            dropout_seed,
            self.site,
            rows.places,
        )


def add_and_norm(
    x: tf.Tensor,
    residual: tf.Tensor,
    projection: dense.Dense,
    norm: dense.LayerNorm,
    rate: float,
    seed: tf.Tensor | None,
    site: int,
    places: tf.Tensor | None = None,
) -> tf.Tensor:
    """norm(residual + Dropout(projection(x))): how a post-norm sublayer ends.

    Args:
      x: float [M, in].
      residual: float [M, units].
      projection: of `x`; its `fused` says how all of this is computed.
      norm: of the sum.
      rate: float, of the dropout.
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.
      places: int32 [M], see `dropout.random_bits`.

    Returns:
      compute dtype [M, units].
    """
    if projection.fused:
        x = projection.project(x)
        return fused.bias_dropout_residual_norm(
            x,
            projection.bias,
            tf.cast(residual, x.dtype),
            norm.gamma,
            norm.beta,
            norm.epsilon,
            rate,
            fused.draw(rate, seed, site, places),
        )
    y = dropout.dropout(projection(x), rate, seed, site, places)
    return norm(y + tf.cast(residual, y.dtype))


def project_and_activate(
    x: tf.Tensor, projection: dense.Dense, activation: str
) -> tf.Tensor:
    """activation(projection(x)).

    Args:
      x: float [M, in].
      projection: of `x`; its `fused` says how all of this is computed.
      activation: str, see `activations.get_activation`.

    Returns:
      compute dtype [M, units].
    """
    if projection.fused:
        return fused.bias_activation(projection.project(x), projection.bias, activation)
    return activations.get_activation(activation)(projection(x))


class Attention(base.Layer):
    """Self-attention and its output: the released scope `attention`.

    Args:
      hidden_size: int, H.
      num_heads: int.
      dropout_rate: float, on the output.
      attention_dropout_rate: float, on the attention probabilities.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.self_attention = attention.SelfAttention(
            hidden_size, num_heads, attention_dropout_rate, **self.inherit("self")
        )
        self.output_block = ResidualOutput(
            hidden_size, dropout_rate, epsilon, **self.inherit("output")
        )

    def build(self, input_shape):
        """Makes the variables of `self` and `output`."""
        self.self_attention.build(input_shape)
        self.output_block.build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Adds what each position sees of the others.

        Args:
          x: float [M, H].
          bias: float32 [1 or B, 1, 1 or S, S], added to the scores.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          compute dtype [M, H].
        """
        shared = {"dropout_seed": dropout_seed, "rows": rows}
        context = self.self_attention(x, bias, **shared)
        return self.output_block(context, x, **shared)


class Intermediate(base.Layer):
    """activation(Dense(x)): the released scope `intermediate`.

    Args:
      units: int, I.
      activation: str, see `activations.get_activation`.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, units: int, activation: str, **kwargs):
        super().__init__(**kwargs)
        self.activation = activation
        self.dense = dense.Dense(units, **self.inherit("dense"))

    def build(self, input_shape):
        """Makes the variables of `dense`."""
        self.dense.build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Widens.

        Args:
          x: float [M, H].

        Returns:
          compute dtype [M, I].
        """
        return project_and_activate(x, self.dense, self.activation)


class TransformerBlock(base.Layer):
    """One block: attention, then the feed-forward network (section 3.3).

    Args:
      hidden_size: int, H.
      num_heads: int.
      intermediate_size: int, I.
      activation: str, see `activations.get_activation`.
      dropout_rate: float, on the outputs of the two sublayers.
      attention_dropout_rate: float, on the attention probabilities.
      epsilon: float, of the layer normalizations.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        activation: str,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.intermediate_size = intermediate_size
        self.attention = Attention(
            hidden_size,
            num_heads,
            dropout_rate,
            attention_dropout_rate,
            epsilon,
            **self.inherit("attention"),
        )
        self.intermediate = Intermediate(
            intermediate_size, activation, **self.inherit("intermediate")
        )
        self.output_block = ResidualOutput(
            hidden_size, dropout_rate, epsilon, **self.inherit("output")
        )

    def build(self, input_shape):
        """Makes the variables of `attention`, `intermediate` and `output`."""
        self.attention.build(input_shape)
        self.intermediate.build(input_shape)
        self.output_block.build([*input_shape[:-1], self.intermediate_size])

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Transforms.

        Args:
          x: float [M, H].
          bias: float32 [1 or B, 1, 1 or S, S], added to the attention scores.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          compute dtype [M, H].
        """
        shared = {"dropout_seed": dropout_seed, "rows": rows}
        x = self.attention(x, bias, **shared)
        return self.output_block(self.intermediate(x), x, **shared)


class Encoder(base.Layer):
    """A stack of blocks: the released scope `encoder`, with `layer_0`, `layer_1` ...

    Args:
      num_layers: int.
      hidden_size: int, H.
      num_heads: int.
      intermediate_size: int.
      activation: str, see `activations.get_activation`.
      dropout_rate: float, on the outputs of the sublayers.
      attention_dropout_rate: float, on the attention probabilities.
      epsilon: float, of the layer normalizations.
      **kwargs: see `base.Layer`.

    Attributes:
      block_class: what a layer is.
    """

    block_class: ClassVar[type[TransformerBlock]] = TransformerBlock

    def __init__(
        self,
        num_layers: int,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        activation: str,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.blocks = [
            self.block_class(
                hidden_size,
                num_heads,
                intermediate_size,
                activation,
                dropout_rate,
                attention_dropout_rate,
                epsilon,
                **self.inherit(f"layer_{i}"),
            )
            for i in range(num_layers)
        ]

    def build(self, input_shape):
        """Makes the variables of all blocks."""
        for block in self.blocks:
            block.build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> list[tf.Tensor]:
        """Runs the blocks one after the other.

        Args:
          x: float [M, H].
          bias: float32 [1 or B, 1, 1 or S, S], added to the attention scores.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that `x` has.

        Returns:
          The output of each block, compute dtype [M, H].
        """
        outputs = []
        for block in self.blocks:
            x = block(x, bias, dropout_seed=dropout_seed, rows=rows)
            outputs.append(x)
        return outputs

    def attentions(self, inputs: Sequence[tf.Tensor], bias: tf.Tensor) -> tf.Tensor:
        """Computes what each position attends to in every block.

        Args:
          inputs: of each block, float [B, S, H].
          bias: float32 [1 or B, 1, 1 or S, S], added to the attention scores.

        Returns:
          float32 [B, blocks, heads, S, S].
        """
        layers = (block.attention.self_attention for block in self.blocks)
        return attention.attentions(layers, inputs, bias)
