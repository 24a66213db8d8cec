"""XLM's files: the parent's .pth, and Hugging Face's folders, both ways."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import torch_writer

import checkpoints
import modeling
from checkpoints.mapping import CheckpointError
from errors import UserError
from systems.system import make_system
from tokenization_xlm import SPECIAL, BytePairs

# A model of transformers 5.24, and what it computes: see the README there.
GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/xlm"
V, H, LANGUAGES, POSITIONS = 19, 6, 2, 9
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def golden():
    """Returns the opened model of Hugging Face's, and its language model here."""
    checkpoint = checkpoints.open_checkpoint(str(GOLDEN))
    system = make_system(checkpoint.config, checkpoint.vocab_file, None, str(GOLDEN))
    model = modeling.XlmLanguageModel(system.match_vocabulary().config)
    system.initialize(modeling.named_variables(model), "pre-training")
    return checkpoint, model


def test_hidden_states_and_logits_equal_hugging_faces(golden):
    _, model = golden
    found = np.load(GOLDEN / "outputs.npz")
    names = ("input_ids", "input_mask", "language_ids")
    outputs = model.xlm(**{name: tf.constant(found[name]) for name in names})
    layers = [outputs["embedding_output"], *outputs["all_encoder_layers"]]
    np.testing.assert_allclose(layers, found["hidden_states"], atol=1e-4)
    logits = model.lm_logits(tf.reshape(layers[-1], [-1, 12]))
    real = found["input_mask"].astype(bool)
    wanted = found["logits"][real]
    np.testing.assert_allclose(logits[real.ravel()], wanted, atol=1e-4)


def test_hugging_faces_folder_says_config_and_vocabulary(golden):
    checkpoint, _ = golden
    assert checkpoint.config == modeling.XlmConfig(
        ("de", "en", "zh"),
        n_words=len(json.loads((GOLDEN / "vocab.json").read_text())),
        emb_dim=12,
        n_layers=2,
        n_heads=3,
        max_position_embeddings=16,
    )
    pieces = BytePairs(checkpoint.vocab_file)
    assert pieces.pieces("good") == ["good"]
    assert pieces.pieces("gods") == ["go@@", "d@@", "s"]


