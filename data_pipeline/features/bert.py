"""Sentence (pair) classification: texts to token columns to TFRecord examples.

    [CLS] a ... [SEP]                  segment_ids 0 ... 0
    [CLS] a ... [SEP] b ... [SEP]      segment_ids 0 ... 0 1 ... 1

A whole data set is tokenized and laid out at once in flat arrays with row offsets;
nothing loops over tokens.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features.labels import label_feature, label_ids
from data_pipeline.features.tokens import (
    Tokenizer,
    ranges,
    special_id,
    truncated_lengths,
)
from data_pipeline.readers.examples import InputExample
from errors import UserError


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
    special = tuple(special_id(tokenizer, piece) for piece in ("[CLS]", "[SEP]"))
    flat_a, offsets_a = tokenizer.ids([e.text_a for e in examples])
    flat_b, offsets_b = tokenizer.ids([e.text_b or "" for e in examples])
    laid_out = lay_out(flat_a, offsets_a, flat_b, offsets_b, special, max_seq_length)
    return ClassificationColumns(
        **laid_out, label_ids=label_ids(examples, labels, output_kind)
    )


def lay_out(
    flat_a: np.ndarray,
    offsets_a: np.ndarray,
    flat_b: np.ndarray,
    offsets_b: np.ndarray,
    special: tuple[int, int],
    max_seq_length: int,
) -> dict[str, Any]:
    """Truncates texts and pairs, and puts special pieces around them.

    Args:
      flat_a: int [tokens of all first texts].
      offsets_a: int64 [N + 1], where each begins and the last one ends.
      flat_b: of the second texts; one without tokens is none.
      offsets_b: as well.
      special: the ids before the first text, and after each.
      max_seq_length: most tokens of an example, the special ones included.

    Returns:
      All of ClassificationColumns but the labels.

    Raises:
      UserError: a `max_seq_length` below 3.
    """
    if max_seq_length < 3:
        raise UserError(f"max_seq_length must be at least 3, got {max_seq_length}")
    tokens_a, tokens_b = np.diff(offsets_a), np.diff(offsets_b)
    kept_a, kept_b = truncated_lengths(tokens_a, tokens_b, max_seq_length)
    dropped = tokens_a + tokens_b - kept_a - kept_b
    has_b = kept_b > 0
    lengths = 2 + kept_a + kept_b + has_b
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    starts, ends = offsets[:-1], offsets[1:]

    # [SEP] everywhere, the rest written over it: only real [SEP]s are left.
    first, after = special
    input_ids = np.full(offsets[-1], after, np.int32)
    segment_ids = np.zeros(offsets[-1], np.int32)
    input_ids[starts] = first
    to_a = ranges(starts + 1, kept_a)
    input_ids[to_a] = flat_a[ranges(offsets_a[:-1], kept_a)]
    starts_b = starts + kept_a + 2
    input_ids[ranges(starts_b, kept_b)] = flat_b[ranges(offsets_b[:-1], kept_b)]
    segment_ids[ranges(starts_b, ends - starts_b)] = 1
    return {
        "input_ids": input_ids,
        "segment_ids": segment_ids,
        "offsets": offsets,
        "truncated_examples": int(np.count_nonzero(dropped)),
        "dropped_tokens": int(dropped.sum()),
    }
