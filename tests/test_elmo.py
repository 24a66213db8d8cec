"""ELMo's config, and the model against the original's inference and training."""

import json
import pathlib

import h5py
import numpy as np
import pytest
import tensorflow as tf

import checkpoints
import modeling
import vocabulary
from checkpoints import bilm
from modeling import elmo
from modeling.layers import recurrent

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).parent / "golden"
OPTIONS = {
    "bidirectional": True,
    "char_cnn": {
        "activation": "tanh",
        "embedding": {"dim": 3},
        "filters": [[1, 4], [3, 6]],
        "max_characters_per_token": 9,
        "n_characters": 262,
        "n_highway": 1,
    },
    "dropout": 0.1,
    "lstm": {
        "cell_clip": 3,
        "dim": 7,
        "n_layers": 2,
        "proj_clip": 3,
        "projection_dim": 5,
        "use_skip_connections": True,
    },
    "n_negative_samples_batch": 6,
    "n_tokens_vocab": 23,
    "sample_softmax": True,
    "share_embedding_softmax": False,
}
RUN = {"batch_size": 4, "unroll_steps": 6, "all_clip_norm_val": 10.0, "n_epochs": 2}


def _config(**changes):
    return elmo.ElmoConfig.from_dict(OPTIONS | changes)


def _characters(lengths=(5, 7, 3)):
    ids = np.random.default_rng(0).integers(1, 262, [len(lengths), 7, 9])
    real = np.arange(7) < np.array(lengths)[:, None]
    return tf.constant(ids * real[..., None], tf.int32)


def test_options_json_round_trips_and_the_runs_own_keys_are_left_out():
    config = elmo.ElmoConfig.from_dict(OPTIONS | RUN)
    assert json.loads(config.to_json_string()) == OPTIONS
    words = {k: v for k, v in OPTIONS.items() if k != "char_cnn"}
    words["share_embedding_softmax"] = True
    assert elmo.ElmoConfig.from_dict(words).to_dict() == words


def test_options_for_inference_need_no_more_than_the_release_has():
    config = elmo.ElmoConfig.from_dict({k: OPTIONS[k] for k in ("lstm", "char_cnn")})
    assert config.n_tokens_vocab is None
    with pytest.raises(ValueError, match="no n_tokens_vocab"):
        elmo.ElmoLanguageModel(config)


def test_keys_that_other_releases_have_change_nothing():
    options = {**OPTIONS, "reverse": False, "char_cnn": dict(OPTIONS["char_cnn"])}
    options["char_cnn"]["projection_after_highway"] = True
    assert elmo.ElmoConfig.from_dict(options) == elmo.ElmoConfig.from_dict(OPTIONS)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        (None, {"lstmm": 1}, "unknown key.*lstmm"),
        (None, {"lstm": None}, "lstm is None"),
        (None, {"bidirectional": False}, "bidirectional is not true"),
        (None, {"reverse": True}, "reverse is not false, but True"),
        (
            "char_cnn",
            {"projection_after_highway": False},
            "projection_after_highway is not true, but False",
        ),
        (None, {"dropout": 1.0}, "dropout is 1.0"),
        (None, {"n_tokens_vocab": 0}, "n_tokens_vocab is 0"),
        (None, {"sample_softmax": 1}, "sample_softmax is 1"),
        (None, {"share_embedding_softmax": True}, "share_embedding_softmax needs"),
        (None, {"char_cnn": None, "n_tokens_vocab": None}, "neither char_cnn nor"),
        ("lstm", {"dims": 3}, "unknown key.*dims in lstm"),
        ("lstm", {"dim": 4}, "projection_dim 5 is more than dim 4"),
        ("lstm", {"cell_clip": 0}, "cell_clip is 0"),
        ("lstm", {"n_layers": True}, "n_layers is True"),
        ("lstm", {"projection_dim": 7, "dim": 11.0}, "dim is 11.0"),
        ("char_cnn", {"n_characters": 260}, "n_characters is 260.*261.*262.*same"),
        ("char_cnn", {"activation": "gelu"}, "activation is 'gelu'"),
        ("char_cnn", {"filters": [[1, 4]]}, "add up to 4, fewer than projection_dim 5"),
        ("char_cnn", {"filters": [[10, 6]]}, "width 10.*max_characters_per_token is 9"),
        ("char_cnn", {"filters": [[1]]}, r"filters has \(1,\)"),
        ("char_cnn", {"embedding": 3}, "embedding is 3"),
    ],
)
def test_bad_options_name_the_file_and_the_key(tmp_path, section, change, message):
    values = OPTIONS | (change if section is None else {})
    if section is not None:
        values[section] = OPTIONS[section] | change
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"bad.json: .*{message}"):
        elmo.ElmoConfig.from_json_file(str(path))


