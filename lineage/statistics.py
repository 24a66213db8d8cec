"""Means and 95 % intervals over pre-trainings, task seeds and test items.

Test items are bootstrapped: drawn anew, with replacement, for all systems alike. Of
seeds there are two or three, of which a bootstrap would know neither the spread nor the
tails (of three it covers 75 % where it says 95); their part is drawn from Student's t,
with the variance that they have and the degrees of freedom that they leave. What is of
one seed has no such part, and its interval speaks of that model alone.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from metrics.comparison import RowSums

SAMPLES = 4000
_TAIL = 0.025
Grid = Sequence[Sequence[RowSums]]  # [pre-trainings][task seeds], of the same items


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Attributes:
      value: the mean over all seeds, on the test items there are.
      low: lower end of the interval.
      high: its upper end.
    """

    value: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether the interval of a difference says that there may be none."""
        return self.low <= 0 <= self.high


def mean(grid: Grid, seed: int = 0) -> Estimate:
    """The mean score of a system.

    Args:
      grid: a member for each pre-training and task seed.
      seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    values, drawn = _scores(grid, _weights(grid, rng))
    parts = [*_variances(values, 0), *_variances(values, 1)]
    return _estimate(values.mean(), drawn.mean(axis=(1, 2)), parts, rng)


def difference(first: Grid, second: Grid, seed: int = 0) -> Estimate:
    """How much better the second system is, on the same items.

    Pre-trainings have nothing to do with one another. Task seeds have, where both have
    as many: the same labels were drawn.

    Args:
      first: a system.
      second: the other one.
      seed: of what is drawn.

    Raises:
      ValueError: they are not of the same number of items.
    """
    rng = np.random.default_rng(seed)
    weights = _weights(first, rng)
    if _items(first) != _items(second):
        raise ValueError(f"{_items(first)} and {_items(second)} items")
    (a, drawn_a), (b, drawn_b) = (_scores(grid, weights) for grid in (first, second))
    parts = [*_variances(a, 0), *_variances(b, 0)]
    if a.shape[1] == b.shape[1]:
        by_task_seed = b.mean(axis=0, keepdims=True) - a.mean(axis=0, keepdims=True)
        parts += _variances(by_task_seed, 1)
    else:
        parts += [*_variances(a, 1), *_variances(b, 1)]
    drawn = drawn_b.mean(axis=(1, 2)) - drawn_a.mean(axis=(1, 2))
    return _estimate(b.mean() - a.mean(), drawn, parts, rng)


def _items(grid: Grid) -> int:
    (number,) = {len(member.rows) for row in grid for member in row}
    return number


def _weights(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """How often each item is in each sample, float [SAMPLES, items]."""
    number = _items(grid)
    found = rng.multinomial(number, np.full(number, 1 / number), size=SAMPLES)
    return found.astype(float)


def _scores(grid: Grid, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores [pre-trainings, task seeds], and [SAMPLES, ...] of drawn items."""
    values = np.array([[member.value for member in row] for row in grid])
    drawn = [[m.score(weights @ m.rows) for m in row] for row in grid]
    return values, np.moveaxis(np.array(drawn), -1, 0)


def _variances(values: np.ndarray, axis: int) -> list[tuple[float, int]]:
    """The variance of the mean along an axis of seeds, and its degrees of freedom."""
    means = values.mean(axis=1 - axis)
    if len(means) < 2:
        return []
    return [(means.var(ddof=1) / len(means), len(means) - 1)]


def _estimate(value, drawn, parts, rng) -> Estimate:
    """Adds the seeds' part to the items'."""
    total = sum(variance for variance, _ in parts)
    if total:
        # Satterthwaite (1946): of what t the sum of such variances is.
        degrees = total**2 / sum(v**2 / degrees for v, degrees in parts)
        shares = (np.arange(len(drawn)) + 0.5) / len(drawn)
        seeds = rng.permutation(stats.t.ppf(shares, degrees))
        drawn = drawn + np.sqrt(total) * seeds
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL])
    return Estimate(float(value), float(low), float(high))
