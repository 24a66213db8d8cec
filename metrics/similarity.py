"""Metrics of regression: predicted scores against given ones, as GLUE scores STS-B."""

import numpy as np
from numpy.typing import ArrayLike

from metrics.inputs import paired


def pearson(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Pearson's correlation: how well a straight line maps one side to the other.

    Args:
        targets: float [N].
        predictions: float [N].

    Returns:
        {"pearson": -1 to 1}. Where either side is constant (one example included) the
        coefficient is undefined: GLUE's scorer (scipy) gives NaN there; we give 0.0,
        no correlation, because the best checkpoint is chosen by comparing.

    Raises:
        ValueError: see `inputs.paired`.
    """
    return {"pearson": _correlation("pearson", targets, predictions)}


def spearman(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Spearman's correlation: Pearson's over ranks, ties sharing their mean rank.

    Args:
        targets: float [N].
        predictions: float [N].

    Returns:
        {"spearman": -1 to 1}; a constant side gives 0.0, as in `pearson`.

    Raises:
        ValueError: see `inputs.paired`.
    """
    return {"spearman": _correlation("spearman", targets, predictions)}


def mse(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """The mean squared difference; lower is better.

    Args:
        targets: float [N].
        predictions: float [N].

    Returns:
        {"mse": 0 or more}.

    Raises:
        ValueError: see `inputs.paired`.
    """
    targets, predictions = paired("mse", targets, predictions, ndims=(1,))
    difference = targets.astype(np.float64) - predictions.astype(np.float64)
    return {"mse": float(np.mean(np.square(difference)))}


def _correlation(metric: str, targets: ArrayLike, predictions: ArrayLike) -> float:
    """Correlates in scipy; 0.0 where either side is constant."""
    from scipy import stats

    targets, predictions = paired(metric, targets, predictions, ndims=(1,))
    if np.ptp(targets) == 0 or np.ptp(predictions) == 0:
        return 0.0
    measure = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[metric]
    # In double: float32 predictions of an early, nearly constant model lose digits.
    result = measure(targets.astype(np.float64), predictions.astype(np.float64))
    return float(result.statistic)
