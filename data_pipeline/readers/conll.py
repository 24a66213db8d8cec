"""Words with tags: CoNLL column files and tsv files.

Files are read whole, into flat arrays of words with sentence offsets.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from atomic_files import atomic_path
from data_pipeline.readers import text_files
from data_pipeline.readers.examples import drawn_rows
from data_pipeline.readers.tag_schemes import (
    PLAIN,
    SCHEMES,
    convert,
    entity_type,
    is_tag,
    scheme_tags,
)
from errors import UserError

__all__ = [
    "FORMATS",
    "PLAIN",
    "SCHEMES",
    "TaggedText",
    "convert",
    "of_words",
    "read",
    "read_raw",
    "scheme_tags",
    "tag_ids",
    "without_unseen",
]

FORMATS = ("conll", "tsv")
_DOCUMENT = "-DOCSTART-"
_SPACES = re.compile("[ \\t]+")
_BLANKS = " \t\r"
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
      width: columns of a word's line.
      separator: of the columns: a tab, or a space for any number of either.
      tags_last: whether the tags are the last column.
    """

    path: str
    words: np.ndarray
    tags: np.ndarray | None
    offsets: np.ndarray
    lines: Sequence[str]
    word_lines: np.ndarray
    numbers: np.ndarray
    width: int
    separator: str = " "
    tags_last: bool = True

    @property
    def num_sentences(self) -> int:
        """Sentences with at least one word; there are no others."""
        return len(self.offsets) - 1

    def sample(self, number: int, seed: int) -> "TaggedText":
        """Returns so many sentences, drawn without replacement, or all if fewer."""
        if number >= self.num_sentences:
            return self
        rows = drawn_rows(self.num_sentences, number, seed)
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
        """Writes the file again as conlleval reads it: the right tag, the predicted.

        Each line gets one more column, two where the right tags are not the last one.
        Lines between documents have as many columns: conlleval counts them all.

        Args:
          path: where to.
          predicted: the tag of each word.
        """
        repeats = self.tags is not None and not self.tags_last
        right = [f"{tag}{self.separator}" for tag in self.tags] if repeats else None
        lines = [self._document_line(line, repeats) for line in self.lines]
        for i, (index, tag) in enumerate(
            zip(self.word_lines.tolist(), predicted, strict=True)
        ):
            added = f"{right[i]}{tag}" if repeats else tag
            lines[index] = f"{lines[index]}{self.separator}{added}"
        with (
            atomic_path(path) as temporary,
            tf.io.gfile.GFile(temporary, "w") as file,
        ):
            file.write("\n".join(lines) + "\n")

    def _document_line(self, line, repeats):
        """Fills a line between documents up to the width that is written."""
        if not _separates(line) or not line.strip(_BLANKS):
            return line
        columns = _columns(line, self.separator)
        missing = self.width + 1 + repeats - len(columns)
        return self.separator.join([line, *"O" * missing])


def read(
    path: str,
    data_format: str,
    *,
    scheme: str,
    token_column: int = 0,
    tag_column: int | None = -1,
    labelled: bool = True,
) -> TaggedText:
    """Reads a file of tagged sentences.

    "conll": a word a line; empty lines, and lines that begin with -DOCSTART-, separate
    sentences. Columns are separated by tabs where every word's line has one, and a word
    may then hold spaces; else by spaces or tabs. There are no comments: "#" is a word
    of CoNLL-2003. "tsv": a header with the columns text_a and label, a sentence a line,
    its words and its tags separated by spaces.

    Args:
      path: the file.
      data_format: "conll" or "tsv".
      scheme: the tags', one of `SCHEMES`; never guessed.
      token_column: conll: where the words are, from 0, or from the end if negative.
      tag_column: conll: where the tags are; None, of tsv, too: there are none.
      labelled: whether a file without tags is an error: one without that column, or
        whose only column holds the words.

    Returns:
      The sentences; `tags` is None if there are none.

    Raises:
      MissingFile, UserError: no such file, not UTF-8, no words, rows of unequal
        width, a missing column, or a tag that the scheme does not have there; names
        file and line.
    """
    if labelled and tag_column is None:
        raise UserError(f"{path}: --tag_column=none, but its tags are needed")
    if data_format == "tsv":
        text = _read_tsv(path, tag_column, labelled)
    else:
        text = _read_columns(path, token_column, tag_column, labelled)
    if text.tags is not None and scheme != PLAIN:
        _check_scheme(text, scheme)
    return text


