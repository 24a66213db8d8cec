"""The best score of a run, and what follows when no better one comes."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from errors import UserError

_DROP = 0.1


class Best:
    """The best score so far, and how long ago; saved, so that a resumed run knows.

    Args:
      patience: evaluations without a better score before it runs out; 0 = never.
      drops: how often the learning rate falls to a tenth instead of ending the run.

    Raises:
      UserError: drops, but a patience that never runs out.
    """

    def __init__(self, patience: int, drops: int = 0):
        if drops and not patience:
            raise UserError(
                f"--learning_rate_drops={drops} needs an --early_stopping_patience, "
                "after which the rate falls"
            )
        self._patience, self._drops = patience, drops
        self._score = tf.Variable(-np.inf, dtype=tf.float64, trainable=False)
        self._since = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._dropped = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.state = {
            "trainer/best_score": self._score,
            "trainer/evaluations_since_best": self._since,
            "trainer/evaluated_step": self._step,
        }
        if drops:
            self.state["trainer/learning_rate_drops"] = self._dropped

    @property
    def found(self) -> bool:
        """Whether there is a best model."""
        return self._score.numpy() > -np.inf

    def is_known(self, step: int) -> bool:
        """Whether the score of that step was taken in before."""
        return self._step.numpy() >= step

    def update(self, step: int, score: float) -> bool:
        """Takes in a score; returns whether it is the best."""
        better = score > self._score.numpy()
        if better:
            self._score.assign(score)
        self._since.assign(0 if better else self._since.numpy() + 1)
        self._step.assign(step)
        return better

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return 0 < self._patience <= self._since.numpy()

    def drop(self) -> bool:
        """Lowers the rate, if it may still fall, for which patience is new."""
        if self._dropped.numpy() == self._drops:
            return False
        self._dropped.assign_add(1)
        self._since.assign(0)
        return True

    def schedule(
        self, rates: Callable[[tf.Tensor], tf.Tensor]
    ) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns learning rates by step, as they are after the drops so far."""
        return lambda step: rates(step) * _DROP ** tf.cast(self._dropped, tf.float32)
