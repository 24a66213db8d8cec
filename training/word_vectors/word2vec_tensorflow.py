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
from training.strategy import DistributionConfig, make_strategy
from training.word_vectors import sampling
from training.word_vectors.learner import RunConfig
from training.word_vectors.steps import Step

# TensorFlow adds up more rows of a table in an order of its own.
_MOST_ROWS = 1000
# Of so many updates, one's loss is looked at.
_LOSS_EVERY = 16


class Sharing(NamedTuple):
    """How much is computed together.

    Attributes:
      words: T, whose noise is the same.
      noise: K, the words of it.
      stretches: B, the most of an update.
      updates: M, of a call.
      damping: the curvature of a word's loss.
    """

    words: int = 24
    noise: int = 32
    stretches: int = 10
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


class _OfWords(NamedTuple):
    """What is looked up for a word.

    Attributes:
      rows: int32 [V, P], see word2vec.Targets.
      labels: int8 [V, P].
      moves: bool [V], whether its input vector is trained.
    """

    rows: tf.Tensor
    labels: tf.Tensor
    moves: tf.Tensor


class _Method(NamedTuple):
    """What the functions depend on, beside shapes.

    Attributes:
      cbow: bool.
      negative: int, words of the noise for each true one.
      window: int.
      damping: float, see Sharing.
    """

    cbow: bool
    negative: int
    window: int
    damping: float


