"""BERT's pre-training records: what they hold, and instances as such, many at once.

The features are the parent's, at their real lengths or padded to full ones. numpy only:
worker processes need no TensorFlow.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipeline.corpora.bert_instances import Instances
from data_pipeline.corpora.example_bytes import (
    FLOAT_LIST,
    INT64_LIST,
    entry,
    example,
    varints,
)

_ONE = np.float32(1).tobytes()


def features(max_predictions_per_seq: int) -> list[Any]:
    """Declares what records of create_pretraining_data.py hold, the parent's and ours.

    The parent pads every record to full length, ours have real lengths; both parse.
    Its `input_mask`, which is in ours as well, tells the real length.

    Args:
      max_predictions_per_seq: P, what the masked words of a row are padded to.

    Returns:
      The Features input_ids, segment_ids int32 [S]; masked_lm_positions, masked_lm_ids
      int32 [P]; masked_lm_weights float32 [P], 1 = real; next_sentence_labels int32
      [1].
    """
    import tensorflow as tf

    from data_pipeline.feature_spec import Feature

    def masked(name: str, dtype: tf.DType) -> Feature:
        return Feature(
            name, dtype, (None,), pad_to=max_predictions_per_seq, is_input=False
        )

    return [
        Feature("input_ids", tf.int32, (None,)),
        Feature("segment_ids", tf.int32, (None,)),
        masked("masked_lm_positions", tf.int32),
        masked("masked_lm_ids", tf.int32),
        masked("masked_lm_weights", tf.float32),
        Feature("next_sentence_labels", tf.int32, (1,), is_input=False),
    ]


def encode(
    instances: Instances, pad_to: tuple[int, int] | None = None
) -> Iterator[bytes]:
    """Yields each instance as a serialised tf.train.Example.

    Args:
      instances: what to encode.
      pad_to: the parent's shapes, for the parent's reader: how many pieces and how many
        masked ones every record has, filled up with zeros. None: as many as are real.
    """
    lengths, counts = instances.lengths, instances.counts
    size, predictions = pad_to or (0, 0)
    real = np.arange(instances.tokens.shape[1]) < lengths[:, None]
    ids = varints(instances.tokens[real], lengths)
    positions = varints(instances.positions, counts)
    labels = varints(instances.labels, counts)
    for row, (length, first, count, is_random) in enumerate(
        zip(
            lengths.tolist(),
            (instances.length_a + 2).tolist(),
            counts.tolist(),
            instances.is_random_next.tolist(),
            strict=True,
        )
    ):
        # A zero is a varint of one byte, 0.
        more = bytes(max(0, size - length))
        masked, more_masked = _ONE * count, bytes(max(0, predictions - count))
        segments = bytes(first) + b"\1" * (length - first)
        entries = b"".join(
            (
                entry("input_ids", INT64_LIST, ids[row] + more),
                entry("input_mask", INT64_LIST, b"\1" * length + more),
                entry("segment_ids", INT64_LIST, segments + more),
                entry("masked_lm_positions", INT64_LIST, positions[row] + more_masked),
                entry("masked_lm_ids", INT64_LIST, labels[row] + more_masked),
                entry("masked_lm_weights", FLOAT_LIST, masked + 4 * more_masked),
                entry("next_sentence_labels", INT64_LIST, bytes([is_random])),
            )
        )
        yield example(entries)
