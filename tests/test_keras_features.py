"""word2bert.layer: a Keras layer with load's numbers, trained, saved and loaded."""

import ast
import shutil
import sys

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_folders

import registry
import word2bert
from errors import UserError
from inference.keras_features import TextFeatures

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
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=False)
    return model


@pytest.mark.parametrize("model_type", ["bert", "vectors"])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_model_of_ones_own_learns_and_is_saved(
    model_type, trainable, tmp_path, recwarn
):
    folder, _ = encoder(model_type, tmp_path)
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
    same = all(map(np.array_equal, before, after))
    assert same != trainable
    assert (len(model.trainable_variables) == 2) != trainable
    if trainable:
        assert model.evaluate(texts, labels, verbose=0)[1] > 0.9
    wanted = model.predict(texts, verbose=0)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(folder)  # the file has all that it needs
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(texts, verbose=0), wanted, atol=1e-6)
    again = loaded.layers[0]
    assert isinstance(again, TextFeatures)
    assert again.trainable == trainable
    loaded.fit(texts, labels, verbose=0)


LOADS = """
import sys, keras, tensorflow as tf, word2bert
known = {"TextFeatures": word2bert.TextFeatures}
model = keras.models.load_model(sys.argv[1], custom_objects=known)
print(model.predict(tf.constant(["good", "bad word1"]), verbose=0).tolist())
"""


def test_another_process_loads_the_model(tmp_path):
    folder, _ = encoder("bert", tmp_path)
    model = classifier(word2bert.layer(folder))
    wanted = model.predict(tf.constant(["good", "bad word1"]), verbose=0)
    model.save(tmp_path / "model.keras")
    path = str(tmp_path / "model.keras")
    done = forks.run([sys.executable, "-c", LOADS, path], cwd=tiny.ROOT)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(ast.literal_eval(done.stdout), wanted, atol=1e-6)
    with pytest.raises(AttributeError, match="no attribute 'lyer'"):
        _ = word2bert.lyer


def test_a_frozen_layer_has_no_dropout_and_a_trained_one_has(tmp_path):
    folder, _ = encoder("bert", tmp_path)
    texts = tf.constant(TEXTS)
    for trainable in (False, True):
        layer = word2bert.layer(folder, trainable)
        same = np.allclose(layer(texts, training=True), layer(texts), atol=1e-6)
        assert same != trainable


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(UserError, match="nnlm does not give features"):
        word2bert.layer(tiny_folders.encoder("nnlm", tmp_path))
