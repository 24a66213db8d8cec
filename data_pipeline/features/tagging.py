"""Sentences of words to rows of pieces for a tagger, and to TFRecord examples.

    first  pieces of a word ...  last       [CLS] and [SEP] for BERT

A sentence that is too long is cut between words into several rows, so that every word
has a row, and in it a place: that of its first piece, or of its last one for a model
that reads from left to right. A whole data set is laid out at once, in flat arrays with
row offsets.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features.tokens import Tokenizer
from data_pipeline.readers.conll import TaggedText
from errors import UserError

TAGGING_SPEC = FeatureSpec(
    [
        Feature("input_ids", tf.int32, (None,)),
        # Of each word's piece that stands for it; 0, where no word is, pads.
        Feature("word_positions", tf.int32, (None,)),
        Feature("tag_ids", tf.int32, (None,), is_input=False),
        Feature("sentence_index", tf.int32, (), is_input=False),
    ]
)


def word_spec(max_characters: int) -> FeatureSpec:
    """Features of a model that reads words: each is one piece, with its spelling."""
    # As vocabulary.CharacterEncoder.batch spells words: moved up by one, 0 = padding.
    spelling = Feature("characters", tf.int32, (None, max_characters))
    return FeatureSpec([*TAGGING_SPEC.features, spelling])


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """Ids that stand for no word.

    Attributes:
      first: before the first piece of a row.
      last: after its last one.
      unknown: for a word that the tokenizer makes no piece of.
    """

    first: int
    last: int
    unknown: int


@dataclasses.dataclass(frozen=True)
class TaggingColumns:
    """A data set's features; R rows, in the order of the sentences.

    Attributes:
      input_ids: int32 [pieces of all rows].
      offsets: int64 [R + 1]; row i has the pieces offsets[i]:offsets[i + 1].
      word_positions: int64 [words of all rows].
      tag_ids: int32 [words of all rows].
      word_offsets: int64 [R + 1]; row i has the words word_offsets[i]:...[i + 1].
      sentence_index: int64 [R], the sentence that a row is (a part) of.
      split_sentences: how many sentences have several rows.
      truncated_words: how many words have more pieces than a row, and lost some.
      characters: int32 [pieces of all rows, C], where each word is one piece: its
        spelling; None where words are not spelled.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    word_positions: np.ndarray
    tag_ids: np.ndarray
    word_offsets: np.ndarray
    sentence_index: np.ndarray
    split_sentences: int
    truncated_words: int
    characters: np.ndarray | None = None

    def records(self, spec: FeatureSpec = TAGGING_SPEC) -> Iterator[bytes]:
        """Yields the rows serialised as `spec` says, numbered from 0."""
        pieces, words = self.offsets.tolist(), self.word_offsets.tolist()
        for i, sentence in enumerate(self.sentence_index.tolist()):
            values = {
                "input_ids": self.input_ids[pieces[i] : pieces[i + 1]],
                "word_positions": self.word_positions[words[i] : words[i + 1]],
                "tag_ids": self.tag_ids[words[i] : words[i + 1]],
                "sentence_index": sentence,
            }
            if self.characters is not None:
                values["characters"] = self.characters[pieces[i] : pieces[i + 1]]
            yield spec.to_example(values, example_index=i)


def tagging_columns(
    text: TaggedText,
    tag_ids: np.ndarray,
    tokenizer: Tokenizer,
    special: SpecialIds,
    max_seq_length: int,
    last_piece: bool = False,
) -> TaggingColumns:
    """Tokenizes words, cuts long sentences, and lays out a data set.

    Args:
      text: the sentences.
      tag_ids: int32 [words].
      tokenizer: gives the ids; every word is a text of its own.
      special: the ids beside them.
      max_seq_length: most pieces of a row, the first and the last included.
      last_piece: whether a word's place is that of its last piece.

    Raises:
      UserError: `max_seq_length` is below 3.
    """
    if max_seq_length < 3:
        raise UserError(f"--max_seq_length={max_seq_length}; wanted at least 3")
    room = max_seq_length - 2
    pieces, sizes = _pieces(tokenizer, text.words.tolist(), special.unknown)
    kept = np.minimum(sizes, room)
    ends = np.cumsum(sizes)
    within = np.arange(len(pieces)) - np.repeat(ends - sizes, sizes)
    pieces = pieces[within < room]

    starts = _row_starts(kept, text.offsets, room)
    lengths = np.add.reduceat(kept, starts)
    offsets = np.append(0, np.cumsum(lengths + 2))
    rows = np.arange(len(starts))
    input_ids = np.full(offsets[-1], special.last, np.int32)
    input_ids[offsets[:-1]] = special.first
    # Before a row's pieces stand two more ids for each row before, and its first.
    input_ids[np.arange(len(pieces)) + np.repeat(2 * rows + 1, lengths)] = pieces
    word_offsets = np.append(starts, len(sizes))
    before = np.cumsum(kept) - kept
    places = before + kept - 1 if last_piece else before
    words = np.diff(word_offsets)
    sentence_index = np.searchsorted(text.offsets, starts, side="right") - 1
    return TaggingColumns(
        input_ids=input_ids,
        offsets=offsets,
        word_positions=places - np.repeat(before[starts], words) + 1,
        tag_ids=tag_ids,
        word_offsets=word_offsets,
        sentence_index=sentence_index,
        split_sentences=int(np.count_nonzero(np.bincount(sentence_index) > 1)),
        truncated_words=int(np.count_nonzero(sizes > room)),
    )


def word_columns(
    text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
) -> TaggingColumns:
    """Cuts long sentences, and lays out a data set for a model that reads words.

    Args:
      text: the sentences.
      tag_ids: int32 [words].
      max_seq_length: most words of a row, `<S>` and `</S>` included.

    Returns:
      The columns; `input_ids` are places in the text's words, -2 `<S>` and -1 `</S>`:
      they pick what the model reads from an array of the words and those two.

    Raises:
      UserError: `max_seq_length` is below 3.
    """
    marks = SpecialIds(first=-2, last=-1, unknown=-1)
    return tagging_columns(text, tag_ids, _Places(), marks, max_seq_length)


class _Places:
    """A tokenizer that gives every word its place in the text as its only piece."""

    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See data_pipeline.features.tokens.Tokenizer."""
        return np.arange(len(texts)), np.arange(len(texts) + 1)


def _pieces(
    tokenizer: Tokenizer, words: Sequence[str], unknown: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all pieces, and pieces of each word, of which there is at least one."""
    flat, offsets = tokenizer.ids(words)
    sizes = np.diff(offsets)
    # Control characters alone, for example, leave no piece.
    flat = np.insert(flat, offsets[:-1][sizes == 0], unknown)
    return flat, np.maximum(sizes, 1)


def _row_starts(sizes: np.ndarray, offsets: np.ndarray, room: int) -> np.ndarray:
    """The first words of rows: each takes as many as it has room for.

    Args:
      sizes: int [words], pieces of each, none more than `room`.
      offsets: int64 [N + 1], the sentences.
      room: pieces of a row.

    Returns:
      int64 [R], ascending; every sentence's first word is among them.
    """
    ends = np.cumsum(sizes)
    before = ends - sizes
    too_long = np.add.reduceat(sizes, offsets[:-1]) > room
    starts = offsets[:-1].tolist()
    for word, stop in zip(
        offsets[:-1][too_long].tolist(), offsets[1:][too_long].tolist(), strict=True
    ):
        while (word := int(np.searchsorted(ends, before[word] + room, "right"))) < stop:
            starts.append(word)
    return np.sort(np.array(starts, np.int64))
