"""ELMo's layers: recurrence and gradient, characters, softmax, layer weights."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from modeling.layers import char_cnn, lstm, recurrent, scalar_mix, softmax

pytestmark = pytest.mark.compiled

GOLDEN = pathlib.Path(__file__).parent / "golden"
T, B, X, D, P = 5, 3, 4, 7, 2  # steps, rows, input width, cells, output width
CLIPS = {"cell_clip": 0.3, "proj_clip": 0.2}


def _inputs(projection=True, seed=1):
    random = np.random.default_rng(seed)
    width = P if projection else D

    def normal(*shape):
        return tf.constant(random.normal(size=shape), tf.float32)

    return {
        "x": normal(T, B, X),
        "kernel": normal(X + width, 4 * D),
        "bias": normal(4 * D),
        "projection": normal(D, P) if projection else None,
        "c": normal(B, D) * 0.1,
        "h": normal(B, width) * 0.1,
    }


def _by_the_book(x, kernel, bias, projection, c, h, cell_clip=None, proj_clip=None):
    """The equations one step after the other, for autodiff."""
    outputs = []
    for x_t in tf.unstack(x):
        z = tf.concat([x_t, h], 1) @ kernel + bias
        i, j, f, o = tf.split(z, 4, axis=1)
        c = tf.sigmoid(f + 1) * c + tf.sigmoid(i) * tf.tanh(j)
        c = c if cell_clip is None else tf.clip_by_value(c, -cell_clip, cell_clip)
        h = tf.sigmoid(o) * tf.tanh(c)
        if projection is not None:
            h = h @ projection
            h = h if proj_clip is None else tf.clip_by_value(h, -proj_clip, proj_clip)
        outputs.append(h)
    return tf.stack(outputs)


def _shipped(compiled):
    def run(x, kernel, bias, projection, c, h, **clips):
        state = lstm.State(c, h)
        return lstm.lstm(
            x, kernel, bias, projection, state, compiled=compiled, **clips
        )[0]

    return run


def _with_gradients(function, inputs, **clips):
    watched = {k: v for k, v in inputs.items() if v is not None}
    with tf.GradientTape() as tape:
        tape.watch(watched)
        y = function(**inputs, **clips)
        weights = tf.reshape(tf.range(tf.size(y), dtype=tf.float32), tf.shape(y))
        total = tf.reduce_sum(y * tf.sin(weights))
    return y, tape.gradient(total, watched)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("clips", [{}, CLIPS])
def test_the_recurrence_and_its_gradient_are_those_of_the_equations(
    compiled, projection, clips
):
    inputs = _inputs(projection)
    expected, gradients = _with_gradients(_by_the_book, inputs, **clips)
    found, found_gradients = _with_gradients(_shipped(compiled), inputs, **clips)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            found_gradients[name], gradient, atol=1e-5, err_msg=name
        )


def test_the_clips_of_these_tests_are_really_hit():
    inputs = _inputs()
    state = lstm.State(inputs.pop("c"), inputs.pop("h"))
    h, c = lstm.lstm(**inputs, state=state, **CLIPS)
    assert np.sum(np.abs(c) == np.float32(0.3)) > 10
    assert np.sum(np.abs(h) == np.float32(0.2)) > 2


def _stack(**kwargs):
    stack = recurrent.LstmStack(
        2, D, P, initializer_range=1.0, seed=3, name="RNN_0", **kwargs
    )
    stack.build([None, None, P])
    return stack


def test_padding_changes_neither_real_positions_nor_the_states_after_them():
    stack = _stack(skip=True)
    x = tf.constant(np.random.default_rng(0).normal(size=[B, T, P]), tf.float32)
    outputs, states = stack(x, tf.constant([5, 2, 0]))
    alone, states_alone = stack(x[1:2, :2])
    for layer, layer_alone in zip(outputs, alone, strict=True):
        np.testing.assert_allclose(layer[1:2, :2], layer_alone, atol=1e-6)
        assert not np.any(layer[1, 2:])
    for state, state_alone in zip(states, states_alone, strict=True):
        np.testing.assert_allclose(state.c[1:2], state_alone.c, atol=1e-6)
        np.testing.assert_allclose(state.h[1:2], state_alone.h, atol=1e-6)
        assert not np.any(state.c[2])
        assert not np.any(state.h[2])


def test_states_carried_over_a_cut_give_the_uncut_run():
    stack = _stack()
    x = tf.constant(np.random.default_rng(0).normal(size=[B, T, P]), tf.float32)
    whole, last = stack(x)
    first, states = stack(x[:, :3])
    second, end = stack(x[:, 3:], states=states)
    np.testing.assert_allclose(tf.concat([first[1], second[1]], 1), whole[1], atol=1e-6)
    np.testing.assert_allclose(end[1].c, last[1].c, atol=1e-6)


def test_the_skip_connection_adds_a_layers_input_from_the_second_layer_on():
    x = tf.constant(np.random.default_rng(0).normal(size=[B, T, P]), tf.float32)
    plain, plain_states = _stack()(x)
    skip, skip_states = _stack(skip=True)(x)
    np.testing.assert_array_equal(plain[0], skip[0])
    np.testing.assert_allclose(plain[0] + plain[1], skip[1], atol=1e-6)
    # What the recurrence sees is without the sum.
    np.testing.assert_array_equal(plain_states[1].h, skip_states[1].h)


def test_carried_states_leave_the_rows_after_the_batch_alone():
    carried = recurrent.CarriedStates([_stack().cells[0].zero_state(4)])
    ones = [recurrent.State(tf.ones([2, D]), tf.ones([2, P]))]
    carried.write(ones)
    np.testing.assert_array_equal(carried.read(4)[0].c[:, 0], [1, 1, 0, 0])
    assert carried.read(3)[0].h.shape == (3, P)


def test_dropout_in_a_stack_is_for_training_only_and_follows_the_seed():
    stack = _stack(dropout_rate=0.5)
    x = tf.ones([B, T, P])
    seed = tf.constant([1, 2])
    dropped = stack(x, dropout_seed=seed)[0][1]
    np.testing.assert_array_equal(dropped, stack(x, dropout_seed=seed)[0][1])
    assert not np.allclose(dropped, stack(x)[0][1])
    assert not np.allclose(dropped, stack(x, dropout_seed=seed + 1)[0][1])


def test_bfloat16_keeps_the_recurrence_within_its_precision():
    x = tf.constant(np.random.default_rng(0).normal(size=[B, T, P]), tf.float32)
    exact = _stack()(x)[0][1]
    rounded = _stack(dtype="mixed_bfloat16")(x)[0][1]
    assert rounded.dtype == tf.float32
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    assert not np.array_equal(rounded, exact)


def test_filters_take_the_maximum_of_every_window_before_the_activation():
    filters = char_cnn.Filters([(1, 2), (3, 4)], "tanh", name="CNN")
    filters.build([None, None, 5])
    keras_weights = [w.numpy() for pair in filters.weights_and_biases for w in pair]
    keras_weights[3] = np.arange(4, dtype=np.float32)  # a bias that is not 0
    for (_, bias), value in zip(
        filters.weights_and_biases, keras_weights[1::2], strict=True
    ):
        bias.assign(value)
    x = np.random.default_rng(0).normal(size=[6, 7, 5]).astype(np.float32)
    expected = []
    for weight, bias in zip(keras_weights[::2], keras_weights[1::2], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[1], axis=1)
        scores = np.einsum("ncew,wef->ncf", windows, weight[0])
        expected.append(np.tanh(scores.max(axis=1) + bias))
    np.testing.assert_allclose(filters(x), np.concatenate(expected, 1), atol=1e-6)


def test_a_closed_highway_gate_carries_its_input():
    highway = char_cnn.Highway(name="CNN_high_0")
    highway.build([None, 3])
    highway.b_carry.assign([-100.0] * 3)
    x = tf.constant([[1.0, -2.0, 3.0]])
    np.testing.assert_allclose(highway(x), x, atol=1e-6)
    highway.b_carry.assign([100.0] * 3)
    y = tf.nn.relu(x @ tf.convert_to_tensor(highway.W_transform))
    np.testing.assert_allclose(highway(x), y, atol=1e-6)


@pytest.fixture(scope="module")
def sampled():
    return np.load(GOLDEN / "elmo_sampled_softmax.npz")


def test_the_sampled_softmax_equals_the_originals(sampled):
    layer = softmax.WordSoftmax(60, name="softmax")
    layer.build([None, 8])
    layer.weight.assign(sampled["softmax_W"])
    layer.bias.assign(sampled["softmax_b"])
    counts = sampled["true_expected_count"], sampled["sampled_expected_count"]
    sample = tuple(map(tf.constant, (sampled["sampled_ids"], *counts)))
    losses = layer(sampled["inputs"], sampled["labels"][:, 0], sample=sample)
    np.testing.assert_allclose(losses, sampled["losses"], atol=1e-5)


def test_a_sample_is_distinct_follows_the_seed_and_favours_frequent_words():
    labels = tf.constant([0, 49, 7])
    drawn = [
        softmax.log_uniform_sample(labels, 6, 50, tf.constant([step, 0]))
        for step in range(300)
    ]
    again = softmax.log_uniform_sample(labels, 6, 50, tf.constant([0, 0]))
    np.testing.assert_array_equal(drawn[0][0], again[0])
    words = np.stack([sample[0] for sample in drawn])
    assert all(len(set(row)) == 6 for row in words.tolist())
    assert set(words.flatten()) <= set(range(50))
    # How often a word is in a sample is what its expected count says, on average.
    for column, word in enumerate(labels.numpy()):
        share = np.mean(np.any(words == word, axis=1))
        expected = np.mean([sample[1][column, 0] for sample in drawn])
        assert abs(share - expected) < 0.06
    np.testing.assert_allclose(
        drawn[3][2][2], _count_of(words[3][2], drawn[3], labels), rtol=1e-5
    )


def _count_of(word, sample, labels):
    """The expected count of a word by the number of tries of the label 0's count."""
    log = np.log(51)
    first = np.log(2) / log
    tries = np.log1p(-float(sample[1][0, 0])) / np.log1p(-first)
    return 1 - (1 - np.log((word + 2) / (word + 1)) / log) ** tries


