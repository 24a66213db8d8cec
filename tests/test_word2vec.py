"""word2vec's tables: what is kept, what is drawn as noise, and the Huffman tree."""

import heapq
import pathlib

import numpy as np
import pytest

from errors import UserError
from modeling import word2vec

GOLDEN = pathlib.Path(__file__).parent / "golden/word2vec/vocab_tables.npz"


@pytest.fixture(scope="module")
def golden():
    """What word2vec.c made of WikiText-2."""
    return np.load(GOLDEN)


def test_the_huffman_code_is_the_originals(golden):
    code = word2vec.huffman_code(golden["counts"])
    np.testing.assert_array_equal(np.diff(code.starts), golden["code_length"])
    np.testing.assert_array_equal(code.padded(code.codes), golden["huffman_codes"])
    np.testing.assert_array_equal(code.padded(code.nodes), golden["huffman_points"])


def test_no_prefix_code_is_shorter():
    counts = np.sort(np.random.default_rng(2).zipf(1.4, 300))[::-1].copy()
    code = word2vec.huffman_code(counts)
    lengths = np.diff(code.starts)
    heap, cost = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    assert (lengths * counts).sum() == cost
    assert np.exp2(-lengths.astype(float)).sum() == 1
    ways = np.split(code.codes, code.starts[1:-1])
    assert len({tuple(way.tolist()) for way in ways}) == len(counts)


def test_the_noise_has_the_originals_slots(golden):
    slots = word2vec.noise_slots(golden["counts"])
    np.testing.assert_array_equal(slots, golden["unigram_table_slots"])
    found = word2vec.noise_distribution(golden["counts"])
    np.testing.assert_allclose(found, golden["unigram_prob_formula"], rtol=1e-12)


@pytest.mark.parametrize("size", [30, 100, 1000])
def test_slots_are_those_of_the_loop_that_fills_the_table(size):
    counts = np.array([1000, 90, 5, *[1] * 20])
    probability = counts**0.75 / (counts**0.75).sum()
    word, until, slots = 0, probability[0], np.zeros(len(counts), int)
    for slot in range(size):
        slots[word] += 1
        if slot / size > until:
            word += 1
            until += probability[min(word, len(counts) - 1)]
        word = min(word, len(counts) - 1)
    assert word2vec.noise_slots(counts, size).tolist() == slots.tolist()


def test_words_are_kept_as_often_as_in_the_original(golden):
    found = word2vec.keep_probabilities(golden["counts"], 1e-3)
    assert found.dtype == np.float32
    expected = golden["keep_prob_sample1e_3_from_C"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (word2vec.keep_probabilities(golden["counts"], 0) > 1).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vector_size": 0}, "vector_size is 0"),
        ({"negative": 0}, "nothing would be learnt"),
        ({"vector_size": 2**30}, "vocab_size x vector_size"),
    ],
)
def test_impossible_models_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        word2vec.Word2vecConfig(**{"vocab_size": 7, **values})
