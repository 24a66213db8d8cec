"""XlmConfig's JSON, and the models against the original's numbers."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

import modeling
from checkpoints import xlm as files
from modeling.xlm import sinusoids
from optimization import groups, optimizers, schedules

pytestmark = [pytest.mark.compiled, pytest.mark.long]

CONFIG = modeling.XlmConfig(
    ("de", "en", "fr"),
    n_words=29,
    emb_dim=15,
    n_layers=2,
    n_heads=3,
    max_position_embeddings=11,
)
VARIANTS = ("learned_gelu", "sinusoidal_relu", "untied_learned")
CASES = ("mlm", "mlm_nolang", "clm", "tlm")
_POSITIONS = "position_embeddings.weight"
_MADE_HERE = (
    ("n_langs", "eos_index", "pad_index", "mask_index", "asm")  # fixed, or counted
    + ("id2lang", "lang2id", "losses")
)


@functools.cache
def _golden(folder, variant):
    values = json.loads((folder / f"{variant}.json").read_text())
    config = {k: v for k, v in values.items() if k not in _MADE_HERE}
    languages = [values["id2lang"][str(i)] for i in range(values["n_langs"])]
    config = modeling.XlmConfig(tuple(languages), max_position_embeddings=64, **config)
    return config, dict(np.load(folder / f"{variant}.npz"))


def _table(config):
    return files.table(config.share_inout_emb, config.sinusoidal_embeddings)


def _weights(config, arrays):
    """Returns the original's weights by our names."""
    theirs = {k.removeprefix("w/"): v for k, v in arrays.items() if k.startswith("w/")}
    theirs[_POSITIONS] = theirs.pop(f"{_POSITIONS}[:64]")
    matched = _table(config).match(theirs)
    assert not matched.unknown
    ours = {}
    for name, sources in matched.sources.items():
        ours[name] = sources[0].rule.read(theirs[sources[0].name])
    return ours


def _load(model, weights):
    variables = modeling.named_variables(model)
    assert set(variables) == set(weights)
    for name, value in weights.items():
        variables[name].assign(value)
    return variables


def _inputs(case):
    """Returns the model's inputs, batch first."""
    ids = tf.constant(case["x"].T, tf.int32)
    inputs = {
        "input_ids": ids,
        "input_mask": tf.sequence_mask(case["lengths"], ids.shape[1], tf.int32),
    }
    for ours, theirs in (("language_ids", "langs"), ("position_ids", "positions")):
        if theirs in case:
            inputs[ours] = tf.constant(case[theirs].T, tf.int32)
    return inputs


def _run(model, case, objective):
    """Returns the encoder's outputs, the scores of what is predicted, and the loss."""
    outputs = model.xlm(**_inputs(case), causal=objective == "clm")
    hidden = tf.transpose(outputs["sequence_output"], [1, 0, 2])  # time first
    scores = model.lm_logits(tf.boolean_mask(hidden, case["pred_mask"]))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(case["y"], scores)
    return outputs, scores, tf.reduce_mean(losses)


def _case(arrays, name):
    start = f"{name}/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


@pytest.fixture(scope="module")
def models(golden_dir):
    """Returns what makes a variant's model, each once a module."""

    @functools.cache
    def make(variant, fused):
        config, arrays = _golden(golden_dir / "xlm", variant)
        model = modeling.XlmLanguageModel(config, fused=fused)
        _load(model, _weights(config, arrays))
        return model, arrays

    return make


