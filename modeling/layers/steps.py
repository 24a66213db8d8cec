"""What recurrences share: products over all steps at once, and the loop over them."""

# B batch, T steps.

from collections.abc import Callable, Sequence

import tensorflow as tf

from modeling.layers import base

Tensors = Sequence[tf.Tensor]


def matmul(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns x W in the dtype of `weight`, as float32."""
    return tf.cast(tf.matmul(tf.cast(x, weight.dtype), weight), tf.float32)


def flat_matmul(
    x: tf.Tensor, weight: tf.Tensor, transpose_b: bool = False
) -> tf.Tensor:
    """As `matmul`, for all steps at once: [T, B, a] -> float32 [T, B, b]."""
    steps, rows, width = base.shape_list(x)
    flat = tf.cast(tf.reshape(x, [-1, width]), weight.dtype)
    y = tf.cast(tf.matmul(flat, weight, transpose_b=transpose_b), tf.float32)
    return tf.reshape(y, [steps, rows, y.shape[-1]])


def outer(x: tf.Tensor, y: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Sums x_t^T y_t over steps and rows: [T, B, a], [T, B, b] -> `dtype` [a, b]."""
    x, y = (tf.cast(tf.reshape(v, [-1, v.shape[-1]]), dtype) for v in (x, y))
    return tf.matmul(x, y, transpose_a=True)


def shift(first: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Moves the steps of [T, B, a] by one: what each step finds, instead of leaves."""
    return tf.concat([first[None], x[:-1]], 0)


def scan(
    step: Callable[..., tuple[Tensors, Tensors]],
    like: tf.Tensor,
    state: Tensors,
    widths: Sequence[int],
    backwards: bool = False,
    count: tf.Tensor | None = None,
) -> tuple[Tensors, list[tf.Tensor]]:
    """Runs a step after the other.

    Args:
      step: takes its number and the state; returns the next state, and what it found,
        float32 [B, width] for each width.
      like: [T, B, ...], for its sizes.
      state: before the first step that is run.
      widths: of what a step finds.
      backwards: True = from the last step to the first.
      count: int32, at least 1: only so many of the first steps are run; None = T.

    Returns:
      The state after the last step run, and what all found, float32 [T, B, width] each;
      zeros where none was run.
    """
    steps, rows = base.shape_list(like)[:2]
    count = steps if count is None else count
    shape = [rows if isinstance(rows, int) else None]
    arrays = [
        tf.TensorArray(tf.float32, steps, element_shape=[*shape, width])
        for width in widths
    ]

    def body(i, state, arrays):
        t = count - 1 - i if backwards else i
        state, found = step(t, *state)
        return i + 1, state, [a.write(t, x) for a, x in zip(arrays, found, strict=True)]

    _, state, arrays = tf.while_loop(
        lambda i, *_: i < count,
        body,
        (0, state, arrays),
        maximum_iterations=steps,
    )
    return state, [a.stack() for a in arrays]
