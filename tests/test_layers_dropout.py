"""The dropout hash: its bits, its statistics, its gradient."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from modeling.layers import dropout

pytestmark = pytest.mark.compiled

SHAPE = (400, 500)


def _mask(step=3, run=5, site="encoder/layer_1", rate=0.1, shape=SHAPE):
    seed = tf.constant([step, run], tf.int32)
    return dropout.keep_mask(shape, rate, seed, dropout.site_id(site)).numpy()


def _correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75])
def test_the_asked_for_share_is_dropped(rate):
    dropped = 1 - _mask(rate=rate).mean()
    assert abs(dropped - rate) < 4 * np.sqrt(rate * (1 - rate) / np.prod(SHAPE))


def test_dropped_elements_are_spread_evenly_over_rows_and_columns():
    counts = (~_mask()).astype(int)
    for axis, trials in ((0, SHAPE[0]), (1, SHAPE[1])):
        sums = counts.sum(axis)
        statistic = np.sum((sums - trials * 0.1) ** 2) / (trials * 0.1 * 0.9)
        assert 1e-4 < scipy.stats.chi2.cdf(statistic, len(sums)) < 1 - 1e-4


@pytest.mark.parametrize(
    "other",
    [{"step": 4}, {"run": 6}, {"site": "encoder/layer_2"}, {"step": 5, "run": 3}],
)
def test_masks_of_other_steps_runs_and_sites_are_independent(other):
    assert abs(_correlation(_mask(), _mask(**other))) < 0.01


def test_masks_of_a_thousand_consecutive_steps_are_independent_at_each_element():
    masks = np.stack([_mask(step=step, shape=(8,)) for step in range(1000)])
    share = 1 - masks.mean(0)
    assert np.all(np.abs(share - 0.1) < 0.04)  # 4 standard deviations
    assert np.all(np.abs(np.corrcoef(masks.T) - np.eye(8)) < 0.14)
    assert abs(_correlation(masks[1:], masks[:-1])) < 0.05


@pytest.mark.parametrize("lag", [1, 2, 16, 64, 500, 1024])
def test_neighbouring_elements_are_independent(lag):
    mask = _mask().ravel()
    assert abs(_correlation(mask[lag:], mask[:-lag])) < 0.01


def test_step_zero_of_run_zero_is_an_ordinary_mask():
    assert abs(_mask(step=0, run=0).mean() - 0.9) < 0.003


def test_negative_seeds_are_seeds_too():
    assert abs(_correlation(_mask(step=-1), _mask(step=1))) < 0.01


def test_bits_are_the_same_with_and_without_xla():
    seed, site = tf.constant([7, 9]), dropout.site_id("pooler")

    def make(seed):
        return dropout.keep_mask((37, 41), 0.3, seed, site)

    plain = tf.function(make)(seed)
    compiled = tf.function(make, jit_compile=True)(seed)
    np.testing.assert_array_equal(plain, compiled)
    np.testing.assert_array_equal(plain, make(seed))


def test_the_gradient_goes_through_the_survivors_only():
    x = tf.random.stateless_normal([13, 17], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = dropout.dropout(x, 0.25, tf.constant([1, 2]), site=3)
    gradient = tape.gradient(y, x, tf.fill([13, 17], 2.0)).numpy()
    kept = y.numpy() != 0
    assert 0.1 < 1 - kept.mean() < 0.4
    np.testing.assert_allclose(y.numpy()[kept], x.numpy()[kept] / 0.75, rtol=1e-6)
    np.testing.assert_allclose(gradient, np.where(kept, 2 / 0.75, 0), rtol=1e-6)


@pytest.mark.parametrize(("rate", "seed"), [(0.5, None), (0.0, [1, 2])])
def test_without_a_seed_or_a_rate_nothing_is_dropped(rate, seed):
    x = tf.ones([3, 4])
    assert dropout.dropout(x, rate, seed, site=1) is x