@pytest.mark.shared_data
@pytest.mark.parametrize("objective", CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_computed_is_what_the_original_computes(models, variant, objective):
    _check(*models(variant, False), objective)


@pytest.mark.shared_data
@pytest.mark.parametrize("objective", ["clm", "tlm"])
def test_compiled_clusters_compute_what_the_original_computes(models, objective):
    _check(*models("learned_gelu", True), objective)


def _check(model, arrays, objective):
    case = _case(arrays, objective)
    variables = modeling.named_variables(model)
    with tf.GradientTape() as tape:
        outputs, scores, loss = _run(model, case, objective)
    gradients = tape.gradient(loss, {k: v.value for k, v in variables.items()})
    got = tf.transpose(outputs["sequence_output"], [1, 0, 2])
    np.testing.assert_allclose(got, case["tensor"], atol=2e-5)
    np.testing.assert_allclose(scores, case["scores"], atol=1e-4)
    np.testing.assert_allclose(loss, case["loss"], atol=1e-5)
    real = _inputs(case)["input_mask"].numpy()[:, :, None]
    layers = [outputs["embedding_output"], *outputs["all_encoder_layers"]]
    names = ["layer_norm_emb", *(f"layer_norm2.{i}" for i in range(len(layers) - 1))]
    for name, layer in zip(names, layers, strict=True):
        wanted = case[f"hidden/{name}"] * real
        np.testing.assert_allclose(layer, wanted, atol=2e-5, err_msg=name)
    checked = 0
    for name, gradient in gradients.items():
        theirs = _table(model.config).target(name, t="", m="").name
        wanted = case.get(f"grad_norm/{theirs}")
        if wanted is None:
            assert gradient is None  # no language is told
            continue
        norm = np.linalg.norm(tf.convert_to_tensor(gradient))
        # Keys have no bias that matters: softmax takes it off.
        np.testing.assert_allclose(norm, wanted, rtol=1e-3, atol=1e-6, err_msg=theirs)
        checked += 1
    assert checked == sum(key.startswith("grad_norm/") for key in case)


@pytest.mark.shared_data
def test_positions_that_do_not_begin_again_are_one_row(models):
    model, arrays = models("learned_gelu", False)
    case = _case(arrays, "concat_noreset")
    inputs = _inputs(case)
    told = model.xlm(**inputs)["sequence_output"]
    inputs.pop("position_ids")
    np.testing.assert_allclose(model.xlm(**inputs)["sequence_output"], told, atol=1e-6)


@pytest.mark.shared_data
def test_eight_updates_follow_the_originals_trajectory(models, golden_dir):
    model, arrays = models("learned_gelu", False)
    path = golden_dir / "xlm/optimizer_trajectory.json"
    golden = json.loads(path.read_text())
    given, case = golden["optimizer"], _case(arrays, "mlm")
    variables = modeling.named_variables(model)
    start = {name: variable.numpy() for name, variable in variables.items()}
    schedule = schedules.Schedule(
        given["lr"], 8, given["warmup_updates"], "inverse_sqrt", given["warmup_init_lr"]
    )
    optimizer = optimizers.XlmAdamOptimizer(
        variables,
        schedule,
        [groups.ParameterGroup("")],
        beta_1=given["betas"][0],
        beta_2=given["betas"][1],
        epsilon=given["eps"],
    )
    for name, group in optimizer.groups.items():  # of vectors, too
        decay = given["weight_decay"]
        optimizer.groups[name] = dataclasses.replace(group, weight_decay=decay)
    trained = list(optimizer.trainable.values())
    try:
        for number, wanted in enumerate(golden["steps"]):
            with tf.GradientTape() as tape:
                *_, loss = _run(model, case, "mlm")
            gradients = tape.gradient(loss, trained)
            gradients = [tf.convert_to_tensor(x) for x in gradients]
            gradients, norm = tf.clip_by_global_norm(gradients, given["clip_grad_norm"])
            rate = schedule(tf.constant(number))
            np.testing.assert_allclose(rate, wanted["lr"], rtol=1e-5)
            np.testing.assert_allclose(loss, wanted["loss"], atol=1e-4)
            np.testing.assert_allclose(norm, wanted["grad_norm_before_clip"], rtol=1e-4)
            optimizer.apply(gradients, tf.constant(number))
        for name, variable in variables.items():
            found = _table(model.config).target(name, t="", m="")
            *first, size = golden["final_first4_and_norm"][found.name]
            value = found.rule.write(variable.numpy())
            if found.name.endswith("k_lin.bias"):
                continue  # without a gradient in truth
            np.testing.assert_allclose(value.flat[:4], first, atol=1e-4, err_msg=name)
            if found.name != _POSITIONS:  # the original has more of them
                norm = np.linalg.norm(value)
                np.testing.assert_allclose(norm, size, rtol=1e-4, err_msg=name)
    finally:
        for name, variable in variables.items():
            variable.assign(start[name])


def test_a_config_round_trips_through_its_file(tmp_path):
    config = dataclasses.replace(CONFIG, gelu_activation=False, dropout=0.25)
    path = tmp_path / "xlm_config.json"
    path.write_text(config.to_json_string())
    assert json.loads(path.read_text())["model_type"] == "xlm"
    assert modeling.XlmConfig.from_json_file(str(path)) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_langs": 3}, "unknown key.*n_langs"),
        ({"languages": None}, "missing key.*languages"),
        ({"languages": "en"}, "languages is 'en'"),
        ({"languages": ["en", "en"]}, "a name is there twice"),
        ({"emb_dim": 0}, "emb_dim is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"n_heads": 4}, "emb_dim 15 .* n_heads 4"),
        ({"gelu_activation": "gelu"}, "gelu_activation is 'gelu'"),
        ({"model_type": "bert"}, "model_type is 'bert', wanted 'xlm'"),
    ],
)
def test_a_bad_config_names_the_file_and_the_key(tmp_path, change, message):
    values = {k: v for k, v in (CONFIG.to_dict() | change).items() if v is not None}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"bad.json: .*{message}"):
        modeling.XlmConfig.from_json_file(str(path))


