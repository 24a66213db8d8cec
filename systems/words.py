"""What systems of whole words share: their vocabulary, and how a word is looked up."""

import abc
import collections
import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import vocabulary
import word_rules
from checkpoints.word_vectors import WordVectors, is_text
from data_pipeline.features import elmo as elmo_features
from data_pipeline.features import words_graph
from data_pipeline.features.tagging import TaggingColumns
from data_pipeline.readers.conll import TaggedText
from modeling.layers import base
from modeling.tagger import Tagger
from systems.capabilities import Extracts, Tags, TextReader
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


def spellings(word: str) -> Iterator[str]:
    """Yields what a word is looked for as, in this order, until it is found.

    As it is, in lower case, with 0 for its digits, with both.
    """
    zeros = _DIGIT.sub("0", word)
    yield from (word, word.lower(), zeros, zeros.lower())


def _zeros(words: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(words, _DIGIT.pattern, "0")


class SpelledVocabulary(vocabulary.Vocabulary):
    """A vocabulary where words are looked for in all their `spellings`."""

    def ids(self, tokens: Iterable[str]) -> np.ndarray:
        """See Vocabulary."""
        tokens = list(tokens)
        words = dict.fromkeys(tokens)
        found = super().ids(self.find(word) or word for word in words)
        known = dict(zip(words, found.tolist(), strict=True))
        return np.fromiter(map(known.get, tokens), np.int32, len(tokens))

    def find(self, word: str) -> str | None:
        """Returns the entry that a word is looked up as, if there is one."""
        return next((found for found in spellings(word) if found in self), None)

    def in_graph(self, first: int = 0, **kwargs) -> WordIds:
        """See Vocabulary."""

        def lower_zeros(words):
            return vocabulary.lower(_zeros(words))

        ways = (tf.identity, vocabulary.lower, _zeros, lower_zeros)
        return super().in_graph(first, spellings=ways, **kwargs)


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

    def tokenizer(self) -> WordTokenizer:
        return WordTokenizer(self.vocabulary(), self.config.do_lower_case)

    def entries(self) -> list[str]:
        return list(self.vocabulary().words)

    def fingerprint(self) -> Any:
        """Of the words, which may have no file."""
        words = "\n".join(self.vocabulary().words)
        return hashlib.sha256(words.encode()).hexdigest()

    def ids_in_graph(self) -> WordIds:
        """Returns what looks words up in a graph as `tokenizer` does."""

        def normalized(words):
            words = _zeros(words)
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
        base.draw([table])
        table.assign(np.where(rows[:, None] >= 0, found, table.numpy()))


@dataclasses.dataclass(frozen=True)
class Words:
    """A line in words; see capabilities.Line.

    Attributes:
      words: T of them.
      dropped_tokens: how many were cut off.
    """

    words: Sequence[str]
    dropped_tokens: int

    @property
    def content(self) -> np.ndarray:
        """All are of the text."""
        return np.ones(len(self.words), bool)

    @property
    def windows(self) -> tuple[np.ndarray, ...]:
        """One over all words."""
        return (np.arange(len(self.words)),)


class TagsWords(Tags):
    """Words that are read as they are, one piece each, under a tagger."""

    def columns(
        self, text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
    ) -> TaggingColumns:
        """Words are read as they are."""
        return elmo_features.tagging_columns(
            text, tag_ids, self.system.speller(), max_seq_length
        )

    @abc.abstractmethod
    def reader(self, frozen_encoder: bool, **kwargs) -> keras.layers.Layer:
        """Returns what reads sentences; see Tagger."""

    def build(
        self,
        num_tags: int,
        *,
        use_crf: bool,
        frozen_encoder: bool = False,
        layer_mix: bool = False,
        **kwargs,
    ) -> Tagger:
        del layer_mix  # --layer_mix is not for these: a reader does as it is built
        reader = self.reader(frozen_encoder, **kwargs)
        return Tagger(
            reader,
            reader.width,
            num_tags,
            use_crf=use_crf,
            dropout_rate=self.dropout_rate,
            **kwargs,
        )


class ReadsWords(Extracts):
    """Lines in words, of a system that splits and spells them."""

    units = "words"
    many_devices = False
    words_in_graph = True
    compiles = False

    @functools.cached_property
    def speller(self) -> Any:
        """The system's; see features.elmo.Speller."""
        return self.system.speller()

    def buckets(self, max_seq_length: int) -> Sequence[int]:
        """Every length, for nothing is compiled for one; lines without words, too."""
        return range(max_seq_length + 1)

    def lines(
        self, texts: Sequence[str], max_seq_length: int, in_windows: bool
    ) -> Sequence[Words]:
        del in_windows  # words are cut
        return self.lines_of_units(map(self.system.split, texts), max_seq_length)

    def lines_of_units(
        self, texts: Iterable[Sequence[str]], max_seq_length: int
    ) -> Sequence[Words]:
        return [
            Words(words[:max_seq_length], max(len(words) - max_seq_length, 0))
            for words in texts
        ]

    def cut(
        self, sentences: Sequence[Sequence[str]]
    ) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        return ((words, np.ones(len(words), int)) for words in sentences)

    @property
    def splits_in_graph(self) -> bool:
        """Whether words are what white space separates; other rules run in no graph."""
        rules = word_rules.of(self.system.config)
        return rules.tokenizer in (None, "whitespace") and not rules.segmenter

    def text_reader(self, max_seq_length: int) -> TextReader | None:
        if not self.splits_in_graph:
            return None
        speller = self.speller
        numbers = speller.in_graph()

        def read(texts):
            words = words_graph.split(texts)[:, :max_seq_length]
            ends = (
                tf.fill([words.nrows(), 1], mark) for mark in (speller.bos, speller.eos)
            )
            before, after = map(tf.RaggedTensor.from_tensor, ends)
            rows = tf.concat([before, words, after], axis=1)
            ids = rows.with_values(numbers(rows.values)).to_tensor()
            mask = tf.sequence_mask(words.row_lengths(), dtype=tf.int32)
            return {"input_ids": ids}, mask

        return read

    def tokens(self, line: Words) -> Sequence[str]:
        return line.words

    def batch(
        self, rows: Sequence[tuple[Words, np.ndarray]], length: int
    ) -> dict[str, np.ndarray]:
        return {"input_ids": self.speller.batch([line.words for line, _ in rows])}

    def report(self) -> None:
        self.speller.report()
