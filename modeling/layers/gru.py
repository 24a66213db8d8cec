"""A GRU over a whole sequence (Cho et al. 2014, section 2.3).

The cell is TF1's GRUCell: the reset gate acts before the product, and both gates have a
bias of 1, which is added when running and never stored.

    r_t, u_t = sigmoid(x_t W_x + h_{t-1} W_h + b + 1)
    c_t = tanh(x_t W_xc + (r_t h_{t-1}) W_hc + b_c)
    h_t = u_t h_{t-1} + (1 - u_t) c_t

As in `lstm`, nothing but the products that need h_{t-1} is in the recurrence.
"""

# B batch, T steps, I input width, D units.

import tensorflow as tf

from modeling.layers import base, fused, graphs, steps

GATE_BIAS = 1.0


def _reset(z_x, z_h, h):
    """Returns both gates [B, 2D], and what the candidate may see of the past."""
    gates = tf.sigmoid(z_x[:, : z_h.shape[-1]] + z_h + GATE_BIAS)
    return gates, gates[:, : h.shape[-1]] * h


def _update(z_x, z_c, gates, h):
    """Returns the candidate [B, D], and the output."""
    units = h.shape[-1]
    c, u = tf.tanh(z_x[:, 2 * units :] + z_c), gates[:, units:]
    return c, u * h + (1 - u) * c


def _update_grad(gates, c, h, dh):
    """The gradient of `_update` with respect to the inputs' sums: of u, and of c."""
    u = gates[:, h.shape[-1] :]
    return dh * (h - c) * u * (1 - u), dh * (1 - u) * (1 - tf.square(c))


def _reset_grad(gates, h, dz_u, d_seen, dh):
    """The gradient of both gates' sum, and of h but for the part that it has in it."""
    r, u = tf.split(gates, 2, axis=-1)
    dz_r = d_seen * h * r * (1 - r)
    return tf.concat([dz_r, dz_u], -1), dh * u + d_seen * r


_PLAIN = (_reset, _update, _update_grad, _reset_grad)
_FUSED = tuple(fused.cluster(function) for function in _PLAIN)


@graphs.loop
def _run(z_x, w_h, w_c, count, reset, update):
    """Runs the recurrence over projected inputs [T, B, 3D].

    Returns:
      The gates [T, B, 2D], candidates and outputs [T, B, D] of every step.
    """
    units = w_c.shape[0]

    def one(t, h):
        z = z_x[t]
        gates, seen = reset(z, steps.matmul(h, w_h), h)
        c, h = update(z, steps.matmul(seen, w_c), gates, h)
        return (h,), (gates, c, h)

    start = (tf.zeros([base.shape_list(z_x)[1], units]),)
    widths = [2 * units, units, units]
    return steps.scan(one, z_x, start, widths, count=count)[1]


@graphs.loop
def _run_back(dy, gates, c, before, w_h, w_c, count, update_grad, reset_grad):
    """The recurrence's gradient, from the last step to the first.

    Returns:
      The gradients of the gates' sums [T, B, 2D] and of the candidates' [T, B, D].
    """
    w_h, w_c = tf.transpose(w_h), tf.transpose(w_c)  # once, as in `lstm`

    def one(t, dh):
        dh = dh + dy[t]
        dz_u, dz_c = update_grad(gates[t], c[t], before[t], dh)
        d_seen = steps.matmul(dz_c, w_c)
        dz, dh = reset_grad(gates[t], before[t], dz_u, d_seen, dh)
        return (dh + steps.matmul(dz, w_h),), (dz, dz_c)

    start, widths = (tf.zeros_like(dy[0]),), [gates.shape[-1], c.shape[-1]]
    return steps.scan(one, dy, start, widths, backwards=True, count=count)[1]


def gru(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    count: tf.Tensor,
    *,
    compiled: bool = False,
) -> tf.Tensor:
    """Runs a GRU from zeros, with a gradient written by hand.

    Args:
      x: float32 [T, B, I].
      kernel: [I + D, 3D], of the inputs above, of the past below; columns in the order
        r, u, c; its dtype is the products'.
      bias: float32 [3D].
      count: int32, at least 1: the first steps, after which nothing is wanted.
      compiled: bool; True = the work between two products in compiled clusters.

    Returns:
      The outputs of every step, float32 [T, B, D]; zeros after `count` steps.
    """
    reset, update, update_grad, reset_grad = _FUSED if compiled else _PLAIN
    width, units = x.shape[-1], bias.shape[0] // 3

    @tf.custom_gradient
    def op(x, kernel, bias):
        w_x, w_h = kernel[:width], kernel[width:, : 2 * units]
        w_c = kernel[width:, 2 * units :]
        z_x = steps.flat_matmul(x, w_x) + bias
        gates, c, y = _run(z_x, w_h, w_c, count, reset, update)

        def grad(dy):
            before = steps.shift(tf.zeros_like(y[0]), y)
            found = _run_back(
                dy, gates, c, before, w_h, w_c, count, update_grad, reset_grad
            )
            seen = gates[:, :, :units] * before
            pasts = [
                steps.outer(past, dz, kernel.dtype)
                for past, dz in zip((before, seen), found, strict=True)
            ]
            dz = tf.concat(found, -1)
            dx = steps.flat_matmul(dz, w_x, transpose_b=True)
            inputs = steps.outer(x, dz, kernel.dtype)
            d_kernel = tf.concat([inputs, tf.concat(pasts, 1)], 0)
            return dx, d_kernel, tf.reduce_sum(dz, [0, 1])

        return y, grad

    return op(x, kernel, bias)
