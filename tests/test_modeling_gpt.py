"""GptConfig's JSON, and the models against the original's numbers."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import modeling
from modeling.layers import decoder, dropout

pytestmark = [pytest.mark.compiled, pytest.mark.long]

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
    """Makes the untrained matrices large enough to matter."""
    for variable in model.variables:
        if variable.ndim > 1:
            variable.assign(10 * variable)
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


def test_variables_have_released_names():
    bare = set(modeling.named_variables(modeling.GptModel(CONFIG)))
    parts = ["attn/c_attn", "attn/c_proj", "mlp/c_fc", "mlp/c_proj"]
    wanted = {f"h{i}/{part}/{v}" for i in range(2) for part in parts for v in "wb"}
    wanted |= {f"h{i}/ln_{k}/{v}" for i in range(2) for k in (1, 2) for v in "gb"}
    assert bare == wanted | {"we"}
    assert set(modeling.named_variables(modeling.GptLanguageModel(CONFIG))) == bare
    classifier = modeling.named_variables(modeling.GptClassifier(CONFIG, 4))
    assert set(classifier) - bare == {"clf/w", "clf/b"}
    assert classifier["clf/w"].shape == (15, 4)
    assert classifier["h1/attn/c_attn/w"].shape == (1, 15, 45)
    assert classifier["we"].shape == (29 + 3 + 11, 15)
    spans = modeling.named_variables(modeling.GptSpanExtractor(CONFIG))
    assert set(spans) - bare == {"squad/w", "squad/b"}


def test_initial_weights_are_normal_and_not_truncated():
    config = dataclasses.replace(CONFIG, n_vocab=2000)
    values = modeling.named_variables(modeling.GptModel(config))["we"].numpy()
    assert values.std() == pytest.approx(0.02, rel=0.02)
    assert np.abs(values).max() > 3 * 0.02


def test_a_position_sees_none_behind_it():
    model = _louder(modeling.GptModel(CONFIG))
    ids = _sequences(9, 9)
    changed = tf.concat([ids[:, :5], (ids[:, 5:] + 1) % 29], axis=1)
    got, wanted = (model(x)["sequence_output"] for x in (changed, ids))
    np.testing.assert_allclose(got[:, :5], wanted[:, :5], atol=1e-6)
    assert np.abs(got[:, 5:] - wanted[:, 5:]).min(axis=-1).max() > 1e-3


@pytest.mark.parametrize("fused", [False, True])
def test_padding_never_changes_real_positions(fused):
    model = _louder(modeling.GptModel(CONFIG, fused=fused))
    ids = _sequences(4, 9)
    wanted = model(ids)["sequence_output"]
    masked = model(ids, tf.sequence_mask([4, 9], 9, tf.int32))["sequence_output"]
    np.testing.assert_allclose(masked[0, :4], wanted[0, :4], atol=1e-5)
    np.testing.assert_allclose(masked[1], wanted[1], atol=1e-5)
    alone = model(ids[:1, :4])["sequence_output"]
    np.testing.assert_allclose(alone[0], wanted[0, :4], atol=1e-5)


def test_a_sequence_longer_than_n_ctx_is_refused():
    model = modeling.GptModel(CONFIG)
    with pytest.raises(ValueError, match="length 12.*n_ctx 11"):
        model(tf.zeros([2, 12], tf.int32))


@pytest.mark.parametrize("fused", [False, True])
def test_a_language_models_losses_are_of_real_tokens_only(fused):
    model = _louder(modeling.GptLanguageModel(CONFIG, fused=fused))
    ids, mask = _sequences(4, 9, 6), tf.sequence_mask([4, 9, 6], 9, tf.int32)
    outputs = model(ids, mask)
    hidden = tf.reshape(outputs["sequence_output"], [-1, 15])
    log_probs = tf.nn.log_softmax(tf.matmul(hidden, model.we, transpose_b=True))
    log_probs = tf.reshape(log_probs, [3, 9, -1])[:, :-1]
    wanted = -tf.gather(log_probs, ids[:, 1:], batch_dims=2)
    wanted *= tf.cast(mask[:, 1:], tf.float32)
    np.testing.assert_allclose(outputs["lm_losses"], wanted, atol=1e-5)
    assert np.all(model(ids)["lm_losses"][0, 4:] > 0)  # all real without a mask


@pytest.mark.parametrize("seed", [None, [3, 4]])
def test_fused_clusters_equal_the_plain_model(seed):
    seed = None if seed is None else tf.constant(seed)
    ids = tf.reshape(_sequences(4, 9, 6, 7, 5, 8), [2, 3, 9])
    results = []
    for model in (modeling.GptClassifier(CONFIG, 2, fused=x) for x in (False, True)):
        variables = [v.value for v in _louder(model).variables]
        with tf.GradientTape() as tape:
            outputs = model(ids, dropout_seed=seed)
            loss = tf.reduce_sum(outputs["logits"][:, 0])
            loss += tf.reduce_sum(outputs["lm_losses"])
        gradients = tape.gradient(loss, variables)
        results.append([*outputs.values(), *map(tf.convert_to_tensor, gradients)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=1e-4)


def test_the_embedding_matrix_is_dropped_once_for_lookup_and_softmax():
    config = dataclasses.replace(CONFIG, **WITHOUT_DROPOUT | {"embd_pdrop": 0.4})
    model, ids = _louder(modeling.GptLanguageModel(config)), _sequences(9, 7)
    seed = tf.constant([3, 1])
    got = model(ids, dropout_seed=seed)["lm_losses"]
    model.we.assign(dropout.dropout(model.we.value, 0.4, seed, model.site))
    np.testing.assert_allclose(got, model(ids)["lm_losses"], atol=1e-5)
    assert np.mean(model.we == 0) == pytest.approx(0.4, abs=0.1)


def test_each_dropout_site_has_its_own_mask():
    ids, seed = _sequences(9, 7), tf.constant([3, 1])
    model = _louder(modeling.GptClassifier(CONFIG, 2))
    outputs = []
    for name in (None, "embd_pdrop", "attn_pdrop", "resid_pdrop", "clf_pdrop"):
        config = dataclasses.replace(CONFIG, **WITHOUT_DROPOUT)
        if name:
            config = dataclasses.replace(config, **{name: 0.3})
        one = modeling.GptClassifier(config, 2)
        for variable, value in zip(one.variables, model.variables, strict=True):
            variable.assign(value)
        outputs.append(one(ids, dropout_seed=seed)["logits"].numpy())
        repeated = one(ids, dropout_seed=seed)["logits"]
        np.testing.assert_array_equal(repeated, outputs[-1])
    for i, a in enumerate(outputs):
        for b in outputs[:i]:
            assert np.abs(a - b).max() > 1e-3


def test_the_first_classify_token_decides():
    model = _louder(modeling.GptClassifier(CONFIG, 3))
    ids = _sequences(5, 9).numpy()
    wanted = model(tf.constant(ids))
    ids[0, 6] = CLASSIFY
    np.testing.assert_allclose(model(tf.constant(ids))["logits"], wanted["logits"])
    hidden = modeling.GptModel.call(model, tf.constant(ids))["sequence_output"]
    features = tf.stack([hidden[0, 4], hidden[1, 8]])
    logits = features @ model.clf.w + model.clf.bias
    np.testing.assert_allclose(wanted["logits"], logits, atol=1e-5)


def test_the_language_model_loss_of_a_classifier_ends_with_classify():
    model = _louder(modeling.GptClassifier(CONFIG, 3))
    ids, mask = _sequences(5, 9), tf.sequence_mask([5, 9], 9, tf.int32)
    losses = model(ids)["lm_losses"]
    assert losses.shape == (2, 1)
    np.testing.assert_allclose(model(ids, mask)["lm_losses"], losses)
    each = modeling.GptLanguageModel.call(model, ids, mask)["lm_losses"]
    wanted = tf.reduce_sum(each, axis=1) / [4.0, 8.0]
    np.testing.assert_allclose(losses[:, 0], wanted, rtol=1e-5)


def test_the_two_orders_of_a_pair_are_added_before_the_output_layer():
    model = _louder(modeling.GptClassifier(CONFIG, 3, combine="sum"))
    model.clf.bias.assign([1.0, -2.0, 0.5])
    ids = tf.reshape(_sequences(5, 9, 7, 4), [2, 2, 9])
    got = model(ids)["logits"]
    swapped = model(ids[:, ::-1])["logits"]
    np.testing.assert_allclose(got, swapped, atol=1e-5)
    first, second = (model(ids[:, i])["logits"] for i in (0, 1))
    np.testing.assert_allclose(got, first + second - model.clf.bias, atol=1e-5)


def test_every_choice_gets_a_logit_and_shares_the_classifiers_dropout():
    config = dataclasses.replace(CONFIG, **WITHOUT_DROPOUT | {"clf_pdrop": 0.5})
    model = _louder(modeling.GptClassifier(config, 1, combine="choice"))
    ids = tf.reshape(_sequences(5, 9, 7, 4, 6, 8), [2, 3, 9])
    logits = model(ids)["logits"]
    assert logits.shape == (2, 3)
    one = model(ids[:, 1])["logits"]
    np.testing.assert_allclose(logits[:, 1:2], one, atol=1e-5)
    same = tf.repeat(ids[:, :1], 3, axis=1)
    dropped = model(same, dropout_seed=tf.constant([1, 2]))["logits"]
    np.testing.assert_allclose(dropped, dropped[:, :1] * np.ones(3), atol=1e-5)
    assert np.abs(dropped - model(same)["logits"]).max() > 1e-3


def test_a_frozen_decoder_has_dropout_on_the_classifiers_features_only():
    ids, seed = _sequences(5, 9), tf.constant([1, 2])
    still = dataclasses.replace(CONFIG, **WITHOUT_DROPOUT | {"clf_pdrop": 0.1})
    wanted = modeling.GptClassifier(still, 3)(ids, dropout_seed=seed)["logits"]
    frozen = modeling.GptClassifier(CONFIG, 3, frozen_encoder=True)
    got = frozen(ids, dropout_seed=seed)["logits"]
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    free = modeling.GptClassifier(CONFIG, 3)(ids, dropout_seed=seed)["logits"]
    assert np.abs(free - wanted).max() > 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"combine": "max"}, "combine is 'max', wanted one of single, sum, choice"),
        ({"combine": "choice"}, "num_outputs is 3"),
    ],
)
def test_a_classifier_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        modeling.GptClassifier(CONFIG, 3, **arguments)


def test_a_padding_example_has_a_finite_loss():
    model = modeling.GptClassifier(CONFIG, 2)
    outputs = model(tf.zeros([2, 5], tf.int32))
    np.testing.assert_array_equal(outputs["lm_losses"], [[0], [0]])
    assert np.all(np.isfinite(outputs["logits"]))


def test_a_span_extractor_scores_every_position():
    model = _louder(modeling.GptSpanExtractor(CONFIG))
    model.squad.bias.assign([0.25, -0.5])
    ids = _sequences(5, 9)
    hidden = modeling.GptModel.call(model, ids)["sequence_output"]
    wanted = tf.einsum("bse,eo->bso", hidden, model.squad.w) + model.squad.bias
    for i, logits in enumerate(model(ids)):
        np.testing.assert_allclose(logits, wanted[:, :, i], atol=1e-5)


@pytest.mark.parametrize(
    ("cls", "args", "kwargs"),
    [
        (modeling.GptModel, [], {}),
        (modeling.GptLanguageModel, [], {}),
        (modeling.GptClassifier, [3], {"combine": "sum", "frozen_encoder": True}),
        (modeling.GptSpanExtractor, [], {}),
    ],
)
def test_a_model_made_from_its_config_is_the_same_model(cls, args, kwargs):
    model = cls(CONFIG, *args, dtype="mixed_bfloat16", seed=6, fused=True, **kwargs)
    twin = cls.from_config(json.loads(json.dumps(model.get_config())))
    assert twin.get_config() == model.get_config()
    wanted = modeling.named_variables(model)
    for name, variable in modeling.named_variables(twin).items():
        np.testing.assert_array_equal(variable, wanted[name], err_msg=name)


@pytest.mark.parametrize(
    ("fused", "jit"), [(False, False), (False, True), (True, False)]
)
def test_a_graph_computes_what_eager_mode_does(fused, jit):
    model = _louder(modeling.GptClassifier(CONFIG, 2, fused=fused))
    ids = _sequences(5, 9)
    width = 9 if jit else None  # XLA compiles for one shape
    spec = [tf.TensorSpec([2 if jit else None, width], tf.int32)]
    traced = tf.function(lambda x: model(x), input_signature=spec, jit_compile=jit)
    got, wanted = traced(ids), model(ids)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_classifier_overfits_one_batch_with_dropout_on(dtype, fused):
    model = _louder(modeling.GptClassifier(CONFIG, 3, dtype=dtype, fused=fused))
    ids, labels = _sequences(5, 9, 7, 6), tf.constant([0, 2, 1, 0])
    variables = [v.value for v in modeling.named_variables(model).values()]
    slots = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def loss_of(outputs):
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs["logits"])
        )

    @tf.function
    def step(seed):
        with tf.GradientTape() as tape:
            outputs = model(ids, dropout_seed=seed)
            total = loss_of(outputs) + 0.5 * tf.reduce_mean(outputs["lm_losses"])
        for variable, slot, gradient in zip(
            variables, slots, tape.gradient(total, variables), strict=True
        ):
            slot.assign(0.9 * slot + tf.convert_to_tensor(gradient))
            variable.assign_sub(0.03 * slot)

    before = model(ids)
    for i in range(60):  # processors round bfloat16 differently
        step(tf.constant([i, 7]))
    after = model(ids)
    assert loss_of(before) > 0.5
    assert loss_of(after) < 0.05
    change = tf.reduce_mean(after["lm_losses"]) / tf.reduce_mean(before["lm_losses"])
    assert change < 0.5


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("fused", [False, True])
def test_steps_with_a_cache_equal_the_whole_pass(dtype, fused):
    model = _louder(modeling.GptModel(CONFIG, dtype=dtype, fused=fused))
    ids, prompts = _sequences(9, 9, 9), tf.constant([2, 5, 4])
    wanted = tf.cast(model(ids)["sequence_output"], tf.float32)
    wanted = tf.reshape(model.lm_logits(tf.reshape(wanted, [-1, 15])), [3, 9, -1])
    # Prompts of three lengths in one batch; behind the shorter ones lies anything.
    padded = tf.where(tf.sequence_mask(prompts, 5), ids[:, :5], 7)
    hidden, cache = model.step(
        padded, model.initial_cache(3, 9), tf.zeros_like(prompts)
    )
    position = prompts - 1
    hidden = tf.gather(hidden, position, batch_dims=1)
    for _ in range(4):
        logits = model.lm_logits(hidden)
        expected = tf.gather(wanted, position, batch_dims=1)
        tolerance = 1e-5 if dtype == "float32" else 0.1
        np.testing.assert_allclose(logits, expected, atol=tolerance, rtol=tolerance)
        position += 1
        token = tf.gather(ids, position, batch_dims=1)
        hidden, cache = model.step(token[:, None], cache, position)
        hidden = hidden[:, 0]


def test_a_step_compiles_and_its_cache_keeps_its_shape():
    model, ids = _louder(modeling.GptModel(CONFIG)), _sequences(6, 9)
    cache = model.initial_cache(2, 9)
    assert [x.shape for x in cache[0]] == [(2, 3, 9, 5)] * 2
    start = tf.constant([0, 0])
    wanted, cache_wanted = model.step(ids[:, :4], cache, start)
    got, new = tf.function(model.step, jit_compile=True)(ids[:, :4], cache, start)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    for a, b in zip(tf.nest.flatten(new), tf.nest.flatten(cache_wanted), strict=True):
        assert a.shape == (2, 3, 9, 5)
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_equal_rows_of_a_lookup_add_up_in_the_gradient():
    table = tf.Variable(tf.reshape(tf.range(12.0), [6, 2]))
    ids, positions = tf.constant([[1, 1, 0]]), tf.constant([[4, 5, 3]])
    with tf.GradientTape() as tape:
        x = decoder.embed(tf.convert_to_tensor(table), ids, positions)
        loss = tf.reduce_sum(x * tf.constant([[[1.0, 2], [3, 4], [5, 6]]]))
    np.testing.assert_array_equal(x[0, 1], [2 + 10, 3 + 11])
    wanted = [[5, 6], [4, 6], [0, 0], [5, 6], [1, 2], [3, 4]]
    np.testing.assert_array_equal(tape.gradient(loss, table), wanted)
