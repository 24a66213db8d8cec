"""Words, their counts and their characters, as language models over words read them.

The files are bilm-tf's: one word a line, `<S>`, `</S>` and `<UNK>` among them, the most
frequent words first. TagLM's are like them, but their words may begin or end with
blanks. A word's characters are the bytes of its UTF-8 between two marks.
"""

import collections
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from errors import MissingFile, UserError
from word_rules import WordsSeen

MARKS = BOS, EOS, UNK = "<S>", "</S>", "<UNK>"
_NO_WORD = "!!!MAXTERMID"  # a line that bilm-tf skips
_ABSENT = -2  # what a table in a graph has for other words
# Character ids after those of the 256 bytes; as in files, that is before the id of the
# padding is put in front and every id moves up by one.
BOS_CHARACTER, EOS_CHARACTER, BOW, EOW, FILLING = range(256, 261)


class Vocabulary:
    """The words of a language model; a word's id is its place.

    Attributes:
      words: the words in order.
      source: where they come from, for messages.
      bos: the id of `<S>`; None where it is no word.
      eos: the id of `</S>`; None where it is no word.
      unk: the id of `<UNK>`; None where it is no word.
    """

    def __init__(self, words: Iterable[str], source: str = "Vocabulary"):
        self.words = tuple(words)
        self.source = source
        self._ids = {word: i for i, word in enumerate(self.words)}
        self.bos, self.eos, self.unk = (self._ids.get(mark) for mark in (BOS, EOS, UNK))

    @classmethod
    def from_file(cls, vocab_file: str) -> "Vocabulary":
        """Reads a language model's file as bilm-tf does: no blanks around words.

        Args:
          vocab_file: local or remote (`gs://`).

        Raises:
          MissingFile, UserError: no such file, or not UTF-8; names file and line.
        """
        words = (line.strip() for line in read_lines(vocab_file))
        return cls((word for word in words if word != _NO_WORD), vocab_file)

    @classmethod
    def from_exact_file(cls, vocab_file: str) -> "Vocabulary":
        """Reads what `file_text` wrote: words as they are, blanks around them, too.

        See `from_file`.
        """
        return cls(read_lines(vocab_file), vocab_file)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def ids(self, tokens: Iterable[str]) -> np.ndarray:
        """Looks words up.

        Args:
          tokens: words.

        Returns:
          int32 [N]; the id of `<UNK>` for a word that is not there, or -1 where there
          is no `<UNK>` either.
        """
        unknown = -1 if self.unk is None else self.unk
        get = self._ids.get
        return np.fromiter((get(token, unknown) for token in tokens), np.int32)

    def in_graph(self, first: int = 0, **kwargs) -> "WordIds":
        """Returns what looks words up in a graph, as `ids` does.

        Args:
          first: the id of the first word.
          **kwargs: see WordIds.
        """
        ids = {word: i + first for word, i in self._ids.items()}
        unknown = -1 if self.unk is None else self.unk
        return WordIds(ids, unknown + first, **kwargs)

    def require_marks(self) -> None:
        """Checks that a language model can be trained.

        Raises:
          UserError: one of the three marks is missing; names the file.
        """
        missing = [mark for mark in (BOS, EOS, UNK) if mark not in self]
        if missing:
            raise UserError(
                f"{self.source}: no line {' and no line '.join(missing)}; to train, a "
                "vocabulary needs all three marks"
            )


def file_text(words: Iterable[str]) -> str:
    """Returns what a file of words holds; no word may have a line feed in it."""
    return "".join(f"{word}\n" for word in words)


def read_lines(path: str) -> list[str]:
    r"""Lines end at "\n" only: a word may hold any other of Unicode's line ends."""
    if not tf.io.gfile.exists(path):
        raise MissingFile(f"{path}: no such file")
    with tf.io.gfile.GFile(path, "rb") as reader:
        lines = reader.read().removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            lines[number - 1] = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    return lines


def most_frequent(
    counts: collections.Counter[str], size: int | None = None, min_count: int = 1
) -> list[str]:
    """Chooses the words of a vocabulary: the three marks, then by falling frequency.

    Args:
      counts: of words.
      size: int, the most entries, marks included; None = no limit.
      min_count: int, occurrences that a word needs.

    Returns:
      The words; those of the same count in the order of their code points.
    """
    found = [
        (-count, word)
        for word, count in counts.items()
        if count >= min_count and word not in (*MARKS, _NO_WORD)
    ]
    return [*MARKS, *(word for _, word in sorted(found))][:size]


