"""BertConfig's JSON, and the models against the original's numbers."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tiny_pretraining

import modeling
from modeling.layers import dropout

pytestmark = [pytest.mark.compiled, pytest.mark.long]

REDUCED = pathlib.Path(__file__).parent / "golden/bert/reduced.npz"
CONFIG = modeling.BertConfig(
    vocab_size=29,
    hidden_size=15,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=22,
    max_position_embeddings=11,
    type_vocab_size=2,
)
GOOGLE_KEYS = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
CHINESE_KEYS = {
    "directionality": "bidi",
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
}


def _batch():
    random = np.random.default_rng(5)
    return {
        "input_ids": tf.constant(random.integers(0, 29, [4, 7]), tf.int32),
        "input_mask": tf.sequence_mask([7, 5, 2, 6], 7, dtype=tf.int32),
        "segment_ids": tf.constant(random.integers(0, 2, [4, 7]), tf.int32),
    }


def test_googles_json_round_trips(tmp_path):
    path = tmp_path / "bert_config.json"
    path.write_text(json.dumps(GOOGLE_KEYS | CHINESE_KEYS))
    config = modeling.BertConfig.from_json_file(str(path))
    assert config.hidden_act == "gelu_tanh"
    assert json.loads(config.to_json_string()) == GOOGLE_KEYS
    assert config.to_json_string().endswith("}\n")


@pytest.mark.parametrize("act", ["gelu_tanh", "gelu_erf", "relu", "tanh", "linear"])
def test_a_config_round_trips_with_every_activation_and_epsilon(act):
    config = dataclasses.replace(CONFIG, hidden_act=act, layer_norm_eps=1e-5)
    assert modeling.BertConfig.from_dict(config.to_dict()) == config


def test_the_erf_gelu_is_googles_name_plus_a_key_of_ours():
    values = dataclasses.replace(CONFIG, hidden_act="gelu_erf").to_dict()
    assert (values["hidden_act"], values["gelu_approximate"]) == ("gelu", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_sise": 3}, "unknown key.*hidden_sise"),
        ({"vocab_size": None}, "missing key.*vocab_size"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": 30522.0}, "vocab_size is 30522.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob is 1.0"),
        ({"attention_probs_dropout_prob": -0.1}, "attention_probs_dropout_prob"),
        ({"initializer_range": 0}, "initializer_range is 0"),
        ({"hidden_act": "swish"}, "hidden_act is 'swish'.*gelu_erf"),
        ({"hidden_act": 1}, "hidden_act is 1"),
        ({"num_attention_heads": 7}, "hidden_size 768 .* num_attention_heads 7"),
        ({"gelu_approximate": "no"}, "gelu_approximate is 'no'"),
        ({"hidden_act": "relu", "gelu_approximate": True}, "gelu_approximate"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12'"),
    ],
)
def test_a_bad_config_names_the_file_and_the_key(tmp_path, change, message):
    values = {k: v for k, v in (GOOGLE_KEYS | change).items() if v is not None}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"bad.json: .*{message}"):
        modeling.BertConfig.from_json_file(str(path))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_config_that_is_no_json_object_names_the_file(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="bad.json"):
        modeling.BertConfig.from_json_file(str(path))


@pytest.mark.parametrize("fused", [False, True])
def test_hidden_states_equal_the_originals(fused):
    golden = np.load(REDUCED)
    inputs = {k[7:]: tf.constant(golden[k]) for k in golden if k.startswith("inputs/")}
    weights = {k[8:]: golden[k] for k in golden if k.startswith("weights/")}
    model = modeling.BertPreTrainingModel(
        dataclasses.replace(
            CONFIG,
            vocab_size=len(weights["bert/embeddings/word_embeddings"]),
            hidden_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=24,
        ),
        fused=fused,
    )
    variables = modeling.named_variables(model)
    rest = set(variables) - set(weights)
    assert set(weights) <= set(variables)
    assert all(name.startswith("cls/predictions/") for name in rest)
    for name, value in weights.items():
        variables[name].assign(value)
    outputs = model.bert(**inputs)
    order = model(**inputs, masked_lm_positions=tf.zeros([2, 1], tf.int32))
    outputs["all_layers"] = tf.stack(outputs["all_encoder_layers"])
    outputs["nsp_log_probs"] = tf.nn.log_softmax(order["next_sentence_logits"])
    real = golden["inputs/input_mask"][:, :, None]  # padding may be anything
    for name in ("embedding_output", "all_layers", "pooled_output", "nsp_log_probs"):
        weight = real if name in ("embedding_output", "all_layers") else 1
        np.testing.assert_allclose(
            outputs[name] * weight, golden[f"outputs/{name}"] * weight, atol=2e-5
        )
    assert outputs["sequence_output"] is outputs["all_encoder_layers"][-1]


@pytest.mark.shared_data
@pytest.mark.parametrize("fused", [False, True])
def test_pretraining_losses_and_gradients_equal_the_originals(golden_dir, fused):
    folder = golden_dir / "bert"
    golden = np.load(folder / "golden.npz")
    config = modeling.BertConfig.from_json_file(str(folder / "bert_config.json"))
    model = modeling.BertPreTrainingModel(config, fused=fused)
    variables = modeling.named_variables(model)
    reader = tf.train.load_checkpoint(str(folder / "bert_model.ckpt"))
    assert set(variables) == set(reader.get_variable_to_shape_map())
    for name, variable in variables.items():
        variable.assign(reader.get_tensor(name))
    batch, task = (
        make(folder)
        for make in (tiny_pretraining.golden_batch, tiny_pretraining.golden_task)
    )
    with tf.GradientTape() as tape:
        sums = task.loss_sums(model, batch, None)
        total = task.total_loss(sums, task.loss_denominators(batch))
    gradients = tape.gradient(total, [v.value for v in variables.values()])

    np.testing.assert_allclose(total, golden["total_loss"], atol=1e-5)
    inputs = ("input_ids", "input_mask", "segment_ids", "masked_lm_positions")
    logits = model(**{name: batch[name] for name in inputs})
    log_probs = tf.reshape(tf.nn.log_softmax(logits["masked_lm_logits"]), [30, -1])
    ids = tf.reshape(batch["masked_lm_ids"], [-1])
    word_losses = -tf.gather(log_probs, ids, batch_dims=1)
    np.testing.assert_allclose(word_losses, golden["mlm_example_loss"], atol=1e-4)
    np.testing.assert_allclose(
        log_probs[:, :8], golden["mlm_log_probs_first8"], atol=1e-4
    )
    order = tf.nn.log_softmax(logits["next_sentence_logits"])
    np.testing.assert_allclose(order, golden["nsp_log_probs"], atol=1e-4)
    norms = json.loads((folder / "gradient_norms.json").read_text())
    for name, gradient in zip(variables, gradients, strict=True):
        norm = tf.norm(tf.convert_to_tensor(gradient))
        # The key biases' true gradient is 0; the original has rounding noise there.
        np.testing.assert_allclose(
            norm, norms[f"{name}:0"], rtol=1e-4, atol=1e-6, err_msg=name
        )


def test_a_classifiers_variables_have_released_names():
    names = set(modeling.named_variables(modeling.BertClassifier(CONFIG, 3)))
    bare = set(modeling.named_variables(modeling.BertModel(CONFIG)))
    assert names - bare == {"output_weights", "output_bias"}
    assert bare < names
    assert "bert/encoder/layer_1/attention/self/query/kernel" in bare
    assert "bert/pooler/dense/bias" in bare
    assert len(bare) == 5 + 2 * 16 + 2


def test_pretraining_variables_have_released_names():
    names = set(modeling.named_variables(modeling.BertPreTrainingModel(CONFIG)))
    assert {name for name in names if name.startswith("cls/")} == {
        "cls/predictions/output_bias",
        "cls/predictions/transform/dense/kernel",
        "cls/predictions/transform/dense/bias",
        "cls/predictions/transform/LayerNorm/gamma",
        "cls/predictions/transform/LayerNorm/beta",
        "cls/seq_relationship/output_weights",
        "cls/seq_relationship/output_bias",
    }


def test_a_span_extractor_has_released_names_and_scores_every_position():
    model, batch = modeling.BertSpanExtractor(CONFIG), _batch()
    variables = modeling.named_variables(model)
    weights, bias = (variables[f"cls/squad/output_{x}"] for x in ("weights", "bias"))
    assert weights.shape == (2, 15)
    bias.assign([0.25, -0.5])
    sequence = model.bert(**batch)["sequence_output"]
    starts, ends = model(**batch)
    for logits, row in ((starts, 0), (ends, 1)):
        wanted = tf.einsum("bsh,h->bs", sequence, weights[row]) + bias[row]
        assert logits.shape == (4, 7)
        np.testing.assert_allclose(logits, wanted, atol=1e-6)


def test_the_encoder_starts_from_the_same_weights_alone_and_in_a_task_model():
    alone = modeling.named_variables(modeling.BertModel(CONFIG, seed=8))
    within = modeling.named_variables(modeling.BertClassifier(CONFIG, 3, seed=8))
    for name, variable in alone.items():
        np.testing.assert_array_equal(variable, within[name], err_msg=name)


def test_defaults_are_all_real_and_one_segment():
    model, batch = modeling.BertModel(CONFIG), _batch()
    ones = tf.ones_like(batch["input_ids"])
    got = model(batch["input_ids"])["pooled_output"]
    wanted = model(batch["input_ids"], ones, ones * 0)["pooled_output"]
    np.testing.assert_array_equal(got, wanted)


def test_padding_never_changes_logits():
    model, batch = modeling.BertClassifier(CONFIG, 3), _batch()
    changed = batch["input_ids"] * batch["input_mask"] + 1 - batch["input_mask"]
    wanted = model(**batch)
    np.testing.assert_allclose(model(**batch | {"input_ids": changed}), wanted)
    wider = {k: tf.pad(v, [[0, 0], [0, 3]]) for k, v in batch.items()}
    np.testing.assert_allclose(model(**wider), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "args"),
    [
        (modeling.BertModel, []),
        (modeling.BertClassifier, [3]),
        (modeling.BertPreTrainingModel, []),
        (modeling.BertSpanExtractor, []),
    ],
)
def test_a_model_made_from_its_config_is_the_same_model(cls, args):
    model = cls(CONFIG, *args, dtype="mixed_bfloat16", seed=6, fused=True)
    twin = cls.from_config(json.loads(json.dumps(model.get_config())))
    assert twin.get_config() == model.get_config()
    assert twin.config == CONFIG
    wanted = modeling.named_variables(model)
    for name, variable in modeling.named_variables(twin).items():
        np.testing.assert_array_equal(variable, wanted[name], err_msg=name)


@pytest.mark.parametrize("fused", [False, True])
def test_lengths_and_batches_may_be_unknown_when_tracing(fused):
    model, batch = modeling.BertClassifier(CONFIG, 3, fused=fused), _batch()
    spec = [tf.TensorSpec([None, None], tf.int32)] * 3
    traced = tf.function(lambda *x: model(*x), input_signature=spec)
    np.testing.assert_allclose(traced(*batch.values()), model(**batch), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_classifier_overfits_one_batch_with_dropout_on(dtype, fused):
    config = dataclasses.replace(CONFIG, initializer_range=0.2)
    model = modeling.BertClassifier(config, 3, dtype=dtype, fused=fused)
    batch = _batch()
    variables = [v.value for v in modeling.named_variables(model).values()]
    labels = tf.constant([0, 2, 1, 0])
    slots = [tf.Variable(tf.zeros_like(v)) for v in variables]

    @tf.function
    def step(seed):
        with tf.GradientTape() as tape:
            logits = model(**batch, dropout_seed=seed)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        for variable, slot, gradient in zip(
            variables, slots, tape.gradient(loss, variables), strict=True
        ):
            slot.assign(0.9 * slot + tf.convert_to_tensor(gradient))
            variable.assign_sub(0.05 * slot)
        return loss

    losses = [float(step(tf.constant([i, 7]))) for i in range(60)]
    assert losses[0] > 0.5
    assert np.mean(losses[-10:]) < 0.05


def test_frozen_encoder_has_dropout_on_the_pooled_output_only():
    ids, seed = tf.constant([[5, 6, 7], [8, 9, 4]]), tf.constant([3, 1])
    model = modeling.BertClassifier(CONFIG, 2, frozen_encoder=True)
    pooled = model.bert(ids)["pooled_output"]
    dropped = dropout.dropout(pooled, 0.1, seed, model.site)
    expected = tf.matmul(dropped, model.output_weights, transpose_b=True)
    np.testing.assert_allclose(model(ids, dropout_seed=seed), expected, atol=1e-6)
    trained = modeling.BertClassifier(CONFIG, 2)
    assert np.abs(trained(ids, dropout_seed=seed) - expected).max() > 1e-5
