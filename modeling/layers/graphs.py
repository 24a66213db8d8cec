"""What is made a graph of: a whole step, as users have it, or only its parts.

To make the graph of a whole step takes seconds, which a run of thousands of steps never
notices, and a test of six waits for. So tests may run a step operation by operation;
loops, and the clusters of `fused`, then are graphs of their own, made once a process.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

# Whether a step is one graph. What it computes stays what it is.
WHOLE_STEPS = True


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
