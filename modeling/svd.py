"""Vectors from counts alone: a matrix of words by contexts, weighted and factorised.

    M = max(0, log(P(i, j) / (P(i) P_s(j))) - log k),   P_s(j) ~ #(j)^s
    M ~ U_d S_d V_d^T,                                  w_i = row i of U_d S_d^p

That is what came before word2vec (latent semantic analysis, Deerwester et al. 1990;
with p, Bullinaria and Levy 2012), and, with word2vec's own choices as k and s, its
equal: what that learns factorises pointwise mutual information less log k, of k
negatives a word (Levy and Goldberg 2014; Levy, Goldberg and Dagan 2015, sections 2 and
3). The matrix is held in memory: about 40 bytes a pair, at the most.
"""

# V words, N pairs that occur, D values of a vector.

import numpy as np
import scipy.sparse
import threadpoolctl

from errors import UserError

Matrix = scipy.sparse.csr_array


def ppmi(counts: Matrix, shift: float = 1.0, smoothing: float = 0.75) -> Matrix:
    """Returns the positive pointwise mutual information of words and contexts.

    Args:
      counts: float64 [V, V], of pairs; row: word.
      shift: k, whose logarithm is subtracted; 1 = none is.
      smoothing: s, the power of the contexts' counts that gives their distribution; 1 =
        as they are. Below 1, rare contexts are taken for less surprising.

    Returns:
      float64 [V, V], only what is above 0.
    """
    words, contexts = counts.sum(axis=1), counts.sum(axis=0)
    share = contexts**smoothing / np.sum(contexts**smoothing)  # P_s(j)
    # P(i, j) / P(i) = #(i, j) / #(i)
    expected = np.repeat(words, np.diff(counts.indptr)) * share[counts.indices]
    values = np.log(counts.data / expected) - np.log(shift)
    return _positive(counts, values)


def weighted(counts: Matrix, weighting: str, shift: float, smoothing: float) -> Matrix:
    """Returns a matrix of counts as it is factorised.

    Args:
      counts: float64 [V, V].
      weighting: "ppmi"; "raw": as they are; "sqrt": their square roots; "log":
        log(1 + count): SVD, SVD-S and SVD-L beside GloVe (Pennington et al. 2014).
      shift: of `ppmi`.
      smoothing: of `ppmi`.
    """
    if weighting == "ppmi":
        return ppmi(counts, shift, smoothing)
    function = {"raw": np.array, "sqrt": np.sqrt, "log": np.log1p}[weighting]
    return Matrix((function(counts.data), counts.indices, counts.indptr), counts.shape)


def check_size(vector_size: int, vocab_size: int) -> None:
    """Raises a UserError unless vectors have fewer values than there are words."""
    if vector_size >= vocab_size:
        raise UserError(
            f"--vector_size={vector_size}; wanted fewer than the vocabulary's "
            f"{vocab_size} words"
        )


def factorise(
    matrix: Matrix, vector_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the largest singular values of a matrix, and their vectors.

    The result is the same bytes for any number of threads. Of each pair of singular
    vectors the sign is such that the left one's largest value is positive.

    Args:
      matrix: float64 [V, C].
      vector_size: D.
      seed: of the start of the iteration, which shows in rounding only.

    Returns:
      U, float64 [V, D]; the singular values, float64 [D], falling; and V^T, [D, C].

    Raises:
      UserError: the matrix has not so many values or rows.
    """
    check_size(vector_size, min(matrix.shape))
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    with threadpoolctl.threadpool_limits(1):  # sums of parts depend on their number
        u, sizes, v = scipy.sparse.linalg.svds(matrix, vector_size, v0=start)
    order = np.argsort(-sizes, kind="stable")
    u, sizes, v = u[:, order], sizes[order], v[order]
    largest = np.abs(u).argmax(0)
    signs = np.sign(u[largest, np.arange(vector_size)])
    return u * signs, sizes, v * signs[:, None]


def vectors(u: np.ndarray, sizes: np.ndarray, p: float) -> np.ndarray:
    """Returns the words' vectors U S^p, float32 [V, D].

    Args:
      u: float64 [V, D], left singular vectors.
      sizes: float64 [D], singular values.
      p: 1: as in latent semantic analysis; less weighs all directions more alike.
    """
    return (u * sizes**p).astype(np.float32)


def _positive(counts, values):
    """Returns a matrix with new values, without those that are not above 0."""
    kept = values > 0
    before = np.concatenate([[0], np.cumsum(kept)])
    return Matrix(
        (values[kept], counts.indices[kept], before[counts.indptr]), counts.shape
    )
