"""Activations without padding compute what those with it compute."""

import numpy as np
import pytest
import tensorflow as tf

import modeling
from modeling.layers import packing

# B sequences of S positions; the third has one real position, none fills its row.
B, S, V = 4, 9, 29
LENGTHS = np.array([8, 5, 1, 6])
BERT = modeling.BertConfig(
    vocab_size=V,
    hidden_size=15,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=22,
    max_position_embeddings=11,
    type_vocab_size=2,
    initializer_range=0.2,
)
GPT = modeling.GptConfig(V, n_ctx=11, n_embd=15, n_layer=2, n_head=3, n_special=3)
XLM = modeling.XlmConfig(
    ("en", "de"), V, 15, 2, 3, dropout=0.1, max_position_embeddings=11
)
ELSEWHERE = {"masked_lm_positions": tf.constant([[1, 5], [4, 0], [0, 0], [2, 3]])}
# name -> (model, inputs beside ids and mask, what is read at real positions)
MODELS = {
    "bert": (
        lambda: modeling.BertModel(BERT, fused=True),
        lambda: {"segment_ids": _ids(2)},
        lambda found: [found["pooled_output"], *map(_at_real, _layers(found))],
    ),
    "bert classifies": (
        lambda: modeling.BertClassifier(BERT, 3, fused=True),
        lambda: {"segment_ids": _ids(2)},
        lambda found: [found],
    ),
    "bert answers": (
        lambda: modeling.BertSpanExtractor(BERT, fused=True),
        dict,
        lambda found: list(map(_at_real, found)),
    ),
    "bert pre-trains": (
        lambda: modeling.BertPreTrainingModel(BERT, fused=True),
        lambda: ELSEWHERE,
        lambda found: list(found.values()),
    ),
    "gpt": (
        lambda: modeling.GptModel(GPT, fused=True),
        dict,
        lambda found: list(map(_at_real, _layers(found))),
    ),
    "gpt reads on": (
        lambda: modeling.GptLanguageModel(GPT, fused=True),
        dict,
        lambda found: [found["lm_losses"]],
    ),
    "gpt classifies": (
        lambda: modeling.GptClassifier(GPT, 3, fused=True),
        dict,
        lambda found: list(found.values()),
    ),
    "xlm masks": (
        lambda: modeling.XlmLanguageModel(XLM, fused=True),
        lambda: {**ELSEWHERE, "language_ids": _ids(2), "position_ids": _ids(9)},
        lambda found: [found["masked_lm_logits"], found["sequence_output"]],
    ),
    "xlm reads on": (
        lambda: modeling.XlmLanguageModel(XLM, fused=True),
        lambda: {"language_ids": tf.constant([1, 0, 1, 1])},
        lambda found: [found["lm_losses"]],
    ),
}


def _ids(high):
    return tf.constant(np.random.default_rng(high).integers(0, high, [B, S]), tf.int32)


def _mask():
    return tf.sequence_mask(LENGTHS, S, dtype=tf.int32)


def _at_real(x):
    return tf.boolean_mask(x, _mask() > 0)


def _layers(found):
    return [found["embedding_output"], *found["all_encoder_layers"]]


def _computed(name, seed):
    """Returns what a model computes, and gradients of a sum of it, by name."""
    make, inputs, read = MODELS[name]
    model = make()
    ids = _ids(V - 3)
    if name == "gpt classifies":
        ids = tf.where(tf.range(S) == LENGTHS[:, None] - 1, V + 2, ids)
    variables = {k: v.value for k, v in modeling.named_variables(model).items()}
    with tf.GradientTape() as tape:
        outputs = read(model(ids, _mask(), **inputs(), dropout_seed=seed))
        weights = np.random.default_rng(7)
        loss = tf.add_n(
            [tf.reduce_sum(x * weights.normal(size=x.shape)) for x in outputs]
        )
    return outputs, tape.gradient(loss, variables)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_are_those_of_the_padded_batch(monkeypatch, name):
    compare_with_padded(monkeypatch, name)


@pytest.mark.compiled
def test_they_are_when_compiled(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", 1)
    compare_with_padded(monkeypatch, "bert classifies")


def compare_with_padded(monkeypatch, name):
    seed = tf.constant([3, 4])
    packed, packed_gradients = _computed(name, seed)
    monkeypatch.setattr(packing, "rows_of", lambda mask, packed: packing.PADDED)
    padded, gradients = _computed(name, seed)
    for got, wanted in zip(packed, padded, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    for path, wanted in gradients.items():
        if wanted is None:
            assert packed_gradients[path] is None, path
            continue
        wanted = tf.convert_to_tensor(wanted)
        got = tf.convert_to_tensor(packed_gradients[path])
        np.testing.assert_allclose(got, wanted, atol=2e-5, err_msg=path)


def test_a_packed_batch_has_every_real_row_and_little_more():
    rows = packing.PackedRows(_mask())
    places = rows.places.numpy()
    real = np.flatnonzero(_mask().numpy())
    np.testing.assert_array_equal(places[: len(real)], real)
    assert len(real) < len(places) == 24
    assert len(set(places)) == 24
    padding = np.flatnonzero(1 - _mask().numpy())
    np.testing.assert_array_equal(places[len(real) :], padding[:4])


def test_rows_go_to_the_rectangle_and_back():
    rows = packing.PackedRows(_mask())
    x = tf.random.stateless_normal([24, 3], [1, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        whole = rows.pad(x)
        again = rows.unpad(whole)
        loss = tf.reduce_sum(tf.reshape(whole, [B, S, 3])[1, 2] * [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(tf.gather(whole, rows.places), x)
    gradient = tape.gradient(loss, x).numpy()
    (row,) = np.flatnonzero(rows.places.numpy() == S + 2)
    np.testing.assert_array_equal(gradient[row], [1, 2, 3])
    assert np.abs(gradient).sum() == 6


@pytest.mark.parametrize("lengths", [[5, 5, 5], [4, 5, 5]])
def test_with_little_padding_nothing_moves(lengths):
    rows = packing.PackedRows(tf.sequence_mask(lengths, 5, tf.int32))
    np.testing.assert_array_equal(rows.places, np.arange(15))
    x = tf.random.stateless_normal([15, 2], [1, 2])
    np.testing.assert_array_equal(rows.pad(x), x)
    np.testing.assert_array_equal(rows.unpad(x), x)


def test_what_is_hidden_before_the_last_real_position_has_a_row():
    mask = tf.constant([[0, 1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]])
    rows = packing.PackedRows(mask)
    np.testing.assert_array_equal(rows.places[:5], [0, 1, 2, 3, 7])


def test_an_epochs_batches_have_few_numbers_of_rows_and_little_filling():
    rng = np.random.default_rng(5)
    real, packed = [], []
    for _ in range(60):
        lengths = rng.integers(3, 24, 8)
        mask = tf.sequence_mask(lengths, 24, dtype=tf.int32)
        real.append(lengths.sum())
        packed.append(len(packing.PackedRows(mask).places))
    assert len(set(packed)) <= 6
    assert sum(packed) < 1.2 * sum(real)


def test_a_small_batch_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", 30)
    assert len(packing.PackedRows(_mask()).places) == 30
    monkeypatch.setattr(packing, "LEAST", 256)
    np.testing.assert_array_equal(packing.PackedRows(_mask()).places, np.arange(B * S))
