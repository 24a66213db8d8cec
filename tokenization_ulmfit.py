r"""ULMFiT's text to words: fastai's rules around the English ones, and its marks.

    HTML's debris -> repeated characters and words -> spaces around / # \
    -> capitals marked -> lower case -> words

A vocabulary has the marks of fastai v1 and v2 (`xxbos`) or those of the scripts of 2018
(`xbos`), whose rules differ a little: four equal characters are a repetition instead of
three, and capitals are marked in words of three letters, never at the first one alone.
"""

import functools
import html
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

import tokenization
import tokenization_english
from errors import UserError
from word_rules import WordsSeen


class Marks(NamedTuple):
    """The words that stand for no word.

    Attributes:
      unk: for what the vocabulary has not.
      pad: behind a text.
      bos: before a text.
      field: before a part of it, with its number.
      rep: before a number and the character that is repeated so often.
      wrep: the same of a word.
      up: before a word that was in capitals.
      maj: before one that began with a capital; None: it is not marked.
      least: how many equal ones are a repetition.
    """

    unk: str
    pad: str
    bos: str
    field: str
    rep: str
    wrep: str
    up: str
    maj: str | None
    least: int


MARKS = Marks(
    *("xxunk", "xxpad", "xxbos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj"), least=3
)
MARKS_2018 = Marks(
    *("_unk_", "_pad_", "xbos", "xfld", "tk_rep", "tk_wrep", "t_up"), maj=None, least=4
)
# What a vocabulary begins with; the ids are those of fastai v1 and v2.
SPECIAL = ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep")
SPECIAL += ("xxup", "xxmaj")
FILLING = "xxfake"  # fills fastai's vocabularies up to a multiple of 8
NEWLINE = "\n"

_DEBRIS = (
    ("#39;", "'"),
    ("amp;", "&"),
    ("#146;", "'"),
    ("nbsp;", " "),
    ("#36;", "$"),
    ("\\n", NEWLINE),
    ("quot;", "'"),
    ("<br />", NEWLINE),
    ('\\"', '"'),
    (" @.@ ", "."),
    (" @-@ ", "-"),
)
_DEBRIS_OF = {
    MARKS: (("<unk>", MARKS.unk), ("...", " …")),
    MARKS_2018: (("<unk>", "u_n"),),
}
_APART = re.compile(r"[/#\\]")
# What spaCy parts before a letter, and `tokenization_english` takes for parted.
_INSIDE = re.compile(r"(?:(?<=[^\W_])(?:-{1,3}|–|—{1,2}|~)|(?<=[^\W\d_]),)(?=[^\W\d_])")
_CAPITAL = re.compile("[A-Z]")
_SMALL = re.compile("[a-z]")
_LETTERS = re.compile(r"\w+")
_MEMORY = 1 << 20  # distinct chunks remembered


def _repetitions(least: int) -> tuple[re.Pattern, re.Pattern]:
    """Returns what finds so many equal characters, and so many equal words."""
    more = f"{{{least - 1},}}"
    characters = re.compile(rf"(\S)\1{more}")
    return characters, re.compile(rf"(?<!\S)(\w+)(?:\s+\1){more}(?!\w)")


_REPETITIONS = {marks.least: _repetitions(marks.least) for marks in (MARKS, MARKS_2018)}


def clean(text: str, marks: Marks = MARKS) -> str:
    """Applies the rules that look at more than one word.

    Args:
      text: as it is.
      marks: of the vocabulary.

    Returns:
      The text, with marks where something is repeated.
    """
    for found, instead in _DEBRIS + _DEBRIS_OF[marks]:
        text = text.replace(found, instead)
    text = html.unescape(text)
    characters, words = _REPETITIONS[marks.least]
    text = characters.sub(lambda m: f" {marks.rep} {len(m[0])} {m[1]} ", text)
    text = words.sub(lambda m: f" {marks.wrep} {len(m[0].split())} {m[1]} ", text)
    return _APART.sub(r" \g<0> ", text)


def chunks(text: str) -> Iterator[str]:
    """Yields what stands between white space; an end of line is one of them."""
    lines = (line.split() for line in text.split(NEWLINE))
    for number, line in enumerate(lines):
        if number:
            yield NEWLINE
        yield from line


def chunk_tokens(chunk: str, marks: Marks = MARKS) -> list[str]:
    """Splits one of `chunks` into words, with the marks of its capitals."""
    if chunk in marks or chunk == NEWLINE:
        return [chunk]
    before = []
    if marks.maj and _CAPITAL.match(chunk) and len(chunk) > 1:
        if not _SMALL.search(chunk):
            before = [marks.up]
        elif not _CAPITAL.search(chunk, 1):
            before = [marks.maj]
    parts = _INSIDE.sub(r" \g<0> ", chunk)
    if not marks.maj:
        parts = _LETTERS.sub(lambda m: _marked(m[0], marks.up), parts)
    found = (
        [part] if part == marks.up else tokenization_english.split(part)
        for part in parts.lower().split()
    )
    return [*before, *itertools.chain.from_iterable(found)]


