"""GloVe as run_word_vectors.py trains it: its flags, its rounds, its engines."""

import dataclasses
import importlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from absl import logging

import atomic_files
from checkpoints.word_vectors import WordVectors
from data_pipeline.corpora import cooccurrences
from data_pipeline.corpora.word_corpus import WordCorpus
from data_pipeline.corpora.word_counts import WordCounts
from modeling import glove
from training.word_vectors import compiled, glove_exact, loop
from training.word_vectors.counting import CountingLearner
from training.word_vectors.known import KnowingLearner, Start
from training.word_vectors.learner import RunConfig

MODELS = ("all", "input", "sum", "both")  # by the original's -model
_UNKNOWN = "<unk>"
_TABLES = ("glove/words", "glove/contexts")
# Pairs of a round: a sixteenth of all, so that their order stays close to random.
_SMALLEST_ROUND, _LARGEST_ROUND, _ROUNDS = 1 << 12, 1 << 20, 16


@dataclasses.dataclass(frozen=True)
class Glove(CountingLearner, KnowingLearner):
    """The original program's flags and defaults.

    The vectors of `init_vectors` are the words', and contexts begin with random ones;
    but where the sum of both is written, so with half of them each. Biases always begin
    anew, and learn.

    Attributes:
      x_max: the count from which on all pairs weigh the same.
      alpha: the exponent of the weights of smaller counts.
      eta: the learning rate of vectors; biases learn at a rate of 1.
      iter: how often all pairs are gone through.
      model: which vectors are written: 0: both tables with their biases, side by side;
        1: the words'; 2: the sum of both; 3: both, without biases.
      engine: "numba" or "tensorflow"; "auto" = numba where it is installed.
    """

    model_type: ClassVar[str] = "glove"
    output_fields: ClassVar[frozenset[str]] = frozenset({"memory", "model"})

    iter: int = 25
    x_max: float = 100.0
    alpha: float = 0.75
    eta: float = 0.05
    model: int = 2
    engine: str = "auto"

    def __post_init__(self):
        """Settles the engine, which shapes the vectors."""
        if self.engine == "auto":
            engine = "numba" if compiled.is_possible() else "tensorflow"
            object.__setattr__(self, "engine", engine)

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.x_max:
            yield "--x_max=0: wanted a positive number"
        if self.engine == "numba":
            compiled.require("--engine=numba")

    def config(self, vocab_size: int) -> glove.GloveConfig:
        """Returns the model for so many words."""
        return glove.GloveConfig(vocab_size, self.vector_size, self.x_max, self.alpha)

    @property
    def shares(self) -> tuple[float, float]:
        """What of the vectors of `init_vectors` words and contexts begin with."""
        return (0.5, 0.5) if MODELS[self.model] == "sum" else (1.0, 0.0)

    def settings(
        self, corpus: WordCorpus | None, counts: WordCounts, run: RunConfig
    ) -> dict[str, Any]:
        found = super().settings(corpus, counts, run)
        return found | {"shares": self.shares} if self.init_vectors else found

    def learn(
        self,
        corpus: WordCorpus | None,
        counts: WordCounts,
        run: RunConfig,
        settings: Mapping[str, Any],
    ) -> Mapping[str, WordVectors]:
        self.config(len(counts))  # refuses sizes: counting may take long
        start = self.start(counts.words)
        path = self.count(corpus, counts, run, settings)
        shuffled = os.path.join(run.output_dir, "shuffled")
        with atomic_files.temporary_folder(shuffled) as folder:
            shuffled = os.path.join(folder, "records")
            if self.exact:
                glove_exact.shuffle(path, shuffled, run.seed, self.memory)
            else:
                cooccurrences.shuffle(path, shuffled, run.seed)
            with Training(self, shuffled, len(counts), run, start) as training:
                loop.train(training, run)
        for number, cost in enumerate(training.costs, 1):
            logging.info("iteration %d: cost %.6f", number, cost)
        return {"vectors": self.vectors(counts.words, *training.tables)}

    def vectors(
        self, words: list[str], inputs: np.ndarray, contexts: np.ndarray
    ) -> WordVectors:
        """Returns what is written: --model's vectors, and the unknown word's.

        Args:
          words: V of them.
          inputs: float [V, D + 1], the model's.
          contexts: float [V, D + 1], the model's.
        """
        found = glove.vectors(inputs, contexts, MODELS[self.model])
        if _UNKNOWN in words:  # which the original does not allow
            return WordVectors(list(words), found)
        found = np.concatenate([found, glove.unknown_vector(found)[None]])
        return WordVectors([*words, _UNKNOWN], found)


