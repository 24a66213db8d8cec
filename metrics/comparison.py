"""Is one system better than another? Paired tests on the same rows.

A metric is written as sums over rows and a function of the sums, so that scores of
thousands of resampled test sets are one matrix product.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

_DRAWS = 1 << 22  # numbers drawn at once, to bound memory


@dataclasses.dataclass(frozen=True)
class RowSums:
    """A metric of one system's predictions.

    Attributes:
      rows: float [N, K], what each row adds to the sums.
      score: from sums, float [..., K], to scores, float [...].
    """

    rows: np.ndarray
    score: Callable[[np.ndarray], np.ndarray]

    @property
    def value(self) -> float:
        """The score on all rows."""
        return float(self.score(self.rows.sum(axis=0)))


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better B is than A.

    Attributes:
      value: mean score of B's seeds minus that of A's.
      low: lower end of the interval.
      high: its upper end.
      p: two-sided: how often chance alone would show as large a difference.
    """

    value: float
    low: float
    high: float
    p: float


def accuracy(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """The share of rows that are right; int or float [N] each."""
    return mean(targets == predictions)


def mean(values: np.ndarray) -> RowSums:
    """The mean of a score of each row, float [N]."""
    rows = np.stack([values, np.ones(len(values))], axis=1).astype(float)
    return RowSums(rows, lambda sums: sums[..., 0] / sums[..., 1])


def f1(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """F1 of class 1, see metrics.classification.f1; int [N] each."""
    return _f1s(targets == 1, predictions == 1, "micro")


def macro_f1(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """The mean of the classes' F1, see metrics.classification.macro_f1.

    Args:
      targets: int [N], class ids; or int [N, L] of 0 and 1.
      predictions: as `targets`.
    """
    if targets.ndim == 2:
        return _f1s(targets == 1, predictions == 1, "all")
    classes = np.union1d(targets, predictions)
    sides = (side[:, None] == classes for side in (targets, predictions))
    return _f1s(*sides, "macro")


def micro_f1(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """F1 of all decisions together; int [N, L] of 0 and 1 each."""
    return _f1s((targets == 1), (predictions == 1), "micro")


def _f1s(wanted, found, average):
    """F1 of columns of decisions, bool [N] or [N, L].

    `average`: "micro", of all decisions together; "macro", of the columns that occur
    on either side; "all", of all columns, one without any true positive counting 0.
    """
    wanted, found = (side.reshape(len(side), -1) for side in (wanted, found))
    right, either = wanted & found, wanted.astype(float) + found
    if average == "micro":
        right, either = (x.sum(1, keepdims=True) for x in (right, either))
    columns = right.shape[1]

    def score(sums):
        right, either = sums[..., :columns], sums[..., columns:]
        scores = 2 * right / np.maximum(either, 1)
        counted = columns
        if average == "macro":
            counted = np.maximum((either > 0).sum(-1), 1)
        return scores.sum(-1) / counted

    return RowSums(np.concatenate([right, either], axis=1).astype(float), score)


def set_f1(counts: Sequence[tuple[int, int]]) -> RowSums:
    """F1 of sets, as of entities: of each row the size of what wanted and found share,
    and the sum of both sizes.
    """

    def score(sums):
        return 2 * sums[..., 0] / np.maximum(sums[..., 1], 1)

    return RowSums(np.array(counts, float), score)


def exact_match(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """The share of rows whose whole set of labels is right; int [N, L] each."""
    return mean((targets == predictions).all(axis=1))


def matthews_correlation(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """Matthews' correlation, see metrics.classification; int [N], class ids, each."""
    classes = np.union1d(targets, predictions)
    wanted, found = (
        (side[:, None] == classes).astype(float) for side in (targets, predictions)
    )
    right = (targets == predictions).astype(float)[:, None]

    def score(sums):
        count = sums[..., 1 : 1 + len(classes)]
        other = sums[..., 1 + len(classes) :]
        total = count.sum(-1)
        covariance = sums[..., 0] * total - (count * other).sum(-1)
        spread = (total**2 - (count**2).sum(-1)) * (total**2 - (other**2).sum(-1))
        return covariance / np.sqrt(np.where(spread > 0, spread, np.inf))

    return RowSums(np.concatenate([right, wanted, found], axis=1), score)


def pearson(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """Pearson's correlation, see metrics.similarity; float [N] each."""
    # Around their means, so that differences of squares keep their digits.
    x, y = (side - side.mean() for side in (targets.astype(float), predictions))

    def score(sums):
        x, y, xx, yy, xy, n = np.moveaxis(sums, -1, 0)
        spread = (n * xx - x**2) * (n * yy - y**2)
        return (n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, np.inf))

    rows = np.stack([x, y, x * x, y * y, x * y, np.ones(len(x))], axis=1)
    return RowSums(rows, score)


def mse(targets: np.ndarray, predictions: np.ndarray) -> RowSums:
    """The mean squared difference; float [N] each."""
    return mean(np.square(targets.astype(float) - predictions))


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """McNemar's exact test (1947): do two classifiers make equally many mistakes?

    Of the rows on which one of them is right and the other wrong, either should be
    right on half of them: a two-sided binomial test.

    Args:
      first: bool [N], where the one is right.
      second: bool [N], where the other is.

    Returns:
      p, 0 to 1; 1 where they never differ.
    """
    from scipy import stats

    better, worse = (int(np.sum(x)) for x in (second & ~first, first & ~second))
    if not better + worse:
        return 1.0
    return float(stats.binomtest(better, better + worse, 0.5).pvalue)


def bootstrap(
    first: Sequence[RowSums],
    second: Sequence[RowSums],
    *,
    seed: int,
    samples: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Compares two systems over resampled test sets, and over resampled seeds.

    Of one seed each it is the paired bootstrap (Efron and Tibshirani 1993; Koehn 2004).
    Of several it is the Multi-Bootstrap of Sellam et al. (2022), unpaired in the seeds:
    a sample has rows and seeds, both drawn with replacement. Of n seeds n - 1 are drawn
    (Rao and Wu 1988): n would make the spread of their mean too small by the factor
    (n - 1) / n.

    Args:
      first: A's predictions, a member a seed, all of the same rows.
      second: B's, as many rows.
      seed: of what is drawn.
      samples: how many test sets are drawn.
      level: share of the differences that lies within the interval.
    """
    rng = np.random.default_rng(seed)
    members = (*first, *second)
    together = np.concatenate([m.rows for m in members], axis=1)
    # Rows that add the same are one kind, of which a sample has so and so many.
    kinds, counts = np.unique(together, axis=0, return_counts=True)
    ends = np.cumsum([m.rows.shape[1] for m in members])[:-1]
    differences = []
    block = max(1, _DRAWS // len(kinds))
    for start in range(0, samples, block):
        drawn = min(block, samples - start)
        sets = rng.multinomial(len(together), counts / counts.sum(), size=drawn)
        parts = np.split(sets.astype(float) @ kinds, ends, axis=1)
        scores = np.stack(
            [m.score(sums) for m, sums in zip(members, parts, strict=True)], axis=1
        )
        sides = np.split(scores, [len(first)], axis=1)
        a, b = ((side * _seeds(rng, side)).sum(axis=1) for side in sides)
        differences.append(b - a)
    found = np.concatenate(differences)
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    below, above = ((1 + np.sum(x)) / (1 + samples) for x in (found <= 0, found >= 0))
    value = np.mean([m.value for m in second]) - np.mean([m.value for m in first])
    p = min(1.0, 2 * float(min(below, above)))
    return Difference(float(value), float(low), float(high), p)


def _seeds(rng, scores):
    """Draws seeds; float [samples, seeds], what each weighs in the mean."""
    samples, seeds = scores.shape
    number = max(1, seeds - 1)
    return rng.multinomial(number, np.full(seeds, 1 / seeds), size=samples) / number
