"""Random draws of the input pipeline, all of them stateless.

The bits are those of tf.random's own functions, of a fraction of their operations: it
takes long to make a pipeline of many.
"""

import tensorflow as tf

# What a draw is for; folded into the seed so that no two draws are related.
FILE_ORDER, RECORD_ORDER, BATCH_ORDER, TURNS, TURNS_DRAWN = range(5)


def fold(seed: int | tf.Tensor, *numbers: int | tf.Tensor) -> tf.Tensor:
    """A stateless seed, int64 [2], of its own for every (seed, *numbers).

    The bits are tf.random.fold_in's, which makes forty operations of what is five.
    """
    if isinstance(seed, int):
        seed = tf.constant([seed, 0], tf.int64)
    for number in numbers:
        drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[1], **_generator(seed), dtype=tf.int64
        )
        seed = tf.concat([drawn, tf.reshape(tf.cast(number, tf.int64), [1])], axis=0)
    return seed


def shuffled(values: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """`values` in the order that the stateless seed `draw` gives.

    The order is tf.random.experimental.stateless_shuffle's.
    """
    return tf.raw_ops.StatelessShuffle(value=values, **_generator(draw))


def _generator(seed: tf.Tensor) -> dict[str, tf.Tensor | int]:
    """What a stateless operation draws from: Philox (1), whatever the device."""
    with tf.device("CPU"):
        drawn = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    return {"key": drawn.key, "counter": drawn.counter, "alg": 1}
