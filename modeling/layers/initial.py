"""Distributions of initial weights other than the parent's, for `Layer.add_normal`."""

from collections.abc import Callable

import tensorflow as tf


def uniform(limit: float) -> Callable[..., tf.Tensor]:
    """Returns a generator of uniform numbers in [-limit, limit)."""

    def draw(shape, seed, stddev, dtype, alg):
        del stddev  # the layer's, which this weight does not share
        return tf.random.stateless_uniform(shape, seed, -limit, limit, dtype, alg)

    return draw


def glorot_uniform(fan_in: int, fan_out: int) -> Callable[..., tf.Tensor]:
    """Returns the generator that TF1 uses where none is named (Glorot and Bengio)."""
    return uniform((6 / (fan_in + fan_out)) ** 0.5)


def normal(stddev: float) -> Callable[..., tf.Tensor]:
    """Returns a generator of normal numbers of that deviation, not truncated."""
    scale = stddev

    def draw(shape, seed, stddev, dtype, alg):
        del stddev
        return tf.random.stateless_normal(shape, seed, 0.0, scale, dtype, alg)

    return draw
