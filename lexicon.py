"""Words and characters by number, as ELMoForManyLangs (HIT-SCIR) reads them.

`word.dic` and `char.dic` hold an entry, a tab and its number a line. A word is its own
entry, if it has one, and its characters: Unicode's, where bilm-tf's are bytes.
"""

import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from errors import UserError
from vocabulary import WordIds, read_lines
from word_rules import WordsSeen

WORDS, CHARACTERS = "word.dic", "char.dic"
BOS, EOS = "<bos>", "<eos>"
_OOV, _PAD = "<oov>", "<pad>"
# The original mixes up begin and end of a word, and its weights have learnt it so.
_BEGIN, _END = "<eow>", "<bow>"
_MARKS = (BOS, EOS, _OOV, _PAD, _BEGIN, _END)
_IDEOGRAPHIC_SPACE = "\u3000"


def beside(path: str) -> list[str]:
    """Returns the files of a lexicon that are in the folder of one of them."""
    folder = os.path.dirname(path)
    paths = (os.path.join(folder, name) for name in (WORDS, CHARACTERS))
    return [path for path in paths if tf.io.gfile.exists(path)]


class Lexicon:
    """Spells words for a model; see vocabulary.CharacterEncoder, which it stands for.

    Words of more than `max_characters - 2` characters are cut there; so many were, that
    tells `num_cut`.

    Attributes:
      bos: what stands before a sentence.
      eos: what stands after it.
      seen: what was noticed of the words.
    """

    bos, eos = BOS, EOS

    def __init__(
        self,
        words: Mapping[str, int] | None,
        characters: Mapping[str, int] | None,
        max_characters: int,
    ):
        """Chooses what is read of a word.

        Args:
          words: entry -> number; None for a model of characters alone.
          characters: entry -> number; None for a model of words alone.
          max_characters: int, the characters of a word, its begin and end included.
        """
        self.max_characters = max_characters
        self.num_cut = 0
        self.seen = WordsSeen()
        self._words = words
        self._characters = characters
        if characters is not None:
            self._numbers = np.full(sys.maxunicode + 1, characters[_OOV], np.int32)
            for entry, number in characters.items():
                if len(entry) == 1:
                    self._numbers[ord(entry)] = number

    @classmethod
    def from_folder(
        cls, folder: str, has_words: bool, has_characters: bool, max_characters: int
    ) -> "Lexicon":
        """Reads the files that a model has; see the constructor.

        Raises:
          MissingFile, UserError: a file is missing or damaged; names it and the line.
        """
        words = characters = None
        if has_words:
            words = _read(os.path.join(folder, WORDS), [_OOV])
        if has_characters:
            characters = _read(os.path.join(folder, CHARACTERS), _MARKS)
        return cls(words, characters, max_characters)

    @property
    def words(self) -> list[str]:
        """The entries for words, by their numbers; none of a model of characters."""
        words = self._words or {}
        return sorted(words, key=words.get)

    @property
    def sizes(self) -> tuple[int | None, int | None]:
        """The numbers of words and of characters; None for what it does not read."""
        return (
            None if self._words is None else len(self._words),
            None if self._characters is None else len(self._characters),
        )

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Spells words.

        Args:
          words: N words; `<bos>` and `<eos>` are the marks.

        Returns:
          int32 [N] of a model of words alone; else [N, W], a word's own number, if the
          model has them, and `max_characters` of its characters.
        """
        self.seen.add(words)
        room = self.max_characters - 2
        self.num_cut += sum(len(word) > room for word in words)
        words = [word if word in (BOS, EOS) else word[:room] for word in words]
        columns = []
        if self._words is not None:
            unknown = self._words[_OOV]
            own = (self._words.get(word, unknown) for word in words)
            columns.append(np.fromiter(own, np.int32, len(words)))
        if self._characters is None:
            return columns[0]
        return np.column_stack([*columns, self._spell(words)])

    def _spell(self, words: Sequence[str]) -> np.ndarray:
        """Returns begin, characters, end and filling: int32 [N, max_characters]."""
        number, room = self._characters, self.max_characters - 2
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        # Numpy's strings are Unicode's numbers, filled with 0.
        spelled = np.array(words, f"U{room}").view(np.uint32).reshape(-1, room)
        ids = np.full([len(words), self.max_characters], number[_PAD], np.int32)
        places = np.arange(room) < lengths[:, None]
        ids[:, 1:-1][places] = self._numbers[spelled[places]]
        ids[:, 0] = number[_BEGIN]
        np.put_along_axis(ids, np.minimum(lengths, room)[:, None] + 1, number[_END], 1)
        for row, word in zip(ids, words, strict=True):
            if word in (BOS, EOS):
                row[1:] = number[_PAD]
                row[1:3] = number[word], number[_END]
        return ids

    def batch(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Spells sentences for a model.

        Args:
          sentences: B lists of words.

        Returns:
          int32 [B, longest + 2] or [B, longest + 2, W]: as `encode`, moved up by one,
          between `<bos>` and `<eos>`; 0 = padding.
        """
        lengths = np.array([len(words) + 2 for words in sentences])
        spelled = self.encode([w for words in sentences for w in (BOS, *words, EOS)])
        shape = [len(sentences), lengths.max(), *spelled.shape[1:]]
        ids = np.zeros(shape, np.int32)
        ids[np.arange(lengths.max()) < lengths[:, None]] = spelled + 1
        return ids

    def in_graph(self) -> "GraphLexicon":
        """Returns what spells words in a graph, from 1 on."""
        return GraphLexicon(self._words, self._characters, self.max_characters)

    def report(self) -> None:
        """Warns of words that were too long, and of text without words, if any was."""
        self.seen.warn()
        if self.num_cut:
            logging.warning(
                "%d words were longer than the model's %d characters and were cut",
                self.num_cut,
                self.max_characters,
            )


