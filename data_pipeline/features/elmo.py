"""Examples as ELMo reads them: words, character by character or by a table.

`<S> words </S>`, of a pair `<S> words </S> <S> words </S>`: as the language model met
sentence after sentence in training.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features import tagging as tagging_features
from data_pipeline.features.labels import label_feature, label_ids
from data_pipeline.features.tagging import TAGGING_SPEC, TaggingColumns
from data_pipeline.features.tokens import truncated_lengths
from data_pipeline.readers.conll import TaggedText
from data_pipeline.readers.examples import InputExample
from errors import UserError

# Marks around a text, and around two.
NUM_MARKS = (2, 4)
_SHORTEST = 6  # a word of each text, and their marks


class Speller(Protocol):
    """What numbers words: a CharacterEncoder, a TableEncoder or a Lexicon.

    Attributes:
      bos: what stands before a sentence.
      eos: what stands after it.
    """

    bos: str
    eos: str

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """Numbers N words from 0 on: int32 [N] or [N, numbers a word]."""

    def batch(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Numbers B sentences from 1 on, between marks, 0 being padding."""

    def in_graph(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns what numbers words from 1 on in a graph.

        It is called with string [M] and returns int32 [M] or [M, numbers a word].
        """

    def report(self) -> None:
        """Warns of what words were like: too long, unknown, or none at all."""


def _input_ids(ids_per_word: int | None) -> Feature:
    shape = (None, ids_per_word) if ids_per_word else (None,)
    return Feature("input_ids", tf.int32, shape)


def classification_spec(
    output_kind: str, num_labels: int, ids_per_word: int | None
) -> FeatureSpec:
    """Features of a classifier's records.

    Args:
      output_kind: "single_label", "multi_label" or "regression".
      num_labels: number of labels L.
      ids_per_word: C; None for a model whose words have one number.

    Returns:
      input_ids int32 [S, C] or [S]; label_ids int32 [], int32 [L] or float32 [].
    """
    label = label_feature(output_kind, num_labels)
    return FeatureSpec([_input_ids(ids_per_word), label])


@dataclasses.dataclass(frozen=True)
class ElmoColumns:
    """A data set of sequences of words; see systems.system.Columns.

    Attributes:
      sentences: the words of each example, marks included.
      label_ids: see labels.label_ids.
      speller: of the model.
      truncated_examples: how many examples were too long.
      dropped_tokens: how many words they lost together.
    """

    sentences: Sequence[Sequence[str]]
    label_ids: np.ndarray
    speller: Speller
    truncated_examples: int
    dropped_tokens: int

    def records(self, spec: FeatureSpec) -> Iterator[bytes]:
        """Yields the examples serialised as `spec` says, numbered from 0."""
        for i, words in enumerate(self.sentences):
            ids = self.speller.encode(words) + 1  # 0 is padding
            values = {"input_ids": ids, "label_ids": self.label_ids[i]}
            yield spec.to_example(values, example_index=i)
        self.speller.report()


def classification_columns(
    examples: Sequence[InputExample],
    speller: Speller,
    split: Callable[[str], Sequence[str]],
    max_seq_length: int,
    labels: Sequence[str],
    output_kind: str,
) -> ElmoColumns:
    """Splits texts into words, truncates, and puts marks around them.

    Args:
      examples: the examples.
      speller: see ElmoColumns.
      split: finds the words of a text.
      max_seq_length: most words of an example, marks included; the longer text of a
        pair is cut first, as in BERT.
      labels: the labels in the order of their ids; unused for regression.
      output_kind: see `classification_spec`.

    Returns:
      The columns. An example without a label gets 0.

    Raises:
      UserError: an unknown label, or a `max_seq_length` below 6.
    """
    if max_seq_length < _SHORTEST:
        raise UserError(
            f"--max_seq_length={max_seq_length}; wanted at least {_SHORTEST}"
        )
    first, second = (list(map(split, texts)) for texts in _texts(examples))
    sizes = [np.array([len(words) for words in side], int) for side in (first, second)]
    kept = truncated_lengths(*sizes, max_seq_length, NUM_MARKS)
    dropped = sum(sizes) - sum(kept)
    sentences, bos, eos = [], speller.bos, speller.eos
    for a, b, size_a, size_b in zip(first, second, *kept, strict=True):
        sentence = [bos, *a[:size_a], eos]
        sentences.append([*sentence, bos, *b[:size_b], eos] if size_b else sentence)
    return ElmoColumns(
        sentences=sentences,
        label_ids=label_ids(examples, labels, output_kind),
        speller=speller,
        truncated_examples=int(np.count_nonzero(dropped)),
        dropped_tokens=int(dropped.sum()),
    )


def _texts(examples):
    """The first texts of all examples, and the second ones."""
    return [e.text_a for e in examples], [e.text_b or "" for e in examples]


def tagging_spec(ids_per_word: int | None) -> FeatureSpec:
    """Features of a tagger's records; a word is one piece.

    Args:
      ids_per_word: C; None for a model whose words have one number.
    """
    _, *others = TAGGING_SPEC.features
    return FeatureSpec([_input_ids(ids_per_word), *others])


def tagging_columns(
    text: TaggedText, tag_ids: np.ndarray, speller: Speller, max_seq_length: int
) -> TaggingColumns:
    """Encodes words, cuts long sentences and lays out a data set.

    Args:
      text: the sentences.
      tag_ids: int32 [words].
      speller: of the model.
      max_seq_length: most words of a row, marks included.

    Raises:
      UserError: `max_seq_length` is below 3.
    """
    columns = tagging_features.word_columns(text, tag_ids, max_seq_length)
    ids = speller.encode([*text.words.tolist(), speller.bos, speller.eos]) + 1
    speller.report()
    return dataclasses.replace(columns, input_ids=ids[columns.input_ids])
