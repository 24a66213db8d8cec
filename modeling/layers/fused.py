"""The elementwise work of a Transformer in a few compiled clusters.

On a CPU the matrix products are fastest outside XLA (oneDNN; in bfloat16 twice as fast)
and everything between them is fastest inside: one pass over memory instead of ten. So
each function here compiles what lies between two products, once for each shape, for all
layers, and has a hand-written gradient that recomputes instead of storing. A product's
bias belongs to the cluster after it. The plain layers compute the same to rounding.
"""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from modeling.layers import activations, base, dropout

# Whether clusters are compiled. A test that is not about that may do without: a shape
# takes the compiler seconds, and a tenth of one to make a graph of, which is kept. What
# is computed stays what it is.
COMPILED = True


def cluster(function: Callable) -> Callable:
    """Compiles a function of tensors; its keyword arguments are constants."""

    @functools.cache
    def compiled(**constants):
        bound = functools.partial(function, **constants)
        return tf.function(bound, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*tensors, **constants):
        # A tape must not look into the cluster: it would compile one with more outputs.
        tensors = [None if x is None else tf.stop_gradient(x) for x in tensors]
        if not COMPILED:
            return function(*tensors, **constants)
        return compiled(**constants)(*tensors)

    return call


def narrow(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Casts float32 to the compute dtype, to the nearest number, ties to even.

    Through integers for bfloat16: XLA's own cast keeps it from vectorizing the loop
    before it. GELU took 10.9 ms with the one and takes 5.4 ms with the other.
    """
    if dtype != tf.bfloat16:
        return tf.cast(x, dtype)
    bits = tf.bitcast(x, tf.uint32)
    half, one = tf.constant(16, tf.uint32), tf.constant(1, tf.uint32)
    odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, half), one)
    bits = tf.bitwise.right_shift(bits + tf.constant(0x7FFF, tf.uint32) + odd, half)
    return tf.bitcast(tf.cast(bits, tf.uint16), tf.bfloat16)


def row_sum(x: tf.Tensor) -> tf.Tensor:
    """Sums the last axis, [..., n] -> [..., 1], as a product with ones.

    XLA may not reorder a sum, so its own loop adds one number after the other; its
    product adds vectors. Layer normalization: 4.0 ms with the one, 2.6 with the other.
    """
    width = x.shape[-1]
    total = tf.matmul(tf.reshape(x, [-1, width]), tf.ones([width, 1]))
    return tf.reshape(total, [*base.shape_list(x)[:-1], 1])


def _row_mean(x):
    return row_sum(x) * (1 / x.shape[-1])


def column_sum(x: tf.Tensor) -> tf.Tensor:
    """Sums [M, n] -> float32 [n] as a product with ones, the fastest of four ways."""
    ones = tf.ones([1, tf.shape(x)[0]], x.dtype)
    return tf.cast(tf.matmul(ones, x)[0], tf.float32)


Draw = tuple[tf.Tensor | None, tf.Tensor | None, tf.Tensor | None]


def draw(
    rate: float, seed: tf.Tensor | None, site: int, places: tf.Tensor | None = None
) -> Draw:
    """Returns what decides a mask, as tensors, so that all layers share one cluster.

    Args:
      rate: float, of the dropout.
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.
      places: int32 [M], see `dropout.random_bits`.

    Returns:
      Seed, site, uint32, and places; None all where nothing is dropped.
    """
    if seed is None or rate == 0:
        return None, None, None
    return seed, tf.constant(site, tf.uint32), places


def drop(
    x: tf.Tensor,
    rate: float,
    seed: tf.Tensor | None,
    site: tf.Tensor | None,
    places: tf.Tensor | None = None,
) -> tf.Tensor:
    """Dropout(x), inside of a cluster, by what `draw` returns."""
    return x if seed is None else dropout.drop(x, rate, seed, site, places)


@cluster
def _bias_activation(x, bias, *, name):
    z = tf.cast(x, tf.float32) + bias
    return narrow(activations.get_activation(name)(z), x.dtype)


@cluster
def _bias_activation_grad(x, bias, dy, *, name):
    z = tf.cast(x, tf.float32) + bias
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = activations.get_activation(name)(z)
    return narrow(tape.gradient(y, z, tf.cast(dy, tf.float32)), x.dtype)


def bias_activation(x: tf.Tensor, bias: tf.Tensor, name: str) -> tf.Tensor:
    """activation(x + bias).

    Args:
      x: float [M, I].
      bias: float32 [I].
      name: str, see `activations.get_activation`.

    Returns:
      As `x`; computed in float32.
    """

    @tf.custom_gradient
    def op(x, bias):
        def gradient(dy):
            dx = _bias_activation_grad(x, bias, dy, name=name)
            return dx, column_sum(dx)

        return _bias_activation(x, bias, name=name), gradient

    return op(x, tf.convert_to_tensor(bias))


def _normalized(x):
    """Returns the rows of x, float32, less their mean, and their mean square."""
    centred = x - _row_mean(x)
    return centred, _row_mean(tf.square(centred))


def _norm_grad(centred, variance, gamma, dy, epsilon):
    """Returns dx, and dgamma before its sum over the rows."""
    scale = tf.math.rsqrt(variance + epsilon)
    x_hat = centred * scale
    dx_hat = dy * gamma
    dx = dx_hat - _row_mean(dx_hat) - x_hat * _row_mean(dx_hat * x_hat)
    return dx * scale, dy * x_hat


def _residual_sum(x, bias, residual, draw, rate):
    x = drop(tf.cast(x, tf.float32) + bias, rate, *draw)
    return x + tf.cast(residual, tf.float32)


@cluster
def _residual_norm(x, bias, residual, gamma, beta, *draw, rate, epsilon):
    z = _residual_sum(x, bias, residual, draw, rate)
    centred, variance = _normalized(z)
    y = centred * (tf.math.rsqrt(variance + epsilon) * gamma) + beta
    return narrow(y, x.dtype)


@cluster
def _residual_norm_grad(x, bias, residual, gamma, dy, *draw, rate, epsilon):
    dy = tf.cast(dy, tf.float32)
    z = _residual_sum(x, bias, residual, draw, rate)
    dz, dgamma = _norm_grad(*_normalized(z), gamma, dy, epsilon)
    dx = drop(dz, rate, *draw)
    return (
        narrow(dx, x.dtype),
        narrow(dz, residual.dtype),
        tf.reduce_sum(dgamma, axis=0),
        tf.reduce_sum(dy, axis=0),
    )


def bias_dropout_residual_norm(
    x: tf.Tensor,
    bias: tf.Tensor,
    residual: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    rate: float,
    draw: Draw,
) -> tf.Tensor:
    """LayerNorm(residual + Dropout(x + bias)).

    Args:
      x: float [M, H].
      bias: float32 [H].
      residual: float [M, H].
      gamma: float32 [H].
      beta: float32 [H].
      epsilon: float, of the layer normalization.
      rate: float, of the dropout.
      draw: what decides its mask, from `draw`.

    Returns:
      As `x`; computed in float32.
    """
    constants = {"rate": rate, "epsilon": epsilon}

    @tf.custom_gradient
    def op(x, bias, residual, gamma, beta):
        def gradient(dy):
            dx, dresidual, dgamma, dbeta = _residual_norm_grad(
                x, bias, residual, gamma, dy, *draw, **constants
            )
            return dx, column_sum(dx), dresidual, dgamma, dbeta

        y = _residual_norm(x, bias, residual, gamma, beta, *draw, **constants)
        return y, gradient

    tensors = [tf.convert_to_tensor(t) for t in (bias, residual, gamma, beta)]
    return op(x, *tensors)


@cluster
def _sum_norm_dropout(gamma, beta, seed, site, places, *parts, rate, epsilon, dtype):
    centred, variance = _normalized(sum(parts[1:], parts[0]))
    y = centred * (tf.math.rsqrt(variance + epsilon) * gamma) + beta
    return narrow(drop(y, rate, seed, site, places), dtype)


@cluster
def _sum_norm_dropout_grad(gamma, dy, seed, site, places, *parts, rate, epsilon):
    dy = drop(tf.cast(dy, tf.float32), rate, seed, site, places)
    normalized = _normalized(sum(parts[1:], parts[0]))
    dx, dgamma = _norm_grad(*normalized, gamma, dy, epsilon)
    rows = list(range(dx.shape.rank - 1))
    return (
        dx,
        None if rows == [0] else tf.reduce_sum(dx, axis=0),
        tf.reduce_sum(dgamma, axis=rows),
        tf.reduce_sum(dy, axis=rows),
    )


def sum_norm_dropout(
    parts: Sequence[tf.Tensor],
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    rate: float,
    draw: Draw,
    dtype: str,
) -> tf.Tensor:
    """Dropout(LayerNorm(the sum of the parts)).

    Args:
      parts: float32, all [M, H]; or [B, S, H], the first one, and [S, H] what is the
        same in all sequences.
      gamma: float32 [H].
      beta: float32 [H].
      epsilon: float, of the layer normalization.
      rate: float, of the dropout.
      draw: what decides its mask, from `draw`.
      dtype: of the result.

    Returns:
      `dtype`, of the first part's shape; computed in float32.
    """
    constants = {"rate": rate, "epsilon": epsilon}
    rank = parts[0].shape.rank

    @tf.custom_gradient
    def op(gamma, beta, *parts):
        def gradient(dy):
            dx, dshared, dgamma, dbeta = _sum_norm_dropout_grad(
                gamma, dy, *draw, *parts, **constants
            )
            dparts = (dx if part.shape.rank == rank else dshared for part in parts)
            return dgamma, dbeta, *dparts

        return _sum_norm_dropout(
            gamma, beta, *draw, *parts, dtype=dtype, **constants
        ), gradient

    return op(tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta), *parts)


@cluster
def _dropout(probs, seed, site, *, rate):
    dropped = dropout.drop(tf.cast(probs, tf.float32), rate, seed, site)
    return narrow(dropped, probs.dtype)


def dropped(x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int) -> tf.Tensor:
    """Dropout(x), for a tensor so large that every pass over it counts.

    Args:
      x: float, any shape.
      rate: float in [0, 1).
      seed: int32 [2]; None = inference.
      site: the dropout call site's id.

    Returns:
      As `x`.
    """
    if seed is None or rate == 0:
        return x

    @tf.custom_gradient
    def op(x):
        def gradient(dy):
            return dropout_alone(tf.convert_to_tensor(dy), rate, seed, site)

        return dropout_alone(x, rate, seed, site), gradient

    return op(x)


def dropout_alone(
    x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int
) -> tf.Tensor:
    """As `dropped`, but without a gradient: for what has one of its own."""
    seed, site, _ = draw(rate, seed, site)
    return x if seed is None else _dropout(x, seed, site, rate=rate)
