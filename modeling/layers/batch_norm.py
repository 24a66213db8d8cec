"""Batch normalization over the rows of a global batch (Ioffe and Szegedy 2015)."""

# B rows, H width.

import tensorflow as tf

from modeling.layers import base

_EPSILON = 1e-5  # torch's, as is the momentum
_MOMENTUM = 0.1


class BatchNorm(base.Layer):
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, feature by feature.

    Training takes mean and variance of the batch's real rows, those of all replicas
    together, and moves the running ones a tenth of the way there; everything else takes
    the running ones, so that what a row becomes is no matter of the others.
    """

    def build(self, input_shape):
        """Makes `gamma`, `beta`, `running_mean` and `running_var`, [H] each."""
        shape = input_shape[-1:]
        self.gamma = self.add_constant("gamma", shape, 1.0)
        self.beta = self.add_constant("beta", shape, 0.0)
        self.mean = self.add_statistic("running_mean", shape, 0.0)
        self.variance = self.add_statistic("running_var", shape, 1.0)

    def call(self, x: tf.Tensor, real: tf.Tensor | None = None) -> tf.Tensor:
        """Normalizes.

        Args:
          x: float32 [B, H].
          real: int [B], 1 = a row that counts, in training; None = inference.

        Returns:
          float32 [B, H].
        """
        if real is None:
            mean, variance = map(tf.convert_to_tensor, (self.mean, self.variance))
        else:
            mean, variance = self._moments(x, tf.cast(real, tf.float32)[:, None])
        scale = tf.math.rsqrt(variance + _EPSILON) * self.gamma
        return (x - mean) * scale + self.beta

    def _moments(self, x, real):
        """Returns those of the batch, and keeps them in the running ones."""
        total = _over_replicas(tf.reduce_sum(x * real, axis=0))
        number = tf.maximum(_over_replicas(tf.reduce_sum(real)), 1.0)
        mean = total / number
        squares = _over_replicas(tf.reduce_sum(tf.square(x - mean) * real, axis=0))
        # Of a sample, as torch keeps it, while it normalizes by that of the batch.
        of_sample = squares / tf.maximum(number - 1.0, 1.0)
        for kept, found in ((self.mean, mean), (self.variance, of_sample)):
            found = tf.stop_gradient(found)
            kept.assign(kept + _MOMENTUM * (found - kept))
        return mean, squares / number


def _over_replicas(value):
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