def test_a_model_written_for_hugging_face_is_the_one_that_was_read(golden, tmp_path):
    checkpoint, _ = golden
    checkpoints.save_as(checkpoint, str(tmp_path / "b"), "huggingface")
    again = checkpoints.open_checkpoint(str(tmp_path / "b"))
    assert again.config == checkpoint.config
    wanted = safetensors.numpy.load_file(GOLDEN / "model.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "b/model.safetensors")
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    folders = (GOLDEN, tmp_path / "b")
    one, other = (json.loads((f / "vocab.json").read_text()) for f in folders)
    assert one == other
    one, other = ((f / "merges.txt").read_text() for f in folders)
    assert one == other


def test_a_training_folder_keeps_it_too(golden, tmp_path):
    checkpoint, _ = golden
    system = make_system(checkpoint.config, checkpoint.vocab_file, None, str(GOLDEN))
    system.save_beside(str(tmp_path))
    beside = checkpoints.read_beside(str(tmp_path))
    assert beside["config"] == checkpoint.config
    kept = BytePairs(beside["vocab_file"])
    assert kept.vocab == BytePairs(checkpoint.vocab_file).vocab
    assert kept.ranks == BytePairs(checkpoint.vocab_file).ranks


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def state():
    """Returns a model of one layer as the parent names it."""
    found = {
        "embeddings.weight": drawn(V, H),
        "position_embeddings.weight": drawn(POSITIONS, H),
        "lang_embeddings.weight": drawn(LANGUAGES, H),
        "pred_layer.proj.bias": drawn(V),
    }
    for name in ("layer_norm_emb", "layer_norm1.0", "layer_norm2.0"):
        found |= {f"{name}.weight": drawn(H), f"{name}.bias": drawn(H)}
    sizes = {f"attentions.0.{part}_lin": (H, H) for part in ("q", "k", "v", "out")}
    sizes |= {"ffns.0.lin1": (4 * H, H), "ffns.0.lin2": (H, 4 * H)}
    for name, size in sizes.items():
        found |= {f"{name}.weight": drawn(*size), f"{name}.bias": drawn(size[0])}
    return found | {"pred_layer.proj.weight": found["embeddings.weight"]}


PIECES = ["the", "lo@@", "w", "es@@", "t"]
PARAMS = {"n_words": V, "emb_dim": H, "n_layers": 1, "n_heads": 2}


def pairs(items):
    """A dict whose keys may be numbers."""
    return b"}(" + b"".join(k + v for k, v in items) + b"u"


def write_parents(folder, tensors, prefix="module.", pieces=PIECES, **params):
    """Writes the parent's file, with a vocabulary that has more; returns its path."""
    text, number = torch_writer.text, torch_writer.number
    values, storages = {}, []
    for i, (name, value) in enumerate(tensors.items()):
        of = torch_writer.storage(value.size, key=str(i))
        strides = [step // 4 for step in value.strides]
        values[prefix + name] = torch_writer.tensor(of, 0, value.shape, strides)
        storages.append((str(i), value.tobytes()))
    languages = pairs((number(i), text(name)) for i, name in enumerate(("de", "en")))
    kept = {k: b"\x88" if v is True else number(v) for k, v in params.items()}
    content = torch_writer.mapping(
        model=torch_writer.mapping(**values),
        params=torch_writer.mapping(id2lang=languages, **kept),
        dico_id2word=pairs(
            (number(i), text(piece)) for i, piece in enumerate([*SPECIAL, *pieces])
        ),
    )
    rows = [f"{piece} {99 - i}\n" for i, piece in enumerate([*PIECES, "more"])]
    (folder / "vocab_xnli_15").write_text("".join(rows))
    (folder / "codes_xnli_15").write_text("l o 3\ne s 2\n")
    return torch_writer.write_zip(folder / "mlm.pth", content, storages)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_parents_file_is_read_with_the_vocabulary_beside_it(tmp_path, prefix):
    found = state()
    path = write_parents(tmp_path, found, prefix, **PARAMS)
    checkpoint = checkpoints.open_checkpoint(path)
    assert not checkpoint.unknown
    config = checkpoint.config
    assert config.languages == ("de", "en")
    assert config.do_lower_case
    assert config.max_position_embeddings == POSITIONS
    system = make_system(config, checkpoint.vocab_file, True, path).match_vocabulary()
    assert system.entries() == [*SPECIAL, *PIECES]  # the file has one more
    model = modeling.XlmLanguageModel(system.config)
    system.initialize(modeling.named_variables(model), "pre-training")
    kernel = model.xlm.encoder.blocks[0].intermediate.dense.kernel
    np.testing.assert_array_equal(kernel, found["ffns.0.lin1.weight"].T)

    checkpoints.save_as(checkpoint, str(tmp_path / "hf"), "huggingface")
    written = safetensors.numpy.load_file(tmp_path / "hf/model.safetensors")
    for name, value in written.items():
        theirs = found[name.removeprefix("transformer.")]
        np.testing.assert_array_equal(value, theirs, err_msg=name)
    other = checkpoints.open_checkpoint(str(tmp_path / "hf"))
    assert other.config == config
    assert BytePairs(other.vocab_file).vocab == {
        piece: i for i, piece in enumerate([*SPECIAL, *PIECES])
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asm": True}, "asm is True, wanted False"),
        ({"emb_dim": 8}, r"word_embeddings is \[19, 6\], .* are \[19, 8\]"),
        ({"n_heads": 4}, "emb_dim 6 is not a multiple of n_heads 4"),
    ],
)
def test_another_architecture_is_refused(tmp_path, change, message):
    path = write_parents(tmp_path, state(), **(PARAMS | change))
    with pytest.raises(UserError, match=f"mlm.pth: .*{message}"):
        checkpoints.open_checkpoint(path)


def test_another_models_vocabulary_is_refused(tmp_path):
    pieces = ["the", "lo@@", "W", "es@@", "t"]
    path = write_parents(tmp_path, state(), pieces=pieces, **PARAMS)
    with pytest.raises(CheckpointError, match="piece 16 is 'w', .* has 'W'"):
        checkpoints.open_checkpoint(path)


@pytest.mark.parametrize("problem", ["missing", "extra", "shape"])
def test_a_tensor_that_is_not_as_it_should_be_is_named(tmp_path, problem):
    found = state()
    name = "attentions.0.q_lin.bias"
    if problem == "missing":
        del found[name]
    elif problem == "extra":
        name = "attentions.0.more"
        found[name] = drawn(3)
    else:
        found[name] = drawn(H + 1)
    path = write_parents(tmp_path, found, **PARAMS)
    checkpoint = checkpoints.open_checkpoint(path)
    system = make_system(checkpoint.config, checkpoint.vocab_file, True, path)
    model = modeling.XlmLanguageModel(checkpoint.config)
    ours = name if problem == "extra" else "attention/self/query/bias"
    with pytest.raises(CheckpointError, match=ours):
        system.initialize(modeling.named_variables(model), "pre-training")


def test_a_config_that_is_another_model_names_file_and_key(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "hf")
    path = tmp_path / "hf/config.json"
    values = json.loads(path.read_text())
    for change, message in (
        ({"causal": True}, "causal is True, wanted False"),
        ({"asm": True}, "asm is True, wanted False"),
        ({"id2lang": {"1": "en"}}, "id2lang is .*, wanted the languages"),
        ({"n_headz": 1}, "unknown key.* n_headz"),
    ):
        path.write_text(json.dumps(values | change))
        with pytest.raises(UserError, match=f"config.json: {message}"):
            checkpoints.open_checkpoint(str(tmp_path / "hf"))


def test_sinusoids_are_written_though_they_are_no_variables(golden, tmp_path):
    checkpoint, _ = golden
    config = dataclasses.replace(checkpoint.config, sinusoidal_embeddings=True)
    shapes = dict(checkpoint.shapes)
    del shapes["xlm/embeddings/position_embeddings"]
    other = dataclasses.replace(checkpoint, config=config, shapes=shapes)
    checkpoints.save_as(other, str(tmp_path / "b"), "huggingface")
    again = checkpoints.open_checkpoint(str(tmp_path / "b"))
    assert again.config == config
    assert again.shapes == shapes
    found = safetensors.numpy.load_file(tmp_path / "b/model.safetensors")
    wanted = modeling.xlm.sinusoids(16, 12)
    name = "transformer.position_embeddings.weight"
    np.testing.assert_array_equal(found[name], wanted)