def check_sorted(vocabulary: Vocabulary, counts: np.ndarray) -> None:
    """Checks that frequent words come first, as a sampled softmax needs them.

    Words are sampled by place, log-uniformly. Of the way from a random order to the
    best one, in the mean of log(place) over a text, a vocabulary must go half: one that
    was sorted by the counts of another text goes most of it, an alphabetical one none.

    Args:
      vocabulary: of the model.
      counts: int [V], how often each word is in a text that the model is trained on.

    Raises:
      UserError: another order; tells why it matters.
    """
    if not counts.sum():
        return
    logs = np.log(np.arange(1, len(counts) + 1))
    share = counts / counts.sum()
    random, best, found = logs.mean(), np.sort(share)[::-1] @ logs, share @ logs
    if random - found < 0.5 * (random - best):
        top = int(np.argmax(counts))
        raise UserError(
            f"{vocabulary.source}: not sorted by falling frequency (the most frequent "
            f"word, {vocabulary.words[top]!r}, is on line {top + 1} of {len(counts)}). "
            "A sampled softmax draws the words on the first lines most often, so the "
            "frequent words must be there; sort the file, or set sample_softmax to "
            "false"
        )


class CharacterEncoder:
    """ELMo's character ids: bow, the word's bytes, eow, filling.

    A word of more than `max_characters - 2` bytes is cut there, even inside a
    character, as bilm-tf does; so many were, that tells `num_cut`.

    Args:
      max_characters: int, ids a word, `max_characters_per_token` of options.json.
      vocabulary: where `<S>` or `</S>` is one of its words, it is read as the mark and
        not as its letters. None = both are.

    Attributes:
      bos: what stands before a sentence.
      eos: what stands after it.
      seen: what was noticed of the words.
    """

    bos, eos = BOS, EOS

    def __init__(self, max_characters: int, vocabulary: Vocabulary | None = None):
        self.max_characters = max_characters
        self.num_cut = 0
        self.seen = WordsSeen()
        marks = {BOS: BOS_CHARACTER, EOS: EOS_CHARACTER}
        self._marks = {
            mark: character
            for mark, character in marks.items()
            if vocabulary is None or mark in vocabulary
        }
        self._sentence_marks = self._mark_rows([BOS_CHARACTER, EOS_CHARACTER])

    def _mark_rows(self, characters: Sequence[int]) -> np.ndarray:
        rows = np.full([len(characters), self.max_characters], FILLING, np.int32)
        rows[:, 0], rows[:, 1], rows[:, 2] = BOW, characters, EOW
        return rows

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Spells words; lone surrogates are left out.

        Args:
          words: N words.

        Returns:
          int32 [N, max_characters], ids as in files.
        """
        self.seen.add(words)
        room = self.max_characters - 2
        encoded = [word.encode("utf-8", "ignore") for word in words]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self.num_cut += int(np.sum(lengths > room))
        lengths = np.minimum(lengths, room)[:, None]
        # Numpy's byte strings cut and fill all words at once.
        spelled = np.array(encoded, f"S{room}").view(np.uint8)
        ids = np.full([len(encoded), self.max_characters], FILLING, np.int32)
        ids[:, 0] = BOW
        places = np.arange(room)
        ids[:, 1:-1] = np.where(
            places < lengths, spelled.reshape(-1, room).astype(np.int32), FILLING
        )
        np.put_along_axis(ids, lengths + 1, EOW, axis=1)
        marked = [i for i, word in enumerate(words) if word in self._marks]
        if marked:
            ids[marked] = self._mark_rows([self._marks[words[i]] for i in marked])
        return ids

    def in_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns what spells words in a graph; both marks are words there."""
        return functools.partial(character_ids, max_characters=self.max_characters)

    def report(self) -> None:
        """Warns of words that were too long, and of text without words, if any was."""
        self.seen.warn()
        if self.num_cut:
            logging.warning(
                "%d words were longer than the model's %d characters and were cut",
                self.num_cut,
                self.max_characters,
            )

    def batch(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Spells sentences for a model.

        Args:
          sentences: B lists of words.

        Returns:
          int32 [B, longest + 2, max_characters]: ids moved up by one, between `<S>` and
          `</S>`; 0 = padding.
        """
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        spelled = self.encode([word for words in sentences for word in words])
        shape = [len(sentences), int(lengths.max(initial=0)) + 2, self.max_characters]
        ids = np.zeros(shape, np.int32)
        bos, eos = self._sentence_marks + 1
        ids[:, 0] = bos
        ids[np.arange(len(sentences)), lengths + 1] = eos
        ids[:, 1:-1][np.arange(shape[1] - 2) < lengths[:, None]] = spelled + 1
        return ids


def character_ids(words: tf.Tensor, max_characters: int) -> tf.Tensor:
    """Spells words inside a graph, as `CharacterEncoder` without a vocabulary does.

    Args:
      words: string, any shape, in UTF-8; an empty one is padding.
      max_characters: int, C.

    Returns:
      int32 [..., C]: ids moved up by one; 0 = padding.
    """
    room = max_characters - 2
    lengths = tf.minimum(tf.strings.length(words), room)[..., None]
    spelled = tf.cast(tf.io.decode_raw(words, tf.uint8, fixed_length=room), tf.int32)
    spelled = tf.pad(spelled, [[0, 0]] * words.shape.rank + [[0, 1]])
    for mark, character in ((BOS, BOS_CHARACTER), (EOS, EOS_CHARACTER)):
        is_mark = (words == mark)[..., None]
        spelled = tf.where(is_mark, character, spelled)
        lengths = tf.where(is_mark, 1, lengths)
    places = tf.range(room + 1)
    spelled = tf.where(places < lengths, spelled, FILLING)
    spelled = tf.where(places == lengths, EOW, spelled)
    ids = tf.concat([tf.fill(tf.shape(lengths), BOW), spelled], -1) + 1
    return tf.where((words == "")[..., None], 0, ids)


def batch_ids(vocabulary: Vocabulary, sentences: Sequence[Sequence[str]]) -> np.ndarray:
    """Looks sentences up for a model whose words have no characters.

    Args:
      vocabulary: with `<S>` and `</S>`.
      sentences: B lists of words.

    Returns:
      int32 [B, longest + 2]: ids moved up by one, between `<S>` and `</S>`;
      0 = padding, and what has no id.
    """
    ids = np.zeros([len(sentences), max(map(len, sentences), default=0) + 2], np.int32)
    for row, sentence in zip(ids, sentences, strict=True):
        row[: len(sentence) + 2] = vocabulary.ids([BOS, *sentence, EOS]) + 1
    return ids


class TableEncoder:
    """The numbers of words, for a model whose words have no characters.

    Args:
      vocabulary: of the model.

    Attributes:
      bos: what stands before a sentence.
      eos: what stands after it.
      seen: what was noticed of the words.

    Raises:
      UserError: the vocabulary lacks a mark.
    """

    bos, eos = BOS, EOS

    def __init__(self, vocabulary: Vocabulary):
        vocabulary.require_marks()
        self._vocabulary = vocabulary
        self.seen = WordsSeen()

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Looks words up; see `Vocabulary.ids`."""
        ids = self._vocabulary.ids(words)
        self.seen.add(words, int((ids == self._vocabulary.unk).sum()))
        return ids

    def batch(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Looks sentences up; see `batch_ids`."""
        ids = batch_ids(self._vocabulary, sentences)
        words = [word for sentence in sentences for word in sentence]
        self.seen.add(words, int((ids == self._vocabulary.unk + 1).sum()))
        return ids

    def in_graph(self) -> "WordIds":
        """Returns what numbers words in a graph, from 1 on."""
        return self._vocabulary.in_graph(first=1)

    def report(self) -> None:
        """Warns of text without words, and of words that are unknown, if many are."""
        self.seen.warn()


def lower(words: tf.Tensor) -> tf.Tensor:
    """str.lower in a graph, but for the 40 capitals that Unicode 14 added."""
    # ASCII by itself: the second call follows the locale of the process.
    return tf.strings.lower(tf.strings.lower(words), encoding="utf-8")


class WordIds(tf.Module):
    """Looks words up in a graph."""

    def __init__(
        self,
        ids: Mapping[str, int],
        unknown: int,
        spellings: Sequence[Callable[[tf.Tensor], tf.Tensor]] = (tf.identity,),
    ):
        """Makes the table.

        Args:
          ids: word -> id.
          unknown: the id of any other word.
          spellings: string [M] -> string [M]: under which a word is looked for, one
            after the other.
        """
        super().__init__()
        keys, values = tf.constant(list(ids)), tf.constant(list(ids.values()))
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        self._table = tf.lookup.StaticHashTable(initializer, _ABSENT)
        self._unknown, self._spellings = unknown, spellings

    def __call__(self, words: tf.Tensor) -> tf.Tensor:
        """Looks string [M] up; int32 [M]."""
        ids = tf.fill(tf.shape(words), _ABSENT)
        for spell in self._spellings:
            ids = tf.where(ids == _ABSENT, self._table.lookup(spell(words)), ids)
        return tf.where(ids == _ABSENT, self._unknown, ids)