class GraphLexicon(tf.Module):
    """`Lexicon.encode` in a graph, moved up by one."""

    def __init__(
        self,
        words: Mapping[str, int] | None,
        characters: Mapping[str, int] | None,
        max_characters: int,
    ):
        """Makes the tables; see Lexicon."""
        super().__init__()
        self._max_characters = max_characters
        self._words = self._letters = None
        if words is not None:
            self._words = WordIds(words, words[_OOV])
        if characters is not None:
            letters = {entry: n for entry, n in characters.items() if len(entry) == 1}
            self._letters = WordIds(letters, characters[_OOV])
            self._numbers = {mark: characters[mark] for mark in _MARKS}

    def __call__(self, words: tf.Tensor) -> tf.Tensor:
        """Spells string [M]: int32 [M], or [M, numbers a word]."""
        is_mark, room = (words == BOS) | (words == EOS), self._max_characters - 2
        cut = tf.strings.substr(words, 0, room, unit="UTF8_CHAR")
        words = tf.where(is_mark, words, cut)
        columns = [] if self._words is None else [self._words(words)[:, None] + 1]
        if self._letters is None:
            return columns[0][:, 0]
        return tf.concat([*columns, self._spell(words, is_mark) + 1], axis=1)

    def _spell(self, words, is_mark):
        """Returns begin, characters, end and filling: int32 [M, max_characters]."""
        number = self._numbers
        letters = tf.strings.unicode_split(tf.where(is_mark, "", words), "UTF-8")
        letters = letters.with_values(self._letters(letters.values))
        marks = tf.where(words == BOS, number[BOS], number[EOS])
        marks = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(marks, is_mark), tf.cast(is_mark, tf.int64)
        )
        begin, end = (
            tf.RaggedTensor.from_tensor(tf.fill([tf.size(words), 1], number[mark]))
            for mark in (_BEGIN, _END)
        )
        spelled = tf.concat([begin, marks, letters, end], axis=1)
        shape = [None, self._max_characters]
        return spelled.to_tensor(number[_PAD], shape=shape)


def _read(path: str, needed: Sequence[str]) -> dict[str, int]:
    """Reads a file of entries and their numbers, which must be 0, 1, 2 ..."""
    numbers: dict[str, int] = {}
    for line, text in enumerate(read_lines(path), 1):
        entry, tab, number = text.rpartition("\t")
        if not tab:  # the original's reading of a line whose blank was stripped
            entry = _IDEOGRAPHIC_SPACE
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise UserError(
                f"{path}, line {line}: got {text!r}, wanted entry<tab>number"
            )
        if entry in numbers:
            raise UserError(f"{path}, line {line}: {entry!r} is there a second time")
        numbers[entry] = int(number)
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise UserError(
            f"{path}: the numbers are not 0 to {len(numbers) - 1}, each once"
        )
    missing = [mark for mark in needed if mark not in numbers]
    if missing:
        raise UserError(f"{path}: has no {' and no '.join(missing)}")
    return numbers
