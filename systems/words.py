"""What systems of whole words share: their vocabulary, and how a word is looked up."""

import collections
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import vocabulary
from checkpoints.word_vectors import WordVectors, is_text
from errors import UserError
from systems.system import System, Tokenizer
from vocabulary import WordIds

_DIGIT = re.compile("[0-9]")
# Words seen once are read as <UNK>, which would never be trained otherwise.
_MIN_COUNT = 2


def normalize(word: str, do_lower_case: bool) -> str:
    """Returns a word as it is looked up: digits are 0, as in SENNA's vocabulary."""
    word = _DIGIT.sub("0", word)
    return word.lower() if do_lower_case else word


def choose_words(
    words: Iterable[str], vectors: WordVectors | None, do_lower_case: bool
) -> list[str]:
    """Chooses a vocabulary.

    Args:
      words: all words of the training text, one after the other.
      vectors: pre-trained; all the words that a text could be looked up as are taken.
      do_lower_case: whether words are lower-cased.

    Returns:
      The three marks, the words of the text by falling frequency, the others.
    """
    counts = collections.Counter(normalize(word, do_lower_case) for word in words)
    chosen = vocabulary.most_frequent(counts, min_count=_MIN_COUNT)
    if vectors is not None:
        known = set(chosen)
        chosen += [
            word
            for word in vectors.words
            if word == normalize(word, do_lower_case)
            and word not in known
            and is_text(word)
        ]
    return chosen


class WordTokenizer(Tokenizer):
    """Every text is one word, and every word has one id.

    A word that is not in the vocabulary is looked for in lower case.
    """

    def __init__(self, words: vocabulary.Vocabulary, do_lower_case: bool):
        self.vocab = {word: i for i, word in enumerate(words.words)}
        self._words, self._do_lower_case = words, do_lower_case

    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See Tokenizer."""
        found = (normalize(text, self._do_lower_case) for text in texts)
        flat = self._words.ids(w if w in self._words else w.lower() for w in found)
        return flat, np.arange(len(flat) + 1)


@dataclasses.dataclass(frozen=True)
class WordSystem(System):
    """A system whose words have a vector each; a base of those that begin with a text.

    Its config has `vocab_size` and `do_lower_case`.

    Attributes:
      words: the vocabulary of a new model, which has no file yet.
      word_vectors: what the vectors of a new model begin with.
    """

    words: tuple[str, ...] | None = None
    word_vectors: WordVectors | None = None

    def vocabulary(self) -> vocabulary.Vocabulary:
        """Returns the words that have a vector."""
        if self.words is not None:
            return vocabulary.Vocabulary(self.words)
        return vocabulary.Vocabulary.from_exact_file(self.vocab_file)

    def match_vocabulary(self) -> Self:
        rows = len(self.vocabulary())
        if rows != self.config.vocab_size:
            raise UserError(
                f"{self.vocab_file} has {rows} words, but the model's configuration "
                f"says vocab_size={self.config.vocab_size}: they do not belong together"
            )
        return self

    def tokenizer(self) -> WordTokenizer:
        return WordTokenizer(self.vocabulary(), self.config.do_lower_case)

    def fingerprint(self) -> Any:
        """Of the words, which may have no file."""
        words = "\n".join(self.vocabulary().words)
        return hashlib.sha256(words.encode()).hexdigest()

    def ids_in_graph(self) -> WordIds:
        """Returns what looks words up in a graph as `tokenizer` does."""

        def normalized(words):
            words = tf.strings.regex_replace(words, _DIGIT.pattern, "0")
            return vocabulary.lower(words) if self.config.do_lower_case else words

        def lowered(words):
            return vocabulary.lower(normalized(words))

        return self.vocabulary().in_graph(spellings=(normalized, lowered))

    def set_vectors(self, table: keras.Variable) -> None:
        """Lets words begin with their pre-trained vectors; the others keep their rows.

        Args:
          table: float32 [vocab_size, D], D as of `word_vectors`.
        """
        places = {word: i for i, word in enumerate(self.word_vectors.words)}
        words = self.vocabulary().words
        rows = np.array([places.get(w, places.get(w.lower(), -1)) for w in words])
        logging.info(
            "%d of %d words have a pre-trained vector", (rows >= 0).sum(), len(rows)
        )
        found = self.word_vectors.vectors[rows]
        table.assign(np.where(rows[:, None] >= 0, found, table.numpy()))
