"""word2vec as run_word_vectors.py trains it: its flags, its vocabulary, its engines."""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from checkpoints.word_vectors import WordVectors
from data_pipeline.corpora import word_counts
from data_pipeline.corpora.word_corpus import Block, WordCorpus
from data_pipeline.corpora.word_counts import WordCounts
from modeling import word2vec
from training.word_vectors import compiled, loop
from training.word_vectors.known import KnowingLearner, Start
from training.word_vectors.learner import RunConfig
from training.word_vectors.steps import Step

VECTORS = ("input", "output", "sum", "both")


@dataclasses.dataclass(frozen=True)
class Word2vec(KnowingLearner):
    """Skip-gram and CBOW; the flags and defaults are word2vec.c's.

    With `exact` an engine of its own trains; `init_vectors` are of the input table.

    Attributes:
      window: the most words on each side that are looked at.
      negative: words of the noise for each true one; 0: none.
      hs: 1 for the Huffman tree.
      cbow: 1, or 0 for skip-gram.
      sample: the share of a text above which a word is left out at times.
      iter: how often the text is read.
      alpha: the first learning rate, which falls to almost nothing; None = .05 for
        CBOW, .025 for skip-gram.
      engine: "numba" or "tensorflow"; "auto" = numba where it is installed.
      hogwild: whether threads change the same tables at once: faster, and the vectors
        are others each time.
      distribution_strategy: "mirrored": TensorFlow shares the work of an update among
        all GPUs of the machine; "off": it computes on one device. Both learn the same.
      vectors: which table is written: "input", "output", their sum, or both, the second
        one in a file of its own.
    """

    model_type: ClassVar[str] = "word2vec"
    output_fields: ClassVar[frozenset[str]] = frozenset(
        {"vectors", "distribution_strategy"}
    )

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
    engine: str = "auto"
    hogwild: bool = False
    distribution_strategy: str = "off"
    vectors: str = "input"

    def __post_init__(self):
        """Settles the learning rate and the engine, which shape the vectors."""
        if self.alpha is None:
            object.__setattr__(self, "alpha", 0.05 if self.cbow else 0.025)
        if self.engine == "auto":
            object.__setattr__(self, "engine", self._best_engine())

    def _best_engine(self):
        if self.exact:
            return "exact"
        several = self.distribution_strategy != "off"
        return "numba" if compiled.is_possible() and not several else "tensorflow"

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not (self.hs or self.negative):
            yield "--hs=0 and --negative=0: wanted one of them, or both"
        elif not self.negative and self.vectors != "input":
            yield (
                f"--vectors={self.vectors} with --negative=0: the other table has no "
                "words, but the nodes of the tree"
            )
        if self.exact and self.engine != "exact":
            yield f"--exact with --engine={self.engine}: it has an engine of its own"
        if self.hogwild and self.engine != "numba":
            yield "--hogwild is for --engine=numba"
        if self.distribution_strategy != "off" and self.engine != "tensorflow":
            yield (
                f"--distribution_strategy={self.distribution_strategy} is for "
                f"--engine=tensorflow, not for {self.engine}"
            )
        if self.engine == "numba":
            compiled.require("--engine=numba")

    def vocabulary(self, found: WordCounts, num_lines: int) -> WordCounts:
        return word_counts.word2vec_order(
            found, num_lines, self.min_count, self.max_vocab
        )

    def config(self, vocab_size: int) -> word2vec.Word2vecConfig:
        """Returns the model for so many words."""
        return word2vec.Word2vecConfig(
            vocab_size, self.vector_size, bool(self.cbow), self.negative, bool(self.hs)
        )

    def engine_class(self) -> type["Engine"]:
        """Returns the class of what computes."""
        module = f"training.word_vectors.word2vec_{self.engine}"
        return importlib.import_module(module).Engine

    def training(
        self, corpus: WordCorpus, counts: WordCounts, run: RunConfig
    ) -> "Training":
        """Returns what trains; see `learn`."""
        start = self.start(counts.words)
        frozen = self.frozen(start, len(counts))
        engine = self.engine_class()(self, counts.counts, run, frozen)
        return Training(engine, corpus, counts.words, start)

    def learn(
        self,
        corpus: WordCorpus,
        counts: WordCounts,
        run: RunConfig,
        settings: Mapping[str, Any],
    ) -> Mapping[str, WordVectors]:
        del settings  # nothing is kept but checkpoints
        training = self.training(corpus, counts, run)
        loop.train(training, run)
        inputs, outputs = (
            training.variables[name].numpy()
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


class Engine(Protocol):
    """What computes: of the modules word2vec_exact, _numba and _tensorflow.

    Its arguments are the Word2vec, the words' counts, int64 [V], `</s>` first, the
    RunConfig, and which input vectors stay as they are, bool [V]; [0]: none.
    """

    # Name -> variable, as loop.Training has them; both tables are among them.
    variables: Mapping[str, Any]
    num_epochs: int  # how often the text is read

    def initialize(self) -> None:
        """Sets the variables where nothing is to be gone on from."""
        ...

    def train(self, block: Block, step: Step) -> Mapping[str, float]:
        """Goes through a block of words of the vocabulary.

        Returns:
          `loss`, the mean of each word and context, or in CBOW, of each word; `alpha`.
        """
        ...


class Training(loop.Training):
    """A step is a block of the text, which is read several times."""

    def __init__(
        self, engine: Engine, corpus: WordCorpus, words: list[str], start: Start
    ):
        """Takes what the loop needs.

        Args:
          engine: made for these words.
          corpus: the text.
          words: the vocabulary.
          start: what is put into the engine's input table, if not gone on from.
        """
        self._engine, self._corpus, self._words = engine, corpus, words
        self._start = start
        starts = corpus.num_words * np.arange(engine.num_epochs)
        self._ends = (starts[:, None] + corpus.block_ends).ravel()

    @property
    def variables(self) -> Mapping[str, Any]:
        return self._engine.variables

    @property
    def ends(self) -> np.ndarray:
        return self._ends

    def initialize(self) -> None:
        self._engine.initialize()
        if len(self._start.rows):
            inputs = self._engine.variables[word2vec.INPUTS]
            table = np.array(inputs.numpy())
            table[self._start.rows] = self._start.vectors
            inputs.assign(table)

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
