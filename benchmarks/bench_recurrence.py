"""Tokens a second of one projected LSTM layer, in several formulations of it.

`keras_rnn`, tf.keras.layers.RNN over the cell's equations, stands for bilm-tf's own
recurrence: one product of [x, h] a step, and a gradient by autodiff. The others project
the inputs of all steps first. `loop` and `clusters` are what modeling/layers/lstm.py
computes without and with `fused`; `loop_xla` is `loop` compiled as a whole. All
formulations run by turns, so that a busy machine slows all of them; medians are
compared, and the results are checked against each other:

    python benchmarks/bench_recurrence.py --size=64x20x256x1024

Training on two cores of an AMD EPYC (Zen 5), as multiples of `keras_rnn`:

    size               scan   unrolled   loop   loop_xla   clusters
    32x20x128x512      1.41       1.57   2.10       2.57       1.63
    64x20x256x1024     1.11       1.20   1.58       1.75       1.69
    64x20x512x4096     1.11       1.15   1.73       1.54       1.81

Inputs projected ahead and a gradient written by hand win. For small layers the loop
compiled as a whole is best, but XLA compiles every shape anew. The clusters, which
train here by default, take any shape, and are best at the paper's size.
"""

import functools
import json
import statistics
import time
from collections.abc import Callable

import startup

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from modeling.layers.lstm import FORGET_BIAS, State, lstm

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "size",
    ["32x20x128x512", "64x20x256x1024", "64x20x512x4096"],
    "Rows x steps x width of input and output x cells; the last is the paper's ELMo.",
)
flags.DEFINE_multi_string("variant", None, "Only these, beside keras_rnn.")
flags.DEFINE_integer("runs", 9, "Timed runs of each formulation.", 1)

CLIP = 3.0  # of cells and of outputs, as released
BASELINE = "keras_rnn"


def cell(z: tf.Tensor, c: tf.Tensor, w_p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One step by the book, from the sum of the gates' inputs: new cells and output."""
    i, j, f, o = tf.split(z, 4, axis=-1)
    c = tf.sigmoid(f + FORGET_BIAS) * c + tf.sigmoid(i) * tf.tanh(j)
    c = tf.clip_by_value(c, -CLIP, CLIP)
    h = tf.matmul(tf.sigmoid(o) * tf.tanh(c), w_p)
    return c, tf.clip_by_value(h, -CLIP, CLIP)


class NaiveCell(keras.layers.Layer):
    """The cell for keras.layers.RNN, with weights that it is given."""

    def __init__(self, kernel: tf.Tensor, bias: tf.Tensor, w_p: tf.Tensor):
        super().__init__()
        self.weights_ = (kernel, bias, w_p)
        self.state_size = list(w_p.shape)
        self.output_size = w_p.shape[1]

    def call(self, x, states):
        """Runs one step."""
        kernel, bias, w_p = self.weights_
        c, h = states
        z = tf.matmul(tf.concat([x, h], 1), kernel) + bias
        c, h = cell(z, c, w_p)
        return h, [c, h]


def keras_rnn(x, kernel, bias, w_p):
    """The stand-in for bilm-tf's recurrence."""
    rnn = keras.layers.RNN(NaiveCell(kernel, bias, w_p), return_sequences=True)
    return tf.transpose(rnn(tf.transpose(x, [1, 0, 2])), [1, 0, 2])


def _start(x, w_p):
    return State(
        tf.zeros([x.shape[1], w_p.shape[0]]), tf.zeros(x.shape[1:2] + w_p.shape[1:])
    )


def _projected(x, kernel, bias):
    """Projects the inputs of all steps; returns them and the recurrent weights."""
    width = x.shape[-1]
    z = tf.matmul(tf.reshape(x, [-1, width]), kernel[:width]) + bias
    return tf.reshape(z, [*x.shape[:2], -1]), kernel[width:]


def scan(x, kernel, bias, w_p):
    """tf.scan, gradient by autodiff."""
    z, w_h = _projected(x, kernel, bias)
    step = lambda state, z_t: State(*cell(z_t + state.h @ w_h, state.c, w_p))  # noqa: E731
    return tf.scan(step, z, _start(x, w_p)).h


def unrolled(x, kernel, bias, w_p):
    """A Python loop, gradient by autodiff."""
    z, w_h = _projected(x, kernel, bias)
    c, h = _start(x, w_p)
    outputs = []
    for z_t in tf.unstack(z):
        c, h = cell(z_t + h @ w_h, c, w_p)
        outputs.append(h)
    return tf.stack(outputs)


def ours(x, kernel, bias, w_p, compiled):
    """The project's."""
    clips = {"cell_clip": CLIP, "proj_clip": CLIP}
    state = _start(x, w_p)
    return lstm(x, kernel, bias, w_p, state, compiled=compiled, **clips)[0]


loop = functools.partial(ours, compiled=False)
# Formulation, and whether all of it is one XLA program.
VARIANTS = {
    BASELINE: (keras_rnn, False),
    "scan": (scan, False),
    "unrolled": (unrolled, False),
    "loop": (loop, False),
    "loop_xla": (loop, True),
    "clusters": (functools.partial(ours, compiled=True), False),
}


def make_inputs(rows: int, steps: int, width: int, cells: int) -> list[tf.Tensor]:
    """Random inputs, weights, and the gradient that comes from above."""
    random = np.random.default_rng(0)

    def normal(scale, *shape):
        return tf.constant(random.normal(0, scale, shape), tf.float32)

    return [
        normal(1, steps, rows, width),
        normal(width**-0.5, 2 * width, 4 * cells),
        normal(0.1, 4 * cells),
        normal(cells**-0.5, cells, width),
        normal(1, steps, rows, width),
    ]


def make_step(function: Callable, xla: bool, train: bool) -> Callable:
    """Returns a forward pass, or a pass and the gradients, as a TensorFlow function."""

    def forward(*inputs):
        return [function(*inputs[:-1])]

    def train_step(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = function(*inputs[:-1])
            total = tf.reduce_sum(y * inputs[-1])
        return [y, *tape.gradient(total, inputs[:-1])]

    return tf.function(train_step if train else forward, jit_compile=xla)


def measure(steps: dict[str, Callable], inputs: list[tf.Tensor]) -> dict[str, float]:
    """Median seconds of each; stops where two of them disagree."""
    expected = None
    for name, step in steps.items():
        found = [x.numpy() for x in step(*inputs)]
        expected = found if expected is None else expected
        for x, y in zip(found, expected, strict=True):
            error = np.max(np.abs(x - y)) / np.max(np.abs(y))
            if error > 1e-4:
                raise ValueError(f"{name}: relative error {error:.1e}")
    times = {name: [] for name in steps}
    for _ in range(FLAGS.runs):
        for name, step in steps.items():
            start = time.perf_counter()
            step(*inputs)[-1].numpy()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def main(_):
    """Prints one JSON line a size, mode and formulation."""
    chosen = {BASELINE, *(FLAGS.variant or VARIANTS)}
    for size in FLAGS.size:
        rows, steps, width, cells = map(int, size.split("x"))
        inputs = make_inputs(rows, steps, width, cells)
        for train in (False, True):
            functions = {
                name: make_step(function, xla, train)
                for name, (function, xla) in VARIANTS.items()
                if name in chosen
            }
            seconds = measure(functions, inputs)
            for name, median in seconds.items():
                row = {
                    "size": size,
                    "mode": "train" if train else "inference",
                    "formulation": name,
                    "tokens_per_second": round(rows * steps / median),
                    "ratio": round(seconds[BASELINE] / median, 2),
                }
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    startup.run(main)
