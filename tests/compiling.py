"""Whether what TensorFlow runs is compiled and optimized first, as users have it."""

import tensorflow as tf

from modeling.layers import fused

COMPILED = True  # in this process, now


def use(compiled):
    """Says whether from now on graphs are optimized, and clusters compiled by XLA.

    A tiny model's graph is run a few times: to optimize it takes longer than to run it.
    """
    global COMPILED
    COMPILED = fused.COMPILED = compiled
    options = {"disable_meta_optimizer": not compiled}
    tf.config.optimizer.set_experimental_options(options)
