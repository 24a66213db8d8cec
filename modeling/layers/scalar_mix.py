"""ELMo's weighting of the layers (Peters et al. 2018, equation 1), as bilm-tf has it.

ELMo = gamma sum_l softmax(w + 1/L)_l h_l
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from modeling.layers import base

WEIGHTS, GAMMA = "ELMo_W", "ELMo_gamma"  # the names of the variables


class ScalarMix(base.Layer):
    """A learned weighted sum of layers.

    Args:
      num_layers: int, L.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, num_layers: int, **kwargs):
        super().__init__(**kwargs)
        self.num_layers = num_layers

    def build(self, input_shape=None):
        """Makes `ELMo_W` [L] and `ELMo_gamma` [1]."""
        self.weight = self.add_constant(WEIGHTS, [self.num_layers], 0.0)
        self.gamma = self.add_constant(GAMMA, [1], 1.0)

    def call(self, layers: tf.Tensor) -> tf.Tensor:
        """Mixes.

        Args:
          layers: float [B, L, T, H].

        Returns:
          float32 [B, T, H]; padded positions are mixed like the others.
        """
        layers = tf.cast(layers, tf.float32)
        weights = shares(tf.convert_to_tensor(self.weight))
        return tf.einsum("blth,l->bth", layers, weights) * self.gamma


def shares(weight: tf.Tensor) -> tf.Tensor:
    """Returns how much of each layer is taken; float32 [L], whose sum is 1."""
    return tf.nn.softmax(weight + 1 / weight.shape[0])


def all_layers(outputs: Mapping[str, Any], frozen: bool) -> tf.Tensor:
    """Returns what a ScalarMix over an encoder reads: [B, L, S, H].

    Args:
      outputs: `embedding_output` and the list `all_encoder_layers`, [B, S, H] each.
      frozen: whether no gradient goes back to the encoder.
    """
    layers = [outputs["embedding_output"], *outputs["all_encoder_layers"]]
    stacked = tf.stack(layers, axis=1)
    return tf.stop_gradient(stacked) if frozen else stacked
