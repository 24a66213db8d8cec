"""Words and how often they occur: which are kept, in whose order, and their file.

The order numbers the words of a model, and both originals sort by falling count. They
differ where counts are equal, and in `</s>`: word2vec.c has the end of a line as its
first word, however often it occurs; GloVe has no such word.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

import streams
from errors import UserError

LINE_END = "</s>"
_MOST = np.iinfo(np.int64).max
# GloVe compares words as signed characters: all bytes of other scripts come first.
_SIGNED = bytes((byte + 128) % 256 for byte in range(256))


@dataclasses.dataclass(frozen=True)
class WordCounts:
    """Words, each with its number of occurrences.

    Attributes:
      words: V different words.
      counts: int64 [V].
    """

    words: Sequence[str]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    def text(self) -> str:
        """Returns what the vocabulary file of both holds: `word count` a line."""
        pairs = zip(self.words, self.counts.tolist(), strict=True)
        return "".join(f"{word} {count}\n" for word, count in pairs)

    def at(self, places: np.ndarray) -> "WordCounts":
        """Returns the words at some places, in their order."""
        return WordCounts([self.words[i] for i in places.tolist()], self.counts[places])


def word2vec_order(
    found: WordCounts, num_lines: int, min_count: int = 5, max_vocab: int | None = None
) -> WordCounts:
    """Chooses and orders words as word2vec.c does.

    Args:
      found: the words of a text, in the order of their first appearance, which decides
        among equal counts.
      num_lines: of the text: the count of `</s>`, which is the first word.
      min_count: occurrences that every other word needs.
      max_vocab: the most words, `</s>` among them; None = no limit.

    Returns:
      `</s>`, then the words by falling count.

    Raises:
      UserError: no word but `</s>` is left.
    """
    places = _frequent(found, min_count)
    ends = [i for i in places.tolist() if found.words[i] == LINE_END]
    num_lines += int(found.counts[ends].sum())
    places = places[~np.isin(places, ends)]
    chosen = found.at(places[: None if max_vocab is None else max_vocab - 1])
    _check_some(chosen, found, min_count)
    counts = np.concatenate([[num_lines], chosen.counts])
    return WordCounts([LINE_END, *chosen.words], counts)


def glove_order(
    found: WordCounts, min_count: int = 1, max_vocab: int | None = None
) -> WordCounts:
    """Chooses and orders words as GloVe's vocab_count does.

    Args:
      found: the words of a text, in the order of their first appearance. It decides
        which words of equal counts are left out beyond `max_vocab`, where the original
        leaves that to its sort.
      min_count: occurrences that a word needs.
      max_vocab: the most words; None = no limit.

    Returns:
      The words by falling count; those of the same count by their bytes, as signed
      characters.

    Raises:
      UserError: no word is left.
    """
    chosen = found.at(_frequent(found, min_count)[:max_vocab])
    _check_some(chosen, found, min_count)
    keys = [
        (-count, word.encode().translate(_SIGNED), i)
        for i, (word, count) in enumerate(
            zip(chosen.words, chosen.counts.tolist(), strict=True)
        )
    ]
    return chosen.at(np.array([i for *_, i in sorted(keys)]))


def read(path: str) -> WordCounts:
    """Reads a vocabulary file of word2vec.c, GloVe, gensim, or `WordCounts.text`.

    Args:
      path: UTF-8 text; a word and its count a line.

    Raises:
      UserError: it has no words, or a line is no word and a count, or a word is there
        twice; names file and line.
    """
    with streams.open_bytes(path) as file:
        text = streams.decode(path, 1, file.read())
    counts = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        word, _, count = line.rstrip("\r\t ").rpartition(" ")
        if not word or not (count.isascii() and count.isdecimal()):
            raise UserError(
                f"{path}, line {number}: got {line[:40]!r}, wanted a word, a space and "
                "its count, as in every line of a vocabulary"
            )
        if int(count) > _MOST:
            raise UserError(
                f"{path}, line {number}: got a count of {count[:40]}, wanted at most "
                f"{_MOST}"
            )
        if word in counts:
            raise UserError(f"{path}, line {number}: {word!r} is there a second time")
        counts[word] = int(count)
    return WordCounts(list(counts), np.array(list(counts.values()), np.int64))


def _frequent(found, min_count):
    """Returns the places of the words that are frequent enough, by falling count."""
    places = np.flatnonzero(found.counts >= min_count)
    return places[np.argsort(-found.counts[places], kind="stable")]


def _check_some(chosen, found, min_count):
    if not len(chosen):
        raise UserError(
            f"none of {len(found)} words occurs --min_count={min_count} times; the "
            f"most frequent one does {found.counts.max(initial=0)} times"
        )
