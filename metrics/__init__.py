"""Pure functions (targets, predictions) -> {name: value}, found by name.

A task names its metrics; `compute` runs them. Higher is better, except for `mse`.
"""

from collections.abc import Callable, Sequence

from numpy.typing import ArrayLike

from errors import UserError
from metrics import classification, similarity, tagging

METRICS: dict[str, Callable[[ArrayLike, ArrayLike], dict[str, float]]] = {
    "accuracy": classification.accuracy,
    "f1": classification.f1,
    "macro_f1": classification.macro_f1,
    "micro_f1": classification.micro_f1,
    "exact_match": classification.exact_match,
    "matthews_correlation": classification.matthews_correlation,
    "pearson": similarity.pearson,
    "spearman": similarity.spearman,
    "mse": similarity.mse,
    "entity_f1": tagging.entity_f1,
}


def compute(
    names: Sequence[str], targets: ArrayLike, predictions: ArrayLike
) -> dict[str, float]:
    """Every named metric of the same targets and predictions.

    Args:
        names: keys of `METRICS`.
        targets: [N] or [N, L], as the metrics want them.
        predictions: as `targets`.

    Returns:
        The metrics' results in one dict, in the order of `names`.

    Raises:
        UserError: an unknown name, or what a metric says of its inputs.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UserError(f"unknown metrics {unknown}; known: {sorted(METRICS)}")
    results = {}
    for name in names:
        results.update(METRICS[name](targets, predictions))
    return results
