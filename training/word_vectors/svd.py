"""SVD as run_word_vectors.py computes it: its flags, and the matrix of the counts."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from absl import logging

from checkpoints.word_vectors import WordVectors
from data_pipeline.corpora import cooccurrences
from data_pipeline.corpora.word_corpus import WordCorpus
from data_pipeline.corpora.word_counts import WordCounts
from modeling import svd
from training.word_vectors.counting import CountingLearner
from training.word_vectors.learner import RunConfig

WEIGHTINGS = ("ppmi", "raw", "sqrt", "log")


@dataclasses.dataclass(frozen=True)
class Svd(CountingLearner):
    """Defaults are what Levy, Goldberg and Dagan (2015, section 7) recommend.

    Attributes:
      weighting: what becomes of counts: "ppmi", "raw", "sqrt" or "log".
      shift: k: log k is taken from mutual information.
      smoothing: the power of contexts' counts in mutual information.
      p: the power of singular values in the vectors.
    """

    model_type: ClassVar[str] = "svd"

    vector_size: int = 100
    min_count: int = 5
    window: int = 10
    weighting: str = "ppmi"
    shift: float = 1.0
    smoothing: float = 0.75
    p: float = 0.5

    def problems(self) -> Iterator[str]:
        if self.weighting != "ppmi" and (self.shift, self.smoothing) != (1.0, 0.75):
            yield (
                f"--shift and --smoothing are of mutual information, not of "
                f"--weighting={self.weighting}"
            )

    def learn(
        self,
        corpus: WordCorpus | None,
        counts: WordCounts,
        run: RunConfig,
        settings: Mapping[str, Any],
    ) -> Mapping[str, WordVectors]:
        svd.check_size(self.vector_size, len(counts))  # counting may take long
        path = self.count(corpus, counts, run, settings)
        matrix = svd.weighted(
            read_matrix(path, len(counts)), self.weighting, self.shift, self.smoothing
        )
        logging.info("factorising %d values of %d words", matrix.nnz, len(counts))
        u, sizes, _ = svd.factorise(matrix, self.vector_size, run.seed)
        found = svd.vectors(u, sizes, self.p)
        return {"vectors": WordVectors(list(counts.words), found)}


def read_matrix(path: str, vocab_size: int) -> svd.Matrix:
    """Reads co-occurrences.

    Args:
      path: the file.
      vocab_size: V.

    Returns:
      float64 [V, V]; row: word, column: context.
    """
    parts = zip(*map(_columns, cooccurrences.read(path)), strict=True)
    words, contexts, counts = map(np.concatenate, parts)
    shape = (vocab_size, vocab_size)
    return scipy.sparse.coo_array((counts, (words, contexts)), shape).tocsr()


def _columns(records):
    return records["word1"] - 1, records["word2"] - 1, records["value"]
