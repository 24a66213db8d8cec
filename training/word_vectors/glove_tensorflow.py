"""AdaGrad over co-occurrences in TensorFlow, a batch of pairs at a time."""

import keras
import numpy as np
import tensorflow as tf

from modeling import glove

_LARGEST_BATCH = 1024
_WORDS_A_PAIR = 10


class Engine:
    """Trains the model's own tables, on one thread or a GPU.

    What a batch has several times is computed from the same row, and added up; so
    batches are small where there are few words. A batch of one pair is the original's
    update, and is what `exact` trains.

    Attributes:
      variables: see glove.Engine.
      batch_size: pairs of a batch.
    """

    def __init__(
        self,
        model: glove.GloveModel,
        learner,
        threads: int,
        frozen: tuple[np.ndarray, np.ndarray],
    ):
        """Takes the variables.

        Args:
          model: built.
          learner: the training.word_vectors.glove.Glove.
          threads: how many there are; one is used.
          frozen: see glove.Engine.
        """
        del threads  # which order they would write in, changes the sums' last bits
        self._model = model
        shape, dtype = model.words.shape, model.words.dtype
        self.batch_size = 1
        if not learner.exact:
            self.batch_size = min(max(1, shape[0] // _WORDS_A_PAIR), _LARGEST_BATCH)
        squares = [keras.Variable(tf.ones(shape, dtype), dtype=dtype) for _ in range(2)]
        self._tables = tuple(t.value for t in (model.words, model.contexts))
        self._squares = tuple(square.value for square in squares)
        names = ("words", "contexts", "word_squares", "context_squares")
        self.variables = {
            f"glove/{name}": variable
            for name, variable in zip(
                names, (*self._tables, *self._squares), strict=True
            )
        }
        size = model.config.vector_size
        # The original's biases learn at a rate of 1.
        self._rates = tf.constant([learner.eta] * size + [1.0], dtype)
        self._is_vector = tf.constant([True] * size + [False])
        self._frozen = [tf.constant(rows) for rows in frozen]
        self._clips = tf.constant([glove.CLIP] * size + [np.inf], dtype)

    def close(self) -> None:
        """Nothing was started."""

    def train(self, pairs) -> float:
        """Makes an update for each pair; see glove.Engine."""
        missing = -len(pairs.word) % self.batch_size
        batches = [
            np.append(column, np.zeros(missing, column.dtype)).reshape(
                -1, self.batch_size
            )
            for column in pairs
        ]
        return float(self._train(*batches))

    @tf.function(reduce_retracing=True)
    def _train(self, word, context, count):
        """Makes one update for each batch, in order.

        Args:
          word: int32 [batches, B], i.
          context: int32 [batches, B], j.
          count: float [batches, B], X_ij; 0: there is no pair here.

        Returns:
          The sum of the pairs' costs, float64 [], each before its update.
        """
        config = self._model.config
        weight = glove.weigh(count, config.x_max, config.alpha)
        log_count = tf.math.log(tf.where(count > 0, count, 1.0))
        cost = tf.zeros([], tf.float64)
        for n in tf.range(tf.shape(word)[0]):
            places = word[n], context[n]
            rows, squares = (
                [tf.gather(table, i) for table, i in zip(tables, places, strict=True)]
                for tables in (self._tables, self._squares)
            )
            rates = [
                self._rates_of(rows, i)
                for rows, i in zip(self._frozen, places, strict=True)
            ]
            changes, costs = self._changes(
                *rows, *squares, *rates, weight[n], log_count[n]
            )
            for variable, i, change in zip(
                self._tables + self._squares, places * 2, changes, strict=True
            ):
                tf.raw_ops.ResourceScatterAdd(
                    resource=variable.handle, indices=i, updates=change
                )
            cost += tf.cast(tf.reduce_sum(costs), tf.float64)
        return cost

    @tf.function(jit_compile=True)
    def _changes(self, w, c, w_squares, c_squares, w_rates, c_rates, weight, log_count):
        """What is added to w, c and their sums of squares; and the pairs' costs."""
        error = glove.predict(w, c) - log_count
        gradient = weight * error
        w_step = w_rates * self._clipped(gradient, c)
        c_step = c_rates * self._clipped(gradient, w)
        changes = (
            -w_step * tf.math.rsqrt(w_squares),
            -c_step * tf.math.rsqrt(c_squares),
            w_step**2,
            c_step**2,
        )
        return changes, 0.5 * gradient * error

    def _rates_of(self, frozen, places):
        """The rates of rows, [B, D + 1], or [D + 1] of all."""
        if not len(frozen):
            return self._rates
        still = tf.gather(frozen, places)[:, None] & self._is_vector
        return tf.where(still, tf.zeros_like(self._rates), self._rates)

    def _clipped(self, gradient, other):
        """The gradient of rows that met `other` ones, of vectors clipped."""
        ones = tf.ones_like(other[:, :1])
        gradients = gradient[:, None] * tf.concat([other[:, :-1], ones], 1)
        return tf.clip_by_value(gradients, -self._clips, self._clips)