class _Updates(NamedTuple):
    """All of M updates but the vectors; or without M, all of one.

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


class _Plan(NamedTuple):
    """A call.

    Attributes:
      updates: _Updates.
      loss_weights: float32 [M / 16, B, R, C], W of every sixteenth one, for the loss.
    """

    updates: _Updates
    loss_weights: tf.Tensor


class Engine:
    """Trains the model's own tables, on a CPU, or one or several GPUs.

    A second thread prepares what is computed next, and does what does not depend on the
    first; on a CPU, all sums are of the same numbers in the same order for any number.

    Several devices have a copy of the tables each. They share the stretches of an
    update, and each makes the steps of all, in the same order: those of one device but
    for rounding. (A strategy's own sums would be of whole tables.)

    Attributes:
      variables: the tables, see loop.Training.
      num_epochs: how often the text is read.
    """

    def __init__(
        self,
        learner,
        counts: np.ndarray,
        run: RunConfig,
        frozen: np.ndarray,
        sharing: Sharing = SHARING,
    ):
        """Makes the tables.

        Args:
          learner: the training.word_vectors.word2vec.Word2vec.
          counts: int64 [V], of the words of the vocabulary, `</s>` first.
          run: the seed, and on how many threads.
          frozen: bool [V], input vectors that stay as they are; [0]: none.
          sharing: how much is computed together.
        """
        _use_threads(run.threads)
        config = learner.config(len(counts))
        strategy = make_strategy(DistributionConfig(learner.distribution_strategy))
        with strategy.scope():
            model = word2vec.Word2vecModel(config, seed=run.seed)
            model.build()
        tables = model.input_embeddings.value, model.output_embeddings.value
        self.variables = dict(
            zip((word2vec.INPUTS, word2vec.OUTPUTS), tables, strict=True)
        )
        # Of each device.
        copies = map(strategy.experimental_local_results, tables)
        self._tables = tuple(zip(*copies, strict=True))
        self.num_epochs = learner.iter
        self._seed, self._threads, self._alpha = run.seed, run.threads, learner.alpha
        self._sampler = sampling.Sampler(
            counts, learner.sample, learner.window, run.seed
        )
        noise = sampling.noise_distribution(counts)
        self._noise_starts = np.cumsum(noise)[:-1]  # of all words but the first
        if not frozen.size:
            frozen = np.zeros(len(counts), bool)
        targets = word2vec.targets(config, counts)
        self._of_words = _OfWords(*map(tf.constant, (*targets, ~frozen)))
        if not config.negative:
            sharing = sharing._replace(noise=0)
        rows = sharing.words * targets.rows.shape[1] + sharing.noise
        fitting = _MOST_ROWS // max(rows, sharing.words + 2 * learner.window)
        self._sharing = sharing._replace(
            stretches=max(1, min(sharing.stretches, fitting))
        )
        self._method = _Method(
            config.cbow, config.negative, learner.window, sharing.damping
        )

    def initialize(self) -> None:
        """Does nothing: the model has its initial values."""

    def train(self, block: Block, step: Step) -> Mapping[str, float]:
        """Goes through a block.

        Args:
          block: of words of the vocabulary.
          step: where it is.

        Returns:
          `loss`, the mean of each word and context, or in CBOW, of each word; of every
          sixteenth update, before the call that it is in. And `alpha`.
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
            for words, plan in plans:
                updates = np.int32(np.count_nonzero(words.rates))
                loss += float(_train(self._method.cbow, self._tables, plan, updates))
                reach = (words.left + words.right)[::_LOSS_EVERY]
                weight += (reach > 0 if self._method.cbow else reach).sum()
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
        sharing, around = self._sharing, self._method.window
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
        return words, _plan(self._method, self._of_words, words)


@tf.function
def _plan(method, of_words, found):
    """Computes a call's _Plan of its _Words."""
    shape = found.words.shape[:2]
    rows, labels = (
        tf.reshape(tf.gather(table, found.words), [*shape, -1])
        for table in (of_words.rows, of_words.labels)
    )
    weights, band = _weigh(method, labels, found)
    loss_weights = weights[::_LOSS_EVERY]
    rows = tf.maximum(tf.concat([rows, found.noise], -1), 0)
    labels = tf.concat([tf.cast(labels, tf.float32), tf.zeros(found.noise.shape)], -1)
    sums, row_sums = tf.reduce_sum(weights, -2), tf.reduce_sum(weights, -1)
    means = spread = tf.zeros(shape)
    if method.cbow:
        means = tf.math.divide_no_nan(band, tf.reduce_sum(band, -1, keepdims=True))
        sums = tf.linalg.matvec(means, sums, transpose_a=True)
    rate = found.rates[:, None, None]
    damping = method.damping * rate
    moves = tf.cast(tf.gather(of_words.moves, found.contexts), tf.float32)
    scale = moves / (1 + damping * _added_up(found.contexts, sums))
    row_scale = rate / (1 + damping * _added_up(rows, row_sums))
    row_weights = weights * row_scale[..., None]
    if method.cbow:
        weights *= rate[..., None]
        spread = band * scale[:, :, None]
    else:
        weights *= rate[..., None] * scale[:, :, None]
    updates = _Updates(
        found.contexts, rows, labels[..., None], row_weights, weights, means, spread
    )
    return _Plan(updates, loss_weights)


@tf.function(jit_compile=True)
def _weigh(method, labels, found):
    """Returns W, and which words are in whose window: float32 [M, B, T, X]."""
    words, left, right = found.words, found.left, found.right
    places = np.arange(found.contexts.shape[-1]) - method.window
    offset = places - np.arange(words.shape[-1])[:, None]
    band = (offset >= -left[..., None]) & (offset <= right[..., None])
    band = tf.cast(band & (offset != 0), tf.float32)
    reach = band
    if method.cbow:
        reach = tf.linalg.diag(tf.cast(left + right > 0, tf.float32))
    real = tf.cast(tf.reshape(labels, [*words.shape, -1]) >= 0, tf.float32)
    weights = reach[:, :, :, None] * real[..., None]
    weights = tf.reshape(weights, [*words.shape[:2], -1, reach.shape[-1]])
    if method.negative:  # but for the word itself
        other = tf.cast(found.noise[..., None] != words[:, :, None], tf.float32)
        share = method.negative / found.noise.shape[-1]
        weights = tf.concat([weights, share * tf.matmul(other, reach)], 2)
    return weights, band


@tf.function
def _train(cbow, devices, plan, number):
    """Makes the first `number` updates of each device's tables.

    Returns:
      A sum of losses before them.
    """
    some = _Updates(*(values[::_LOSS_EVERY] for values in plan.updates))
    _, _, logits = _look_up(cbow, devices[0], some)
    losses = tf.math.softplus((1 - 2 * some.labels) * logits)
    for m in tf.range(number):
        update = _Updates(*(values[m] for values in plan.updates))
        steps = _steps_on(cbow, devices, update)
        places = update.contexts, update.rows
        for tables in devices:
            for table, indices, values in zip(tables, places, steps, strict=True):
                with tf.device(table.device):
                    tf.raw_ops.ResourceScatterAdd(
                        resource=table.handle, indices=indices, updates=values
                    )
    return tf.reduce_sum(plan.loss_weights * losses)


def _steps_on(cbow, devices, update):
    """The steps of all stretches of an update; each device computes those of some."""
    if len(devices) == 1:
        return _steps(cbow, devices[0], update)
    ends = np.linspace(0, update.rows.shape[0], len(devices) + 1).astype(int)
    found = []
    for tables, start, end in zip(devices, ends[:-1], ends[1:], strict=True):
        if start < end:
            with tf.device(tables[0].device):
                part = _Updates(*(values[start:end] for values in update))
                found.append(_steps(cbow, tables, part))
    return [tf.concat(parts, 0) for parts in zip(*found, strict=True)]


def _steps(cbow, tables, update):
    """What is added to the rows of both tables that stretches look up."""
    hidden, predicted, logits = _look_up(cbow, tables, update)
    errors = update.labels - tf.sigmoid(logits)
    row_steps = tf.matmul(update.row_weights * errors, hidden)
    steps = tf.matmul(update.weights * errors, predicted, transpose_a=True)
    if cbow:  # the mean's whole step for each word
        steps = tf.matmul(update.spread, steps, transpose_a=True)
    return steps, row_steps


def _look_up(cbow, tables, update):
    """H, Y and S of an update's stretches."""
    hidden = tf.gather(tables[0], update.contexts)
    predicted = tf.gather(tables[1], update.rows)
    if cbow:
        hidden = tf.matmul(update.means, hidden)
    return hidden, predicted, tf.matmul(predicted, hidden, transpose_b=True)


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


def _added_up(places, values):
    """Adds up, in each update, the values of the same place.

    Args:
      places: int32 [M, B, N], of a table.
      values: float32 [M, B, N].

    Returns:
      float32 [M, B, N], each place's sum wherever it occurs.
    """
    places = tf.cast(places, tf.int64)
    update = tf.range(places.shape[0], dtype=tf.int64)[:, None, None]
    keys = update * (tf.reduce_max(places) + 1) + places
    _, same = tf.unique(tf.reshape(keys, [-1]))
    flat = tf.reshape(values, [-1])
    sums = tf.math.unsorted_segment_sum(flat, same, flat.shape[0])
    return tf.reshape(tf.gather(sums, same), values.shape)
