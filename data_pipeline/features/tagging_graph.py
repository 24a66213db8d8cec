"""Sentences of words to a tagger's rows, and its tags to names, inside a graph.

What `tagging_features` and `tag_schemes` do with whole files, for a batch that a
SavedModel is asked: the same rows, the same tags.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from data_pipeline.features.tagging import SpecialIds
from data_pipeline.features.tokens_graph import head
from data_pipeline.readers import tag_schemes
from metrics.tagging import AS_IOBES

# B sentences, N words of all of them together, R rows of at most S pieces, V words of a
# row at most.

Batch = dict[str, tf.Tensor]
_ANY_LENGTH = 1 << 40


class Sentences:
    """The words of a padded batch, one after the other, and the way back.

    Attributes:
      words: string [N].
      rows: int64 [N], the sentence of each, ascending.
      number: int64 [], B.
    """

    def __init__(self, words: tf.Tensor):
        """Takes words out of string [B, T], where "" is none."""
        self._places = tf.where(words != "")  # [N, 2]
        self._shape = tf.shape(words, tf.int64)
        self.words = tf.gather_nd(words, self._places)
        self.rows = self._places[:, 0]
        self.number = self._shape[0]

    def padded(self, values: tf.Tensor) -> tf.Tensor:
        """Puts [N, ...] where the words were: [B, T, ...], elsewhere 0 or ""."""
        shape = tf.concat([self._shape, tf.shape(values, tf.int64)[1:]], axis=0)
        padded = tf.scatter_nd(self._places, values, shape)
        return tf.ensure_shape(padded, [None, None, *values.shape[1:]])


class WordReader(Protocol):
    """What turns sentences into the inputs of a system's tagger.

    Attributes:
      tracked: what a SavedModel must hold beside the functions.
    """

    tracked: Sequence[tf.Module]

    def __call__(self, sentences: Sentences) -> Batch:
        """Returns the inputs, `input_mask` and `word_positions`; see `rows_of`."""
        ...


class WordPieces:
    """A WordReader of words in pieces, as BERT reads them."""

    def __init__(self, tokenizer: tf.Module, special: SpecialIds, max_seq_length: int):
        """Keeps how.

        Args:
          tokenizer: string [N] -> int32 [N, (pieces)].
          special: ids beside them.
          max_seq_length: most pieces of a row, the first and the last included.
        """
        self.tracked = [tokenizer]
        self._tokenizer, self._special = tokenizer, special
        self._length = max_seq_length

    def __call__(self, sentences: Sentences) -> Batch:
        """See WordReader."""
        pieces = self._tokenizer(sentences.words)
        missing = tf.cast(pieces.row_lengths() == 0, tf.int64)
        unknown = tf.fill([tf.reduce_sum(missing)], self._special.unknown)
        unknown = tf.RaggedTensor.from_row_lengths(unknown, missing, validate=False)
        pieces = tf.concat([pieces, unknown], axis=1)
        return rows_of(pieces, sentences, self._special, self._length)


class WholeWords:
    """A WordReader of words as they are, as ELMo and TagLM read them."""

    def __init__(
        self,
        features: Mapping[str, Callable[[tf.Tensor], tf.Tensor]],
        marks: tuple[str, str],
        max_seq_length: int | None = None,
    ):
        """Keeps how.

        Args:
          features: name of an input -> what makes it of words and of marks: string [M]
            -> int32 [M, ...]. 0 pads.
          marks: what stands before a sentence, and after it.
          max_seq_length: most words of a row, marks included; None: any number.
        """
        makers = features.values()
        self.tracked = [maker for maker in makers if isinstance(maker, tf.Module)]
        self._features, self._marks = features, list(marks)
        self._length = max_seq_length or _ANY_LENGTH

    def __call__(self, sentences: Sentences) -> Batch:
        """See WordReader."""
        marks = SpecialIds(first=1, last=2, unknown=0)  # places behind the padding
        places = tf.range(3, tf.size(sentences.words) + 3)[:, None]
        places = tf.RaggedTensor.from_tensor(places)
        rows = rows_of(places, sentences, marks, self._length)
        words = tf.concat([self._marks, sentences.words], axis=0)
        places = rows.pop("input_ids")
        for name, feature in self._features.items():
            table = feature(words)
            table = tf.concat([tf.zeros_like(table[:1]), table], axis=0)
            rows[name] = tf.gather(table, places)
        return rows


def rows_of(
    pieces: tf.RaggedTensor,
    sentences: Sentences,
    special: SpecialIds,
    max_seq_length: int,
) -> Batch:
    """`tagging_features.tagging_columns` in a graph, padded.

    Args:
      pieces: int32 [N, (pieces)], of each word at least one.
      sentences: the words'.
      special: ids beside them.
      max_seq_length: most pieces of a row, the first and the last included.

    Returns:
      `input_ids` and `input_mask`, int32 [R, S], and `word_positions`, int32 [R, V];
      the words of all rows, one after the other, are those of the sentences.
    """
    room = max_seq_length - 2
    sizes = tf.minimum(pieces.row_lengths(), room)
    pieces = head(pieces, sizes)
    before = tf.cumsum(sizes, exclusive=True)
    begins = _row_starts(sizes, sentences, room)  # [N], 1 = the first word of a row
    row = tf.cumsum(begins) - 1  # [N]
    # Some layers need a row: a batch without a word has one.
    number = tf.maximum(tf.reduce_sum(begins), 1)
    flat = tf.RaggedTensor.from_value_rowids(
        pieces.flat_values, tf.repeat(row, sizes), nrows=number, validate=False
    )
    ends = [
        tf.RaggedTensor.from_tensor(tf.fill([number, 1], token))
        for token in (special.first, special.last)
    ]
    input_ids = tf.concat([ends[0], flat, ends[1]], axis=1)
    lengths = input_ids.row_lengths()
    longest = tf.maximum(tf.reduce_max(lengths), 3)  # room for a word
    first = tf.gather(tf.boolean_mask(before, begins == 1), row)
    positions = tf.RaggedTensor.from_value_rowids(
        tf.cast(before - first + 1, tf.int32), row, nrows=number, validate=False
    )
    most = tf.maximum(tf.reduce_max(positions.row_lengths()), 1)
    return {
        "input_ids": input_ids.to_tensor(shape=tf.stack([number, longest])),
        "input_mask": tf.sequence_mask(lengths, longest, tf.int32),
        "word_positions": positions.to_tensor(shape=tf.stack([number, most])),
    }


def _row_starts(sizes: tf.Tensor, sentences: Sentences, room: int) -> tf.Tensor:
    """Marks the words that begin a row: each row takes as many as it has room for.

    Args:
      sizes: int64 [N], pieces of each word, none more than `room`.
      sentences: the words'.
      room: pieces of a row.

    Returns:
      int64 [N], 0 or 1.
    """
    ends = tf.cumsum(sizes)
    before = tf.concat([[0], ends], axis=0)
    counts = tf.math.unsorted_segment_sum(
        tf.ones_like(sizes), sentences.rows, sentences.number
    )
    stops = tf.cumsum(counts)
    size = tf.shape(sizes, tf.int64)

    def unfinished(starts, _):
        return tf.reduce_any(starts < stops)

    def next_rows(starts, marks):
        """Marks the rows that begin at `starts`, and goes to where they end."""
        begun = tf.boolean_mask(starts, starts < stops)
        marks += tf.scatter_nd(begun[:, None], tf.ones_like(begun), size)
        limit = tf.gather(before, starts) + room
        following = tf.searchsorted(ends, limit, side="right", out_type=tf.int64)
        return tf.minimum(following, stops), marks

    starts = tf.cumsum(counts, exclusive=True)
    marks = tf.zeros_like(sizes)
    _, marks = tf.while_loop(unfinished, next_rows, [starts, marks])
    return marks


class TagNames:
    """The names of a tagger's outputs in the scheme of its files."""

    def __init__(self, labels: Sequence[str], scheme: str):
        """Looks up what each output means.

        Args:
          labels: in the order of the outputs.
          scheme: one of tag_schemes.SCHEMES; plain, if the labels are.
        """
        self._labels, self._scheme = np.array(labels), scheme
        if scheme == tag_schemes.PLAIN:
            return
        kinds = [tag_schemes.entity_type(label) for label in labels]
        types, self._kinds = np.unique(kinds, return_inverse=True)
        self._letters = np.array([label[0].translate(AS_IOBES) for label in labels])
        # Of a first, inner, last, only word, and of one that touches its own type.
        letters = tag_schemes.LETTERS[scheme] + "B"
        endings = [f"-{name}" if name else "" for name in types]
        self._names = np.array([[c + ending for c in letters] for ending in endings])

    def __call__(self, ids: tf.Tensor, sentences: Sentences) -> tf.Tensor:
        """`tag_schemes.convert` in a graph: int32 [N] outputs -> string [N] names."""
        if self._scheme == tag_schemes.PLAIN:
            return tf.gather(self._labels, ids)

        def has(letters):
            return tf.gather(np.isin(self._letters, list(letters)), ids)

        kind, inside = tf.gather(self._kinds, ids), has("BIES")
        same = _before(inside) & _as_before(kind) & _as_before(sentences.rows)
        first = inside & (has("BS") | _before(has("ES")) | ~same)
        goes_on = inside & ~first
        last = inside & ~_after(goes_on)
        place = tf.where(first, tf.where(last, 3, 0), tf.where(last, 2, 1))
        if self._scheme == "IOB1":
            place = tf.where(first & same, 4, place)
        place = tf.cast(place, kind.dtype)
        names = tf.gather_nd(self._names, tf.stack([kind, place], axis=1))
        return tf.where(inside, names, "O")


def _before(values: tf.Tensor) -> tf.Tensor:
    """What bool [N] is of the word before; False of the first."""
    return tf.concat([tf.zeros_like(values[:1]), values[:-1]], axis=0)


def _after(values: tf.Tensor) -> tf.Tensor:
    return tf.concat([values[1:], tf.zeros_like(values[:1])], axis=0)


def _as_before(values: tf.Tensor) -> tf.Tensor:
    """Whether [N] is what it is of the word before; False of the first."""
    same = values[1:] == values[:-1]
    return tf.concat([tf.zeros_like(values[:1], tf.bool), same], axis=0)