def read_raw(path: str, split: Callable[[str], Sequence[str]]) -> TaggedText:
    """Reads sentences in which nobody has found words, one a line.

    Args:
      path: UTF-8; empty lines mean nothing.
      split: finds the words of a sentence.

    Returns:
      A text without tags, which is written as a word a line.

    Raises:
      MissingFile, UserError: no such file, not UTF-8, or no words.
    """
    words, offsets, numbers = [], [0], []
    for number, line in enumerate(text_files.read_text(path).split("\n"), 1):
        found = split(line)
        if found:
            words += found
            numbers += [number] * len(found)
            offsets.append(len(words))
    return _of_sentences(path, words, None, offsets, numbers)


def of_words(sentences: Sequence[Sequence[str]]) -> TaggedText:
    """Makes a text without tags of sentences, none of them empty."""
    words = [word for sentence in sentences for word in sentence]
    offsets = np.append(0, np.cumsum([len(sentence) for sentence in sentences]))
    return _text("", words, None, offsets, [], [], [], width=1)


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


def without_unseen(
    text: TaggedText, scheme: str, labels: Sequence[str]
) -> tuple[TaggedText, int]:
    """Takes out what a model cannot have learnt, so that the rest has tag ids.

    Args:
      text: to predict; its tags may be None.
      scheme: of the labels.
      labels: the tags in the order of their ids.

    Returns:
      The text, where words of entities whose type is not among the labels are "O" (and
      those of an unknown plain label have the first one), and how many these are.
    """
    if text.tags is None:
        return text, 0

    def meaning(tag):
        return tag if tag == "O" or scheme == PLAIN else entity_type(tag)

    known = {meaning(label) for label in labels}
    names, places = np.unique(text.tags, return_inverse=True)
    unseen = np.array([meaning(name) not in known for name in names])[places]
    number = int(unseen.sum())
    if number:
        logging.warning(
            "%s: the tags of %d words were never seen in training, such as %r; they "
            "count as missed",
            text.path,
            number,
            text.tags[unseen.argmax()],
        )
    tags = np.where(unseen, labels[0], text.tags)
    return dataclasses.replace(text, tags=tags), number


def _check_scheme(text: TaggedText, scheme: str) -> None:
    """Raises UserError where a tag is none, or is not the scheme's at that place."""
    names, tag_ids = np.unique(text.tags, return_inverse=True)
    strange = np.array([not is_tag(name) for name in names])[tag_ids]
    if strange.any():
        index = int(strange.argmax())
        raise UserError(
            f"{text.path}, line {text.numbers[index]}: {text.tags[index]!r} is no tag; "
            "wanted O, or a letter of the scheme with a type, as in B-PER, or all "
            "without. If the column has other labels, --tag_scheme=plain learns them, "
            "and --tag_column=none predicts without them"
        )
    inside = text.tags != "O"
    typed = inside & np.array(["-" in name for name in names])[tag_ids]
    if typed.any() and (typed != inside).any():
        index, other = int((typed != inside).argmax()), int(typed.argmax())
        raise UserError(
            f"{text.path}, line {text.numbers[index]}: {text.tags[index]!r} has no "
            f"type, but {text.tags[other]!r} on line {text.numbers[other]} has one"
        )
    wanted = convert(text.tags, text.offsets, scheme)
    if (wanted != text.tags).any():
        index = int((wanted != text.tags).argmax())
        raise UserError(
            f"{text.path}, line {text.numbers[index]}: {text.tags[index]!r} at "
            f"{text.words[index]!r}, where --tag_scheme={scheme} has "
            f"{str(wanted[index])!r}"
        )


def _separates(line: str) -> bool:
    """Tells a line between sentences or documents from a word's."""
    return _SPACES.split(line.strip(_BLANKS))[0] in ("", _DOCUMENT)


