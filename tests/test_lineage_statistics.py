"""Intervals: against scipy's bootstrap, and how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from lineage import statistics
from metrics import comparison


def grid_of(values):
    """Members of float [pre-trainings, task seeds, items]."""
    return [[comparison.mean(items) for items in row] for row in values]


def test_of_one_seed_it_is_scipys_bootstrap_of_the_items():
    items = np.random.default_rng(5).gamma(2.0, size=137)
    found = statistics.mean(grid_of(items[None, None]))
    wanted = stats.bootstrap(
        (items,), np.mean, n_resamples=20_000, method="percentile", random_state=3
    ).confidence_interval
    assert found.value == pytest.approx(items.mean())
    spread = wanted.high - wanted.low
    assert found.low == pytest.approx(wanted.low, abs=0.03 * spread)
    assert found.high == pytest.approx(wanted.high, abs=0.03 * spread)


def test_a_difference_is_paired_in_the_items():
    rng = np.random.default_rng(2)
    hard = rng.normal(size=211)
    first, second = hard[None, None], (hard + 0.1 + 0.05 * rng.normal(size=211))
    found = statistics.difference(grid_of(first), grid_of(second[None, None]))
    wanted = stats.bootstrap(
        (second - hard,), np.mean, n_resamples=20_000, method="percentile",
        random_state=3,
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx(tuple(wanted), abs=1e-3)
    assert not found.holds_zero


def test_with_many_items_seeds_give_students_interval():
    values = np.array([0.2, 0.5, 0.9])
    items = np.repeat(values[:, None, None], 50, axis=2)  # no spread among items
    found = statistics.mean(grid_of(items))
    half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def simulated(rng, centre, task_effects, seeds=3, items=120):
    """Scores of a system: effects of pre-training, of drawn labels, of items."""
    trained = rng.normal(scale=0.5, size=(seeds, 1, 1))
    noise = rng.normal(scale=1.0, size=(seeds, len(task_effects), items))
    return centre + trained + task_effects[None, :, None] + noise


@pytest.mark.parametrize("what", ["mean", "difference"])
def test_intervals_hold_the_truth_as_often_as_they_say(what, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLES", 600)
    rng = np.random.default_rng(11)
    runs, held = 400, 0
    for run in range(runs):
        tasks, hard = rng.normal(scale=0.4, size=3), rng.normal(scale=2.0, size=120)
        a = grid_of(simulated(rng, 1.0, tasks) + hard)
        if what == "mean":
            found, truth = statistics.mean(a, seed=run), 1.0
        else:
            b = grid_of(simulated(rng, 1.3, tasks) + hard)
            found, truth = statistics.difference(a, b, seed=run), 0.3
        held += found.low <= truth <= found.high
    assert 0.93 <= held / runs <= 0.995


def test_another_number_of_items_is_refused():
    a, b = (grid_of(np.zeros((1, 1, number))) for number in (5, 6))
    with pytest.raises(ValueError, match="5 and 6 items"):
        statistics.difference(a, b)


def test_the_same_seed_gives_the_same_digits():
    grid = grid_of(np.random.default_rng(1).normal(size=(2, 3, 31)))
    assert statistics.mean(grid, seed=4) == statistics.mean(grid, seed=4)


def test_ranks_of_the_whole_set_give_spearmans_interval():
    rng = np.random.default_rng(4)
    gold = rng.normal(size=300)
    found = gold + rng.normal(size=300)
    ranks = [stats.rankdata(side) for side in (gold, found)]
    ours = statistics.mean([[comparison.pearson(*ranks)]])
    wanted = stats.bootstrap(
        (gold, found),
        lambda a, b: stats.spearmanr(a, b).statistic,
        n_resamples=1500,
        paired=True,
        vectorized=False,
        method="percentile",
        random_state=3,
    ).confidence_interval
    assert ours.value == pytest.approx(stats.spearmanr(gold, found).statistic)
    assert (ours.low, ours.high) == pytest.approx(tuple(wanted), abs=0.02)
