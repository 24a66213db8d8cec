"""Sentence (pair) classification: texts to token columns to TFRecord examples.

    [CLS] a ... [SEP]                  segment_ids 0 ... 0
    [CLS] a ... [SEP] b ... [SEP]      segment_ids 0 ... 0 1 ... 1

A whole data set is tokenized and laid out at once in flat arrays with row offsets;
nothing loops over tokens.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.readers.examples import InputExample
from errors import UserError


class Tokenizer(Protocol):
    """What is needed of a tokenizer."""

    vocab: Mapping[str, int]

    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, int32 [tokens], and row offsets, int64 [N + 1]."""
        ...


@dataclasses.dataclass(frozen=True)
class ClassificationColumns:
    """A data set's features.

    Attributes:
      input_ids: int32 [tokens of all examples].
      segment_ids: int32 [tokens of all examples].
      offsets: int64 [N + 1]; example i has the tokens offsets[i]:offsets[i + 1].
      label_ids: int32 [N], int32 [N, L] of 0 and 1 (multi-label) or float32 [N].
      truncated_examples: how many examples were too long.
      dropped_tokens: how many tokens they lost together.
    """

    input_ids: np.ndarray
    segment_ids: np.ndarray
    offsets: np.ndarray
    label_ids: np.ndarray
    truncated_examples: int
    dropped_tokens: int

    def records(self, spec: FeatureSpec) -> Iterator[bytes]:
        """Yields the examples serialised as `spec` says, numbered from 0."""
        bounds = self.offsets.tolist()
        for i, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
            values = {
                "input_ids": self.input_ids[start:stop],
                "segment_ids": self.segment_ids[start:stop],
                "label_ids": self.label_ids[i],
            }
            yield spec.to_example(values, example_index=i)


def classification_spec(output_kind: str, num_labels: int = 0) -> FeatureSpec:
    """Features of a classifier's records.

    Args:
      output_kind: "single_label", "multi_label" or "regression".
      num_labels: number of labels L, which multi-label needs.

    Returns:
      input_ids, segment_ids int32 [S]; label_ids int32 [], int32 [L] or float32 [].
    """
    return FeatureSpec(
        [
            Feature("input_ids", tf.int32, (None,)),
            Feature("segment_ids", tf.int32, (None,)),
            label_feature(output_kind, num_labels),
        ]
    )


def label_feature(output_kind: str, num_labels: int = 0) -> Feature:
    """Returns what holds an example's label, `label_ids`; see classification_spec."""
    dtype = tf.float32 if output_kind == "regression" else tf.int32
    shape = (num_labels,) if output_kind == "multi_label" else ()
    return Feature("label_ids", dtype, shape, is_input=False)


def classification_columns(
    examples: Sequence[InputExample],
    tokenizer: Tokenizer,
    max_seq_length: int,
    labels: Sequence[str],
    output_kind: str,
) -> ClassificationColumns:
    """Tokenizes, truncates and lays out a data set.

    Args:
      examples: the examples, all with the second text or all without, or mixed.
      tokenizer: gives the ids.
      max_seq_length: most tokens of an example, [CLS] and [SEP] included.
      labels: the labels in the order of their ids; unused for regression.
      output_kind: "single_label", "multi_label" or "regression".

    Returns:
      The columns. An example without a label gets 0, as in the parent.

    Raises:
      UserError: an unknown label, a vocabulary without [CLS] or [SEP], or a
        `max_seq_length` below 3.
    """
    if max_seq_length < 3:
        raise UserError(f"max_seq_length must be at least 3, got {max_seq_length}")
    flat_a, offsets_a = tokenizer.ids([e.text_a for e in examples])
    flat_b, offsets_b = tokenizer.ids([e.text_b or "" for e in examples])
    tokens_a, tokens_b = np.diff(offsets_a), np.diff(offsets_b)
    kept_a, kept_b = truncated_lengths(tokens_a, tokens_b, max_seq_length)
    dropped = tokens_a + tokens_b - kept_a - kept_b
    has_b = kept_b > 0
    lengths = 2 + kept_a + kept_b + has_b
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    starts, ends = offsets[:-1], offsets[1:]

    # [SEP] everywhere, the rest written over it: only real [SEP]s are left.
    input_ids = np.full(offsets[-1], special_id(tokenizer, "[SEP]"), np.int32)
    segment_ids = np.zeros(offsets[-1], np.int32)
    input_ids[starts] = special_id(tokenizer, "[CLS]")
    to_a = ranges(starts + 1, kept_a)
    input_ids[to_a] = flat_a[ranges(offsets_a[:-1], kept_a)]
    starts_b = starts + kept_a + 2
    input_ids[ranges(starts_b, kept_b)] = flat_b[ranges(offsets_b[:-1], kept_b)]
    segment_ids[ranges(starts_b, ends - starts_b)] = 1

    return ClassificationColumns(
        input_ids=input_ids,
        segment_ids=segment_ids,
        offsets=offsets,
        label_ids=label_ids(examples, labels, output_kind),
        truncated_examples=int(np.count_nonzero(dropped)),
        dropped_tokens=int(dropped.sum()),
    )


