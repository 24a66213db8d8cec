"""Pooling strategies, against values worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from modeling.layers import pooling

# Two sequences of three pieces, width 2; the middle of the second is padding.
X = tf.constant([[[1, -2], [3, 4], [5, -6]], [[7, -1], [90, 90], [-3, -5]]], tf.float32)
MASK = tf.constant([[0, 1, 1], [1, 0, 1]])


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("cls", [[1, -2], [7, -1]]),
        ("first", [[3, 4], [7, -1]]),
        ("last", [[5, -6], [-3, -5]]),
        ("mean", [[4, -1], [2, -3]]),
        ("max", [[5, 4], [7, -1]]),
        ("mean_max", [[4, -1, 5, 4], [2, -3, 7, -1]]),
        ("none", [[[0, 0], [3, 4], [5, -6]], [[7, -1], [0, 0], [-3, -5]]]),
    ],
)
def test_each_strategy_pools_what_the_mask_leaves(strategy, expected):
    np.testing.assert_array_equal(pooling.pool(X, MASK, strategy), expected)


@pytest.mark.parametrize(
    "strategy", [s for s in pooling.STRATEGIES if s not in ("none", "cls_pooled")]
)
def test_axes_between_pieces_and_width_are_pooled_each_for_itself(strategy):
    layers = tf.stack([X, 2 * X, X - 10], axis=2)
    found = pooling.pool(layers, MASK, strategy)
    for i in range(3):
        expected = pooling.pool(layers[:, :, i], MASK, strategy)
        np.testing.assert_array_equal(found[:, i], expected)


@pytest.mark.parametrize("strategy", ["mean", "max", "mean_max", "first", "last"])
def test_a_sequence_without_pieces_gives_zeros(strategy):
    found = pooling.pool(X, tf.constant([[0, 0, 0], [1, 1, 1]]), strategy).numpy()
    assert not found[0].any()
    assert found[1].any()


def test_names_of_bert_as_service_are_known_in_any_case():
    names = {
        "NONE": "none",
        "REDUCE_MEAN": "mean",
        "REDUCE_MAX": "max",
        "REDUCE_MEAN_MAX": "mean_max",
        "CLS_TOKEN": "cls",
        "CLS_POOLED": "cls_pooled",
        "FIRST_TOKEN": "first",
        "SEP_TOKEN": "last",
        "LAST_TOKEN": "last",
    }
    assert {name: pooling.strategy_name(name) for name in names} == names
    assert pooling.strategy_name("Mean") == "mean"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'median'.*mean_max.*REDUCE_MEAN"):
        pooling.strategy_name("median")
    with pytest.raises(ValueError, match="'median'"):
        pooling.pool(X, MASK, "median")
