"""Texts to documents in words, as ULMFiT's classifier reads them whole.

a text    [xxbos] text
a pair    [xxbos] [xxfld] 1 a [xxfld] 2 b
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline import batching
from data_pipeline.feature_spec import Feature, FeatureSpec
from data_pipeline.features.labels import label_feature, label_ids
from data_pipeline.readers.examples import InputExample
from tokenization_ulmfit import UlmfitTokenizer

# Words of the longest document; of a longer one, those at the end are read.
LONGEST = 1 << 17


@dataclasses.dataclass(frozen=True)
class DocumentColumns:
    """A data set's features.

    Attributes:
      documents: int32 [words] of each example.
      label_ids: see `labels.label_ids`.
      truncated_examples: how many documents are longer than LONGEST.
      dropped_tokens: words that they lost together.
    """

    documents: Sequence[np.ndarray]
    label_ids: np.ndarray
    truncated_examples: int
    dropped_tokens: int

    def records(self, spec: FeatureSpec) -> Iterator[bytes]:
        """Yields the examples serialised as `spec` says, numbered from 0."""
        for i, (ids, label) in enumerate(
            zip(self.documents, self.label_ids, strict=True)
        ):
            yield spec.to_example({"input_ids": ids, "label_ids": label}, i)


def classification_spec(output_kind: str, num_labels: int) -> FeatureSpec:
    """Features of a classifier's records: `input_ids` int32 [S], and `label_ids`.

    Args:
      output_kind: see `labels.label_feature`.
      num_labels: number of labels.
    """
    ids = Feature("input_ids", tf.int32, (None,))
    return FeatureSpec([ids, label_feature(output_kind, num_labels)])


def buckets(max_seq_length: int) -> tuple[int, ...]:
    """Returns lengths to pad to: up to the pooled part finely, beyond by doubling."""
    found = list(batching.default_buckets(max_seq_length))
    while found[-1] < LONGEST:
        found.append(2 * found[-1])
    return tuple(found)


def classification_columns(
    examples: Sequence[InputExample],
    tokenizer: UlmfitTokenizer,
    labels: Sequence[str],
    output_kind: str,
    backward: bool,
) -> DocumentColumns:
    """Lays a data set out.

    Args:
      examples: texts, and pairs.
      tokenizer: gives the ids.
      labels: in the order of their ids.
      output_kind: see `labels.label_ids`.
      backward: whether documents are read from their end.

    Raises:
      UserError: an unknown label.
    """
    flat, offsets = tokenizer.ids([t or "" for e in examples for t in _texts(e)])
    tokenizer.seen.warn()
    texts = np.split(flat, offsets[1:-1])
    documents = []
    for example, a, b in zip(examples, texts[::2], texts[1::2], strict=True):
        parts = [tokenizer.start, a]
        if example.text_b is not None:
            parts = [[tokenizer.bos], tokenizer.field(1), a, tokenizer.field(2), b]
        ids = np.concatenate(parts).astype(np.int32)
        documents.append(ids[::-1] if backward else ids)
    lengths = np.array([len(ids) for ids in documents])
    return DocumentColumns(
        documents=[ids[-LONGEST:] for ids in documents],
        label_ids=label_ids(examples, labels, output_kind),
        truncated_examples=int((lengths > LONGEST).sum()),
        dropped_tokens=int(np.maximum(lengths - LONGEST, 0).sum()),
    )


def _texts(example: InputExample) -> tuple[str, str | None]:
    return example.text_a, example.text_b
