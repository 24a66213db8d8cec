"""What systems of whole words share: their vocabulary, and how a word is looked up."""

import collections
import re
from collections.abc import Iterable, Sequence

import numpy as np

import vocabulary
from checkpoints.word_vectors import WordVectors
from systems.system import Tokenizer

DIGIT = re.compile("[0-9]")
# Words seen once are read as <UNK>, which would never be trained otherwise.
_MIN_COUNT = 2


def normalize(word: str, do_lower_case: bool) -> str:
    """Returns a word as it is looked up: digits are 0, as in SENNA's vocabulary."""
    word = DIGIT.sub("0", word)
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
            if word == normalize(word, do_lower_case) and word not in known
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
