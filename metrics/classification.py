"""Metrics of classifiers: decisions against labels, as GLUE (Wang et al. 2018) scores.

Single-label metrics take class ids [N]; `micro_f1` and `macro_f1` also take matrices
[N, L] of 0 and 1, one column a label; `exact_match` takes only those. scikit-learn does
the arithmetic, and is imported on first use: importing it takes most of a second.
"""

import numpy as np
from numpy.typing import ArrayLike

from errors import UserError
from metrics.inputs import paired_ids


def accuracy(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """The share of examples whose class is right.

    Args:
        targets: int [N], class ids.
        predictions: int [N], class ids.

    Returns:
        {"accuracy": 0 to 1}.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    targets, predictions = paired_ids("accuracy", targets, predictions)
    return {"accuracy": float(np.mean(targets == predictions))}


def f1(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """F1 of class 1 in a two-class task, as GLUE scores MRPC and QQP.

    Args:
        targets: int [N], 0 or 1.
        predictions: int [N], 0 or 1.

    Returns:
        {"f1": 0 to 1}; 0 where class 1 is neither wanted nor predicted.

    Raises:
        UserError: a class other than 0 and 1, or see `inputs.paired_ids`.
    """
    from sklearn.metrics import f1_score

    targets, predictions = paired_ids("f1", targets, predictions)
    classes = sorted({*targets.tolist(), *predictions.tolist()} - {0, 1})
    if classes:
        raise UserError(
            f"f1: wanted the two classes 0 and 1, got also {classes};"
            " for more classes use macro_f1 or micro_f1"
        )
    return {"f1": float(f1_score(targets, predictions, zero_division=0.0))}


def macro_f1(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """The mean of the classes' F1, each class weighing the same.

    Args:
        targets: int [N] class ids, or int [N, L] of 0 and 1.
        predictions: as `targets`.

    Returns:
        {"macro_f1": 0 to 1}. Of [N], the classes are those that occur on either side;
        of [N, L], all L. A class without any true positive counts 0.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    return {"macro_f1": _averaged_f1("macro", targets, predictions)}


def micro_f1(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """F1 of all decisions together; of single labels [N] it equals the accuracy.

    Args:
        targets: int [N] class ids, or int [N, L] of 0 and 1.
        predictions: as `targets`.

    Returns:
        {"micro_f1": 0 to 1}; 0 where no label is wanted or predicted.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    return {"micro_f1": _averaged_f1("micro", targets, predictions)}


def exact_match(targets: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """The share of examples whose whole set of labels is right.

    Args:
        targets: int [N, L] of 0 and 1.
        predictions: as `targets`.

    Returns:
        {"exact_match": 0 to 1}.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    targets, predictions = paired_ids("exact_match", targets, predictions, ndims=(2,))
    return {"exact_match": float(np.mean((targets == predictions).all(axis=1)))}


def matthews_correlation(
    targets: ArrayLike, predictions: ArrayLike
) -> dict[str, float]:
    """Matthews' correlation coefficient (1975; Gorodkin 2004 for more classes): CoLA's.

    Args:
        targets: int [N], class ids.
        predictions: int [N], class ids.

    Returns:
        {"matthews_correlation": -1 to 1}; 0 where either side is constant, which is
        the coefficient's limit and what GLUE's scorer (scikit-learn) gives.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    from sklearn.metrics import matthews_corrcoef

    targets, predictions = paired_ids("matthews_correlation", targets, predictions)
    if np.ptp(targets) == 0 or np.ptp(predictions) == 0:
        return {"matthews_correlation": 0.0}
    return {"matthews_correlation": float(matthews_corrcoef(targets, predictions))}


def per_class(
    targets: ArrayLike, predictions: ArrayLike, num_classes: int
) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class.

    Args:
        targets: int [N] class ids, or int [N, L] of 0 and 1.
        predictions: as `targets`.
        num_classes: L, whether or not all of them occur.

    Returns:
        `precision`, `recall` and `f1`, float [L], 0 where there is nothing to divide
        by; `support`, int [L], how often a class is right.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    targets, predictions = paired_ids("per_class", targets, predictions, (1, 2))
    found = precision_recall_fscore_support(
        targets, predictions, labels=np.arange(num_classes), zero_division=0.0
    )
    return dict(zip(("precision", "recall", "f1", "support"), found, strict=True))


def confusions(
    targets: ArrayLike, predictions: ArrayLike, num_classes: int
) -> np.ndarray:
    """Counts which class was taken for which.

    Args:
        targets: int [N], class ids.
        predictions: int [N], class ids.
        num_classes: L, whether or not all of them occur.

    Returns:
        int [L, L], a row for each right class, a column for each predicted one.

    Raises:
        UserError: see `inputs.paired_ids`.
    """
    targets, predictions = paired_ids("confusions", targets, predictions)
    pairs = np.bincount(targets * num_classes + predictions, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def _averaged_f1(average: str, targets: ArrayLike, predictions: ArrayLike) -> float:
    """F1 averaged as scikit-learn calls it, "micro" or "macro"; undefined is 0."""
    from sklearn.metrics import f1_score

    targets, predictions = paired_ids(f"{average}_f1", targets, predictions, (1, 2))
    score = f1_score(targets, predictions, average=average, zero_division=0.0)
    return float(score)
