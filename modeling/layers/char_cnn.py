"""A word from its characters: convolutions, the maximum over positions, highways.

Kim et al. 2016 (section 2.2 and 2.3) with the filters of Peters et al. 2018, as bilm-tf
computes it: the maximum comes before the activation.
"""

from collections.abc import Sequence

import tensorflow as tf

from modeling.layers import activations, base, initial


class Filters(base.Layer):
    """The convolutions: the released scope `CNN`.

    Args:
      filters: (width in characters, number of filters) of every convolution.
      activation: `relu` or `tanh`.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, filters: Sequence[tuple[int, int]], activation: str, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.activation = activation

    def build(self, input_shape):
        """Makes `W_cnn_{i}` [1, width, E, number] and `b_cnn_{i}` [number]."""
        self.weights_and_biases = []
        for i, (width, number) in enumerate(self.filters):
            fan_in = width * input_shape[-1]
            relu = self.activation == "relu"  # Kim et al. for it, else Glorot
            draw = initial.uniform(0.05) if relu else initial.normal(fan_in**-0.5)
            shape = [1, width, input_shape[-1], number]
            weight = self.add_normal(f"W_cnn_{i}", shape, draw)
            bias = self.add_constant(f"b_cnn_{i}", [number], 0.0)
            self.weights_and_biases.append((weight, bias))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps embedded characters, float [N, C, E], to float32 [N, all filters]."""
        activation = activations.get_activation(self.activation)
        x = tf.cast(x, self.compute_dtype)[:, None]  # [N, 1, C, E]
        features = []
        for weight, bias in self.weights_and_biases:
            weight = tf.cast(weight, self.compute_dtype)
            y = tf.nn.conv2d(x, weight, strides=1, padding="VALID")
            if y.shape[2] is None:  # texts of words, where C is their number
                y = tf.reduce_max(y, axis=2, keepdims=True)
            else:
                y = tf.nn.max_pool2d(y, [1, y.shape[2]], strides=1, padding="VALID")
            # After the maximum a bias costs one word's addition, and is the same.
            y = tf.cast(y[:, 0, 0], tf.float32) + bias
            features.append(activation(y))
        return tf.concat(features, -1)


class Highway(base.Layer):
    """g relu(x Wt + bt) + (1 - g) x, with g = sigmoid(x Wc + bc): `CNN_high_{i}`."""

    def build(self, input_shape):
        """Makes the matrices and biases of the gate and of the transformation."""
        width = input_shape[-1]
        draw = initial.normal(width**-0.5)
        self.W_carry = self.add_normal("W_carry", [width, width], draw)
        self.b_carry = self.add_constant("b_carry", [width], -2.0)
        self.W_transform = self.add_normal("W_transform", [width, width], draw)
        self.b_transform = self.add_constant("b_transform", [width], 0.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps float32 [N, width] to the same."""
        gate = tf.sigmoid(project(x, self.W_carry, self.b_carry, self.compute_dtype))
        y = project(x, self.W_transform, self.b_transform, self.compute_dtype)
        return gate * tf.nn.relu(y) + (1 - gate) * x


class Projection(base.Layer):
    """The released scope `CNN_proj`.

    Args:
      units: int, the width of the output.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        """Makes `W_proj` [width, units] and `b_proj` [units]."""
        width = input_shape[-1]
        draw = initial.normal(width**-0.5)
        self.W_proj = self.add_normal("W_proj", [width, self.units], draw)
        self.b_proj = self.add_constant("b_proj", [self.units], 0.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps float32 [N, width] to float32 [N, units]."""
        return project(x, self.W_proj, self.b_proj, self.compute_dtype)


def project(x: tf.Tensor, weight, bias, dtype: str) -> tf.Tensor:
    """Returns x W + b as float32, with the product in `dtype`."""
    y = tf.matmul(tf.cast(x, dtype), tf.cast(weight, dtype))
    return tf.cast(y, tf.float32) + bias
