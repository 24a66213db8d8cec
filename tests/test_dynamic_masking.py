"""Words chosen for prediction: the original's rates, and what a key decides."""

import json

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline import dynamic_masking as masking

MASK, WORDS, ROWS, LENGTH = 5, 120, 64, 31


def batch(step=0, rows=ROWS):
    """Sentences of lengths 12 to 31, </s> around them; ids, lengths and keys."""
    rng = np.random.default_rng(1)
    ids = rng.integers(14, WORDS, [ROWS, LENGTH], np.int32)
    lengths = rng.integers(12, LENGTH + 1, ROWS, np.int32)
    ids[:, 0] = ids[np.arange(ROWS), lengths - 1] = 1
    ids[np.arange(LENGTH) >= lengths[:, None]] = 2
    keys = masking.row_keys(7, (step, tf.range(ROWS)))
    return ids[:rows], lengths[:rows], keys[:rows]


def draw(scores=None, steps=60):
    """Masks the same batch again and again."""
    ids, lengths, _ = batch()
    run = tf.function(masking.mask)
    found = []
    for step in range(steps):
        keys = masking.row_keys(7, (step, tf.range(ROWS)))
        pair = run(ids, lengths, keys, MASK, WORDS, scores)
        found.append([x.numpy() for x in pair])
    return ids, lengths, *(np.stack(x) for x in zip(*found, strict=True))


def check(ids, lengths, masked, chosen):
    places = np.arange(LENGTH)
    assert not chosen[:, :, 0].any()
    assert not chosen[:, places >= lengths[:, None]].any()
    unchosen = chosen == 0
    assert (masked[unchosen] == np.broadcast_to(ids, masked.shape)[unchosen]).all()
    was = np.broadcast_to(ids, masked.shape)[chosen > 0]
    now = masked[chosen > 0]
    shares = [(now == MASK).mean(), (now == was).mean()]
    assert shares == pytest.approx([0.8 + 0.1 / WORDS, 0.1 + 0.1 / WORDS], abs=0.01)
    others = now[(now != MASK) & (now != was)]
    assert len(np.unique(others)) > WORDS - 3  # special ones, too


def test_every_position_is_chosen_by_itself():
    ids, lengths, masked, chosen = draw()
    check(ids, lengths, masked, chosen)
    after_first = (lengths - 1).sum()
    assert chosen.sum((1, 2)).mean() / after_first == pytest.approx(0.15, abs=0.003)
    ends = chosen[:, np.arange(ROWS), lengths - 1]
    assert ends.mean() == pytest.approx(0.15, abs=0.02)


def scores_of(counts, alpha):
    return np.where(counts > 0, np.maximum(counts, 1.0) ** -alpha, 0).astype(np.float32)


def test_rare_words_are_chosen_more_often_and_special_ones_never():
    counts = np.r_[np.zeros(14), np.arange(WORDS - 14, 0, -1) ** 2]
    ids, lengths, masked, chosen = draw(scores_of(counts, 0.5))
    check(ids, lengths, masked, chosen)
    number = np.ceil(0.15 * lengths.max() * ROWS)
    assert set(chosen.sum((1, 2))) == {number}
    assert not chosen[:, np.arange(ROWS), lengths - 1].any()
    rates = [chosen[:, ids == word].mean() for word in (16, 60, WORDS - 1)]
    assert 1.3 * rates[0] < rates[1] < rates[2] / 3


@pytest.mark.shared_data
@pytest.mark.parametrize("alpha", [0, 0.5])
def test_rates_are_the_originals(golden_dir, alpha):
    stored = np.load(golden_dir / "xlm/masking.npz")
    found = json.loads((golden_dir / "xlm/masking.json").read_text())
    (wanted,) = (case for case in found if case["sample_alpha"] == alpha)
    scores = scores_of(stored["counts"], alpha)
    original = stored[f"mask_scores_alpha{alpha}"]
    if alpha:
        np.testing.assert_allclose(scores, original, rtol=1e-6)
    sums = np.zeros(5)
    for example in ("ex0", "ex1"):
        ids = stored[f"alpha{alpha}/{example}/x"].T.astype(np.int32)
        lengths = stored[f"alpha{alpha}/{example}/lengths"].astype(np.int32)
        rows = tf.range(len(ids))
        for step in range(50):
            keys = masking.row_keys(3, (step, rows))
            masked, chosen = (
                x.numpy()
                for x in masking.mask(
                    ids, lengths, keys, MASK, len(scores), scores if alpha else None
                )
            )
            was, now = ids[chosen > 0], masked[chosen > 0]
            sums += [chosen.sum(), lengths.sum(), ids.size, 0, 0]
            sums[3:] += [(now == MASK).sum(), (now == was).sum()]
    number, real, size, masks, kept = sums
    assert number / real == pytest.approx(
        wanted["predicted_over_nonpad_tokens"], abs=0.01
    )
    assert number / size == pytest.approx(
        wanted["predicted_over_slen_times_bs"], abs=0.01
    )
    assert masks / number == pytest.approx(wanted["fraction_mask"], abs=0.01)
    assert kept / number == pytest.approx(wanted["fraction_unchanged"], abs=0.01)


def test_a_row_is_masked_alike_in_any_batch_and_anew_in_any_update():
    whole = [x.numpy() for x in masking.mask(*batch(), MASK, WORDS)]
    part = [x.numpy() for x in masking.mask(*batch(rows=5), MASK, WORDS)]
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[:5], b)
    other = masking.mask(*batch(step=1), MASK, WORDS)[1].numpy()
    assert 0.6 < (other != whole[1]).sum() / (2 * whole[1].sum()) < 1


def test_evaluation_masks_a_word_of_every_row_but_never_its_end():
    ids, lengths, keys = batch()
    lengths[:20] = 3
    masked, chosen = masking.mask_for_evaluation(ids, lengths, keys, MASK)
    chosen = chosen.numpy() > 0
    assert (chosen.sum(1) > 0).all()
    assert (chosen[:20].sum(1) == 1).all()
    assert not chosen[:, 0].any()
    assert not chosen[np.arange(LENGTH) >= lengths[:, None] - 1].any()
    np.testing.assert_array_equal(masked, np.where(chosen, MASK, ids))
    share = chosen[20:].sum() / (lengths[20:] - 2).sum()
    assert share == pytest.approx(0.15, abs=0.04)
