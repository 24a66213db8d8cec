"""Affine maps and layer normalization, with the released variables' names."""

import keras
import tensorflow as tf

from modeling.layers import base


class Dense(base.Layer):
    """x W + b, with W [in, out].

    Args:
      units: int, the width of the output.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        """Makes `kernel` [in, out] and `bias` [out]."""
        self.kernel = self.add_normal("kernel", [input_shape[-1], self.units])
        self.bias = self.add_constant("bias", [self.units], 0.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Computes in the compute dtype.

        Args:
          x: float [M, in].

        Returns:
          compute dtype [M, out].
        """
        return self.project(x) + tf.cast(self.bias, self.compute_dtype)

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """Computes x W only, for callers that add the bias elsewhere."""
        return tf.matmul(tf.cast(x, self.compute_dtype), self.matrix(self))


class LayerNorm(base.Layer):
    """Layer normalization over the last axis (Ba et al. 2016), statistics in float32.

    Args:
      epsilon: float, added to the variance.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, epsilon: float, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes `gamma` and `beta`, both [width]."""
        self.beta = self.add_constant("beta", input_shape[-1:], 0.0)
        self.gamma = self.add_constant("gamma", input_shape[-1:], 1.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Normalizes.

        Args:
          x: float [..., width].

        Returns:
          compute dtype, the shape of `x`.
        """
        y = layer_norm(tf.cast(x, tf.float32), self.gamma, self.beta, self.epsilon)
        return tf.cast(y, self.compute_dtype)


def layer_norm(
    x: tf.Tensor,
    gamma: tf.Tensor | keras.Variable,
    beta: tf.Tensor | keras.Variable,
    epsilon: float,
) -> tf.Tensor:
    """Normalizes over the last axis: gamma (x - mean) / sqrt(variance + eps) + beta.

    Args:
      x: float32 [..., width].
      gamma: float32 [width].
      beta: float32 [width].
      epsilon: float.

    Returns:
      As `x`.
    """
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon) * gamma + beta
