"""Words in classes, and words on a page, by where their vectors lie."""

from collections.abc import Sequence

import numpy as np
import threadpoolctl

import pictures
from errors import UserError

METHODS = ("tsne", "pca")
_ITERATIONS = 10  # as many as word2vec.c makes
_FEWEST = 4  # words that t-SNE has something to say about


def classes(unit: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Sorts words into classes by k-means, as word2vec.c's -classes does.

    Args:
      unit: float32 [V, D], of length 1: word2vec.c's classes go by the cosine, too.
      count: how many classes, at most V.
      seed: of the first centres, which word2vec.c takes as the words come.

    Returns:
      int [V], from 0.
    """
    from sklearn.cluster import KMeans

    kmeans = KMeans(count, n_init=1, max_iter=_ITERATIONS, random_state=seed)
    with threadpoolctl.threadpool_limits(1):  # sums of parts depend on their number
        return kmeans.fit_predict(unit)


def draw(
    path: str, words: Sequence[str], unit: np.ndarray, method: str, seed: int
) -> None:
    """Draws words where t-SNE or the first two principal components put them.

    Args:
      path: the picture, which ends in one of pictures.ENDINGS.
      words: N of them.
      unit: their vectors, float32 [N, D], of length 1.
      method: one of METHODS.
      seed: of t-SNE's start.

    Raises:
      MissingExtra: matplotlib is not installed.
      UserError: too few words, or vectors of one value.
    """
    if len(words) < _FEWEST or unit.shape[1] < 2:
        raise UserError(
            f"{path}: got {len(words)} words with vectors of {unit.shape[1]}; wanted "
            f"at least {_FEWEST} words and 2 values"
        )
    places = _places(unit, method, seed)
    with pictures.figure(12, 12) as figure:
        axes = figure.add_subplot()
        axes.scatter(*places.T, s=8)
        for word, place in zip(words, places, strict=True):
            axes.annotate(word, place, fontsize=8)
        axes.set_axis_off()
        pictures.save(path, figure)


def _places(unit, method, seed):
    """Returns a place on the page for each vector, [N, 2]."""
    if method == "pca":
        from sklearn.decomposition import PCA

        made = PCA(2, random_state=seed)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(unit) - 1) / 3)
        made = TSNE(2, perplexity=perplexity, random_state=seed)
    with threadpoolctl.threadpool_limits(1):
        return made.fit_transform(unit)
