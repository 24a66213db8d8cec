"""--exact is word2vec.c's single thread, number by number."""

import pathlib

import numpy as np
import pytest

from data_pipeline.corpora import word_corpus, word_splitter
from training.word_vectors import word2vec, word2vec_exact
from training.word_vectors.learner import RunConfig
from training.word_vectors.steps import Step

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).parent / "golden/word2vec"
CORPUS = GOLDEN / "tiny_corpus.txt"
FLAGS = {
    "sg_ns": {"cbow": 0, "hs": 0, "negative": 3},
    "cbow_ns": {"cbow": 1, "hs": 0, "negative": 3},
    "sg_hs": {"cbow": 0, "hs": 1, "negative": 0},
    "cbow_hs": {"cbow": 1, "hs": 1, "negative": 0},
}
SHARED = {"vector_size": 8, "window": 3, "sample": 0.01, "iter": 2, "min_count": 3}


@pytest.mark.parametrize("name", FLAGS)
def test_vectors_are_the_originals(tmp_path, name):
    learner = word2vec.Word2vec(**SHARED, **FLAGS[name], exact=True)
    splitter = word_splitter.WordSplitter()
    corpus = word_corpus.read([str(CORPUS)], splitter, str(tmp_path))
    counts = learner.vocabulary(corpus.counts, corpus.num_lines)
    run, frozen = RunConfig(str(tmp_path)), np.zeros(0, bool)
    engine = word2vec_exact.Engine(learner, counts.counts, run, frozen)
    engine.initialize()
    (block,) = corpus.blocks(counts.words)
    engine.train(block, Step(0, 0.0, 1.0, True))
    golden = np.load(GOLDEN / "tiny_training.npz")
    assert counts.words == golden["words"].tolist()
    found = engine.variables["word2vec/input_embeddings"].numpy()
    tolerance = 1e-4 if FLAGS[name]["negative"] else 1e-3
    np.testing.assert_allclose(found, golden[name], atol=tolerance)


def test_random_numbers_are_those_of_the_congruence():
    state, expected = 7, []
    for _ in range(20):
        state = (state * 25214903917 + 11) % 2**64
        expected.append(state)
    assert word2vec_exact.random_numbers(7, 20).tolist() == expected
