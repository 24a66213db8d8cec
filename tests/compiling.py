"""Whether what TensorFlow runs is made a graph of and compiled, as users have it."""

import tensorflow as tf

from modeling.layers import fused, graphs, packing
from optimization import optimizers

COMPILED = WHOLE_STEPS = True  # in this process, now
LEAST = packing.LEAST


def use(compiled, whole_steps):
    """Says what is done from now on before anything is computed.

    Args:
      compiled: whether graphs are optimized, and clusters compiled by XLA. To optimize
        the graph of a tiny model takes longer than to run it a few times.
      whole_steps: whether a step is one graph. It takes as long as hundreds of steps.
    """
    global COMPILED, WHOLE_STEPS
    # Or a test's batch would never be packed; to compile for each number of rows would
    # take seconds a step.
    packing.LEAST = LEAST if compiled else 1
    COMPILED = fused.COMPILED = optimizers.COMPILED = compiled
    WHOLE_STEPS = graphs.WHOLE_STEPS = whole_steps
    options = {"disable_meta_optimizer": not compiled}
    tf.config.optimizer.set_experimental_options(options)
