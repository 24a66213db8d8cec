"""Sentence (pair) classification by XLM: texts of several languages to TFRecords.

    </s> a ... </s>                language
    </s> a ... </s> b ... </s>     language

Positions do not begin again with the second text, nor does the language change.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features import bert
from data_pipeline.features.labels import label_feature, label_ids
from data_pipeline.features.tokens import Tokenizer, ranges
from data_pipeline.readers.examples import InputExample

LANGUAGE_IDS = "language_ids"


@dataclasses.dataclass(frozen=True)
class XlmColumns:
    """A data set's features.

    Attributes:
      input_ids: int32 [tokens of all examples].
      offsets: int64 [N + 1]; example i has the tokens offsets[i]:offsets[i + 1].
      language_ids: int32 [N].
      label_ids: int32 [N], int32 [N, L] of 0 and 1 (multi-label) or float32 [N].
      truncated_examples: how many examples were too long.
      dropped_tokens: how many tokens they lost together.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    language_ids: np.ndarray
    label_ids: np.ndarray
    truncated_examples: int
    dropped_tokens: int

    def records(self, spec: FeatureSpec) -> Iterator[bytes]:
        """Yields the examples serialised as `spec` says, numbered from 0."""
        bounds = self.offsets.tolist()
        for i, (start, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
            values = {
                "input_ids": self.input_ids[start:stop],
                LANGUAGE_IDS: self.language_ids[i],
                "label_ids": self.label_ids[i],
            }
            yield spec.to_example(values, example_index=i)


def classification_spec(output_kind: str, num_labels: int) -> FeatureSpec:
    """Features of a classifier's records.

    Args:
      output_kind: "single_label", "multi_label" or "regression".
      num_labels: number of labels L, which multi-label needs.

    Returns:
      input_ids int32 [S]; language_ids int32 []; label_ids int32 [], int32 [L] or
      float32 [].
    """
    return FeatureSpec(
        [
            Feature("input_ids", tf.int32, (None,)),
            Feature(LANGUAGE_IDS, tf.int32),
            label_feature(output_kind, num_labels),
        ]
    )


def classification_columns(
    examples: Sequence[InputExample],
    languages: Sequence[str],
    ids: Sequence[int],
    tokenizer_of: Callable[[str], Tokenizer],
    end: int,
    max_seq_length: int,
    labels: Sequence[str],
    output_kind: str,
) -> XlmColumns:
    """Tokenizes, truncates and lays out a data set.

    Args:
      examples: N examples, all with the second text or all without, or mixed.
      languages: N names.
      ids: N ids of the languages.
      tokenizer_of: returns a language's tokenizer.
      end: the id of </s>.
      max_seq_length: most tokens of an example, the special ones included.
      labels: the labels in the order of their ids; unused for regression.
      output_kind: "single_label", "multi_label" or "regression".

    Raises:
      UserError: an unknown label, or a `max_seq_length` below 3.
    """
    first = _ids([e.text_a for e in examples], languages, tokenizer_of)
    second = _ids([e.text_b or "" for e in examples], languages, tokenizer_of)
    laid_out = bert.lay_out(*first, *second, (end, end), max_seq_length)
    del laid_out["segment_ids"]
    return XlmColumns(
        **laid_out,
        language_ids=np.array(ids, np.int32),
        label_ids=label_ids(examples, labels, output_kind),
    )


def _ids(
    texts: Sequence[str],
    languages: Sequence[str],
    tokenizer_of: Callable[[str], Tokenizer],
) -> tuple[np.ndarray, np.ndarray]:
    """As a tokenizer's `ids`; each text by that of its language."""
    names = np.array(languages)
    parts, lengths = [], np.zeros(len(texts), np.int64)
    order = []
    for name in sorted(set(languages)):
        rows = np.flatnonzero(names == name)
        flat, offsets = tokenizer_of(name).ids([texts[row] for row in rows])
        parts.append(flat)
        order.append(rows)
        lengths[rows] = np.diff(offsets)
    order = np.concatenate(order)
    # Texts stand by language now: where does each begin?
    ends = np.cumsum(lengths[order])
    begins = np.zeros_like(lengths)
    begins[order] = ends - lengths[order]
    flat = np.concatenate(parts)[ranges(begins, lengths)]
    return flat, np.append(0, np.cumsum(lengths))
