"""What run_word_vectors.py can train: a class for each model, made of its flags."""

import abc
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from checkpoints.word_vectors import WordVectors
from data_pipeline.corpora.word_corpus import WordCorpus
from data_pipeline.corpora.word_counts import WordCounts


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What does not depend on the model.

    Attributes:
      output_dir: where everything is written.
      seed: of initial vectors and of all that is drawn.
      threads: on which is computed; how many changes no byte of what comes out, but
        where a learner says so.
      save_checkpoints_secs: seconds between two checkpoints.
    """

    output_dir: str
    seed: int = 0
    threads: int = 1
    save_checkpoints_secs: float = 600.0


@dataclasses.dataclass(frozen=True)
class Learner(abc.ABC):
    """How vectors are learnt; each field is a flag of run_word_vectors.py.

    A subclass has further fields, and defaults as its original program; a flag that is
    none of its fields is refused.

    Attributes:
      model_type: its name in registry.VECTOR_LEARNERS.
      output_fields: the fields that shape what is written, not what is learnt.
      chooses_of_vocabulary: whether `min_count` and `max_vocab` apply to a vocabulary
        that is given, too.
      vector_size: D, values of a vector.
      min_count: occurrences that a word needs.
      max_vocab: the most words; None = no limit.
    """

    model_type: ClassVar[str]
    output_fields: ClassVar[frozenset[str]] = frozenset()
    chooses_of_vocabulary: ClassVar[bool] = True

    vector_size: int
    min_count: int
    max_vocab: int | None

    @property
    def reads_text(self) -> bool:
        """Whether there is a text to learn from."""
        return True

    @classmethod
    def flags(cls) -> list[str]:
        """Returns the names of the flags that it reads."""
        return [field.name for field in dataclasses.fields(cls)]

    @abc.abstractmethod
    def problems(self) -> Iterator[str]:
        """Yields what is wrong with the flags together."""

    def check_files(self) -> None:  # noqa: B027
        """Reads what its flags name, before the text, which may be long.

        Raises:
          UserError: a file is none of those that are wanted.
        """

    @abc.abstractmethod
    def vocabulary(self, found: WordCounts, num_lines: int) -> WordCounts:
        """Chooses and orders the words; their places are their ids.

        Args:
          found: the words of a text in the order of their first appearance.
          num_lines: of the text.

        Raises:
          UserError: none is left.
        """

    def read_vocabulary(
        self, found: WordCounts, corpus: WordCorpus | None
    ) -> WordCounts:
        """Returns the vocabulary where --read_vocab gives one.

        Args:
          found: the file's words as they stand there.
          corpus: the text, if one is read.

        Raises:
          UserError: none is left.
        """
        return self.vocabulary(found, corpus.num_lines)

    @abc.abstractmethod
    def learn(
        self,
        corpus: WordCorpus | None,
        counts: WordCounts,
        run: RunConfig,
        settings: Mapping[str, Any],
    ) -> Mapping[str, WordVectors]:
        """Learns, from where an earlier run with the same output folder has ended.

        Args:
          corpus: the text; None where `reads_text` is not set.
          counts: what `vocabulary` chose.
          run: where and how; what the folder holds is of the same settings.
          settings: of these, see `settings`.

        Returns:
          Name of a file, without its ending -> what it is to hold.

        Raises:
          UserError: a file is not what is wanted.
          FloatingPointError: the loss is not finite.
          SystemExit: the process was terminated; what was reached is saved.
        """

    def settings(
        self, corpus: WordCorpus | None, counts: WordCounts, run: RunConfig
    ) -> dict[str, Any]:
        """Returns all that shapes the vectors, as JSON values."""
        shaping = dataclasses.asdict(self)
        for name in self.output_fields:
            del shaping[name]
        text = None
        if corpus is not None:
            text = f"{corpus.num_words} words, {corpus.num_lines} lines, "
            text += hash_of(corpus.counts.text())
        return {
            "model_type": self.model_type,
            **shaping,
            "seed": run.seed,
            "text": text,
            "vocabulary": f"{len(counts)} words, {hash_of(counts.text())}",
        }


def hash_of(text: str) -> str:
    """Returns what tells a text from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
