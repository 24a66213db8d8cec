"""One declaration: writer, parser, batch and signature agree."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline.feature_spec import Feature, FeatureSpec

SPEC = FeatureSpec(
    [
        Feature("input_ids", tf.int32, (None,)),
        Feature("char_ids", tf.int32, (None, 3)),
        Feature("positions", tf.int32, (None,), pad_to=4),
        Feature("weights", tf.float32, (None,), pad_to=4),
        Feature("box", tf.float32, (2,)),
        Feature("text", tf.string),
        Feature("label_ids", tf.int32, (), is_input=False),
        Feature("rank", tf.int32, (), default=7),
    ]
)
FIRST = {
    "input_ids": [5, 6],
    "char_ids": [[1, 2, 3], [4, 5, 6]],
    "positions": [1],
    "weights": [0.5],
    "box": [1.5, -2.0],
    "text": "grün",
    "label_ids": 3,
}
SECOND = {
    "input_ids": [7, 8, 9],
    "char_ids": [[1, 1, 1], [2, 2, 2], [3, 3, 3]],
    "positions": [],
    "weights": [],
    "box": [0.0, 4.0],
    "text": "",
    "label_ids": 0,
    "rank": 2,
}


def parent_record(ids, padded_to, real=1):
    """A record as the parent's run_classifier.py writes it."""
    padding = [0] * (padded_to - len(ids))
    lists = {
        "input_ids": ids + padding,
        "input_mask": [1] * len(ids) + padding,
        "segment_ids": [0] * padded_to,
        "label_ids": [1],
        "is_real_example": [real],
    }
    features = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        for name, values in lists.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


PARENT_SPEC = FeatureSpec(
    [
        Feature("input_ids", tf.int32, (None,)),
        Feature("segment_ids", tf.int32, (None,)),
        Feature("label_ids", tf.int32),
    ]
)


def test_written_examples_come_back_padded_and_masked():
    records = [SPEC.to_example(FIRST, 11), SPEC.to_example(SECOND)]
    columns, lengths = SPEC.parse(tf.constant(records))
    batch = SPEC.to_batch(columns, lengths, rows=2, length=5)
    expected = {
        "input_ids": [[5, 6, 0, 0, 0], [7, 8, 9, 0, 0]],
        "input_mask": [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]],
        "positions": [[1, 0, 0, 0], [0, 0, 0, 0]],
        "weights": [[0.5, 0, 0, 0], [0, 0, 0, 0]],
        "box": [[1.5, -2.0], [0.0, 4.0]],
        "label_ids": [3, 0],
        "rank": [7, 2],
        "example_index": [11, -1],
        "is_real_example": [1, 1],
    }
    for name, value in expected.items():
        np.testing.assert_array_equal(batch[name], value, err_msg=name)
    assert [text.decode() for text in batch["text"].numpy()] == ["grün", ""]
    assert batch["char_ids"].shape == (2, 5, 3)
    np.testing.assert_array_equal(
        batch["char_ids"][0, :3], [*FIRST["char_ids"], [0] * 3]
    )


def test_batch_has_the_types_and_shapes_of_its_signature():
    columns, lengths = SPEC.parse(tf.constant([SPEC.to_example(SECOND)]))
    batch = SPEC.to_batch(columns, lengths, rows=1, length=6)
    signature = SPEC.batch_signature(1, 6)
    assert set(batch) == set(signature)
    for name, tensor in batch.items():
        assert signature[name].is_compatible_with(tensor), name
        assert signature[name].shape.is_fully_defined()


def test_serving_signature_has_inputs_and_mask_but_no_labels():
    signature = PARENT_SPEC.signature()
    assert "label_ids" in signature
    assert "label_ids" not in SPEC.signature()
    assert "is_real_example" not in signature
    assert signature["input_mask"] == tf.TensorSpec(
        [None, None], tf.int32, "input_mask"
    )


def test_parents_padded_records_are_read_at_their_real_length():
    records = [parent_record([4, 5, 6], 9), parent_record([7], 9)]
    columns, lengths = PARENT_SPEC.parse(tf.constant(records))
    assert lengths.numpy().tolist() == [3, 1]
    batch = PARENT_SPEC.to_batch(columns, lengths, rows=2, length=4)
    assert batch["input_ids"].numpy().tolist() == [[4, 5, 6, 0], [7, 0, 0, 0]]
    assert batch["input_mask"].numpy().tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]


def test_parents_padding_examples_stay_marked_as_not_real():
    records = [parent_record([4], 3), parent_record([], 3, real=0)]
    columns, _ = PARENT_SPEC.parse(tf.constant(records))
    assert columns["is_real_example"].numpy().tolist() == [1, 0]


def test_record_without_the_length_feature_is_an_error():
    empty = PARENT_SPEC.to_example({"input_ids": [], "segment_ids": [], "label_ids": 1})
    with pytest.raises(tf.errors.InvalidArgumentError, match="no input_ids"):
        PARENT_SPEC.parse(tf.constant([empty]))


def test_more_than_a_fixed_padding_holds_is_an_error_not_a_cut():
    long = {**FIRST, "positions": [1, 2, 3, 4, 5]}
    columns, lengths = SPEC.parse(tf.constant([SPEC.to_example(long)]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="more positions than 4"):
        SPEC.to_batch(columns, lengths, rows=1, length=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_ids": [1, 2]}, r"label_ids: wanted shape \(\), got \(2,\)"),
        ({"box": [1.0]}, r"box: wanted shape \(2,\), got \(1,\)"),
        ({"label_ids": 0.5}, "label_ids: wanted integers"),
        ({"colour": 1}, r"\['colour'\] are not declared"),
    ],
)
def test_values_against_the_declaration_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        SPEC.to_example({**FIRST, **change})


def test_missing_value_is_named():
    values = {name: value for name, value in FIRST.items() if name != "box"}
    with pytest.raises(ValueError, match="box is missing"):
        SPEC.to_example(values)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([Feature("x", tf.int32, (None,))], "length_feature 'input_ids'"),
        ([Feature("input_ids", tf.int32, (3,))], "length_feature"),
        ([Feature("input_mask", tf.int32, (None,))], "reserved"),
        ([Feature("x", tf.int32), Feature("x", tf.int32)], "twice"),
    ],
)
def test_impossible_spec_is_an_error(features, message):
    with pytest.raises(ValueError, match=message):
        FeatureSpec(features)


@pytest.mark.parametrize(
    "arguments",
    [
        {"dtype": tf.int64},
        {"dtype": tf.int32, "shape": (3, None)},
        {"dtype": tf.int32, "pad_to": 5},
        {"dtype": tf.int32, "shape": (None,), "default": 0},
    ],
)
def test_impossible_feature_is_an_error(arguments):
    with pytest.raises(ValueError, match="Feature f"):
        Feature("f", **arguments)


def test_description_changes_with_every_part_of_a_feature():
    base = {"dtype": tf.int32, "shape": (None,)}
    variants = [
        base,
        {**base, "dtype": tf.float32},
        {**base, "shape": (None, 2)},
        {**base, "pad_to": 3},
        {"dtype": tf.int32, "shape": ()},
        {"dtype": tf.int32, "shape": (), "default": 1},
    ]
    length = Feature("input_ids", tf.int32, (None,))
    described = [
        str(FeatureSpec([length, Feature("f", **v)]).describe()) for v in variants
    ]
    assert len(set(described)) == len(variants)
