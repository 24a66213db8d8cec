"""GRUs: the cell beside Keras's, gradients, lengths, both directions, final states."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from modeling.layers import dropout, gru, recurrent

pytestmark = pytest.mark.compiled

T, B, X, D = 6, 3, 4, 7  # steps, rows, input width, units
LENGTHS = tf.constant([5, 2, 0])


def normal(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def of_keras(kernel, bias):
    """Keras's layer with our weights: its gates are the other way round."""
    layer = keras.layers.GRU(D, reset_after=False, return_sequences=True)
    layer.build([None, None, X])
    r, u, c = np.split(kernel, 3, axis=1)
    b_r, b_u, b_c = np.split(bias, 3)
    turned = np.concatenate([u, r, c], 1)
    ones = gru.GATE_BIAS
    bias = np.concatenate([b_u + ones, b_r + ones, b_c])
    layer.set_weights([turned[:X], turned[X:], bias])
    return layer


def turn(x):
    """Puts Keras's order of the gates into ours."""
    u, r, c = np.split(x, 3, axis=-1)
    return np.concatenate([r, u, c], -1)


@pytest.mark.parametrize("fused", [False, True])
def test_outputs_and_gradients_are_keras_own_whatever_the_lengths(fused):
    ours = recurrent.Gru(D, 0.0, fused=fused, name="gru")
    ours.build([None, None, X])
    ours.kernel.assign(normal(X + D, 3 * D, seed=1))
    ours.bias.assign(normal(3 * D, seed=2))
    theirs = of_keras(ours.kernel.numpy(), ours.bias.numpy())
    x, weights = normal(B, T, X), normal(B, T, D, seed=3)
    mask = tf.sequence_mask(LENGTHS, T)
    real = tf.cast(mask, tf.float32)[..., None]
    results = []
    for run, layer in (
        (lambda: ours(x, LENGTHS, None), ours),
        (lambda: theirs(x, mask=mask) * real, theirs),
    ):
        variables = [v.value for v in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = run()
            loss = tf.reduce_sum(y * weights)
        results.append((y, *tape.gradient(loss, [x, *variables])))
    (y, dx, dkernel, dbias), (y_k, dx_k, dw_k, du_k, dbias_k) = results
    np.testing.assert_allclose(y, y_k, atol=1e-5)
    np.testing.assert_allclose(dx, dx_k, atol=1e-5)
    dkernel_k = turn(np.concatenate([dw_k, du_k]))
    np.testing.assert_allclose(dkernel, dkernel_k, atol=1e-5)
    np.testing.assert_allclose(dbias, turn(dbias_k), atol=1e-5)
    assert np.abs(dkernel).min(axis=1).min() > 0


def test_no_step_is_run_after_the_longest_row():
    x, kernel, bias = normal(T, B, X), normal(X + D, 3 * D), normal(3 * D)
    found = gru.gru(x, kernel, bias, tf.constant(4))
    np.testing.assert_array_equal(found[:4], gru.gru(x[:4], kernel, bias, 4))
    assert not np.any(found[4:])


def test_a_new_layer_starts_by_keeping_its_state():
    layer = recurrent.Gru(D, 0.0, name="gru")
    layer.build([None, None, X])
    layer.kernel.assign(tf.zeros([X + D, 3 * D]))
    layer.bias.assign([0.0] * 2 * D + [9.0] * D)  # candidates of 1
    y = layer(normal(1, 2, X), tf.constant([2]), None)
    keep = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(y[0, :, 0], [1 - keep, 1 - keep**2], atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_both_directions_are_one_layer_on_the_row_and_one_on_its_mirror(cell):
    both = recurrent.Bidirectional(cell, D, 0.0, name="both")
    both.build([None, None, X])
    x = normal(B, T, X)
    found = both(x, LENGTHS)
    for row, length in enumerate(LENGTHS.numpy()):
        assert not np.any(found[row, length:])
        if length:
            part, whole = x[row : row + 1, :length], tf.constant([length])
            ahead = both.forward(part, whole, None)[0]
            back = both.backward(part[:, ::-1], whole, None)[0, ::-1]
            alone = tf.concat([ahead, back], -1)
            np.testing.assert_allclose(found[row, :length], alone, atol=1e-6)


def test_dropout_is_on_what_a_layer_reads():
    layer = recurrent.Gru(D, 0.5, name="gru")
    layer.build([None, None, X])
    x, seed = normal(B, T, X), tf.constant([1, 2])
    dropped = dropout.dropout(x, 0.5, seed, layer.site)
    expected = layer(dropped, LENGTHS, None)
    np.testing.assert_array_equal(layer(x, LENGTHS, seed), expected)
    assert not np.allclose(layer(x, LENGTHS, None), expected)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_final_states_are_the_ends_of_the_last_layer(cell):
    layer = recurrent.FinalStates(cell, 2, D, 0.5, name="final")
    layer.build([None, None, X])
    x, seed = normal(B, T, X), tf.constant([1, 2])
    found = layer(x, LENGTHS, seed)
    one, two = layer.layers
    y = two(one(x, LENGTHS, seed), LENGTHS, seed)
    ends = [[y[0, 4, :D], y[1, 1, :D], tf.zeros(D)], [*y[:2, 0, D:], tf.zeros(D)]]
    np.testing.assert_array_equal(found, np.concatenate(ends, -1))
    assert np.all(found[:2])


def test_bfloat16_keeps_the_recurrence_within_its_precision():
    outputs = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = recurrent.Gru(D, 0.0, dtype=dtype, seed=3, name="gru")
        layer.build([None, None, X])
        outputs.append(layer(normal(B, T, X), LENGTHS, None))
    exact, rounded = outputs
    assert rounded.dtype == tf.float32
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert not np.array_equal(rounded, exact)