class Pairs(NamedTuple):
    """Pairs of words, and how often they are near each other.

    Attributes:
      word: int32 [N], i, from 0.
      context: int32 [N], j.
      count: float [N], X_ij.
    """

    word: np.ndarray
    context: np.ndarray
    count: np.ndarray


class Engine(Protocol):
    """What computes: of the modules glove_numba and glove_tensorflow.

    Its arguments are the GloveModel, built, the Glove, the number of threads, and whose
    vectors stay as they are, of words and of contexts: two bool [V]; [0]: none.
    """

    # Name -> variable, as loop.Training has them: the tables and their squares.
    variables: Mapping[str, Any]

    def train(self, pairs: Pairs) -> float:
        """Makes an update for each pair; returns the sum of their costs before it."""
        ...

    def close(self) -> None:
        """Ends what it has started."""
        ...


class Training(loop.Training):
    """A step is a round: about a million pairs of the shuffled file."""

    unit = "pair"

    def __init__(
        self,
        learner: Glove,
        path: str,
        vocab_size: int,
        run: RunConfig,
        start: Start | None = None,
    ):
        """Makes the engine.

        Args:
          learner: the settings.
          path: the shuffled file.
          vocab_size: V.
          run: the seed, and on how many threads.
          start: vectors that there are.
        """
        self._start = start or learner.start([])
        self._shares = learner.shares
        self._path = path
        self._size = size = cooccurrences.check_size(path)
        largest = min(max(size // _ROUNDS, _SMALLEST_ROUND), _LARGEST_ROUND)
        self._starts = np.arange(0, size, largest)
        ends = np.append(self._starts[1:], size)
        self._ends = (size * np.arange(learner.iter)[:, None] + ends).ravel()
        self._dtype = np.float64 if learner.exact else np.float32
        module = f"training.word_vectors.glove_{learner.engine}"
        model = glove.GloveModel(
            learner.config(vocab_size), seed=run.seed, dtype=self._dtype.__name__
        )
        model.build()
        if learner.exact:
            drawn = glove_exact.initial_parameters(run.seed, *model.words.shape)
            for table, values in zip((model.words, model.contexts), drawn, strict=True):
                table.assign(values)
        self._engine: Engine = importlib.import_module(module).Engine(
            model, learner, run.threads, self._frozen(learner, vocab_size)
        )
        self._costs = loop.Array(np.zeros(learner.iter))

    def _frozen(self, learner, vocab_size):
        frozen = learner.frozen(self._start, vocab_size)
        return tuple(frozen & (share > 0) for share in self._shares)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_) -> None:
        self._engine.close()

    @property
    def variables(self) -> Mapping[str, Any]:
        return {**self._engine.variables, "trainer/costs": self._costs}

    @property
    def ends(self) -> np.ndarray:
        return self._ends

    @property
    def costs(self) -> np.ndarray:
        """The mean cost of a pair in each iteration, before its update."""
        return self._costs.value / self._size

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """The words' and the contexts' table, float [V, D + 1]."""
        return tuple(self._engine.variables[name].numpy() for name in _TABLES)

    def initialize(self) -> None:
        """Puts vectors that there are into the model, which has its initial values."""
        for name, share in zip(_TABLES, self._shares, strict=True):
            if share and len(self._start.rows):
                table = np.array(self._engine.variables[name].numpy())
                table[self._start.rows, :-1] = share * self._start.vectors
                self._engine.variables[name].assign(table)

    def steps(self, first: int) -> Iterator[Mapping[str, float]]:
        for number in range(first, len(self._ends)):
            iteration, place = divmod(number, len(self._starts))
            pairs = self._read(place)
            cost = self._engine.train(pairs)
            self._costs.value[iteration] += cost
            yield {"loss": cost / len(pairs.word)}

    def _read(self, place):
        start, number = self._starts[place], self._ends[place] - self._starts[place]
        records = cooccurrences.read_part(self._path, start, number)
        return Pairs(
            records["word1"] - 1,
            records["word2"] - 1,
            records["value"].astype(self._dtype),
        )
