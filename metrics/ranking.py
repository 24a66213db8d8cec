"""Metrics of rankings: candidates of questions, put in the order of their scores.

A question is scored where it has a right candidate and a wrong one: without the former
nothing is to be found, without the latter nothing can go wrong. So "clean" TREC QA is
scored (Rao et al. 2016); whoever reads the data counts the others.

Candidates with equal scores have no order: precision is taken after all of them, as
scikit-learn does, and a wrong one counts as standing before a right one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from errors import UserError
from metrics.inputs import paired


def average_precision(right: np.ndarray, scores: np.ndarray) -> float:
    """The mean, over right candidates, of the share of right ones up to each.

    Args:
        right: bool [C], some of each.
        scores: float [C], a better candidate's is higher.

    Returns:
        0 to 1.
    """
    from sklearn.metrics import average_precision_score  # it takes most of a second

    return float(average_precision_score(right, scores))


def reciprocal_rank(right: np.ndarray, scores: np.ndarray) -> float:
    """1 over the place of the first right candidate; arguments as above."""
    return 1 / (1 + np.count_nonzero(scores[~right] >= scores[right].max()))


METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "map": average_precision,
    "mrr": reciprocal_rank,
}


def compute(
    names: Sequence[str], questions: ArrayLike, right: ArrayLike, scores: ArrayLike
) -> dict[str, float]:
    """Every named metric, averaged over the questions that are scored.

    Args:
        names: keys of `METRICS`.
        questions: int [N], whose candidate each is, in any order.
        right: bool [N].
        scores: float [N], a better candidate's is higher.

    Returns:
        name -> value, in the order of `names`.

    Raises:
        UserError: no question can be scored, or see `inputs.paired`.
    """
    found = list(_scored(questions, right, scores))
    return {
        name: float(np.mean([METRICS[name](*question) for question in found]))
        for name in names
    }


def cross_entropy(questions: ArrayLike, right: ArrayLike, scores: ArrayLike) -> float:
    """What a ranker is trained to lower (Liu et al. 2019, eq. 8 and 9).

    Each right candidate is compared with all wrong ones of its question at once, by a
    softmax, of which this is the mean negative logarithm. Arguments and errors as of
    `compute`.
    """
    losses = []
    for of_right, found in _scored(questions, right, scores):
        wrong = np.logaddexp.reduce(found[~of_right])
        losses.append(np.logaddexp(found[of_right], wrong) - found[of_right])
    return float(np.mean(np.concatenate(losses)))


def _scored(questions, right, scores) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the candidates of each question that can be scored: right, and scores."""
    questions, right = paired("ranking", questions, right, (1,))
    _, scores = paired("ranking", right, scores, (1,))
    right, scores = right.astype(bool), scores.astype(np.float64)
    order = np.argsort(questions, kind="stable")
    bounds = np.flatnonzero(np.diff(questions[order])) + 1
    some = False
    for rows in np.split(order, bounds):
        if right[rows].any() and not right[rows].all():
            some = True
            yield right[rows], scores[rows]
    if not some:
        raise UserError("ranking: no question has a right and a wrong candidate")