def test_a_language_that_the_model_does_not_know_is_told_with_those_it_does():
    assert CONFIG.language_id("fr") == 2
    with pytest.raises(ValueError, match="'zh': the model knows de, en, fr"):
        CONFIG.language_id("zh")


def test_sinusoids_are_no_variables_and_one_language_has_no_embedding():
    config = dataclasses.replace(CONFIG, sinusoidal_embeddings=True, languages=["en"])
    names = modeling.named_variables(modeling.XlmModel(config))
    found = {name for name in names if "/embeddings/" in name}
    parts = ("word_embeddings", "LayerNorm/gamma", "LayerNorm/beta")
    assert found == {f"xlm/embeddings/{part}" for part in parts}
    np.testing.assert_allclose(
        sinusoids(4, 6)[3, 2:4],
        [np.sin(3 / 10000 ** (1 / 3)), np.cos(3 / 10000 ** (1 / 3))],
    )


def _ids(*lengths, width=9):
    ids = np.random.default_rng(5).integers(14, 29, [len(lengths), width])
    mask = np.arange(width) < np.array(lengths)[:, None]
    return tf.constant(ids, tf.int32), tf.constant(mask, tf.int32)


@pytest.mark.parametrize("fused", [False, True])
def test_padding_and_what_comes_later_change_nothing(fused):
    model = modeling.XlmModel(CONFIG, fused=fused)
    ids, mask = _ids(9, 5)
    languages = tf.constant([1, 2])
    whole = model(ids, mask, languages)["sequence_output"]
    alone = model(ids[1:, :5], None, languages[1:])["sequence_output"]
    np.testing.assert_allclose(whole[1:, :5], alone, atol=1e-5)
    np.testing.assert_array_equal(whole[1, 5:], 0)
    causal = model(ids, None, languages, causal=True)["sequence_output"]
    before = model(ids[:, :4], None, languages, causal=True)["sequence_output"]
    np.testing.assert_allclose(causal[:, :4], before, atol=1e-5)
    assert np.abs(causal - model(ids, None, languages)["sequence_output"]).max() > 0.1


def test_positions_and_languages_of_every_place_are_what_is_told():
    model = modeling.XlmModel(CONFIG)
    ids, _ = _ids(8, width=8)
    twice = tf.concat([ids[:, :4]] * 2, 1)
    positions = tf.constant([[0, 1, 2, 3] * 2])
    same = model(twice, None, tf.constant([1]), positions)["embedding_output"][0]
    np.testing.assert_array_equal(same[:4], same[4:])
    languages = tf.constant([[1] * 4 + [2] * 4])
    other = model(twice, None, languages, positions)["embedding_output"][0]
    np.testing.assert_array_equal(other[:4], same[:4])
    assert np.abs(other[4:] - same[4:]).max(axis=-1).min() > 0.1