def _marked(word, mark):
    return f" {mark} {word}" if word.isupper() and len(word) > 2 else word


def tokens(text: str, marks: Marks = MARKS) -> list[str]:
    """Returns the words of a text, marks among them, but for those before it."""
    found = (chunk_tokens(chunk, marks) for chunk in chunks(clean(text, marks)))
    return list(itertools.chain.from_iterable(found))


class UlmfitTokenizer:
    """Texts to ids, and back.

    Attributes:
      words: of the vocabulary, in order.
      vocab: word -> id, of a word that is there more than once the first.
      marks: of the vocabulary.
      unk: id of what is not in the vocabulary.
      bos: id of what stands before a text, and after the last one.
      seen: what was noticed of the words.
    """

    def __init__(
        self,
        words: Sequence[str],
        source: str,
        segment: Callable[[str], str] | None = None,
    ):
        """Finds the marks.

        Args:
          words: in the order of their ids.
          source: where they come from, for messages.
          segment: puts spaces between words that have none; None: all have.

        Raises:
          UserError: neither `xxunk` nor `_unk_` is among them.
        """
        self.words, self._segment = words, segment
        self.seen = WordsSeen()
        self.vocab = {word: i for i, word in reversed(list(enumerate(words)))}
        known = [m for m in (MARKS, MARKS_2018) if m.unk in self.vocab]
        if not known:
            raise UserError(
                f"{source}: none of {len(words)} words is xxunk, or _unk_, which other "
                "words are read as; was it made by create_vocab.py --model_type=ulmfit?"
            )
        self.marks = known[0]
        self.unk = self.vocab[self.marks.unk]
        self.bos = self.id(self.marks.bos)
        self._chunk_ids = functools.lru_cache(_MEMORY)(self._ids_of_chunk)

    def id(self, word: str) -> int:
        """Returns a word's id."""
        return self.vocab.get(word, self.unk)

    def field(self, number: int) -> list[int]:
        """Returns what stands before a part of a text, from 1 on."""
        return [self.id(self.marks.field), self.id(str(number))]

    @property
    def start(self) -> list[int]:
        """What stands before a text of one part: the scripts of 2018 mark this, too."""
        return [self.bos, *(self.field(1) if self.marks is MARKS_2018 else ())]

    def tokens(self, text: str) -> list[str]:
        """Returns a text's words, those outside the vocabulary, too."""
        return tokens(
            text if self._segment is None else self._segment(text), self.marks
        )

    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Looks texts up, without what stands before them.

        Args:
          texts: N texts.

        Returns:
          The ids of all texts, one after the other, int32 [sum of lengths], and the
          place where each text starts and the last one ends, int64 [N + 1].
        """
        offsets, found = np.zeros(len(texts) + 1, np.int64), []
        for number, text in enumerate(texts, 1):
            if self._segment is not None:
                text = self._segment(text)
            for chunk in chunks(clean(text, self.marks)):
                found += self._chunk_ids(chunk)
            self.seen.add_text(text, 0, 0)
            offsets[number] = len(found)
        ids = np.array(found, np.int32)
        self.seen.add_text("", len(ids), int((ids == self.unk).sum()))
        return ids, offsets

    def _ids_of_chunk(self, chunk):
        return tuple(map(self.id, chunk_tokens(chunk, self.marks)))

    def decode(self, ids: Iterable[int]) -> str:
        """Joins words by spaces; capitals and repetitions are what their marks say."""
        found, words = [], (self.words[int(i)] for i in ids)
        for word in words:
            if word == self.marks.up:
                found.append(next(words, "").upper())
            elif word == self.marks.maj:
                following = next(words, "")
                found.append(following[:1].upper() + following[1:])
            else:
                found.append(word)
        return " ".join(found)


def read_words(path: str) -> list[str]:
    r"""Reads a vocabulary, a word a line; the end of a line is written as `\n`.

    Lines may end as on Windows: no word has white space in it.

    Raises:
      MissingFile: there is no such file.
      UserError: not UTF-8, or a word is there twice; names the file.
    """
    data = tokenization.read_bytes(path).removesuffix(b"\n")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: {error}") from None
    words = [line.removesuffix("\r").replace(r"\n", NEWLINE) for line in lines]
    check_words(words, path)
    return words


def file_text(words: Iterable[str]) -> str:
    """Returns what `read_words` reads."""
    return "".join(f"{word.replace(NEWLINE, chr(92) + 'n')}\n" for word in words)


def check_words(words: Sequence[str], source: str) -> None:
    """Refuses a vocabulary in which a word has several ids.

    Raises:
      UserError: names the source, the first such word and its places.
    """
    places: dict[str, int] = {}
    for number, word in enumerate(words, 1):
        first = places.setdefault(word, number)
        if first != number and word != FILLING:
            shown = json.dumps(word[:40], ensure_ascii=False)
            raise UserError(
                f"{source}: {shown} is word {first} and word {number}; wanted each once"
            )
