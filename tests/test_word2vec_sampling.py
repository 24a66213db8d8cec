"""What is drawn from a text for word2vec."""

import numpy as np
import pytest

from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec
from training.word_vectors.sampling import Sampler, noise_distribution

COUNTS = np.array([40, 900, 300, 80, 9, 5])


def make_block(lengths, seed=1):
    offsets = np.cumsum([0, *lengths])
    ids = np.random.default_rng(seed).integers(1, len(COUNTS), offsets[-1], np.int32)
    return Block(ids, offsets)


def test_windows_stay_within_sentences_and_every_width_is_as_likely():
    lengths = [0, 7, 0, 0, 1, 12, 3, 0, 4000]
    block = make_block(lengths)
    block.ids[[2, 5]] = 0  # </s>
    found = Sampler(COUNTS, 0.0, 4, seed=3).draw(block, 5)
    sentences = [2, 2, 1, 1, 12, 3, 4000]
    np.testing.assert_array_equal(found.words, block.ids[block.ids > 0])
    places = np.concatenate([np.arange(length) for length in sentences])
    rest = np.concatenate([np.arange(length)[::-1] for length in sentences])
    assert (found.left <= places).all()
    assert (found.right <= rest).all()
    widths = np.maximum(found.left, found.right)
    inner = np.minimum(places, rest) >= 4
    assert (found.left == np.minimum(widths, places))[inner].all()
    assert (found.left == found.right)[inner].all()
    shares = np.bincount(widths[inner], minlength=5) / inner.sum()
    np.testing.assert_allclose(shares, [0, *[0.25] * 4], atol=0.03)


def test_frequent_words_are_left_out_as_often_as_in_the_original():
    block = make_block([5] * 20_000)
    found = Sampler(COUNTS, 1e-2, 2, seed=3).draw(block, 0)
    keep = np.minimum(word2vec.keep_probabilities(COUNTS, 1e-2), 1)
    assert keep[1] < 0.3
    before = np.bincount(block.ids, minlength=len(COUNTS))
    after = np.bincount(found.words, minlength=len(COUNTS))
    np.testing.assert_allclose(after[1:] / before[1:], keep[1:], atol=0.02)


def test_what_is_left_out_makes_room_for_other_words():
    counts = np.array([1, 10**9, 1, 1, 1])
    block = Block(np.array([2, 1, 1, 3, 1, 4], np.int32), np.array([0, 6]))
    found = Sampler(counts, 1e-9, 1, seed=0).draw(block, 0)
    assert found.words.tolist() == [2, 3, 4]
    assert found.left.tolist() == [0, 1, 1]
    assert found.right.tolist() == [1, 1, 0]


def test_draws_follow_from_seed_and_number_alone():
    block = make_block([50] * 9)

    def draw(seed, number):
        return np.concatenate(Sampler(COUNTS, 1e-2, 3, seed).draw(block, number))

    np.testing.assert_array_equal(draw(1, 2), draw(1, 2))
    assert draw(1, 2).tolist() != draw(1, 3).tolist()
    assert draw(1, 2).tolist() != draw(2, 2).tolist()


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_a_block_without_words_has_no_windows(lengths):
    found = Sampler(COUNTS, 1e-3, 3, seed=0).draw(make_block(lengths), 0)
    assert [len(column) for column in found] == [0, 0, 0]


def test_the_end_of_a_sentence_is_no_noise():
    found = noise_distribution(COUNTS)
    expected = word2vec.noise_distribution(COUNTS)
    assert found[0] == 0
    np.testing.assert_allclose(found.sum(), 1)
    np.testing.assert_allclose(found[1:], expected[1:] + expected[0] / 5)