def test_a_language_told_once_is_that_of_every_text():
    ids, mask = _ids(9, 6)
    wanted = modeling.XlmModel(CONFIG)(ids, mask, tf.constant([2, 2]))
    model = modeling.XlmClassifier(CONFIG, 2, language="fr")
    got = model.xlm(ids, mask)
    np.testing.assert_array_equal(got["sequence_output"], wanted["sequence_output"])
    other = model.xlm(ids, mask, tf.constant([0, 2]))["sequence_output"]
    assert np.abs(other[0] - wanted["sequence_output"][0]).max() > 0.1


def test_the_two_ways_to_predict_agree_with_the_encoder():
    model = modeling.XlmLanguageModel(CONFIG)
    ids, mask = _ids(9, 6)
    outputs = model(ids, mask, masked_lm_positions=tf.constant([[3, 0], [5, 1]]))
    hidden = model.xlm(ids, mask)["sequence_output"]
    wanted = model.lm_logits(hidden[1, 5:6])
    np.testing.assert_allclose(outputs["masked_lm_logits"][1, :1], wanted, atol=1e-5)
    losses = model(ids, mask)["lm_losses"]
    hidden = model.xlm(ids, mask, causal=True)["sequence_output"]
    scores = tf.nn.log_softmax(model.lm_logits(hidden[1, 3:4]))[0]
    np.testing.assert_allclose(losses[1, 3], -scores[ids[1, 4]], atol=1e-5)
    np.testing.assert_array_equal(losses[1, 5:], 0)


@pytest.mark.parametrize(
    ("cls", "args"),
    [
        (modeling.XlmModel, []),
        (modeling.XlmLanguageModel, []),
        (modeling.XlmClassifier, [3]),
        (modeling.XlmSpanExtractor, []),
    ],
)
def test_a_model_made_from_its_config_is_the_same_model(cls, args):
    model = cls(
        CONFIG, *args, language="en", dtype="mixed_bfloat16", seed=6, fused=True
    )
    twin = cls.from_config(json.loads(json.dumps(model.get_config())))
    assert twin.get_config() == model.get_config()
    wanted = modeling.named_variables(model)
    for name, variable in modeling.named_variables(twin).items():
        np.testing.assert_array_equal(variable, wanted[name], err_msg=name)


def test_a_classifier_reads_the_first_position_and_a_span_extractor_all():
    ids, mask = _ids(9, 5)
    model = modeling.XlmClassifier(CONFIG, 3)
    first = model.xlm(ids, mask)["sequence_output"][:, 0]
    weights = model.classifier.output_weights
    wanted = tf.matmul(first, weights, transpose_b=True)
    np.testing.assert_allclose(model(ids, mask), wanted, atol=1e-5)
    starts, ends = modeling.XlmSpanExtractor(CONFIG)(ids, mask)
    assert starts.shape == ends.shape == (2, 9)


@pytest.mark.parametrize("fused", [False, True])
def test_a_classifier_overfits_one_batch_with_dropout_on(fused):
    model = modeling.XlmClassifier(CONFIG, 3, fused=fused)
    ids, mask = _ids(5, 9, 7, 6)
    labels = tf.constant([0, 2, 1, 0])
    variables = [v.value for v in modeling.named_variables(model).values()]
    slots = [tf.Variable(tf.zeros_like(v)) for v in variables]

    def loss_of(logits):
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        )

    @tf.function
    def step(seed):
        with tf.GradientTape() as tape:
            loss = loss_of(model(ids, mask, tf.constant([1]), dropout_seed=seed))
        for variable, slot, gradient in zip(
            variables, slots, tape.gradient(loss, variables), strict=True
        ):
            slot.assign(0.9 * slot + tf.convert_to_tensor(gradient))
            variable.assign_sub(0.03 * slot)

    assert loss_of(model(ids, mask)) > 0.5
    for i in range(40):
        step(tf.constant([i, 7]))
    assert loss_of(model(ids, mask, tf.constant([1]))) < 0.05
