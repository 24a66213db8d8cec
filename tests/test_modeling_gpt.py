"""GptConfig's JSON, and the models against the original's numbers."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import modeling

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Weights and outputs of Hugging Face's OpenAIGPTLMHeadModel.
REDUCED = ROOT / "tests/golden/gpt_reduced.npz"
CONFIG = modeling.GptConfig(
    n_vocab=29, n_special=3, n_ctx=11, n_embd=15, n_layer=2, n_head=3
)
START, DELIMITER, CLASSIFY = 29, 30, 31
WITHOUT_DROPOUT = {
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "clf_pdrop": 0.0,
}


def _sequences(*lengths, width=9, seed=5):
    """Random tokens between `_start_` and `_classify_`, then padding: [B, width]."""
    random = np.random.default_rng(seed)
    ids = np.zeros([len(lengths), width], np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = [START, *random.integers(0, 29, length - 2), CLASSIFY]
    return tf.constant(ids)


def _louder(model):
    """Makes the untrained weights large enough to matter."""
    for variable in modeling.named_variables(model).values():
        variable.assign(5 * variable)
    return model


def test_the_released_architecture_is_in_configs_models():
    config = modeling.GptConfig.from_json_file(str(ROOT / "configs/models/gpt.json"))
    assert config == modeling.GptConfig(n_vocab=40478)
    assert config.num_rows == 40478 + 512


@pytest.mark.parametrize("afn", ["gelu", "relu", "swish"])
def test_a_config_round_trips_through_its_file(tmp_path, afn):
    config = dataclasses.replace(CONFIG, afn=afn, clf_pdrop=0.25)
    path = tmp_path / "gpt_config.json"
    path.write_text(config.to_json_string())
    assert json.loads(path.read_text())["model_type"] == "gpt"
    assert modeling.GptConfig.from_json_file(str(path)) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_embed": 3}, "unknown key.*n_embed"),
        ({"n_vocab": None}, "missing key.*n_vocab"),
        ({"n_ctx": 0}, "n_ctx is 0"),
        ({"n_special": -1}, "n_special is -1"),
        ({"n_layer": 2.0}, "n_layer is 2.0"),
        ({"clf_pdrop": 1.0}, "clf_pdrop is 1.0"),
        ({"afn": "tanh"}, "afn is 'tanh'.*swish"),
        ({"afn": ["gelu"]}, "afn is"),
        ({"n_head": 4}, "n_embd 15 .* n_head 4"),
        ({"model_type": "bert"}, "model_type is 'bert', wanted 'gpt'"),
    ],
)
def test_a_bad_config_names_the_file_and_the_key(tmp_path, change, message):
    values = {k: v for k, v in (CONFIG.to_dict() | change).items() if v is not None}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"bad.json: .*{message}"):
        modeling.GptConfig.from_json_file(str(path))


def test_special_tokens_follow_the_vocabulary():
    ids = [CONFIG.special_id(x) for x in ("_start_", "_delimiter_", "_classify_")]
    assert ids == [START, DELIMITER, CLASSIFY]
    with pytest.raises(ValueError, match="'_mask_'.*_delimiter_"):
        CONFIG.special_id("_mask_")
    bare = dataclasses.replace(CONFIG, n_special=0)
    with pytest.raises(ValueError, match="'_classify_'.*n_special=0"):
        modeling.GptClassifier(bare, 2)


def _load(model, weights):
    variables = modeling.named_variables(model)
    assert set(variables) == set(weights)
    for name, value in weights.items():
        variables[name].assign(value)


@pytest.mark.parametrize("fused", [False, True])
def test_hidden_states_and_logits_equal_another_implementations(fused):
    golden = np.load(REDUCED, allow_pickle=False)
    config = modeling.GptConfig(29, n_ctx=11, n_embd=12, n_layer=2, n_head=3)
    model = modeling.GptModel(config, fused=fused)
    _load(model, {k[8:]: golden[k] for k in golden if k.startswith("weights/")})
    outputs = model(tf.constant(golden["input_ids"]))
    layers = [outputs["embedding_output"], *outputs["all_encoder_layers"]]
    np.testing.assert_allclose(layers, golden["hidden_states"], atol=2e-5)
    assert outputs["sequence_output"] is outputs["all_encoder_layers"][-1]
    logits = model.lm_logits(tf.reshape(layers[-1], [14, 12]))
    assert logits.shape == (14, 29 + 11)  # positions are scored as well
    wanted = golden["lm_logits"].reshape(14, 29)
    np.testing.assert_allclose(logits[:, :29], wanted, atol=1e-4)


def _original_weights(folder, golden, config):
    """Reads the released layout: params_0..9.npy, positions before tokens."""
    parts = [np.load(folder / f"params_{i}.npy", allow_pickle=False) for i in range(10)]
    shapes = json.loads((folder / "params_shapes.json").read_text())
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    flat = np.split(np.concatenate(parts), ends[:-1])
    positions, tokens, *rest = (
        value.reshape(shape) for value, shape in zip(flat, shapes, strict=True)
    )
    special = golden["special_embeddings"]
    weights = {"we": np.concatenate([tokens, special, positions[: config.n_ctx]])}
    names = ["attn/c_attn/w", "attn/c_attn/b", "attn/c_proj/w", "attn/c_proj/b"]
    names += ["ln_1/g", "ln_1/b", "mlp/c_fc/w", "mlp/c_fc/b"]
    names += ["mlp/c_proj/w", "mlp/c_proj/b", "ln_2/g", "ln_2/b"]
    names = [f"h{i}/{name}" for i in range(config.n_layer) for name in names]
    weights |= dict(zip(names, rest, strict=True))
    return weights | {"clf/w": golden["clf_w"], "clf/b": golden["clf_b"]}


@pytest.mark.shared_data
@pytest.mark.parametrize("fused", [False, True])
def test_losses_and_gradients_equal_the_originals(golden_dir, fused):
    folder = golden_dir / "gpt"
    golden = np.load(folder / "forward.npz", allow_pickle=False)
    values = json.loads((folder / "golden.json").read_text())["config"]
    names = {field.name for field in dataclasses.fields(modeling.GptConfig)}
    config = modeling.GptConfig(**{k: v for k, v in values.items() if k in names})
    model = modeling.GptClassifier(config, 1, combine="choice", fused=fused)
    _load(model, _original_weights(folder, golden, config))
    variables = modeling.named_variables(model)
    ids, labels = tf.constant(golden["X"][..., 0]), golden["Y"]
    with tf.GradientTape() as tape:
        outputs = model(ids)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels, outputs["logits"]
        )
        loss = tf.reduce_mean(losses) + 0.5 * tf.reduce_mean(outputs["lm_losses"])
    gradients = tape.gradient(loss, [v.value for v in variables.values()])

    np.testing.assert_allclose(outputs["logits"], golden["clf_logits"], atol=1e-4)
    np.testing.assert_allclose(losses, golden["clf_losses"], atol=1e-5)
    lm_losses = tf.reshape(outputs["lm_losses"], [-1])
    np.testing.assert_allclose(lm_losses, golden["lm_losses"], atol=1e-5)
    np.testing.assert_allclose(loss, golden["train_loss"], atol=1e-5)
    for name, gradient in zip(variables, gradients, strict=True):
        wanted = golden[f"grad/model/{name}"]
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient), wanted, atol=1e-5, rtol=1e-3, err_msg=name
        )

    ids = tf.reshape(ids, [-1, config.n_ctx])
    outputs = modeling.GptModel.call(model, ids)
    layers = [outputs["embedding_output"], *outputs["all_encoder_layers"]]
    np.testing.assert_allclose(layers, golden["hidden_states"], atol=2e-5)
    logits = model.lm_logits(tf.reshape(layers[-1][:, :-1], [-1, config.n_embd]))
    np.testing.assert_allclose(logits[:, :16], golden["lm_logits_first16"], atol=1e-4)
    np.testing.assert_allclose(logits[:, -8:], golden["lm_logits_last8"], atol=1e-4)
    log_z = tf.reduce_logsumexp(logits, axis=1)
    np.testing.assert_allclose(log_z, golden["lm_log_z"], atol=1e-4)
    np.testing.assert_array_equal(tf.argmax(logits, axis=1), golden["lm_argmax"])