def test_every_word_can_be_drawn_at_once():
    sample = softmax.log_uniform_sample(tf.constant([0]), 9, 9, tf.constant([4, 2]))
    assert sorted(sample[0].numpy()) == list(range(9))


CASES = json.loads((GOLDEN / "elmo_weight_layers.json").read_text())
# The original can also normalize the layers, or take the last one alone.
OTHERS = ("do_layer_norm", "use_top_only")
CASES = [case for case in CASES if not any(case[option] for option in OTHERS)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_layer_weights_and_their_gradients_equal_the_originals(case):
    golden = np.load(GOLDEN / "elmo_weight_layers.npz")
    layers = tf.constant(golden["lm_embeddings"])
    mix = scalar_mix.ScalarMix(3, name="mix")
    mix.build()
    prefix = f"case{case['case']}_"
    variables = {"gamma": mix.gamma, "W": mix.weight}
    assert len(mix.trainable_variables) == case["n_trainable"]
    for name, variable in variables.items():
        variable.assign(golden[prefix + name])
    with tf.GradientTape() as tape:
        mixed = mix(layers)
        # The original's loss, with its penalty on the weights.
        penalty = case["l2_coef"] * tf.reduce_sum(tf.square(mix.weight))
        loss = tf.reduce_sum(mixed * layers[:, 0]) + penalty
    np.testing.assert_allclose(mixed, golden[prefix + "weighted"], atol=1e-5)
    found = tape.gradient(loss, {k: v.value for k, v in variables.items()})
    for name, gradient in found.items():
        expected = golden[f"{prefix}grad_x_ELMo_{name}"]
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)
