"""word2vec in TensorFlow makes the objective's steps, of many words at a time."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec as model
from training.word_vectors import sampling, word2vec, word2vec_tensorflow
from training.word_vectors.learner import RunConfig
from training.word_vectors.steps import Step
from training.word_vectors.word2vec_tensorflow import SHARING, Sharing

pytestmark = pytest.mark.long

COUNTS = np.array([3, 9, 8, 8, 6, 5, 4, 3, 2, 2, 1])
METHODS = {
    "sg_ns": {"cbow": 0, "negative": 3},
    "cbow_ns": {"cbow": 1, "negative": 3},
    "sg_hs": {"cbow": 0, "negative": 0, "hs": 1},
    "cbow_hs": {"cbow": 1, "negative": 0, "hs": 1},
    "cbow_both": {"cbow": 1, "negative": 2, "hs": 1},
}
ALPHA = 0.5


def text(number, seed=1):
    """A block of lines of 0 to 11 words."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, number)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shares = COUNTS[1:] / COUNTS[1:].sum()
    ids = rng.choice(np.arange(1, 11, dtype=np.int32), offsets[-1], p=shares)
    return Block(ids, offsets)


def made_engine(sharing, threads=1, seed=3, **flags):
    """An engine whose output table is not of zeros."""
    values = {"vector_size": 4, "window": 2, "sample": 0.0, "alpha": ALPHA, "iter": 1}
    learner = word2vec.Word2vec(**values | flags)
    run = RunConfig("", seed=seed, threads=threads)
    nothing = np.zeros(0, bool)
    engine = word2vec_tensorflow.Engine(learner, COUNTS, run, nothing, sharing)
    outputs = engine.variables[model.OUTPUTS]
    outputs.assign(np.random.default_rng(7).normal(size=outputs.shape) / 2)
    return engine


def tables(engine):
    return [engine.variables[n].numpy() for n in (model.INPUTS, model.OUTPUTS)]


def examples(config, windows, first, last, noise):
    """Yields the contexts, rows, labels and weights of some words of a block."""
    targets = model.targets(config, COUNTS)
    for i in range(first, last):
        word = windows.words[i]
        left, right = windows.left[i], windows.right[i]
        around = [*windows.words[i - left : i], *windows.words[i + 1 : i + right + 1]]
        real = targets.labels[word] >= 0
        others = noise[noise != word]
        rows = np.concatenate([targets.rows[word][real], others])
        labels = np.concatenate([targets.labels[word][real], np.zeros(len(others))])
        share = config.negative / max(1, len(noise))
        weights = np.concatenate([np.ones(real.sum()), np.full(len(others), share)])
        groups = [around] if config.cbow else [[context] for context in around]
        for contexts in filter(None, groups):
            yield contexts, rows.astype(np.int32), labels.astype(np.int32), weights


class Update:
    """The gradients of the model's losses, summed up over examples, by autodiff.

    Attributes:
      loss: the sum.
      number: of the examples.
    """

    def __init__(self, config, tables):
        layer = model.Word2vecModel(config)
        layer.build()
        self._losses = layer.losses
        self._tables = layer.input_embeddings.value, layer.output_embeddings.value
        for table, values in zip(self._tables, tables, strict=True):
            table.assign(values)
        self._gradients = [np.zeros_like(values) for values in tables]
        self._curvatures = [np.zeros([len(values), 1]) for values in tables]
        self.loss, self.number = 0.0, 0

    def add(self, contexts, rows, labels, weights):
        """Adds an example, whose losses are weighted."""
        with tf.GradientTape() as tape:
            losses = self._losses(
                tf.constant([contexts] * len(rows)),
                tf.constant(rows[:, None]),
                tf.constant(labels[:, None]),
            )
            loss = tf.reduce_sum(losses * tf.constant(weights, tf.float32))
        for sums, found in zip(
            self._gradients, tape.gradient(loss, self._tables), strict=True
        ):
            sums += tf.convert_to_tensor(found).numpy()
        inputs, outputs = self._curvatures
        np.add.at(inputs, contexts, weights.sum() / len(contexts))
        np.add.at(outputs, rows, weights[:, None])
        self.loss += float(loss)
        self.number += 1

    def step(self, rate, damping):
        """Returns the tables after it."""
        return [
            table.numpy() - rate * gradient / (1 + rate * damping * curvature)
            for table, gradient, curvature in zip(
                self._tables, self._gradients, self._curvatures, strict=True
            )
        ]


