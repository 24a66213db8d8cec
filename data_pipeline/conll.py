"""Words with entity tags: CoNLL column files and tsv files, and the three tag schemes.

    IOB1   I- inside an entity; B- only where it touches one of its own type before
    BIO    B- on an entity's first word, I- on the others (also called IOB2)
    IOBES  as BIO, with E- on the last word and S- on an only one

Files are read whole, into flat arrays of words with sentence offsets.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from atomic_files import atomic_path
from data_pipeline import text_files
from errors import UserError

SCHEMES = ("IOB1", "BIO", "IOBES")
FORMATS = ("conll", "tsv")
_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BIES]-.+")
_SPACES = re.compile("[ \\t]+")
_TSV_COLUMNS = ("text_a", "label")


@dataclasses.dataclass(frozen=True)
class TaggedText:
    """Sentences of words, flat.

    Attributes:
      path: the file.
      words: str [words].
      tags: str [words], in the scheme of the file; None where it has none.
      offsets: int64 [N + 1]; sentence i has the words offsets[i]:offsets[i + 1].
      lines: the file's lines as columns, for writing predictions beside them.
      word_lines: int64 [words], the index of each word's line in `lines`.
      numbers: int64 [words], each word's line number in the file, from 1.
    """

    path: str
    words: np.ndarray
    tags: np.ndarray | None
    offsets: np.ndarray
    lines: Sequence[str]
    word_lines: np.ndarray
    numbers: np.ndarray

    @property
    def num_sentences(self) -> int:
        """Sentences with at least one word; there are no others."""
        return len(self.offsets) - 1

    def sample(self, number: int, seed: int) -> "TaggedText":
        """Returns so many sentences, drawn without replacement, or all if fewer."""
        if number >= self.num_sentences:
            return self
        rows = np.random.default_rng(seed).permutation(self.num_sentences)[:number]
        chosen = np.concatenate([np.arange(*self.offsets[i : i + 2]) for i in rows])
        return dataclasses.replace(
            self,
            words=self.words[chosen],
            tags=self.tags[chosen],
            offsets=np.append(0, np.cumsum(np.diff(self.offsets)[rows])),
            word_lines=self.word_lines[chosen],
            numbers=self.numbers[chosen],
        )

    def write(self, path: str, predicted: Sequence[str]) -> None:
        """Writes the file again with one more column, as conlleval wants it.

        Args:
          path: where to.
          predicted: the tag of each word.
        """
        lines = list(self.lines)
        for index, tag in zip(self.word_lines.tolist(), predicted, strict=True):
            lines[index] = f"{lines[index]} {tag}"
        with (
            atomic_path(path) as temporary,
            tf.io.gfile.GFile(temporary, "w") as file,
        ):
            file.write("\n".join(lines) + "\n")


def read(
    path: str,
    data_format: str,
    *,
    scheme: str,
    token_column: int = 0,
    tag_column: int = -1,
    labelled: bool = True,
) -> TaggedText:
    """Reads a file of tagged sentences.

    "conll": a word a line, its columns separated by spaces or tabs; empty lines, and
    lines that begin with -DOCSTART-, separate sentences. There are no comments: "#" is
    a word of CoNLL-2003. "tsv": a header with the columns text_a and label, a sentence
    a line, its words and its tags separated by spaces.

    Args:
      path: the file.
      data_format: "conll" or "tsv".
      scheme: the tags', one of `SCHEMES`; never guessed.
      token_column: conll: where the words are, from 0, or from the end if negative.
      tag_column: conll: where the tags are.
      labelled: whether a file without tags is an error: one without that column, or
        whose only column holds the words.

    Returns:
      The sentences; `tags` is None if there are none.

    Raises:
      FileNotFoundError, ValueError: no such file, not UTF-8, no words, rows of unequal
        width, a missing column, or a tag that the scheme does not have there; names
        file and line.
    """
    if data_format == "tsv":
        text = _read_tsv(path, labelled)
    else:
        text = _read_columns(path, token_column, tag_column, labelled)
    if text.tags is not None:
        _check_scheme(text, scheme)
    return text


def convert(tags: np.ndarray, offsets: np.ndarray, scheme: str) -> np.ndarray:
    """Writes tags of any scheme, well formed or not, in another one.

    What is an entity is decided as conlleval decides it: where a tag cannot go on with
    the entity before, a new one begins.

    Args:
      tags: str [words], each "O" or one of B-, I-, E- and S- with a type.
      offsets: int64 [N + 1], the sentences.
      scheme: one of `SCHEMES`.

    Returns:
      str [words].
    """
    # Few tags differ: what they mean is looked up, and then all is index arithmetic.
    names, tag_ids = np.unique(tags, return_inverse=True)
    types, type_ids = np.unique(
        [name.partition("-")[2] for name in names], return_inverse=True
    )
    prefix, kind = np.array([name[0] for name in names])[tag_ids], type_ids[tag_ids]
    inside, begins = prefix != "O", np.isin(prefix, ("B", "S"))
    touches = np.append(False, inside[:-1])  # the word before is in an entity, too
    touches[offsets[:-1]] = False
    same = touches & np.append(False, kind[1:] == kind[:-1])
    closed = np.append(False, np.isin(prefix[:-1], ("E", "S")))
    first = inside & (begins | closed | ~same)
    follows = inside & ~first  # goes on with the entity before
    last = inside & ~np.append(follows[1:], False)
    wanted = np.full(len(tags), "I")
    if scheme == "IOB1":
        wanted[first & same] = "B"
    else:
        wanted[first] = "B"
    if scheme == "IOBES":
        wanted[last] = "E"
        wanted[first & last] = "S"
    named = np.char.add(np.char.add(wanted, "-"), types[kind])
    return np.where(inside, named, "O")


def scheme_tags(tags: np.ndarray, scheme: str) -> tuple[str, ...]:
    """All tags that a scheme has for the types in `tags`: "O" first, sorted by type."""
    prefixes = "BIES" if scheme == "IOBES" else "BI"
    types = sorted({tag.partition("-")[2] for tag in np.unique(tags)} - {""})
    return ("O", *(f"{prefix}-{kind}" for kind in types for prefix in prefixes))


def tag_ids(text: TaggedText, scheme: str, labels: Sequence[str]) -> np.ndarray:
    """Numbers the tags of a text.

    Args:
      text: its tags may be None; their ids are 0.
      scheme: what the labels are in.
      labels: the tags in the order of their ids.

    Returns:
      int32 [words].

    Raises:
      UserError: a tag's type is not among the labels; names file and line.
    """
    if text.tags is None:
        return np.zeros(len(text.words), np.int32)
    known = {label: i for i, label in enumerate(labels)}
    names, places = np.unique(
        convert(text.tags, text.offsets, scheme), return_inverse=True
    )
    unseen = np.array([name not in known for name in names])[places]
    if unseen.any():
        index = int(unseen.argmax())
        raise UserError(
            f"{text.path}, line {text.numbers[index]}: the tag {text.tags[index]!r} "
            f"was never seen in training; known: {', '.join(labels)}"
        )
    return np.array([known[name] for name in names], np.int32)[places]


def _check_scheme(text: TaggedText, scheme: str) -> None:
    """Raises ValueError where a tag is none, or is not the scheme's at that place."""
    names, tag_ids = np.unique(text.tags, return_inverse=True)
    strange = np.array([not _TAG.fullmatch(name) for name in names])[tag_ids]
    if strange.any():
        index = int(strange.argmax())
        raise UserError(
            f"{text.path}, line {text.numbers[index]}: {text.tags[index]!r} is no tag; "
            "wanted O, or one of B-, I-, E- and S- with a type, as in B-PER"
        )
    wanted = convert(text.tags, text.offsets, scheme)
    if (wanted != text.tags).any():
        index = int((wanted != text.tags).argmax())
        raise UserError(
            f"{text.path}, line {text.numbers[index]}: {text.tags[index]!r} at "
            f"{text.words[index]!r}, where --tag_scheme={scheme} has "
            f"{str(wanted[index])!r}"
        )


