"""How well vectors of a word's occurrences tell its two senses apart."""

import dataclasses
from collections.abc import Sequence

import numpy as np

_DIGITS = 6  # of a cosine; what differs less is the same


@dataclasses.dataclass(frozen=True)
class Separation:
    """Measures of vectors with senses.

    Attributes:
      silhouette: the mean over all occurrences, by one minus the cosine; from -1 to 1,
        and 0 where all vectors are the same.
      nearest: how often the nearest occurrence of another document has the same sense;
        of several at the same distance, the share that has it.
      shuffled: the mean of `nearest` where senses are dealt out at random.
    """

    silhouette: float
    nearest: float
    shuffled: float


def measure(
    vectors: np.ndarray,
    senses: Sequence[str],
    documents: Sequence[int],
    seed: int,
    shuffles: int = 20,
) -> Separation:
    """Measures how well vectors tell senses apart.

    Args:
      vectors: float [N, D]; zeros are at right angles to all.
      senses: N of them, at least two different ones, each at least twice.
      documents: N numbers; a neighbour of the same document does not count, since
        sentences of one document are alike for other reasons.
      seed: of the shuffled senses.
      shuffles: how often they are dealt out.

    Raises:
      ValueError: all occurrences stand in one document.
    """
    from sklearn.metrics import silhouette_score

    labels, places = np.array(senses), np.array(documents)
    other = places[:, None] != places
    if not other.any(axis=1).all():
        raise ValueError("all occurrences stand in one document")
    cosines = _cosines(vectors)
    distances = np.clip(1 - cosines, 0, None)
    np.fill_diagonal(distances, 0)
    near = np.where(other, cosines, -np.inf)
    near = near == near.max(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    dealt = [_same(near, rng.permutation(labels)) for _ in range(shuffles)]
    return Separation(
        float(silhouette_score(distances, labels, metric="precomputed")),
        _same(near, labels),
        float(np.mean(dealt)),
    )


def _cosines(vectors):
    """Cosines of all pairs, float64 [N, N]."""
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths, lengths, 1)
    return np.round(rows @ rows.T, _DIGITS)


def _same(near, labels):
    """The share of the nearest that have the same label, the mean over all rows."""
    same = labels[:, None] == labels
    return float(((near & same).sum(axis=1) / near.sum(axis=1)).mean())


def plane(vectors: np.ndarray) -> np.ndarray:
    """Returns where the first two principal components put vectors, float64 [N, 2].

    Of a component and its opposite, it is the one whose largest value is above 0.
    """
    rows = np.asarray(vectors, np.float64)
    sides, lengths, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    found = (sides * lengths)[:, :2]
    largest = found[np.abs(found).argmax(axis=0), range(2)]
    return np.where(largest < 0, -found, found)