def test_options_that_are_no_json_object_name_the_file(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text("[1]")
    with pytest.raises(ValueError, match="bad.json: got a JSON list, wanted.*ELMo's"):
        elmo.ElmoConfig.from_json_file(str(path))


def test_a_model_is_remade_from_its_keras_config():
    model = elmo.ElmoLanguageModel(_config(), seed=4)
    again = elmo.ElmoLanguageModel.from_config(model.get_config())
    ours, theirs = map(modeling.named_variables, (model, again))
    assert ours.keys() == theirs.keys()
    for name, variable in ours.items():
        np.testing.assert_array_equal(variable, theirs[name])


def test_a_sample_larger_than_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="n_negative_samples_batch is 24.*is 23"):
        elmo.ElmoLanguageModel(_config(n_negative_samples_batch=24))


def test_padding_never_changes_real_positions():
    model = elmo.ElmoModel(_config())
    ids = _characters()
    whole = model(ids)
    np.testing.assert_array_equal(tf.reduce_sum(whole["mask"], 1), [3, 5, 1])
    for row, length in enumerate((5, 7, 3)):
        alone = model(ids[row : row + 1, :length])["lm_embeddings"][0]
        padded = whole["lm_embeddings"][row, :, : length - 2]
        np.testing.assert_allclose(alone, padded, atol=1e-6)


def test_words_of_another_length_than_the_options_say_are_refused():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="9"):
        elmo.ElmoModel(_config())(_characters()[:, :, :8])


def test_each_direction_sees_its_own_side_only():
    model = elmo.ElmoModel(_config())
    ids = _characters((7,))
    changed = tf.tensor_scatter_nd_update(ids, [[0, 3]], ids[0, 4:5])
    before, after = (model(x)["lm_embeddings"][0, 2] for x in (ids, changed))
    same = np.isclose(before, after, atol=1e-7).reshape(5, 2, 5).all(axis=2)
    # Position 3 with <S> is the third token.
    assert same[:, 0].tolist() == [True, True, False, False, False]
    assert same[:, 1].tolist() == [False, False, False, True, True]


def test_the_same_sentence_has_the_same_vectors_unless_states_are_carried():
    model = elmo.ElmoModel(_config())
    ids = _characters()
    first = model(ids)
    np.testing.assert_array_equal(first["lm_embeddings"], model(ids)["lm_embeddings"])
    carried = model(ids, first["states"])
    assert not np.allclose(first["lm_embeddings"], carried["lm_embeddings"])


