"""Word vectors by their words: what is near, and what was meant by a word unknown."""

import difflib
from collections.abc import Sequence

import numpy as np

from metrics import word_vectors as metrics

_SEARCHED = 100_000  # words among which near spellings are looked for


class NamedVectors:
    """Words and their vectors, looked up as the words are spelt.

    Attributes:
      words: V of them.
      unit: float32 [V, D], of length 1.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        """Takes words and their vectors, [V, D]."""
        self.words, self.unit = words, metrics.unit_vectors(vectors)
        self._places = {word: place for place, word in enumerate(words)}

    def __contains__(self, word: str) -> bool:
        """Tells whether a word is there."""
        return word in self._places

    def place(self, word: str) -> int:
        """Returns where a word is."""
        return self._places[word]

    def nearest(self, word: str, topn: int) -> list[tuple[str, float]]:
        """Returns the `topn` words nearest to one that is there, and their cosines."""
        found = metrics.nearest(self.unit, self.place(word), topn)
        return [(self.words[place], cosine) for place, cosine in found]

    def unknown(self, word: str) -> str:
        """Says that a word is not there, and which are spelt much like it."""
        known = self.words[:_SEARCHED]
        alike = [other for other in known if abs(len(other) - len(word)) < 3]
        near = difflib.get_close_matches(word, alike, cutoff=0.7)
        return f"no word {word!r}" + (f", near it {', '.join(near)}" if near else "")
