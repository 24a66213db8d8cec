"""Kneser-Ney: another library's numbers, distributions that sum to 1, hand counts."""

import json
import pathlib

import numpy as np
import pytest

from metrics.ngram import KneserNey

GOLDEN = pathlib.Path(__file__).parent / "golden" / "ngram" / "kneser_ney.json"


def records(rows):
    """The two arrays that stand for some records."""
    return np.concatenate([np.array(row) for row in rows]), np.array(
        [len(row) for row in rows]
    )


def random_records(seed, number=9, vocab_size=5):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 17, number)
    return [rng.geometric(0.4, size).clip(max=vocab_size) - 1 for size in sizes]


def test_probabilities_equal_nltks():
    golden = json.loads(GOLDEN.read_text())
    discounts = [0, golden["discount"], golden["discount"]]
    model = KneserNey(
        *records(golden["records"]), golden["vocab_size"], discounts=discounts
    )
    held = records(golden["held"])
    found = model.probabilities(*held)
    np.testing.assert_allclose(found, golden["scores"], rtol=1e-12)
    wanted = np.exp(-np.mean(np.log(golden["scores"])))
    assert model.perplexity(*held) == pytest.approx(wanted)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_after_every_context_sum_to_one(order):
    vocab_size = 7  # two tokens more than ever occur
    model = KneserNey(*records(random_records(1)), vocab_size, order)
    for context in ([2], [0, 0], [4, 1, 0], [0, 1, 0, 0], [6, 0], [0, 6], [5]):
        rows = [[*context, token] for token in range(vocab_size)]
        ids, lengths = records(rows)
        last = model.probabilities(ids, lengths).reshape(vocab_size, -1)[:, -1]
        assert last.sum() == pytest.approx(1)
        assert (last > 0).all()


def test_two_orders_by_hand_with_estimated_discounts():
    # Bigrams: 01 twice, 12, 20, 13 once; once 3, twice 1: D = 3 / (3 + 2).
    # Seen before 0: {2}, 1: {0}, 2: {1}, 3: {1}: once 4, twice 0: D = 4 / 4.
    model = KneserNey(*records([[0, 1, 2, 0, 1, 3]]), 5, order=2)
    single = 1 / 5  # a discount of 1 leaves all to the uniform distribution
    wanted = [(2 - 0.6) / 2 + 0.6 / 2 * single, (1 - 0.6) / 2 + 0.6 * 2 / 2 * single]
    found = model.probabilities(*records([[0, 1, 2], [3, 4]]))
    np.testing.assert_allclose(found, [*wanted, single])


def test_contexts_do_not_reach_over_the_start_of_a_record():
    rows = random_records(3)
    whole, lengths = records(rows)
    joined = KneserNey(whole, np.array([len(whole)]), 5)
    apart = KneserNey(whole, lengths, 5)
    held = random_records(4)
    assert apart.perplexity(*records(held)) != joined.perplexity(*records(held))
    both = apart.probabilities(*records(held))
    each = [apart.probabilities(*records([row])) for row in held]
    np.testing.assert_array_equal(both, np.concatenate(each))
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = KneserNey(*records([rows[i] for i in order]), 5)
    np.testing.assert_array_equal(shuffled.probabilities(*records(held)), both)


def test_longer_contexts_tell_more_of_a_text_that_has_structure():
    row = np.tile([0, 1, 0, 2], 30)
    held = records([row[:22], row[1:14]])
    found = [KneserNey(*records([row]), 3, n).perplexity(*held) for n in (1, 2, 3)]
    assert found[0] > 2.5 > found[1] > 1.3 > 1.1 > found[2] > 1


def test_order_beyond_every_record_adds_nothing():
    rows = [[0, 1, 2, 1], [1, 2]]
    held = records([[0, 1, 2, 1, 0]])
    found = [
        KneserNey(*records(rows), 3, n, [0.4] * n).probabilities(*held) for n in (5, 6)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("rows", "message"),
    [([[0, 3]], "0 to 2, got 0 to 3"), ([[-1, 2]], "got -1 to 2"), ([[]], "got none")],
)
def test_ids_outside_the_vocabulary_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        KneserNey(*records(rows), 3)
