"""word2vec in TensorFlow: products of matrices, of a stretch of words at a time.

    H                        what predicts, [C, D]: the vectors of a stretch's words and
                             of those around them; in CBOW, of each word the mean
    Y                        what is predicted, [R, D]: the output table's rows for the
                             words, and for K words of the noise, which they share
    S = Y H'                 logits
    E = W (labels - s(S))    errors; W: how often a row of H predicts one of Y, which is
                             0 outside of windows, and a share of `negative` for the
                             noise; s(x) = 1 / (1 + exp(-x))
    dY = E H,  dH = E' Y     steps, but for the learning rate

A few stretches make an update: their steps are computed from the same tables, and added
up. What is right for one step is too much for a hundred in one direction. So those of a
row are divided by 1 + rate x curvature, as if it had moved between them; the curvature
of a logistic loss, |y|^2 s (1 - s), is taken for a constant. W and the divisors depend
on the words alone: they are computed for many updates at once, before the vectors are.
"""

# M updates of a call, B stretches of an update, T words of a stretch, K of its noise,
# P rows for a word, R = T P + K, X = T + 2 window words, C = X, in CBOW T.

import concurrent.futures
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_pipeline.corpora import parallel
from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec
from training.word_vectors import sampling
from training.word_vectors.learner import RunConfig
from training.word_vectors.steps import Step

# TensorFlow adds up more rows of a table in an order of its own.
_MOST_ROWS = 1000


class Sharing(NamedTuple):
    """How much is computed together.

    Attributes:
      words: T, whose noise is the same.
      noise: K, the words of it.
      stretches: B, the most of an update.
      updates: M, of a call.
      damping: the curvature of a word's loss.
    """

    words: int = 16
    noise: int = 32
    stretches: int = 16
    updates: int = 128
    damping: float = 0.25


SHARING = Sharing()


class _Words(NamedTuple):
    """What M updates are made of.

    Attributes:
      words: int32 [M, B, T].
      left: int32 [M, B, T], see sampling.Windows.
      right: int32 [M, B, T].
      contexts: int32 [M, B, X], `words` with those around them.
      noise: int32 [M, B, K].
      rates: float32 [M].
    """

    words: np.ndarray
    left: np.ndarray
    right: np.ndarray
    contexts: np.ndarray
    noise: np.ndarray
    rates: np.ndarray


class _Plan(NamedTuple):
    """All of M updates but the vectors.

    Attributes:
      contexts: int32 [M, B, X], rows of the input table.
      rows: int32 [M, B, R], of the output table.
      labels: float32 [M, B, R, 1].
      row_weights: float32 [M, B, R, C], W x rate / the divisors of the output table.
      weights: float32 [M, B, R, C], W x rate / the divisors of the input table; in CBOW
        without them.
      means: float32 [M, B, T, X], H = means x; skip-gram has none.
      spread: float32 [M, B, T, X], who gets steps of H, / the divisors; so here.
    """

    contexts: tf.Tensor
    rows: tf.Tensor
    labels: tf.Tensor
    row_weights: tf.Tensor
    weights: tf.Tensor
    means: tf.Tensor
    spread: tf.Tensor


