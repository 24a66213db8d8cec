"""A variant of BERT: its equations, and its way through the scripts."""

import dataclasses
import json

import documentation
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_pretraining
from pre_norm_system import PreNormConfig

import modeling
import registry
import word2bert
from inference import serving

pytestmark = pytest.mark.long

BERT = registry.find("bert")
PRE_NORM = dataclasses.replace(
    BERT,
    model_type="pre_norm",
    config="pre_norm_system:PreNormConfig",
    system="pre_norm_system:PreNormSystem",
    files="pre_norm_system:FILES",
    formats=(),
    reads=BERT.reads - {"layer_decay"},
)
QUOTED = ("tests/pre_norm_system.py", "tests/test_pre_norm_system.py")
CONFIG = PreNormConfig(
    vocab_size=29,
    hidden_size=15,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=22,
    hidden_act="relu",
    max_position_embeddings=11,
    type_vocab_size=2,
    initializer_range=0.4,
)
IDS = np.random.default_rng(5).integers(0, 29, [3, 7])
LENGTHS = np.array([7, 2, 5])
TRAINING = ("--do_train", "--train_batch_size=8", "--learning_rate=1e-2")


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The entry is there while these tests run."""
    registry.register(PRE_NORM)
    yield
    del registry._ENTRIES["pre_norm"]


def model_with_weights(**kwargs):
    """Returns the encoder, no scale 1 and no offset 0, and its weights."""
    model = modeling.BertModel(CONFIG, **kwargs)
    weights = {}
    for name, variable in modeling.named_variables(model).items():
        if name.endswith(("gamma", "beta", "bias")):
            rng = np.random.default_rng(len(name) + int("layer_1" in name))
            variable.assign(variable + rng.normal(0, 0.3, variable.shape))
        weights[name.removeprefix("bert/")] = variable.numpy()
    return model, weights


def reference(weights):
    """The equations in numpy; returns each layer's output and attentions."""

    def norm(x, scope):
        x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
        return x * weights[f"{scope}/gamma"] + weights[f"{scope}/beta"]

    def dense(x, scope):
        return x @ weights[f"{scope}/kernel"] + weights[f"{scope}/bias"]

    def heads(x, scope):
        return dense(x, scope).reshape(3, 7, 3, 5).transpose(0, 2, 1, 3)

    kinds, places = weights["embeddings/token_type_embeddings"][0], np.arange(7)
    x = weights["embeddings/word_embeddings"][IDS] + kinds
    x = x + weights["embeddings/position_embeddings"][places]
    x = norm(x, "embeddings/LayerNorm")
    hidden = np.where(places < LENGTHS[:, None], 0.0, -np.inf)[:, None, None]
    outputs, attentions = [], []
    for layer in ("encoder/layer_0", "encoder/layer_1"):
        read = norm(x, f"{layer}/attention/output/LayerNorm")
        at = f"{layer}/attention/self"
        q, k, v = (heads(read, f"{at}/{part}") for part in ("query", "key", "value"))
        scores = np.exp(q @ k.swapaxes(2, 3) / np.sqrt(5) + hidden)
        attentions.append(scores / scores.sum(-1, keepdims=True))
        seen = (attentions[-1] @ v).transpose(0, 2, 1, 3).reshape(3, 7, 15)
        x = x + dense(seen, f"{layer}/attention/output/dense")
        read = norm(x, f"{layer}/output/LayerNorm")
        wide = np.maximum(dense(read, f"{layer}/intermediate/dense"), 0)
        x = x + dense(wide, f"{layer}/output/dense")
        outputs.append(x)
    outputs[-1] = norm(x, "encoder/LayerNorm")
    return outputs, np.stack(attentions, 1)


@pytest.mark.compiled
@pytest.mark.parametrize("fused", [False, True])
def test_its_layers_are_those_of_the_equations(fused):
    model, weights = model_with_weights(fused=fused)
    mask = tf.sequence_mask(LENGTHS, 7, tf.int32)
    found = model(tf.constant(IDS), mask)["all_encoder_layers"]
    wanted, _ = reference(weights)
    real = mask.numpy().astype(bool)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours.numpy()[real], theirs[real], atol=2e-5)


def test_its_attentions_are_those_of_the_equations():
    model, weights = model_with_weights()
    mask = tf.sequence_mask(LENGTHS, 7, tf.int32)
    found = model.attentions(tf.constant(IDS), input_mask=mask).numpy()
    np.testing.assert_allclose(found, reference(weights)[1], atol=1e-5)


def test_its_config_round_trips_and_is_not_berts():
    values = json.loads(CONFIG.to_json_string())
    assert values["model_type"] == "pre_norm"
    assert PreNormConfig.from_dict(values) == CONFIG
    assert registry.of_values(values).model_type == "pre_norm"
    assert registry.of_config(tiny.CONFIG).model_type == "bert"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder with the vocabulary, the config, and a model that was pre-trained."""
    folder = tmp_path_factory.mktemp("pre_norm")
    vocab, _ = tiny.write_model(folder)
    config = PreNormConfig.from_dict(tiny.CONFIG.to_dict())
    (folder / "config.json").write_text(config.to_json_string())
    scripts.run(
        "run_pretraining",
        f"--config_file={folder}/config.json",
        f"--vocab_file={vocab}",
        f"--input_file={tiny_pretraining.write(folder / 'records', 200)}",
        f"--output_dir={folder}/model",
        f"--max_seq_length={tiny_pretraining.MAX_SEQ_LENGTH}",
        f"--max_predictions_per_seq={tiny_pretraining.MAX_PREDICTIONS}",
        "--nodo_lower_case",
        *TRAINING,
        "--do_eval",
        "--num_train_steps=200",
        "--num_warmup_steps=0",
    )
    return folder


@pytest.mark.whole_steps
def test_it_learns_masked_words_and_its_folder_stands_alone(pretrained):
    results = tiny.read_results(pretrained / "model/eval_results.txt")
    assert results["masked_lm_accuracy"] > 0.5  # of six words; guessed: about 0.17
    loaded = word2bert.load(f"{pretrained}/model")
    assert isinstance(loaded.system.config, PreNormConfig)
    assert loaded.system.do_lower_case is False


@pytest.mark.whole_steps
def test_it_classifies_here_and_from_its_export(pretrained, tmp_path):
    data = tiny.write_data(tmp_path / "data")
    scripts.run(
        "run_classifier",
        *tiny.COLUMNS,
        f"--data_dir={data}",
        f"--init_checkpoint={pretrained}/model",
        f"--output_dir={tmp_path}/out",
        "--max_seq_length=24",
        "--num_train_epochs=10",
        *TRAINING,
        "--do_eval",
        "--do_predict",
    )
    results = tiny.read_results(tmp_path / "out/eval_results.txt")
    assert results["eval_accuracy"] > 0.9
    scripts.run(
        "export_saved_model",
        f"--model_dir={tmp_path}/out",
        f"--export_dir={tmp_path}/export",
    )
    texts = [example.text_a for example in tiny.examples(11, 2)]
    served = serving.load(f"{tmp_path}/export").predict(texts)["probabilities"]
    found = np.loadtxt(tmp_path / "out/test_results.tsv", delimiter="\t")
    np.testing.assert_allclose(served, found, atol=1e-5)


def test_the_page_about_it_quotes_it():
    page = (tiny.ROOT / "docs/adding_a_variant.md").read_text()
    sources = [(tiny.ROOT / path).read_text() for path in QUOTED]
    quoted = documentation.blocks(page, "python")
    assert len(quoted) > 4
    for block in quoted:
        assert any(block in source for source in sources), block