def _read_columns(path, token_column, tag_column, labelled):
    """Reads "conll"."""
    lines = [line.strip(" \t\r") for line in text_files.read_text(path).split("\n")]
    while not lines[-1]:
        lines.pop()
    rows, numbers, offsets = [], [], [0]
    for number, line in enumerate(lines, 1):
        row = _SPACES.split(line)
        if row[0] not in ("", _DOCUMENT):
            rows.append(row)
            numbers.append(number)
        elif offsets[-1] != len(rows):
            offsets.append(len(rows))
    if not rows:
        raise UserError(f"{path}: there is no word in it")
    if offsets[-1] != len(rows):
        offsets.append(len(rows))
    width = len(rows[0])
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != width:
            raise UserError(
                f"{path}, line {number}: {len(row)} columns, but line {numbers[0]} "
                f"has {width}"
            )
    token = _column(path, "token_column", token_column, width)
    tags = None
    if labelled or (width > 1 and -width <= tag_column < width):
        tag = _column(path, "tag_column", tag_column, width)
        if tag == token:
            raise UserError(
                f"{path}: --tag_column={tag_column} is the column of the words"
            )
        tags = [row[tag] for row in rows]
    words = [row[token] for row in rows]
    places = np.array(numbers)
    return _text(path, words, tags, offsets, lines, places - 1, places)


def _column(path, flag, column, width):
    """Returns the column counted from 0, if there is such a one."""
    if not -width <= column < width:
        raise UserError(f"{path}: --{flag}={column}, but there are {width} columns")
    return column % width


def _read_tsv(path, labelled):
    """Reads "tsv"; as lines it becomes a column of words, and one of tags."""
    required = _TSV_COLUMNS if labelled else _TSV_COLUMNS[:1]
    optional = _TSV_COLUMNS[len(required) :]
    words, tags, offsets, numbers = [], [], [0], []
    for number, (sentence, labels) in text_files.tsv_rows(path, required, optional):
        row = [word for word in sentence.split(" ") if word]
        tags += [tag for tag in (labels or "").split(" ") if tag]
        if labels is not None and len(tags) - offsets[-1] != len(row):
            raise UserError(
                f"{path}, line {number}: {len(row)} words, but "
                f"{len(tags) - offsets[-1]} tags"
            )
        if row:
            words += row
            numbers += [number] * len(row)
            offsets.append(len(words))
    if not words:
        raise UserError(f"{path}: there is no word in it")
    # An empty line after each sentence but the last.
    columns = zip(words, tags, strict=True) if tags else zip(words, strict=True)
    lines = [" ".join(row) for row in columns]
    lines = np.insert(np.array(lines, object), offsets[1:-1], "").tolist()
    after = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    word_lines = np.arange(len(words)) + after
    return _text(path, words, tags or None, offsets, lines, word_lines, numbers)


def _text(path, words, tags, offsets, lines, word_lines, numbers):
    """Puts lists into arrays; strings as objects, for one of them may be long."""
    return TaggedText(
        path=path,
        words=np.array(words, object),
        tags=None if tags is None else np.array(tags, object),
        offsets=np.array(offsets, np.int64),
        lines=lines,
        word_lines=np.array(word_lines, np.int64),
        numbers=np.array(numbers, np.int64),
    )