class Engine:
    """Trains the model's own tables, on a CPU or a GPU.

    A second thread prepares what is computed next, and does what does not depend on the
    first; on a CPU, all sums are of the same numbers in the same order for any number.

    Attributes:
      variables: the tables, see loop.Training.
      num_epochs: how often the text is read.
    """

    def __init__(
        self, learner, counts: np.ndarray, run: RunConfig, sharing: Sharing = SHARING
    ):
        """Makes the tables.

        Args:
          learner: the training.word_vectors.word2vec.Word2vec.
          counts: int64 [V], of the words of the vocabulary, `</s>` first.
          run: the seed, and on how many threads.
          sharing: how much is computed together.
        """
        _use_threads(run.threads)
        self._config = config = learner.config(len(counts))
        model = word2vec.Word2vecModel(config, seed=run.seed)
        model.build()
        self._tables = model.input_embeddings.value, model.output_embeddings.value
        self.variables = dict(
            zip((word2vec.INPUTS, word2vec.OUTPUTS), self._tables, strict=True)
        )
        self.num_epochs = learner.iter
        self._seed, self._threads = run.seed, run.threads
        self._window, self._alpha = learner.window, learner.alpha
        self._sampler = sampling.Sampler(
            counts, learner.sample, learner.window, run.seed
        )
        noise = sampling.noise_distribution(counts)
        self._noise_starts = np.cumsum(noise)[:-1]  # of all words but the first
        targets = word2vec.targets(config, counts)
        self._targets, self._labels = (tf.constant(table) for table in targets)
        if not config.negative:
            sharing = sharing._replace(noise=0)
        rows = sharing.words * targets.rows.shape[1] + sharing.noise
        fitting = _MOST_ROWS // max(rows, sharing.words + 2 * learner.window)
        self._sharing = sharing._replace(
            stretches=max(1, min(sharing.stretches, fitting))
        )

    def initialize(self) -> None:
        """Does nothing: the model has its initial values."""

    def train(self, block: Block, step: Step) -> Mapping[str, float]:
        """Goes through a block.

        Args:
          block: of words of the vocabulary.
          step: where it is.

        Returns:
          `loss`, the mean of each word and context, or in CBOW, of each word, of some
          of the updates; `alpha`.
        """
        windows = self._sampler.draw(block, step.number)
        updates = -(-len(windows.words) // self._update_words)
        shares = np.linspace(step.start, step.end, updates, endpoint=False)
        rates = (self._alpha * np.maximum(1 - shares, 1e-4)).astype(np.float32)
        found = self._words(windows, rates, step.number)
        loss = weight = 0.0
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            plans = map(self._planned, found)
            if self._threads > 1:
                plans = parallel.in_order(pool, self._planned, found, 1)
            for words, plan, first_weights in plans:
                updates = np.int32(np.count_nonzero(words.rates))
                loss += float(self._train(plan, first_weights, updates))
                reach = words.left[0] + words.right[0]
                weight += (reach > 0 if self._config.cbow else reach).sum()
        loss = float(loss / max(1, weight))
        return {"loss": loss, "alpha": self._alpha * (1 - step.start)}

    def draw_noise(self, number: int, call: int) -> np.ndarray:
        """Draws words of the noise.

        Args:
          number: of the block.
          call: from 0, the block's.

        Returns:
          int32 [M, B, K].
        """
        sharing = self._sharing
        random = np.random.default_rng([self._seed, number, call + 1])
        drawn = random.random([sharing.updates, sharing.stretches, sharing.noise])
        return np.searchsorted(self._noise_starts, drawn, "right").astype(np.int32)

    @property
    def _update_words(self):
        return self._sharing.stretches * self._sharing.words

    def _words(
        self, windows: sampling.Windows, rates: np.ndarray, number: int
    ) -> Iterator[_Words]:
        """Cuts a block into calls; behind its end are words without a window.

        Args:
          windows: the block's.
          rates: float32 [updates].
          number: of the block.
        """
        if not rates.size:
            return
        sharing, around = self._sharing, self._window
        calls = -(-len(rates) // sharing.updates)
        shape = calls, sharing.updates, sharing.stretches, sharing.words
        size = np.prod(shape, dtype=int)
        padded = _padded(windows.words, size + around)
        padded = np.concatenate([np.zeros(around, np.int32), padded])
        contexts = np.lib.stride_tricks.sliding_window_view(
            padded, sharing.words + 2 * around
        )[:: sharing.words]
        words = padded[around : around + size].reshape(shape)
        left, right = (
            _padded(side, size).reshape(shape) for side in (windows.left, windows.right)
        )
        contexts = contexts.reshape(*shape[:3], -1)
        rates = _padded(rates, calls * sharing.updates).reshape(calls, -1)
        for call in range(calls):
            noise = self.draw_noise(number, call)
            yield _Words(
                words[call], left[call], right[call], contexts[call], noise, rates[call]
            )

    def _planned(self, words):
        return words, *self._plan(*words)

    @tf.function(reduce_retracing=True)
    def _plan(self, words, left, right, contexts, noise, rates):
        """Returns a call's _Plan, and W of its first update; see _Words."""
        shape = words.shape[:2]
        rows, labels = (
            tf.reshape(tf.gather(table, words), [*shape, -1])
            for table in (self._targets, self._labels)
        )
        weights, band = self._weigh(words, left, right, labels, noise)
        first_weights = weights[0]
        rows = tf.maximum(tf.concat([rows, noise], -1), 0)
        labels = tf.concat([tf.cast(labels, tf.float32), tf.zeros(noise.shape)], -1)
        sums, row_sums = tf.reduce_sum(weights, -2), tf.reduce_sum(weights, -1)
        means = spread = tf.zeros([shape[0]])
        if self._config.cbow:
            means = tf.math.divide_no_nan(band, tf.reduce_sum(band, -1, keepdims=True))
            sums = tf.linalg.matvec(means, sums, transpose_a=True)
        rate = rates[:, None, None]
        inputs, outputs = self._config.input_shape[0], self._config.output_shape[0]
        damping = self._sharing.damping * rate
        scale = 1 / (1 + damping * _added_up(contexts, sums, inputs))
        row_scale = rate / (1 + damping * _added_up(rows, row_sums, outputs))
        row_weights = weights * row_scale[..., None]
        if self._config.cbow:
            weights *= rate[..., None]
            spread = band * scale[:, :, None]
        else:
            weights *= rate[..., None] * scale[:, :, None]
        plan = _Plan(
            contexts, rows, labels[..., None], row_weights, weights, means, spread
        )
        return plan, first_weights

    @tf.function(jit_compile=True)
    def _weigh(self, words, left, right, labels, noise):
        """Returns W, and which words are in whose window: float32 [M, B, T, X]."""
        sharing = self._sharing
        places = np.arange(sharing.words + 2 * self._window) - self._window
        offset = places - np.arange(sharing.words)[:, None]
        band = (offset >= -left[..., None]) & (offset <= right[..., None])
        band = tf.cast(band & (offset != 0), tf.float32)
        reach = band
        if self._config.cbow:
            reach = tf.linalg.diag(tf.cast(left + right > 0, tf.float32))
        real = tf.cast(tf.reshape(labels, [*words.shape, -1]) >= 0, tf.float32)
        weights = reach[:, :, :, None] * real[..., None]
        weights = tf.reshape(weights, [*words.shape[:2], -1, reach.shape[-1]])
        if self._config.negative:  # but for the word itself
            other = tf.cast(noise[..., None] != words[:, :, None], tf.float32)
            share = self._config.negative / sharing.noise
            weights = tf.concat([weights, share * tf.matmul(other, reach)], 2)
        return weights, band

    @tf.function(reduce_retracing=True)
    def _train(self, plan, first_weights, number):
        """Makes the first `number` updates; returns the first one's loss, a sum.

        Args:
          plan: _Plan.
          first_weights: float32 [B, R, C], W of the first update.
          number: int [].
        """
        first = _Plan(*(values[0] for values in plan))
        _, _, logits = self._look_up(first)
        losses = tf.math.softplus((1 - 2 * first.labels) * logits)
        for m in tf.range(number):
            self._update(_Plan(*(values[m] for values in plan)))
        return tf.reduce_sum(first_weights * losses)

    def _look_up(self, plan):
        """H, Y and S of an update's stretches."""
        hidden = tf.gather(self._tables[0], plan.contexts)
        predicted = tf.gather(self._tables[1], plan.rows)
        if self._config.cbow:
            hidden = tf.matmul(plan.means, hidden)
        return hidden, predicted, tf.matmul(predicted, hidden, transpose_b=True)

    def _update(self, plan):
        hidden, predicted, logits = self._look_up(plan)
        errors = plan.labels - tf.sigmoid(logits)
        row_steps = tf.matmul(plan.row_weights * errors, hidden)
        steps = tf.matmul(plan.weights * errors, predicted, transpose_a=True)
        if self._config.cbow:  # the mean's whole step for each word
            steps = tf.matmul(plan.spread, steps, transpose_a=True)
        changes = (plan.contexts, steps), (plan.rows, row_steps)
        for table, (places, values) in zip(self._tables, changes, strict=True):
            tf.raw_ops.ResourceScatterAdd(
                resource=table.handle, indices=places, updates=values
            )


def _use_threads(number):
    """Has TensorFlow compute on so many threads, if it has not begun on others."""
    try:
        tf.config.threading.set_inter_op_parallelism_threads(number)
        # Several threads for one operation: these are too small for that.
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        pass


def _padded(values, size):
    return np.concatenate([values, np.zeros(size - len(values), values.dtype)])


def _added_up(places, values, size):
    """Adds up, in each update, the values of the same place.

    Args:
      places: int32 [M, B, N], of a table.
      values: float32 [M, B, N].
      size: of the table.

    Returns:
      float32 [M, B, N], each place's sum wherever it occurs.
    """
    update = tf.range(places.shape[0], dtype=tf.int64)[:, None, None]
    keys = update * size + tf.cast(places, tf.int64)
    _, same = tf.unique(tf.reshape(keys, [-1]))
    flat = tf.reshape(values, [-1])
    sums = tf.math.unsorted_segment_sum(flat, same, flat.shape[0])
    return tf.reshape(tf.gather(sums, same), values.shape)
