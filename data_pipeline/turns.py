"""Whose turn it is: which of several data sets each training batch is of.

Like the order of the records, a pure function of (seed, position).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_pipeline import batching, draws

_ROUNDS = 256  # drawn at once, see `with_replacement`


def by_epoch(
    batches: Sequence[int], seed: int, start_step: int, extra: int | None = None
) -> tuple[tf.data.Dataset, list[int]]:
    """Says which data set each batch is of, in an order drawn anew each epoch.

    Args:
      batches: how many batches of each data set an epoch has.
      seed: of the order.
      start_step: batches to leave out.
      extra: so many of an epoch's batches are not of the first data set, drawn anew
        each epoch from those that `batches` says, without replacement; None: all.

    Returns:
      Infinite dataset of int32 [], places in `batches`; and how many batches of each
      data set were left out.
    """
    epoch_turns = np.repeat(np.arange(len(batches), dtype=np.int32), batches)
    first, others = epoch_turns[: batches[0]], epoch_turns[batches[0] :]
    kept = len(others) if extra is None else min(extra, len(others))
    first_epoch, skipped = divmod(start_step, len(first) + kept)

    @batching.as_it_is
    def of_epoch(epoch: tf.Tensor) -> tf.Tensor:
        found = tf.constant(epoch_turns)
        if kept < len(others):
            drawn = draws.shuffled(
                tf.constant(others), draws.fold(seed, draws.TURNS_DRAWN, epoch)
            )
            found = tf.concat([first, drawn[:kept]], axis=0)
        return draws.shuffled(found, draws.fold(seed, draws.TURNS, epoch))

    def counted(found: np.ndarray) -> np.ndarray:
        return np.bincount(found, minlength=len(batches))

    past = counted(of_epoch(first_epoch)[:skipped])
    if kept == len(others):
        past += first_epoch * np.array(batches)
    else:
        past += sum(counted(of_epoch(epoch)) for epoch in range(first_epoch))
    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return batching.finish(epochs.map(of_epoch).unbatch().skip(skipped)), past.tolist()


def with_replacement(
    shares: np.ndarray, seed: int, start_step: int
) -> tuple[tf.data.Dataset, list[int]]:
    """Says which data set each batch is of, drawing with replacement.

    Args:
      shares: float [R, N], how likely each of N data sets is at each of the R steps of
        a round; rounds repeat.
      seed: of what is drawn.
      start_step: batches to leave out.

    Returns:
      Infinite dataset of int32 [], places in 0 to N - 1; and how many batches of each
      data set were left out.
    """
    length, number = shares.shape
    bounds = np.cumsum(shares, axis=1) / np.sum(shares, axis=1, keepdims=True)
    # The last that may be drawn is drawn beyond all bounds but its own.
    bounds = tf.constant(np.where(bounds > 1 - 1e-9, 1.0, bounds), tf.float32)
    first_block, skipped = divmod(start_step, _ROUNDS * length)

    @batching.as_it_is
    def of_block(block: tf.Tensor | int) -> tf.Tensor:
        drawn = tf.random.stateless_uniform(
            [_ROUNDS, length, 1], draws.fold(seed, draws.TURNS, block)
        )
        return tf.reshape(
            tf.math.count_nonzero(drawn >= bounds, axis=2, dtype=tf.int32), [-1]
        )

    past = np.zeros(number, np.int64)
    for block in range(first_block + 1):
        found = of_block(block).numpy()
        found = found[:skipped] if block == first_block else found
        past += np.bincount(found, minlength=number)
    blocks = tf.data.Dataset.range(first_block, tf.int64.max)
    return batching.finish(blocks.map(of_block).unbatch().skip(skipped)), past.tolist()
