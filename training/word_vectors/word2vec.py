"""word2vec as run_word_vectors.py trains it: its flags, its vocabulary, its engines."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from checkpoints.word_vectors import WordVectors
from data_pipeline.corpora import word_counts
from data_pipeline.corpora.word_corpus import WordCorpus
from data_pipeline.corpora.word_counts import WordCounts
from modeling import word2vec
from training.word_vectors import loop, word2vec_exact
from training.word_vectors.learner import Learner, RunConfig
from training.word_vectors.steps import Step

ENGINES = ("auto", "tensorflow", "numba")
VECTORS = ("input", "output", "sum", "both")


@dataclasses.dataclass(frozen=True)
class Word2vec(Learner):
    """Skip-gram and CBOW; the flags and defaults are word2vec.c's.

    Attributes:
      window: the most words on each side that are looked at.
      negative: words of the noise for each true one; 0: none.
      hs: 1 for the Huffman tree.
      cbow: 1, or 0 for skip-gram.
      sample: the share of a text above which a word is left out at times.
      iter: how often the text is read.
      alpha: the first learning rate, which falls to almost nothing; None = .05 for
        CBOW, .025 for skip-gram.
      exact: whether the original's single thread is replayed.
      vectors: which table is written: "input", "output", their sum, or both, the second
        one in a file of its own.
    """

    model_type: ClassVar[str] = "word2vec"
    output_fields: ClassVar[frozenset[str]] = frozenset({"vectors"})

    vector_size: int = 100
    min_count: int = 5
    max_vocab: int | None = None
    window: int = 5
    negative: int = 5
    hs: int = 0
    cbow: int = 1
    sample: float = 1e-3
    iter: int = 5
    alpha: float | None = None
    exact: bool = False
    vectors: str = "input"

    def __post_init__(self):
        """Sets the learning rate."""
        if self.alpha is None:
            object.__setattr__(self, "alpha", 0.05 if self.cbow else 0.025)

    def problems(self) -> Iterator[str]:
        if not (self.hs or self.negative):
            yield "--hs=0 and --negative=0: wanted one of them, or both"
        elif not self.negative and self.vectors != "input":
            yield (
                f"--vectors={self.vectors} with --negative=0: the other table has no "
                "words, but the nodes of the tree"
            )

    def vocabulary(self, found: WordCounts, num_lines: int) -> WordCounts:
        return word_counts.word2vec_order(
            found, num_lines, self.min_count, self.max_vocab
        )

    def config(self, vocab_size: int) -> word2vec.Word2vecConfig:
        """Returns the model for so many words."""
        return word2vec.Word2vecConfig(
            vocab_size, self.vector_size, bool(self.cbow), self.negative, bool(self.hs)
        )

    def learn(
        self, corpus: WordCorpus, counts: WordCounts, run: RunConfig
    ) -> Mapping[str, WordVectors]:
        engine = word2vec_exact.Engine(self, counts.counts)
        training = Training(engine, corpus, counts.words, engine.num_epochs)
        loop.train(training, run, self.settings(corpus, counts, run))
        inputs, outputs = (
            engine.variables[name].numpy()
            for name in (word2vec.INPUTS, word2vec.OUTPUTS)
        )
        outputs = outputs[: len(counts)]
        found = {
            "input": {"vectors": inputs},
            "output": {"vectors": outputs},
            "both": {"vectors": inputs, "output_vectors": outputs},
        }
        tables = found.get(self.vectors) or {"vectors": inputs + outputs}
        return {
            name: WordVectors(list(counts.words), table)
            for name, table in tables.items()
        }


class Training(loop.Training):
    """A step is a block of the text, which is read several times."""

    def __init__(
        self, engine: Any, corpus: WordCorpus, words: list[str], num_epochs: int
    ):
        """Takes what the loop needs.

        Args:
          engine: of one of the modules word2vec_exact, _numba and _tensorflow.
          corpus: the text.
          words: the vocabulary.
          num_epochs: how often the text is read.
        """
        self._engine, self._corpus, self._words = engine, corpus, words
        starts = corpus.num_words * np.arange(num_epochs)
        self._ends = (starts[:, None] + corpus.block_ends).ravel()

    @property
    def variables(self) -> Mapping[str, Any]:
        return self._engine.variables

    @property
    def ends(self) -> np.ndarray:
        return self._ends

    def initialize(self) -> None:
        self._engine.initialize()

    def steps(self, first: int) -> Iterator[Mapping[str, float]]:
        ends, blocks = self._ends, self._corpus.num_blocks
        for epoch in range(first // blocks, len(ends) // blocks):
            skipped = max(0, first - epoch * blocks)
            found = self._corpus.blocks(self._words, first=skipped)
            for number, block in enumerate(found, epoch * blocks + skipped):
                before = ends[number - 1] if number else 0
                shares = before / ends[-1], ends[number] / ends[-1]
                is_last = (number + 1) % blocks == 0
                yield self._engine.train(block, Step(number, *shares, is_last))