@pytest.mark.compiled
@pytest.mark.parametrize("fused", [False, True])
def test_dumped_weights_give_the_originals_vectors_with_states_carried(fused):
    checkpoint = bilm.open_checkpoint(str(GOLDEN / "elmo_char_clip_weights.hdf5"))
    model = elmo.ElmoModel(checkpoint.config, fused=fused)
    variables = modeling.named_variables(model)
    checkpoints.initialize(variables, checkpoint, new={}, unused={})
    golden = np.load(GOLDEN / "elmo_train_char_clip.npz")
    carried = recurrent.CarriedStates(model.zero_states(5))
    for i in range(3):  # batches of 3, 4 and 2 rows
        expected = {
            k: golden[f"infer{i}/{k}"]
            for k in ("char_ids", "lm_embeddings", "mask", "token_embeddings")
        }
        ids = tf.constant(expected["char_ids"])
        found = model(ids, carried.read(len(ids)))
        carried.write(found["states"])
        np.testing.assert_array_equal(found["mask"], expected["mask"])
        for key in ("lm_embeddings", "token_embeddings"):
            mask = expected["mask"][:, None, :, None] if key[0] == "l" else 1
            np.testing.assert_allclose(
                found[key] * mask, expected[key] * mask, atol=1e-5
            )


@pytest.mark.shared_data
def test_the_released_fixtures_are_reproduced_with_and_without_states(golden_dir):
    folder = golden_dir / "elmo"
    checkpoint = bilm.open_checkpoint(str(folder / "fixture_lm_weights.hdf5"))
    config = elmo.ElmoConfig.from_json_file(str(folder / "fixture_options.json"))
    model = elmo.ElmoModel(config)
    variables = modeling.named_variables(model)
    checkpoints.initialize(variables, checkpoint, new={}, unused={})
    path = folder / "fixture_lm_embeddings_sentences.json"
    sentences = json.loads(path.read_text())[0]
    golden = np.load(folder / "fixture_all_layers.npz")
    encoder = vocabulary.CharacterEncoder(
        50, vocabulary.Vocabulary.from_file(str(folder / "fixture_vocab_test.txt"))
    )
    states = model.zero_states(1)
    run = tf.function(model, reduce_retracing=True)
    with h5py.File(folder / "fixture_lm_embeddings_0.hdf5") as released:
        for i, sentence in enumerate(sentences):
            ids = encoder.batch([sentence.split()])
            found = run(tf.constant(ids), states)
            states = found["states"]
            layers = found["lm_embeddings"][0]
            expected = golden[f"all_layers_row0_batch{i}"]
            np.testing.assert_allclose(layers, expected, atol=1e-5)
            top = np.concatenate(released[str(i)][...], axis=-1)
            np.testing.assert_allclose(layers[-1], top, atol=1e-5)
            if i:
                stateless = run(tf.constant(ids))["lm_embeddings"][0]
                assert not np.allclose(stateless, expected, atol=1e-4)
    for direction, layers in zip(("forward", "backward"), states, strict=True):
        for i, state in enumerate(layers):
            for part in ("c", "h"):
                name = f"final_state_{direction}_layer{i}_{part}_row0"
                np.testing.assert_allclose(
                    getattr(state, part)[0], golden[name], atol=1e-5
                )


def _adagrad(variables, accumulators, gradients):
    for variable, accumulator, gradient in zip(
        variables, accumulators, gradients, strict=True
    ):
        tf.raw_ops.ResourceApplyAdagradV2(
            var=variable.handle,
            accum=accumulator.handle,
            lr=0.2,
            epsilon=0.0,
            grad=gradient,
        )


