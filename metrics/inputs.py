"""The checks every metric makes before it counts anything."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def paired(
    metric: str, targets: ArrayLike, predictions: ArrayLike, ndims: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both sides as arrays of one shape, or says what is wrong with them.

    Args:
        metric: the metric's name, for messages.
        targets: numbers, [N] or [N, L].
        predictions: numbers, as `targets`.
        ndims: how many axes the metric can take.

    Raises:
        ValueError: an empty side, shapes that differ or that the metric cannot take,
            or a NaN or infinity, with its position.
    """
    sides = {"targets": np.asarray(targets), "predictions": np.asarray(predictions)}
    shapes = {side: array.shape for side, array in sides.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{metric}: targets and predictions differ in shape: {shapes}")
    for side, array in sides.items():
        if array.size == 0:
            raise ValueError(f"{metric}: {side} is empty: shape {array.shape}")
        if array.ndim not in ndims:
            wanted = " or ".join(str(n) for n in ndims)
            raise ValueError(
                f"{metric}: {side} has shape {array.shape}, wanted {wanted} axes"
            )
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(bad[0].tolist())
            raise ValueError(
                f"{metric}: {side}{list(index)} is {array[index]}"
                f" ({len(bad)} such values in {array.size})"
            )
    return sides["targets"], sides["predictions"]


def paired_ids(
    metric: str, targets: ArrayLike, predictions: ArrayLike, ndims: Sequence[int] = (1,)
) -> tuple[np.ndarray, np.ndarray]:
    """`paired`, and every value a whole number: class ids, or 0/1 where [N, L].

    Raises:
        ValueError: as `paired`; or a fraction (probabilities or logits given where
            decisions were wanted); or an [N, L] entry other than 0 and 1.
    """
    sides = paired(metric, targets, predictions, ndims)
    for side, array in zip(("targets", "predictions"), sides, strict=True):
        wrong = array[array != np.floor(array)]
        if wrong.size:
            raise ValueError(
                f"{metric}: {side} holds {wrong[0]}, wanted whole numbers: class ids,"
                " not probabilities or logits"
            )
        if array.ndim == 2 and not np.isin(array, (0, 1)).all():
            strange = array[~np.isin(array, (0, 1))][0]
            raise ValueError(
                f"{metric}: {side} holds {strange}, wanted 0 or 1 for each label"
            )
    return sides[0].astype(np.int64), sides[1].astype(np.int64)
