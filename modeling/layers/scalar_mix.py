"""ELMo's weighting of the layers (Peters et al. 2018, equation 1), as bilm-tf has it.

ELMo = gamma sum_l softmax(w + 1/L)_l h_l
"""

import tensorflow as tf

from modeling.layers import base


class ScalarMix(base.Layer):
    """A learned weighted sum of layers.

    Args:
      num_layers: int, L.
      layer_norm: bool; True = each layer is first normalized, with one mean and one
        variance over all real positions and features of the whole batch.
      top_only: bool; True = gamma times the last layer: no weights.
      l2_coef: float, of the penalty on the weights before the softmax.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        num_layers: int,
        *,
        layer_norm: bool = False,
        top_only: bool = False,
        l2_coef: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.layer_norm = layer_norm
        self.top_only = top_only
        self.l2_coef = l2_coef

    def build(self, input_shape=None):
        """Makes `ELMo_W` [L], unless for the top only, and `ELMo_gamma` [1]."""
        if not self.top_only:
            self.weight = self.add_constant("ELMo_W", [self.num_layers], 0.0)
        self.gamma = self.add_constant("ELMo_gamma", [1], 1.0)

    def call(self, layers: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Mixes.

        Args:
          layers: float [B, L, T, H].
          mask: int or bool [B, T], 1 = real.

        Returns:
          float32 [B, T, H]; padded positions are mixed like the others.
        """
        layers = tf.cast(layers, tf.float32)
        if self.top_only:
            return layers[:, -1] * self.gamma
        if self.layer_norm:
            layers = _normalize(layers, tf.cast(mask, tf.float32))
        weights = tf.nn.softmax(self.weight + 1 / self.num_layers)
        return tf.einsum("blth,l->bth", layers, weights) * self.gamma

    def penalty(self) -> tf.Tensor:
        """Returns l2_coef times the squared norm of the weights, float32 []."""
        if self.top_only:
            return tf.zeros([])
        return self.l2_coef * tf.reduce_sum(tf.square(self.weight))


def _normalize(layers: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Normalizes each layer [B, L, T, H] over the batch's real positions."""
    mask = mask[:, None, :, None]
    axes = [0, 2, 3]
    count = tf.reduce_sum(mask) * layers.shape[-1]
    mean = tf.reduce_sum(layers * mask, axes, keepdims=True) / count
    centred = layers - mean
    variance = tf.reduce_sum(tf.square(centred) * mask, axes, keepdims=True) / count
    return centred * tf.math.rsqrt(variance + 1e-12)
