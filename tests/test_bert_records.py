"""Hand-laid bytes are what tf.train.Example would make of the same values."""

import numpy as np
import tensorflow as tf
from tiny_corpus import config

from data_pipeline.corpora import bert_records
from data_pipeline.corpora.bert_compatible import Instance, to_example
from data_pipeline.corpora.bert_instances import Instances


def test_every_value_is_read_back_whatever_its_size():
    rng = np.random.default_rng(0)
    length_a, length_b = np.array([1, 130, 7]), np.array([2, 301, 120])
    counts = np.array([1, 140, 3])
    lengths = length_a + length_b + 3
    sizes = np.array([0, 1, 127, 128, 16_383, 16_384, 119_546])
    tokens = np.zeros((3, lengths.max()), np.int32)
    for row, length in enumerate(lengths):
        tokens[row, :length] = rng.choice(sizes, length)
    positions = np.concatenate(
        [np.sort(rng.choice(n, c, False)) for n, c in zip(lengths, counts, strict=True)]
    )
    labels = rng.choice(sizes, counts.sum()).astype(np.int32)
    instances = Instances(
        tokens=tokens,
        length_a=length_a,
        length_b=length_b,
        is_random_next=np.array([True, False, True]),
        counts=counts,
        positions=positions,
        labels=labels,
    )
    records = list(bert_records.encode(instances))
    ends = np.cumsum(counts)
    for row, record in enumerate(records):
        features = tf.train.Example.FromString(record).features.feature
        part = slice(ends[row] - counts[row], ends[row])
        length = lengths[row]
        first = length_a[row] + 2
        wanted = {
            "input_ids": tokens[row, :length].tolist(),
            "input_mask": [1] * length,
            "segment_ids": [0] * first + [1] * (length - first),
            "masked_lm_positions": positions[part].tolist(),
            "masked_lm_ids": labels[part].tolist(),
            "next_sentence_labels": [int(instances.is_random_next[row])],
        }
        weights = features.pop("masked_lm_weights").float_list.value
        assert list(weights) == [1.0] * counts[row]
        assert {k: list(v.int64_list.value) for k, v in features.items()} == wanted
    assert len(records) == 3


def test_padded_records_are_those_of_the_compatible_way():
    instances = Instances(
        tokens=np.array([[2, 300, 3, 5, 3, 0], [2, 7, 8, 3, 9, 3]], np.int32),
        length_a=np.array([1, 2]),
        length_b=np.array([1, 1]),
        is_random_next=np.array([False, True]),
        counts=np.array([1, 2]),
        positions=np.array([3, 1, 4]),
        labels=np.array([6, 7, 20_000], np.int32),
    )
    settings = config(max_seq_length=8, max_predictions_per_seq=3)
    wanted = [
        Instance([2, 300, 3, 5, 3], 3, False, [3], [6]),
        Instance([2, 7, 8, 3, 9, 3], 4, True, [1, 4], [7, 20_000]),
    ]
    found = bert_records.encode(instances, (8, 3))
    for record, instance in zip(found, wanted, strict=True):
        example = to_example(instance, settings)
        assert tf.train.Example.FromString(record) == tf.train.Example.FromString(
            example
        )
