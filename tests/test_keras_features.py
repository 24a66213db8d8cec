"""word2bert.layer: a Keras layer with load's numbers, trained, saved and loaded."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_folders

import registry
import word2bert
from errors import UserError

pytestmark = pytest.mark.long

TEXTS = [*(e.text_a for e in tiny.examples(5, seed=3)), "", "good \u3000 bad\n"]
EXTRACT = sorted(registry.model_types("extracts"))
IN_GRAPH = ("bert", "elmo", "vectors")


def encoder(model_type, folder):
    """Writes a tiny encoder; returns its folder, and the options that it wants."""
    options = {"language": "en"} if model_type == "xlm" else {}
    return tiny_folders.encoder(model_type, folder), options


@pytest.mark.parametrize("model_type", EXTRACT)
def test_features_are_those_of_load(model_type, tmp_path):
    folder, options = encoder(model_type, tmp_path)
    model = word2bert.load(folder, **options)
    if model_type in IN_GRAPH:
        inputs = tf.constant(TEXTS)
    else:
        with pytest.raises(UserError, match=f"{model_type} are not read in a graph"):
            word2bert.layer(folder, **options)
        options["ids"] = True
        inputs = model.token_ids(TEXTS)
    for pooling in ("mean", "max", "last"):
        layer = word2bert.layer(folder, pooling=pooling, **options)
        found = layer(inputs)
        assert found.shape == (len(TEXTS), layer.width)
        np.testing.assert_allclose(found, model.encode(TEXTS, pooling), atol=1e-4)


def test_units_and_several_layers(tmp_path):
    folder, _ = encoder("elmo", tmp_path)
    layer = word2bert.layer(folder, layers=[0, -1], pooling="none")
    words = [text.split() for text in TEXTS]
    found = layer(tf.constant(TEXTS)).numpy()
    wanted = word2bert.load(folder).encode_words(
        words, layers=[0, -1], layer_combination="concat"
    )
    for row, values in zip(found, wanted, strict=True):
        np.testing.assert_allclose(row[: len(values)], values, atol=1e-4)
        assert not row[len(values) :].any()
    assert word2bert.layer(folder, layers=1).width * 2 == layer.width


def test_ids_have_bounds_and_words_have_none(tmp_path):
    bert, _ = encoder("bert", tmp_path)
    elmo, _ = encoder("elmo", tmp_path)
    ids = word2bert.load(bert).token_ids(["good word1", "bad"])
    places = [tiny.VOCAB.index(w) for w in ("[CLS]", "good", "word1", "[SEP]", "bad")]
    assert ids.tolist() == [places[:4], [places[0], places[4], places[3], -1]]
    layer = word2bert.layer(bert, ids=True)
    texts = word2bert.layer(bert)(tf.constant(["good word1", "bad"]))
    np.testing.assert_allclose(layer(ids), texts, atol=1e-6)
    with pytest.raises(UserError, match="elmo reads words, which have no ids"):
        word2bert.load(elmo).token_ids(["the"])
    with pytest.raises(UserError, match="elmo reads words, which have no ids"):
        word2bert.layer(elmo, ids=True)(ids)


def examples():
    """Texts of good and bad, and which it is."""
    found = tiny.examples(48)
    texts = tf.constant([e.text_a for e in found])
    return texts, np.array([e.label == "good" for e in found], np.int32)


def classifier(layer):
    """A model of the user's own on the layer."""
    model = keras.Sequential([layer, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(0.03)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("trainable", [False, True])
def test_a_model_of_ones_own_learns_and_is_saved(trainable, tmp_path, recwarn):
    folder, _ = encoder("vectors", tmp_path)
    layer = word2bert.layer(folder, trainable)
    before = [variable.numpy() for variable in layer.encoder.variables]
    model = classifier(layer)
    texts, labels = examples()
    recwarn.clear()
    losses = model.fit(texts, labels, epochs=12, batch_size=16, verbose=0)
    losses = losses.history["loss"]
    assert not [w for w in recwarn if "Gradients" in str(w.message)]
    assert losses[-1] < losses[0]
    after = [variable.numpy() for variable in layer.encoder.variables]
    assert all(map(np.array_equal, before, after)) != trainable
    assert (len(model.trainable_variables) == 2) != trainable
    if trainable:
        assert model.evaluate(texts, labels, verbose=0)[1] > 0.9
    loaded = saved(model, tmp_path, folder)
    wanted = model.predict(texts, verbose=0)
    np.testing.assert_allclose(loaded.predict(texts, verbose=0), wanted, atol=1e-6)
    assert loaded.layers[0].trainable == trainable
    loaded.fit(texts, labels, verbose=0)


def saved(model, tmp_path, folder):
    """Saves a model, and loads it when the encoder's folder is gone."""
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    known = {"TextFeatures": word2bert.TextFeatures}
    return keras.models.load_model(tmp_path / "model.keras", custom_objects=known)


def test_a_bert_is_trained_and_saved(tmp_path, recwarn):
    folder, _ = encoder("bert", tmp_path)
    layer = word2bert.layer(folder, trainable=True)
    variables = layer.encoder.variables
    before = {variable.path: variable.numpy() for variable in variables}
    model = classifier(layer)
    recwarn.clear()
    # To make a graph of it takes longer than all of this.
    model.run_eagerly = True
    model.fit(*examples(), batch_size=24, verbose=0)
    assert not [w for w in recwarn if "Gradients" in str(w.message)]
    moved = {v.path for v in variables if not np.array_equal(v, before[v.path])}
    assert moved == {path for path in before if "pooler" not in path}
    texts = tf.constant(TEXTS)
    loaded = saved(model, tmp_path, folder)
    np.testing.assert_allclose(loaded(texts), model(texts), atol=1e-6)


def test_no_other_names_are_made_up():
    with pytest.raises(AttributeError, match="no attribute 'lyer'"):
        _ = word2bert.lyer


def test_a_frozen_layer_has_no_dropout_and_a_trained_one_has(tmp_path):
    folder, _ = encoder("bert", tmp_path)
    texts = tf.constant(TEXTS)
    for trainable in (False, True):
        layer = word2bert.layer(folder, trainable)
        same = np.allclose(layer(texts, training=True), layer(texts), atol=1e-6)
        assert same != trainable


def test_gradients_of_words_that_are_there_twice_are_whole(tmp_path):
    folder, _ = encoder("vectors", tmp_path)
    texts = tf.constant(["good bad good good"])
    layer = word2bert.layer(folder, trainable=True)
    table = layer.encoder.words
    with tf.GradientTape() as tape:
        found = layer(texts, training=True)
    gradient = tape.gradient(found, table.value)
    assert isinstance(gradient, tf.Tensor)  # no rows, which Keras adds up wrongly
    wanted = np.zeros(table.shape)
    wanted[[tiny.WORDS.index("good"), tiny.WORDS.index("bad")]] = [[3 / 4], [1 / 4]]
    np.testing.assert_allclose(gradient, wanted, atol=1e-6)


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(UserError, match="nnlm does not give features"):
        word2bert.layer(tiny_folders.encoder("nnlm", tmp_path))
