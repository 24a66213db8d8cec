"""What is made a graph of: a whole step, as users have it, or only its parts.

To make the graph of a whole step takes seconds, which a run of thousands of steps never
notices, and a test of six waits for. So tests may run a step operation by operation;
loops then are graphs of their own, made once a process.
"""

import contextvars
import functools
from collections.abc import Callable, Hashable

import tensorflow as tf

# Whether a step is one graph. What it computes stays what it is.
WHOLE_STEPS = True
# What has been made of weights that stay as they are, by what it was made of.
_KEPT: contextvars.ContextVar[dict | None] = contextvars.ContextVar(
    "kept", default=None
)


def step(function: Callable, **options: object) -> Callable:
    """Makes a graph of what runs once a batch.

    Args:
      function: of tensors.
      **options: of tf.function. Autograph is off: it has nothing to convert, and takes
        seconds to find that out.

    Returns:
      The function to call instead.
    """
    if not WHOLE_STEPS:
        return function
    return tf.function(function, autograph=False, **options)


def trace(function: Callable, *specs: object) -> None:
    """Makes what `step` returned a graph now, of all shapes that it will be given.

    Else the first batch makes one for its shape, and the second one for any other.

    Args:
      function: what `step` returned.
      *specs: of its arguments, as of a data set's elements.
    """
    if WHOLE_STEPS:
        function.get_concrete_function(*specs)


def loop(function: Callable) -> Callable:
    """Makes a graph of a function with a loop, where the step around it is none.

    Args:
      function: of tensors, and of what is hashed.
    """
    graph = tf.function(function, autograph=False)

    @functools.wraps(function)
    def call(*arguments):
        return (function if WHOLE_STEPS else graph)(*arguments)

    return call


def asks_only(function: Callable) -> Callable:
    """Lets a function keep what it makes of weights, which stay as they are.

    A small batch takes as long to cast and to join a model's matrices as to be
    multiplied by them.

    Args:
      function: runs a model that is trained no more.
    """
    kept = {}

    @functools.wraps(function)
    def call(*arguments, **keywords):
        token = _KEPT.set(kept)
        try:
            return function(*arguments, **keywords)
        finally:
            _KEPT.reset(token)

    return call


def of_weights(make: Callable[[], tf.Tensor], *layers: Hashable) -> tf.Tensor:
    """Makes what depends on weights alone; inside `asks_only`, once.

    Args:
      make: called without arguments.
      *layers: whose weights; one thing alone is made of the same ones.
    """
    kept = _KEPT.get()
    if kept is None:
        return make()
    if layers not in kept:
        with tf.init_scope():  # a value, which graphs hold and do not copy
            kept[layers] = make()
    return kept[layers]
