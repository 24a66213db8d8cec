"""An LSTM over a whole sequence, with projection and clipping (Sak et al. 2014).

ELMo's cell (Peters et al. 2018, section 3.1) as TF1's LSTMCell computes it: gates in
the order i, j, f, o; a forget bias of 1 that is added when running and never stored.
Torch's cell, and so ULMFiT's, has all of its bias stored: there it is 0.

    i, j, f, o = x_t W_x + h_{t-1} W_h + b
    c_t = clip(sigmoid(f + forget_bias) c_{t-1} + sigmoid(i) tanh(j))
    h_t = clip((sigmoid(o) tanh(c_t)) W_P)

The recurrence holds nothing but the two products that need h_{t-1}: the inputs of all
steps are projected in one product before it, and all weight gradients are one product
after it. See benchmarks/bench_recurrence.py.
"""

# B batch, T steps, I input width, D cells, P width of the output.

from typing import NamedTuple

import tensorflow as tf

from modeling.layers import fused, graphs, steps

FORGET_BIAS = 1.0


class State(NamedTuple):
    """The state of one LSTM: `c` float32 [B, D] and `h` float32 [B, P]."""

    c: tf.Tensor
    h: tf.Tensor


def _clip(x, limit):
    return x if limit is None else tf.clip_by_value(x, -limit, limit)


def _clip_grad(dy, x, limit):
    """No gradient where `x` was clipped; a value at the limit itself passes it."""
    return dy if limit is None else tf.where(tf.abs(x) <= limit, dy, 0.0)


def _cell(z_x, z_h, bias, c, *, clip):
    """One step from its projected inputs.

    Returns:
      The gates [B, 4D] after their activations, the cells before they are clipped
      (what the gradient needs), and the output before its projection.
    """
    i, j, f, o = tf.split(z_x + z_h + bias, 4, axis=-1)
    i, j, f, o = tf.sigmoid(i), tf.tanh(j), tf.sigmoid(f), tf.sigmoid(o)
    raw = f * c + i * j
    return tf.concat([i, j, f, o], -1), raw, o * tf.tanh(_clip(raw, clip))


def _cell_grad(gates, raw, raw_before, dm, dc, *, clip):
    """The gradient of `_cell` with respect to its inputs' sum and the cells before."""
    i, j, f, o = tf.split(gates, 4, axis=-1)
    squashed = tf.tanh(_clip(raw, clip))
    dc = _clip_grad(dc + dm * o * (1 - tf.square(squashed)), raw, clip)
    dz = [
        dc * j * i * (1 - i),
        dc * i * (1 - tf.square(j)),
        dc * _clip(raw_before, clip) * f * (1 - f),
        dm * squashed * o * (1 - o),
    ]
    return tf.concat(dz, -1), dc * f


def _with_forget_bias(bias, forget_bias):
    """Adds to the third part of float32 [4D]."""
    return bias + tf.repeat([0.0, 0.0, forget_bias, 0.0], bias.shape[0] // 4)


_fused_cell = fused.cluster(_cell)
_fused_cell_grad = fused.cluster(_cell_grad)


@graphs.loop
def _run(z_x, w_h, bias, w_p, state, clips, step):
    """Runs the recurrence over projected inputs [T, B, 4D].

    Returns:
      For every step the gates, cells and outputs that `_cell` returns, and the
      projected outputs before they are clipped; [T, B, .] each.
    """
    cell_clip, proj_clip = clips
    units = bias.shape[0] // 4
    widths = [4 * units, units, units, *([] if w_p is None else [w_p.shape[1]])]

    def one(t, c, h):
        found = list(step(z_x[t], steps.matmul(h, w_h), bias, c, clip=cell_clip))
        if w_p is not None:
            found.append(steps.matmul(found[-1], w_p))
        return (_clip(found[1], cell_clip), _clip(found[-1], proj_clip)), found

    return steps.scan(one, z_x, tuple(state), widths)[1]


@graphs.loop
def _run_back(dy, found, state, w_h, w_p, clips, step):
    """The recurrence's gradient, from the last step to the first.

    Returns:
      The gradients of the gates' inputs [T, B, 4D] and of the projected outputs
      [T, B, P] at every step, and of the initial state.
    """
    cell_clip, proj_clip = clips
    gates, raw, projected = found[0], found[1], found[-1]
    before = steps.shift(state.c, raw)
    # Once for all steps: a product with a transposed weight takes four times as long.
    w_h = tf.transpose(w_h)
    w_p = None if w_p is None else tf.transpose(w_p)

    def one(t, dc, dh):
        dp = _clip_grad(dy[t] + dh, projected[t], proj_clip)
        dm = dp if w_p is None else steps.matmul(dp, w_p)
        dz, dc = step(gates[t], raw[t], before[t], dm, dc, clip=cell_clip)
        return (dc, steps.matmul(dz, w_h)), (dz, dp)

    zeros = tuple(tf.zeros_like(x) for x in state)
    widths = [gates.shape[-1], projected.shape[-1]]
    (dc, dh), (dz, dp) = steps.scan(one, dy, zeros, widths, backwards=True)
    return dz, dp, dc, dh


def lstm(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    projection: tf.Tensor | None,
    state: State,
    *,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    forget_bias: float = FORGET_BIAS,
    compiled: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs an LSTM over all steps, with a gradient written by hand.

    Args:
      x: float32 [T, B, I].
      kernel: [I + P, 4D], of the inputs above, of the outputs below; its dtype is the
        products'.
      bias: float32 [4D].
      projection: [D, P], of the dtype of `kernel`; None = P is D.
      state: before the first step.
      cell_clip: the largest absolute value of a cell; None = no limit.
      proj_clip: the same for a projected output.
      forget_bias: added to the bias of every forget gate.
      compiled: bool; True = the work between two products in compiled clusters.

    Returns:
      The outputs float32 [T, B, P] and the cells [T, B, D] of every step. Only the
      outputs have a gradient.
    """
    clips = (cell_clip, None if projection is None else proj_clip)
    forward = _fused_cell if compiled else _cell
    backward = _fused_cell_grad if compiled else _cell_grad
    width = x.shape[-1]

    @tf.custom_gradient
    def op(x, c, h, kernel, bias, *projections):
        w_x, w_h = kernel[:width], kernel[width:]
        w_p = projections[0] if projections else None
        start = State(c, h)
        bias = _with_forget_bias(bias, forget_bias)
        found = _run(steps.flat_matmul(x, w_x), w_h, bias, w_p, start, clips, forward)
        outputs = _clip(found[-1], clips[1])

        def grad(dy, _):
            dz, dp, dc, dh = _run_back(dy, found, start, w_h, w_p, clips, backward)
            inputs = tf.concat([x, steps.shift(h, outputs)], -1)
            dx = steps.flat_matmul(dz, w_x, transpose_b=True)
            d_kernel = steps.outer(inputs, dz, kernel.dtype)
            d_projections = (
                [steps.outer(found[2], dp, w_p.dtype)] if projections else []
            )
            return dx, dc, dh, d_kernel, tf.reduce_sum(dz, [0, 1]), *d_projections

        return (outputs, _clip(found[1], clips[0])), grad

    projections = [] if projection is None else [projection]
    return op(x, *state, kernel, bias, *projections)
