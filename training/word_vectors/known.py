"""Learners that may begin with the vectors of a file, and leave those as they are."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from checkpoints import word_vectors
from errors import UserError
from training.word_vectors.learner import Learner


class Start(NamedTuple):
    """What a table begins with.

    Attributes:
      rows: int64 [K], ids of words.
      vectors: float32 [K, D], theirs.
    """

    rows: np.ndarray
    vectors: np.ndarray


@dataclasses.dataclass(frozen=True)
class KnowingLearner(Learner):
    """What begins with vectors that are there.

    Attributes:
      exact: whether the original's single thread is replayed.
      init_vectors: a file of word vectors that words begin with; those that it has not
        begin with random ones.
      freeze_known: whether vectors from that file stay as they are.
    """

    exact: bool = False
    init_vectors: str | None = None
    freeze_known: bool = False

    def problems(self) -> Iterator[str]:
        if self.exact and self.init_vectors:
            yield "--exact with --init_vectors: the original begins with its own"
        if self.freeze_known and not self.init_vectors:
            yield "--freeze_known without --init_vectors: nothing is known"

    @functools.cached_property
    def _known(self):
        """The file of --init_vectors."""
        found = word_vectors.read(self.init_vectors)
        if (width := found.vectors.shape[1]) != self.vector_size:
            raise UserError(
                f"--init_vectors={self.init_vectors}: vectors of {width} numbers, "
                f"wanted --vector_size={self.vector_size}"
            )
        return found

    def check_files(self) -> None:
        if self.init_vectors:
            self._known  # noqa: B018

    def start(self, words: Sequence[str]) -> Start:
        """Finds the words' vectors in the file of --init_vectors.

        Raises:
          UserError: it has none of them, or vectors of another width.
        """
        if not self.init_vectors:
            return Start(np.zeros(0, np.int64), np.zeros([0, self.vector_size]))
        places = {word: i for i, word in enumerate(self._known.words)}
        rows = [i for i, word in enumerate(words) if word in places]
        if not rows:
            raise UserError(
                f"--init_vectors={self.init_vectors}: none of the {len(words)} words"
            )
        logging.info(
            "%s has %d of the %d words", self.init_vectors, len(rows), len(words)
        )
        found = self._known.vectors[[places[words[row]] for row in rows]]
        return Start(np.array(rows), found)

    def frozen(self, start: Start, vocab_size: int) -> np.ndarray:
        """Returns which words' vectors stay as they are.

        Returns:
          bool [V]; [0]: none.
        """
        found = np.zeros(vocab_size if self.freeze_known else 0, bool)
        if self.freeze_known:
            found[start.rows] = True
        return found
