"""ULMFiT's model against fastai's outputs; see the golden folder's README."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import modeling
from checkpoints import ulmfit as files
from checkpoints.mapping import Checkpoint
from errors import UserError
from modeling import ulmfit
from modeling.layers import batch_norm, dropout
from modeling.layers.lstm import State
from modeling.ulmfit import UlmfitConfig, UlmfitModel
from modeling.ulmfit_classifier import UlmfitClassifier, concat_pool
from optimization.groups import assign_groups
from optimization.optimizers import OptimizerConfig
from systems.ulmfit import UlmfitSystem
from training.strategy import DistributionConfig, make_strategy

pytestmark = pytest.mark.long

SIZES = {"embedding_size": 6, "hidden_size": 8, "num_layers": 3, "classifier_size": 5}
CONFIG = UlmfitConfig(vocab_size=19, **SIZES)


def stored(arrays, prefix):
    """Returns a checkpoint of the tensors in a golden file."""
    names = {k.removeprefix(prefix): k for k in arrays if k.startswith(prefix)}
    matched = files.TABLE.match(names)
    assert not matched.unknown
    sources = {ours: found[0].name for ours, found in matched.sources.items()}
    return files.join(
        Checkpoint(
            format="fastai",
            path="golden",
            shapes={o: arrays[names[t]].shape for o, t in sources.items()},
            ignored={},
            unknown={},
            vocab_tensors=frozenset(),
            config=None,
            vocab_file=None,
            do_lower_case=None,
            outputs=None,
            reader=lambda ours: arrays[names[sources[ours]]],
        )
    )


def fill(model, checkpoint):
    variables = modeling.named_variables(model)
    assert set(variables) - set(checkpoint.shapes) <= {files.DECODER_BIAS}
    for name in checkpoint.shapes:
        variables[name].assign(checkpoint.read(name))


@pytest.fixture(scope="module")
def language_model(golden_dir):
    with np.load(golden_dir / "ulmfit" / "awd_lstm_lm.npz") as file:
        arrays = dict(file)
    checkpoint = stored(arrays, "lm/w/")
    model = UlmfitModel(files._config(checkpoint))
    fill(model, checkpoint)
    return model, arrays


@pytest.mark.shared_data
def test_segments_with_carried_states_are_fastais(language_model):
    model, golden = language_model
    states = None
    for segment in ("lm/seg0/", "lm/seg1/", "lm/seg2/"):
        x, y = golden[f"{segment}x"], golden[f"{segment}y"]
        found = model(tf.constant(x, tf.int32), states=states)
        raw, states = found["sequence_output"], found["states"]
        np.testing.assert_allclose(raw, golden[f"{segment}raw_output"], atol=1e-5)
        logits = model.lm_logits(raw)
        np.testing.assert_allclose(logits, golden[f"{segment}logits"], atol=2e-5)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        loss = golden[f"{segment}loss"]
        np.testing.assert_allclose(tf.reduce_mean(losses), loss, atol=1e-5)
        for i, state in enumerate(states):
            for part, value in state._asdict().items():
                wanted = golden[f"{segment}{part}{i}"][0]
                np.testing.assert_allclose(value, wanted, atol=1e-5)
        ar, tar = ulmfit.regularization(raw, raw, UlmfitConfig())
        wanted = golden[f"{segment}AR_alpha2"]
        np.testing.assert_allclose(ar / tf.size(raw, tf.float32), wanted, atol=1e-5)
        wanted = golden[f"{segment}TAR_beta1"]
        size = tf.size(raw[:, 1:], tf.float32)
        np.testing.assert_allclose(tar / size, wanted, atol=1e-5)


@pytest.fixture(scope="module")
def classifier(golden_dir):
    with np.load(golden_dir / "ulmfit" / "classifier.npz") as file:
        arrays = dict(file)
    checkpoint = stored(arrays, "w/")
    config = dataclasses.replace(files._config(checkpoint), bptt=8)
    return checkpoint, config, arrays


@pytest.mark.shared_data
@pytest.mark.parametrize(("longest", "width"), [(24, 24), (24, 31)])
def test_a_classifier_pools_and_decides_as_fastais(classifier, longest, width):
    checkpoint, config, golden = classifier
    model = UlmfitClassifier(config, golden["logits"].shape[1], longest)
    fill(model, checkpoint)
    lengths = golden["lengths"]
    # Behind the padding of another batch, the results are those of this one.
    ids = np.ones([len(lengths), width], np.int32)
    ids[:, :24] = golden["x_rightpad"]
    mask = (np.arange(width) < lengths[:, None]).astype(np.int32)
    found = model.encoder(ids * mask, tf.constant(mask))["sequence_output"]
    wanted = golden["rightpad_encoder_out"] * mask[:, :24, None]
    np.testing.assert_allclose(found[:, :24], wanted, atol=1e-5)
    pooled = concat_pool(found, mask)
    np.testing.assert_allclose(pooled, golden["pooled"], atol=1e-5)
    logits = model(ids, mask)["logits"]
    np.testing.assert_allclose(logits, golden["logits"], atol=2e-5)
    np.testing.assert_allclose(logits, golden["rightpad_logits"], atol=2e-5)


def document(length, seed=0):
    return np.random.default_rng(seed).integers(0, 19, [1, length]).astype(np.int32)


def test_what_is_read_before_the_pooled_part_counts_by_its_states_only():
    config = dataclasses.replace(CONFIG, bptt=4)
    model, ids = UlmfitClassifier(config, 2, longest=7), document(26)
    encoder = model.encoder
    states = encoder(ids[:, :19])["states"]
    tail = encoder(ids[:, 19:], states=states)["sequence_output"]
    wanted = model.head(tail, tf.ones([1, 7], tf.int32), None)
    found = model(ids, tf.ones([1, 26], tf.int32))["logits"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_text_has_one_class_whatever_stands_beside_it_in_the_batch():
    config = dataclasses.replace(CONFIG, bptt=3)
    model = UlmfitClassifier(config, 3, longest=5)
    texts = [document(length, length)[0] for length in (1, 4, 5, 6, 13)]
    alone = [model(t[None], np.ones([1, len(t)], np.int32))["logits"] for t in texts]
    for order, width in (((0, 1, 2, 3, 4), 13), ((4, 2, 0), 17), ((3, 1), 6)):
        ids, mask = np.zeros([2, len(order), width], np.int32)
        for row, i in enumerate(order):
            ids[row, : len(texts[i])] = texts[i]
            mask[row, : len(texts[i])] = 1
        logits = model(ids, mask)["logits"]
        for row, i in enumerate(order):
            np.testing.assert_allclose(logits[row], alone[i][0], atol=1e-6)


def test_no_gradient_goes_beyond_the_pooled_part():
    model = UlmfitClassifier(dataclasses.replace(CONFIG, bptt=4), 2, longest=3)
    ids = np.arange(9, dtype=np.int32)[None]  # each word once
    with tf.GradientTape() as tape:
        table = model.encoder.embedding.value
        tape.watch(table)
        logits = model(ids, np.ones([1, 9], np.int32))["logits"]
    rows = np.abs(tape.gradient(logits, table)).sum(axis=1)
    assert np.flatnonzero(rows).tolist() == [6, 7, 8]


def test_it_overfits_one_batch():
    model = UlmfitClassifier(dataclasses.replace(CONFIG, drop_mult=0), 2, longest=5)
    variables = modeling.named_variables(model)
    trained = {name: v for name, v in variables.items() if v.trainable}
    config = OptimizerConfig("adamw", 0.05, decay="constant", weight_decay=0.0)
    optimizer = config.build(trained, 30, UlmfitSystem(CONFIG).parameter_groups(config))
    ids = np.random.default_rng(4).integers(0, 19, [6, 7]).astype(np.int32)
    labels = tf.constant([0, 1, 1, 0, 1, 0])
    losses = []
    for step in range(17):
        with tf.GradientTape() as tape:
            found = model(ids, np.ones_like(ids), dropout_seed=tf.constant([step, 0]))
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, found["logits"]
            )
        weights = [v.value for v in trained.values()]
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        optimizer.apply(gradients, tf.constant(step))
        losses.append(float(tf.reduce_mean(loss)))
    assert losses[-1] < 0.05 < 0.4 < losses[0]


@pytest.mark.shared_data
def test_groups_and_their_rates_are_fastais(golden_dir):
    golden = json.loads((golden_dir / "ulmfit" / "golden.json").read_text())
    rates = golden["discriminative"]
    system = UlmfitSystem(CONFIG)
    config = OptimizerConfig(
        layer_decay=1 / rates["factor"], learning_rate=rates["lr_last"]
    )

    def found(model, groups):
        variables = modeling.named_variables(model)
        groups = assign_groups(variables, groups)
        return {n: g.lr_multiplier * config.learning_rate for n, g in groups.items()}

    classifier = found(UlmfitClassifier(CONFIG, 2, 5), system.parameter_groups(config))
    layers = ["ulmfit/embedding", *(f"ulmfit/rnn_{i}/kernel" for i in range(3))]
    layers.append("classifier/output/output_weights")
    wanted = rates["lrs_first_to_last_5_groups"]
    np.testing.assert_allclose([classifier[n] for n in layers], wanted, 1e-9)
    # Of a language model, the embeddings are the softmax: the last of four groups.
    lm = found(UlmfitModel(CONFIG), system.lm_groups(config))
    layers = [*layers[1:4], "ulmfit/embedding"]
    np.testing.assert_allclose([lm[n] for n in layers], wanted[1:], 1e-9)
    assert len(golden["lm_groups_fastai"]) == len(set(lm.values()))


SEED = tf.constant([3, 5])
DROPS = {f"{name}_dropout": 0.0 for name in ulmfit.Dropouts._fields}


def with_dropout(**rates):
    config = dataclasses.replace(CONFIG, **(DROPS | rates))
    return UlmfitModel(config, seed=2)


def test_a_dropped_word_is_dropped_wherever_it_stands_and_others_are_scaled():
    model = with_dropout(embedding_dropout=0.5)
    ids = tf.constant([[1, 2, 3, 1], [4, 1, 2, 5]])
    seen, table = model._embed(ids, SEED).numpy(), model.embedding.numpy()
    for word in range(1, 6):
        rows = seen[ids.numpy() == word]
        assert (rows == rows[0]).all()
        assert np.allclose(rows[0], 0) or np.allclose(rows[0], 2 * table[word])
    assert 0 < (np.abs(seen).sum(-1) == 0).mean() < 1


@pytest.mark.parametrize("place", ["input", "hidden", "output"])
def test_features_are_dropped_at_all_steps_of_a_row(place):
    model = with_dropout(**{f"{place}_dropout": 0.4})
    x = tf.random.stateless_normal([7, 3, 50], [1, 2])  # [T, B, .]
    kept = model._drop(x, 0.4, "input", SEED).numpy() / x.numpy()
    assert (np.isclose(kept, 0) | np.isclose(kept, 1 / 0.6)).all()
    assert np.allclose(kept, kept[:1])
    assert len(np.unique(kept[0] > 0, axis=0)) == 3
    ids = document(9)
    plain, one, again = (model(ids, dropout_seed=s) for s in (None, SEED, SEED))
    name = "dropped_output"
    assert np.array_equal(one[name], again[name])
    assert not np.allclose(one[name], plain[name])


def test_weights_between_steps_are_dropped_once_a_window():
    model, plain = with_dropout(weight_dropout=0.5), with_dropout()
    found = model(document(5), dropout_seed=SEED)["sequence_output"]
    for rnn, other in zip(model.rnns, plain.rnns, strict=True):
        above, below = np.split(other.kernel.numpy(), [-rnn.units])
        below = dropout.drop(tf.constant(below), 0.5, SEED, rnn.site)
        other.kernel.assign(tf.concat([above, below], 0))
        assert 0.3 < (below.numpy() == 0).mean() < 0.7
    np.testing.assert_allclose(plain(document(5))["sequence_output"], found, atol=1e-6)


def test_batch_norm_counts_real_rows_and_evaluates_by_what_it_kept():
    layer = batch_norm.BatchNorm(name="norm")
    layer.build([None, 4])
    x = np.random.default_rng(0).normal(3, 2, [7, 4]).astype(np.float32)
    x[5:] = 1e6  # of no real row
    real = np.array([1, 1, 1, 1, 1, 0, 0])
    found = layer(tf.constant(x), tf.constant(real)).numpy()
    mean, var = x[:5].mean(0), x[:5].var(0)
    np.testing.assert_allclose(found[:5], (x[:5] - mean) / np.sqrt(var + 1e-5), 1e-4)
    np.testing.assert_allclose(layer.mean.numpy(), 0.1 * mean, 1e-5)
    kept = 0.9 + 0.1 * x[:5].var(0, ddof=1)
    np.testing.assert_allclose(layer.variance.numpy(), kept, 1e-5)
    found = layer(tf.constant(x)).numpy()
    wanted = (x - 0.1 * mean) / np.sqrt(kept + 1e-5)
    np.testing.assert_allclose(found, wanted, 1e-4)


def test_batch_norm_takes_the_rows_of_all_replicas_together():
    x = np.random.default_rng(1).normal(size=[8, 3]).astype(np.float32)
    strategy = make_strategy(DistributionConfig("mirrored"))

    def make():
        layer = batch_norm.BatchNorm(name="norm")
        layer.build([None, 3])
        return layer

    def outputs_and_gradient(layer, x, real):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, real)
            loss = tf.reduce_sum(y**3)
        return y, tape.gradient(loss, x)

    one = make()
    real = tf.constant([1, 1, 1, 0, 1, 1, 1, 1])
    wanted = outputs_and_gradient(one, tf.constant(x), real)
    with strategy.scope():
        layer = make()

    @tf.function(autograph=False)
    def run():
        def replica():
            i = tf.distribute.get_replica_context().replica_id_in_sync_group
            rows = tf.reshape(tf.constant(x), [2, 4, 3])[i]
            return outputs_and_gradient(layer, rows, tf.reshape(real, [2, 4])[i])

        return strategy.run(replica)

    found = run()
    for parts, value in zip(found, wanted, strict=True):
        parts = tf.concat(strategy.experimental_local_results(parts), 0)
        np.testing.assert_allclose(parts, value, atol=1e-5)
    for name in ("mean", "variance"):
        ours, theirs = (np.asarray(getattr(x, name).numpy()) for x in (layer, one))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_steps_of_generation_are_what_is_read_at_once():
    model, ids = UlmfitModel(CONFIG, seed=1), document(9)
    wanted = model(ids)["sequence_output"]
    cache, found = model.initial_cache(1, 9), []
    for start, end, filled in ((0, 4, 6), (4, 5, 1), (5, 9, 4)):
        part = np.zeros([1, filled], np.int32)
        part[:, : end - start] = ids[:, start:end]
        lengths = tf.constant([end - start])
        hidden, cache = model.step(part, cache, tf.constant([start]), lengths)
        found.append(hidden[:, : end - start])
    np.testing.assert_allclose(tf.concat(found, 1), wanted, atol=1e-6)
    specs = tf.nest.flatten(model.cache_spec())
    assert [s.shape[1:] for s in specs] == [x.shape[1:] for x in tf.nest.flatten(cache)]
    assert isinstance(cache[0], State)


def test_models_and_configs_round_trip():
    assert UlmfitConfig.from_dict(json.loads(CONFIG.to_json_string())) == CONFIG
    model = UlmfitClassifier(CONFIG, 2, longest=7, frozen_encoder=True)
    again = UlmfitClassifier.from_config(model.get_config())
    assert again.get_config() == model.get_config()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bptt": 0}, "bptt is 0, wanted a positive whole number"),
        (
            {"weight_dropout": 1.0},
            r"weight_dropout is 1.0, wanted a number in \[0, 1\)",
        ),
        ({"drop_mult": 4}, "input_dropout x drop_mult is 0.25 x 4"),
        ({"alpha": -1}, "alpha is -1, wanted a number, 0 or more"),
        ({"backward": 1}, "backward is 1, wanted a bool"),
        ({"bidir": True}, r"unknown key\(s\) bidir"),
        ({"hidden_size": 10**6}, "hidden_size x hidden_size is"),
        ({"num_layers": 10**6}, "num_layers is 1000000, wanted at most 1000"),
    ],
)
def test_impossible_architectures_are_refused(values, message):
    with pytest.raises(UserError, match=f"there: {message}"):
        UlmfitConfig.from_dict({"model_type": "ulmfit"} | values, "there")