def _columns(line: str, separator: str) -> list[str]:
    return line.split("\t") if separator == "\t" else _SPACES.split(line)


def _read_columns(path, token_column, tag_column, labelled):
    """Reads "conll"."""
    # What ends a line is no column; what begins it may be a word that is a space.
    lines = [line.rstrip("\t\r") for line in text_files.read_text(path).split("\n")]
    while not lines[-1].strip(_BLANKS):
        lines.pop()
    of_words = [line for line in lines if not _separates(line)]
    separator = "\t" if all("\t" in line for line in of_words) else " "
    if separator == " ":
        lines = [line.strip(_BLANKS) for line in lines]
    rows, numbers, offsets = [], [], [0]
    for number, line in enumerate(lines, 1):
        if not _separates(line):
            rows.append(_columns(line, separator))
            numbers.append(number)
        elif offsets[-1] != len(rows):
            offsets.append(len(rows))
    if not rows:
        raise UserError(f"{path}: there is no word in it")
    if offsets[-1] != len(rows):
        offsets.append(len(rows))
    width = _check_width(path, rows, numbers)
    token = _column(path, "token_column", token_column, width)
    tag = _tag_column(path, tag_column, token, width, labelled)
    places = np.array(numbers)
    return _text(
        path,
        [row[token] for row in rows],
        None if tag is None else [row[tag].strip(" ") for row in rows],
        offsets,
        lines,
        places - 1,
        places,
        width=width,
        separator=separator,
        tags_last=tag == width - 1,
    )


def _check_width(path, rows, numbers):
    """Returns the columns of all rows."""
    width = len(rows[0])
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != width:
            raise UserError(
                f"{path}, line {number}: {len(row)} columns, but line {numbers[0]} "
                f"has {width}; wanted a word a line, with an empty line after each "
                "sentence (a sentence a line: --data_format=tsv)"
            )
        if "" in row:
            raise UserError(f"{path}, line {number}: column {row.index('')} is empty")
    return width


def _tag_column(path, column, token, width, labelled):
    """Returns the column of the tags counted from 0; None if there are none."""
    if column is None:
        return None
    if not labelled and (width == 1 or not -width <= column < width):
        return None
    tag = _column(path, "tag_column", column, width)
    if tag == token:
        raise UserError(f"{path}: --tag_column={column} is the column of the words")
    return tag


def _column(path, flag, column, width):
    """Returns the column counted from 0, if there is such a one."""
    if not -width <= column < width:
        raise UserError(f"{path}: --{flag}={column}, but there are {width} columns")
    return column % width


def _read_tsv(path, tag_column, labelled):
    """Reads "tsv"; as lines it becomes a column of words, and one of tags."""
    required = _TSV_COLUMNS if labelled else _TSV_COLUMNS[:1]
    optional = () if tag_column is None else _TSV_COLUMNS[len(required) :]
    words, tags, offsets, numbers = [], [], [0], []
    for number, (sentence, *rest) in text_files.tsv_rows(path, required, optional):
        labels = rest[0] if rest else None
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
    return _of_sentences(path, words, tags or None, offsets, numbers)


def _of_sentences(path, words, tags, offsets, numbers):
    """Puts sentences of a line each into a column of words, and one of tags."""
    if not words:
        raise UserError(f"{path}: there is no word in it")
    # An empty line after each sentence but the last.
    columns = zip(words, tags, strict=True) if tags else zip(words, strict=True)
    lines = [" ".join(row) for row in columns]
    lines = np.insert(np.array(lines, object), offsets[1:-1], "").tolist()
    after = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    word_lines = np.arange(len(words)) + after
    width = 2 if tags else 1
    return _text(path, words, tags, offsets, lines, word_lines, numbers, width=width)


def _text(path, words, tags, offsets, lines, word_lines, numbers, **columns):
    """Puts lists into arrays; strings as objects, for one of them may be long."""
    return TaggedText(
        path=path,
        words=np.array(words, object),
        tags=None if tags is None else np.array(tags, object),
        offsets=np.array(offsets, np.int64),
        lines=lines,
        word_lines=np.array(word_lines, np.int64),
        numbers=np.array(numbers, np.int64),
        **columns,
    )