def truncated_lengths(
    tokens_a: np.ndarray,
    tokens_b: np.ndarray,
    max_seq_length: int,
    num_special: tuple[int, int] = (2, 3),
) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens of each text stay, by the parent's rule in closed form.

    The parent takes one token at a time from the end of the longer text, of the
    second if they are equally long, until both fit beside [CLS] and two [SEP]. A
    text alone fits beside [CLS] and one [SEP]; a pair whose second text has no
    tokens counts as one.

    Args:
      tokens_a: int [N], tokens of the first texts.
      tokens_b: int [N], tokens of the second texts, 0 where there is none.
      max_seq_length: most tokens of an example.
      num_special: special tokens beside a text, and beside two.

    Returns:
      (kept_a, kept_b): int64 [N] each.
    """
    tokens_a, tokens_b = tokens_a.astype(np.int64), tokens_b.astype(np.int64)
    alone = np.minimum(tokens_a, max_seq_length - num_special[0])
    room = max_seq_length - num_special[1]
    half = (room + 1) // 2  # the first text keeps the odd token
    shared_a = np.minimum(tokens_a, np.maximum(room - tokens_b, half))
    fits = tokens_a + tokens_b <= room
    kept_a = np.where(tokens_b == 0, alone, np.where(fits, tokens_a, shared_a))
    kept_b = np.where((tokens_b == 0) | fits, tokens_b, room - shared_a)
    return kept_a, kept_b


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns starts[0], starts[0] + 1, ... counts[0] of them, then the next row's."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """Returns a special piece's id; raises ValueError if the vocabulary has none."""
    if token not in tokenizer.vocab:
        raise UserError(f"the vocabulary has no {token}")
    return tokenizer.vocab[token]


def label_ids(
    examples: Sequence[InputExample], labels: Sequence[str], output_kind: str
) -> np.ndarray:
    """Returns labels as the loss wants them; 0 where an example has none.

    Args:
      examples: the examples.
      labels: the labels in the order of their ids; unused for regression.
      output_kind: see `classification_spec`.

    Returns:
      int32 [N], int32 [N, L] of 0 and 1 (multi-label) or float32 [N].

    Raises:
      UserError: an unknown label.
    """
    if output_kind == "regression":
        return np.array([e.label or 0.0 for e in examples], np.float32)
    ids = {label: i for i, label in enumerate(labels)}
    shape = (len(examples),) + ((len(labels),) if output_kind == "multi_label" else ())
    result = np.zeros(shape, np.int32)
    for row, example in enumerate(examples):
        if example.label is None:
            continue
        names = (example.label,) if isinstance(example.label, str) else example.label
        for name in names:
            if name not in ids:
                raise UserError(
                    f"{example.guid}: unknown label {name!r}; known: {list(labels)}"
                )
            if output_kind == "multi_label":
                result[row, ids[name]] = 1
            else:
                result[row] = ids[name]
    return result
