"""ELMo's weighting of the layers (Peters et al. 2018, equation 1), as bilm-tf has it.

ELMo = gamma sum_l softmax(w + 1/L)_l h_l
"""

import tensorflow as tf

from modeling.layers import base


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
        self.weight = self.add_constant("ELMo_W", [self.num_layers], 0.0)
        self.gamma = self.add_constant("ELMo_gamma", [1], 1.0)

    def call(self, layers: tf.Tensor) -> tf.Tensor:
        """Mixes.

        Args:
          layers: float [B, L, T, H].

        Returns:
          float32 [B, T, H]; padded positions are mixed like the others.
        """
        layers = tf.cast(layers, tf.float32)
        weights = tf.nn.softmax(self.weight + 1 / self.num_layers)
        return tf.einsum("blth,l->bth", layers, weights) * self.gamma
