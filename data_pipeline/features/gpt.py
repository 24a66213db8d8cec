"""Texts to GPT's sequences (Radford et al. 2018, section 3.3), and to TFRecords.

    a text            [start] text [classify]
    a pair            [start] a [delimiter] b [classify]
    similarity        a pair in both orders: two sequences
    multiple choice   [start] text [delimiter] ending [classify], for each ending

The R sequences of a record stand side by side, [longest, R], so that a bucket that
covers the record covers all of them. A whole data set is laid out at once.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features.labels import label_feature, label_ids
from data_pipeline.features.tokens import Tokenizer, ranges
from data_pipeline.readers.examples import InputExample, MultipleChoiceExample
from errors import UserError

_SHORTEST = 6  # start, a token, delimiter, a token, classify; and an odd one


@dataclasses.dataclass(frozen=True)
class SpecialTokens:
    """The ids of `_start_`, `_delimiter_` and `_classify_`."""

    start: int
    delimiter: int
    classify: int


@dataclasses.dataclass(frozen=True)
class GptColumns:
    """A data set's features; R sequences an example.

    Attributes:
      input_ids: int32 [tokens of all sequences].
      offsets: int64 [N, R + 1]; sequence r of example i has the tokens
        offsets[i, r]:offsets[i, r + 1].
      label_ids: int32 [N], int32 [N, L] of 0 and 1 (multi-label) or float32 [N].
      truncated_examples: how many examples were too long.
      dropped_tokens: how many tokens their texts lost together.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    label_ids: np.ndarray
    truncated_examples: int
    dropped_tokens: int

    def records(self, spec: FeatureSpec) -> Iterator[bytes]:
        """Yields the examples serialised as `spec` says, numbered from 0."""
        for i, bounds in enumerate(self.offsets):
            rows = np.split(self.input_ids[: bounds[-1]], bounds[:-1])[1:]
            ids = rows[0]
            if len(rows) > 1:
                ids = np.zeros([max(map(len, rows)), len(rows)], np.int32)
                for column, row in enumerate(rows):
                    ids[: len(row), column] = row
            values = {"input_ids": ids, "label_ids": self.label_ids[i]}
            yield spec.to_example(values, example_index=i)


def classification_spec(
    output_kind: str, symmetric: bool, num_labels: int
) -> FeatureSpec:
    """Features of a classifier's records.

    Args:
      output_kind: "single_label", "multi_label", "regression" or "multiple_choice".
      symmetric: whether pairs are read in both orders.
      num_labels: number of labels L, or of endings.

    Returns:
      input_ids int32 [S] or [S, R]; label_ids int32 [], int32 [L] or float32 [].
    """
    sequences = 2 if symmetric else 1
    if output_kind == "multiple_choice":
        sequences = num_labels
    shape = (None,) if sequences == 1 else (None, sequences)
    ids = Feature("input_ids", tf.int32, shape)
    return FeatureSpec([ids, label_feature(output_kind, num_labels)])


def classification_columns(
    examples: Sequence[InputExample],
    tokenizer: Tokenizer,
    special: SpecialTokens,
    max_seq_length: int,
    labels: Sequence[str],
    output_kind: str,
    symmetric: bool = False,
) -> GptColumns:
    """Tokenizes, truncates and lays out a data set.

    Of two texts, each keeps as many tokens as train.py lets it: half of the sequence
    less 2, however short the other is.

    Args:
      examples: the examples.
      tokenizer: gives the ids.
      special: ids of the tokens around them.
      max_seq_length: most tokens of a sequence, the special ones included.
      labels: the labels in the order of their ids; unused for regression.
      output_kind: see `classification_spec`.
      symmetric: see `classification_spec`.

    Returns:
      The columns. An example without a label gets 0.

    Raises:
      UserError: an unknown label, a `max_seq_length` below 6, or a choice between
        more or fewer endings than labels.
    """
    if max_seq_length < _SHORTEST:
        raise UserError(
            f"--max_seq_length={max_seq_length}; wanted at least {_SHORTEST}"
        )
    texts, paired = _texts(examples, len(labels), output_kind)
    number, width = len(examples), len(texts) // max(len(examples), 1)
    flat, starts = tokenizer.ids(texts)
    sizes = np.diff(starts).reshape(number, width)
    rooms = np.where(paired, max_seq_length // 2 - 2, max_seq_length - 2)
    kept = np.minimum(sizes, rooms[:, None])
    dropped = (sizes - kept).sum(axis=1)

    # Which of its example's texts each sequence has first, and second.
    first, second = [0] * (width - 1), list(range(1, width))
    if symmetric:
        first, second = [0, 1], [1, 0]
    starts = starts[:-1].reshape(number, width)
    head, tail = kept[:, first].ravel(), kept[:, second].ravel()
    has_tail = np.repeat(paired, len(first))
    ends = np.cumsum(2 + head + tail + has_tail)
    begin = np.append(0, ends)[:-1]
    # [classify] everywhere, the rest written over it: only real ones are left.
    input_ids = np.full(ends[-1] if number else 0, special.classify, np.int32)
    input_ids[begin] = special.start
    input_ids[(begin + 1 + head)[has_tail]] = special.delimiter
    for places, counts, chosen in (
        (begin + 1, head, first),
        (begin + 2 + head, tail, second),
    ):
        source = ranges(starts[:, chosen].ravel(), counts)
        input_ids[ranges(places, counts)] = flat[source]

    edges = np.stack([begin, ends], axis=1).reshape(number, len(first), 2)
    return GptColumns(
        input_ids=input_ids,
        offsets=np.append(edges[:, :1, 0], edges[:, :, 1], axis=1),
        label_ids=label_ids(examples, labels, output_kind),
        truncated_examples=int(np.count_nonzero(dropped)),
        dropped_tokens=int(dropped.sum()),
    )


def _texts(
    examples: Sequence[InputExample], num_labels: int, output_kind: str
) -> tuple[list[str], np.ndarray]:
    """All texts, as many of each example; and whether an example has several."""
    if output_kind != "multiple_choice":
        texts = [text or "" for e in examples for text in (e.text_a, e.text_b)]
        return texts, np.array([e.text_b is not None for e in examples], bool)
    texts = []
    for example in examples:
        is_choice = isinstance(example, MultipleChoiceExample)
        endings = example.endings if is_choice else ()
        if len(endings) != num_labels:
            raise UserError(
                f"{example.guid}: {len(endings)} endings, but {num_labels} labels"
            )
        texts += [example.text_a, *endings]
    return texts, np.ones(len(examples), bool)
