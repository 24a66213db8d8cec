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
from training import state
from training.word_vectors import loop
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
    output_fields: ClassVar[frozenset[str]] = frozenset({"memory", "p"})

    vector_size: int = 100
    min_count: int = 5
    window: int = 10
    weighting: str = "ppmi"
    shift: float = 1.0
    smoothing: float = 0.75
    p: float = 0.5

    def problems(self) -> Iterator[str]:
        if not self.shift:
            yield "--shift=0: wanted a positive number, of which the logarithm is taken"
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
        factors = {
            "svd/words": loop.Array(np.zeros([len(counts), self.vector_size])),
            "svd/sizes": loop.Array(np.zeros(self.vector_size)),
        }
        variables = {**factors, "global_step": loop.Array(np.int64(1))}
        newest = state.restore_newest(run.output_dir, variables)
        if newest:
            logging.info("training is complete: %s", newest)
        else:
            path = self.count(corpus, counts, run, settings)
            found = self._factorise(read_matrix(path, len(counts)), run.seed)
            for variable, value in zip(factors.values(), found, strict=True):
                variable.assign(value)
            state.save(run.output_dir, variables, keep=1)
        words, sizes = (variable.value for variable in factors.values())
        found = svd.vectors(words, sizes, self.p)
        return {"vectors": WordVectors(list(counts.words), found)}

    def _factorise(self, matrix, seed):
        matrix = svd.weighted(matrix, self.weighting, self.shift, self.smoothing)
        logging.info("factorising %d values of %d words", matrix.nnz, matrix.shape[0])
        u, sizes, _ = svd.factorise(matrix, self.vector_size, seed)
        return u, sizes


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