def _check_training(golden, record, fused):
    """Trains five steps as the original did, and compares all of its numbers."""
    options = record["options"]
    model = elmo.ElmoLanguageModel(elmo.ElmoConfig.from_dict(options), fused=fused)
    named = modeling.named_variables(model)
    initial = {k[5:] for k in golden.files if k.startswith("init/")}
    assert set(named) == initial
    for name, variable in named.items():
        variable.assign(golden[f"init/{name}"])
    variables = [variable.value for variable in named.values()]
    accumulators = [tf.Variable(tf.ones_like(v)) for v in variables]

    @tf.function
    def gradients(batch, states):
        key = "tokens_characters" if "tokens_characters" in batch else "token_ids"
        with tf.GradientTape() as tape:
            # The original's training has no padding: its ids begin one lower.
            out = model(batch[key] + 1, batch[f"{key}_reverse"] + 1, states)
            losses = [
                tf.reduce_mean(model.losses(out[direction], batch[target]))
                for direction, target in (
                    ("forward", "next_token_id"),
                    ("backward", "next_token_id_reverse"),
                )
            ]
            total = (losses[0] + losses[1]) / 2 * options["unroll_steps"]
        grads = tape.gradient(total, variables)
        return [tf.convert_to_tensor(g) for g in grads], losses, out

    states = model.lm.zero_states(options["batch_size"])
    for i, step in enumerate(record["steps"]):
        prefix = f"batch{i}/"
        batch = {
            k.removeprefix(prefix): tf.constant(golden[k])
            for k in golden.files
            if k.startswith(prefix)
        }
        grads, losses, out = gradients(batch, states)
        states = out["states"]
        if i == 0:
            for direction in ("forward", "backward"):
                expected = golden[f"step0/lstm_output_{direction}"]
                np.testing.assert_allclose(out[direction], expected, atol=1e-5)
            for name, gradient in zip(named, grads, strict=True):
                expected = golden[f"step0/grad_of_loss_times_unroll/{name}"]
                np.testing.assert_allclose(gradient, expected, atol=1e-5, err_msg=name)
        expected = [step["loss_forward"], step["loss_backward"]]
        np.testing.assert_allclose(losses, expected, atol=1e-5)
        norms = [np.linalg.norm(x) for x in tf.nest.flatten(states)]
        np.testing.assert_allclose(norms, step["final_state_norms"], atol=1e-5)
        grads, norm = tf.clip_by_global_norm(grads, options["all_clip_norm_val"])
        np.testing.assert_allclose(norm, step["global_norm_before_clip"], rtol=1e-5)
        _adagrad(variables, accumulators, grads)
    for name, variable in named.items():
        expected = golden[f"final/{name}"]
        np.testing.assert_allclose(variable, expected, atol=1e-5, err_msg=name)


@pytest.mark.compiled
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["char_clip", "word_shared"])
def test_five_training_steps_equal_the_originals(name, fused):
    record = json.loads((GOLDEN / f"elmo_train_{name}.json").read_text())
    golden = np.load(GOLDEN / f"elmo_train_{name}.npz")
    _check_training(golden, record, fused)


@pytest.mark.shared_data
def test_five_training_steps_with_skip_connections_equal_the_originals(golden_dir):
    folder = golden_dir / "elmo"
    record = json.loads((folder / "train_char_skip.json").read_text())
    _check_training(np.load(folder / "train_char_skip.npz"), record, fused=True)


def test_sampling_is_for_training_only_and_one_batch_can_be_learned_with_it():
    model = elmo.ElmoLanguageModel(_config(dropout=0.0), seed=1, fused=True)
    ids = _characters((7, 7, 7))
    targets = tf.constant(np.random.default_rng(0).integers(0, 23, [3, 7]))
    variables = [variable.value for variable in model.trainable_variables]
    optimizer_state = [tf.Variable(tf.ones_like(v)) for v in variables]

    @tf.function
    def step(seed):
        with tf.GradientTape() as tape:
            out = model(ids, tf.reverse(ids, [1]))
            loss = tf.reduce_mean(model.losses(out["forward"], targets, seed))
            loss += tf.reduce_mean(model.losses(out["backward"], targets, seed))
            total = loss * 7  # times the steps, as bilm-tf has it
        grads = tape.gradient(total, variables)
        _adagrad(variables, optimizer_state, map(tf.convert_to_tensor, grads))
        return loss, model.losses(out["forward"], targets)

    sampled, full = step(tf.constant([0, 0]))
    start = tf.reduce_mean(full)
    np.testing.assert_allclose(start, np.log(23), atol=0.2)
    assert sampled / 2 < start  # fewer words to choose from
    for i in range(1, 150):
        _, full = step(tf.constant([i, 0]))
    assert tf.reduce_mean(full) < 0.5 * start