def check_steps(sharing, flags, lines):
    """Compares an engine with the losses' gradients, update by update."""
    engine = made_engine(sharing, **flags)
    config = word2vec.Word2vec(**{"vector_size": 4} | flags).config(len(COUNTS))
    block, step = text(lines), Step(2, 0.25, 0.5, False)
    windows = sampling.Sampler(COUNTS, 0.0, 2, 3).draw(block, step.number)
    state, firsts = tables(engine), []
    size = sharing.words * sharing.stretches
    updates = -(-len(windows.words) // size)
    assert updates > 2
    for number in range(updates):
        call, place = divmod(number, sharing.updates)
        noise = engine.draw_noise(step.number, call)[place]
        update = Update(config, state)
        for stretch in range(sharing.stretches):
            first = number * size + stretch * sharing.words
            last = min(first + sharing.words, len(windows.words))
            for example in examples(config, windows, first, last, noise[stretch]):
                update.add(*example)
        if not place:
            firsts.append((update.loss, update.number))
        rate = ALPHA * (1 - 0.25 - 0.25 * number / updates)
        state = update.step(rate, sharing.damping)
    found = engine.train(block, step)
    for expected, table in zip(state, tables(engine), strict=True):
        np.testing.assert_allclose(table, expected, atol=2e-5)
    loss, number = np.sum(firsts, 0)
    np.testing.assert_allclose(found["loss"], loss / number, rtol=1e-4)
    assert found["alpha"] == ALPHA * 0.75


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_the_programs_where_nothing_is_shared(method):
    flags = METHODS[method]
    check_steps(Sharing(1, flags["negative"], 1, updates=8, damping=0), flags, 4)


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_added_up_and_damped_by_how_many_they_are(method):
    sharing = Sharing(words=5, noise=7, stretches=3, updates=2, damping=0.25)
    check_steps(sharing, METHODS[method], 9)


@pytest.mark.parametrize("method", ["sg_ns", "cbow_both"])
def test_several_devices_make_the_steps_of_one(method):
    sharing = Sharing(words=5, noise=7, stretches=3, updates=4)
    found, losses = [], []
    for strategy in ("off", "mirrored"):
        flags = METHODS[method] | {"distribution_strategy": strategy}
        engine = made_engine(sharing, engine="tensorflow", **flags)
        told = engine.train(text(90), Step(1, 0.0, 0.5, True))
        found += [[table.numpy() for table in copies] for copies in engine._tables]
        losses.append(told["loss"])
    one, first, second = found  # there are two devices
    for name, expected in enumerate(one):
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("method", ["sg_ns", "cbow_both"])
def test_two_threads_make_the_same_bytes(method):
    found = []
    for threads, seed in ((1, 3), (2, 3), (1, 4)):
        engine = made_engine(SHARING, threads, seed, **METHODS[method])
        for number in range(2):
            step = Step(number, number / 2, (number + 1) / 2, True)
            engine.train(text(4000, seed=number), step)
        found.append([table.tobytes() for table in tables(engine)])
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_text_without_words_changes_nothing():
    engine = made_engine(SHARING, **METHODS["cbow_both"])
    before = tables(engine)
    found = engine.train(text(0), Step(0, 0.0, 1.0, True))
    assert found["loss"] == 0
    for old, new in zip(before, tables(engine), strict=True):
        np.testing.assert_array_equal(old, new)
