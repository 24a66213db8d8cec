"""Text to whole words, by the rules that a system keeps; see word_rules."""

import dataclasses
import functools
import itertools
import re

import tokenization_bpe
import tokenization_english
from data_pipeline.corpora import segmentation
from word_rules import WordRules

_REMEMBERED_CHUNKS = 1 << 18
# What str.split takes for white space and the originals do not.
_OTHER_SPACES = [c for c in map(chr, range(0x3001)) if c.isspace() and c not in " \t\n"]
_WORD = re.compile(r"[^ \t]+")
# The marks of Chinese text, each a word of its own; and what else is between spaces.
_MARKS = (
    r"\u2014\u2018\u201c\u201d\u2026\u3001-\u303f"
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_BESIDE_CHINESE = re.compile(rf"[{_MARKS}]|[^\s{_MARKS}]+")

Words = list[list[str]]  # of every line


@dataclasses.dataclass(frozen=True)
class WordSplitter:
    """Finds the words of a text.

    Attributes:
      tokenizer: "whitespace": what spaces and tabs separate, as word2vec.c and GloVe
        read it; "english": spaCy's rules for English, as of tokenization_english.
      segmenter: "jieba" finds the words in stretches of Chinese first, "characters"
        takes each of their characters for one; or None.
      do_lower_case: whether the text is lower-cased before.
    """

    tokenizer: str = "whitespace"
    segmenter: str | None = None
    do_lower_case: bool = False

    @classmethod
    def of(cls, rules: WordRules) -> "WordSplitter":
        """Returns what finds words by rules."""
        return cls(rules.tokenizer or "whitespace", rules.segmenter)

    @property
    def is_slow(self) -> bool:
        """Whether it pays to split texts in several processes."""
        return self.tokenizer != "whitespace" or self.segmenter is not None

    def __call__(self, text: str) -> Words:
        r"""Splits a text.

        Args:
          text: lines, which end at "\n" only.

        Returns:
          The words of each line; carriage returns are left out, as in the originals.
        """
        text = text.replace("\r", "")
        if self.do_lower_case:
            text = text.lower()
        lines = text.split("\n")
        if self.segmenter is None:
            english = self.tokenizer == "english"
            split = _english if english else _space_splitter(text)
            return [split(line) for line in lines]
        split = _english if self.tokenizer == "english" else _BESIDE_CHINESE.findall
        return [
            [
                word
                for part, is_word in parts
                for word in ([part] if is_word else split(part))
            ]
            for parts in segmentation.parts(lines, self.segmenter)
        ]

    def words(self, text: str) -> list[str]:
        """Returns the words of a text as of one line; any white space separates them.

        So do systems of words read it, where the originals of word vectors know spaces
        and tabs only.
        """
        if not self.is_slow and not self.do_lower_case:
            return text.split()
        return list(itertools.chain.from_iterable(self(text)))


WHITESPACE = WordSplitter()


def _space_splitter(text):
    """Returns the fastest function that splits lines of this text at its spaces."""
    if any(space in text for space in _OTHER_SPACES):
        return _WORD.findall
    return str.split


def _english(line):
    chunks = tokenization_bpe.text_standardize(line).split()
    return [word for chunk in chunks for word in _english_words(chunk)]


_english_words = functools.lru_cache(_REMEMBERED_CHUNKS)(tokenization_english.split)
