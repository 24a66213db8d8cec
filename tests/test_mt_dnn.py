"""MT-DNN's heads and its answer network, against the original's values and gradients.

`golden/mtdnn` has what namisan/mt-dnn's modules gave on torch 2.13.
"""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

import modeling
from errors import UserError
from modeling import mt_dnn, san
from modeling.layers import heads
from modeling.mt_dnn import HeadConfig, MtDnnModel
from modeling.san import SanClassifier, SanConfig
from tasks.classification import ClassificationTask

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/mtdnn"
VARIANTS = (
    "gru_bilinear_merge1_avg",
    "gru_default_merge0_last",
    "lstm_simple_merge1_avg",
)
# Torch's names -> ours; `alpha` is a constant that nothing reads.
NAMES = {
    "query_wsum.att.linear.weight": "query_wsum/output_weights",
    "query_wsum.att.linear.bias": "query_wsum/output_bias",
    "attn.score_func.linear.weight": "attn/output_weights",
    "attn.score_func.linear.bias": "attn/output_bias",
    "classifier.proj.weight": "classifier/output_weights",
    "classifier.proj.bias": "classifier/output_bias",
    **{
        f"rnn.{n}": f"rnn/{n}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    },
}
B, T, H, K, C = 3, 7, 5, 4, 2  # rows, places, width, turns, classes


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def of_golden(variant):
    """The network with the original's weights, and what it read."""
    golden = load(f"san_{variant}")
    options = json.loads((GOLDEN / "meta.json").read_text())[variant]
    known = {field.name for field in dataclasses.fields(SanConfig)}
    config = {k: v for k, v in options["opt"].items() if k in known}
    layer = SanClassifier(options["label_size"], SanConfig(**config), 0.0, name="san")
    layer.build([None, None, options["x_size"]])
    variables = modeling.named_variables(layer)
    for theirs, ours in NAMES.items():
        variables[f"san/{ours}"].assign(golden[f"w/{theirs}"])
    places = golden["x"].shape[1]
    hypothesis = np.zeros([len(golden["x"]), places], bool)
    hypothesis[:, : golden["h_mask"].shape[1]] = ~golden["h_mask"]
    np.testing.assert_array_equal(
        golden["hyp_mem"], golden["x"][:, : golden["hyp_mem"].shape[1]]
    )
    inputs = (tf.constant(golden["x"]), tf.constant(~golden["x_mask"]), hypothesis)
    return layer, variables, inputs, golden, options


def cross_entropy(scores, labels):
    found = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
    return tf.reduce_mean(found)


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_and_gradients_are_the_originals(variant):
    layer, variables, inputs, golden, options = of_golden(variant)
    turns = layer.turns(*inputs)
    np.testing.assert_allclose(turns, golden["scores_per_turn"], atol=1e-5)
    trained = [variables[f"san/{ours}"].value for ours in NAMES.values()]
    with tf.GradientTape() as tape:
        scores = layer(*inputs)
        loss = cross_entropy(scores, golden["y"])
    np.testing.assert_allclose(scores, golden["scores"], atol=1e-5)
    np.testing.assert_allclose(loss, options["ce_loss"], atol=1e-5)
    gradients = tape.gradient(loss, trained)
    for theirs, gradient in zip(NAMES, gradients, strict=True):
        wanted = golden[f"grad/{theirs}"]
        np.testing.assert_allclose(gradient, wanted, atol=1e-5, err_msg=theirs)
        # A bias of all places cancels in their softmax: its gradient is zero.
        if theirs not in (
            "query_wsum.att.linear.bias",
            "attn.score_func.linear.bias",
        ):
            assert np.abs(wanted).max() > 1e-4


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.endswith("avg")])
def test_turns_dropped_by_the_originals_masks_give_its_scores(variant):
    layer, _, inputs, golden, _ = of_golden(variant)
    turns = layer.turns(*inputs)
    for i in range(3):
        mask = golden[f"train_mask{i}"]
        found = san.mean_of_turns(turns, tf.constant(mask))
        np.testing.assert_allclose(found, golden[f"train_scores{i}"], atol=1e-5)
    assert not np.allclose(golden["train_scores1"], golden["train_scores2"])


def test_turns_are_dropped_as_often_as_the_originals():
    wanted = json.loads((GOLDEN / "meta.json").read_text())[
        "generate_mask_stats_p0.4_turn5"
    ]
    kept = san.kept_turns(40_000, 5, 0.4, tf.constant([3, 4]), "here").numpy()
    np.testing.assert_allclose(np.unique(kept), wanted["values"], atol=1e-6)
    assert (kept > 0).sum(1).min() == wanted["min_kept_per_row"]
    # So is each of the turns: 4 deviations of 40,000 draws are .009.
    np.testing.assert_allclose((kept > 0).mean(0), wanted["expected"], atol=0.009)
    both = ((kept[:, :1] > 0) & (kept[:, 1:2] > 0)).mean()
    # Both drawn; else one forced, the other drawn.
    np.testing.assert_allclose(both, 0.6 * 0.6 * 0.6 + 0.4 * 0.6, atol=0.01)


def test_what_is_dropped_is_a_function_of_step_seed_and_site():
    def draw(step, seed, site):
        return san.kept_turns(64, 5, 0.4, tf.constant([step, seed]), site).numpy()

    first = draw(1, 2, "a")
    np.testing.assert_array_equal(first, draw(1, 2, "a"))
    for other in (draw(2, 2, "a"), draw(1, 3, "a"), draw(1, 2, "b")):
        assert not np.array_equal(first, other)


def tiny_san(dropout_p=0.0, **config):
    layer = SanClassifier(
        C,
        SanConfig(**{"answer_num_turn": K, **config}),
        dropout_p,
        initializer_range=0.5,
        name="san",
    )
    layer.build([None, None, H])
    return layer


def pairs(seed=0):
    """Some rows: four places of the premise, two of the hypothesis, one of padding."""
    x = np.random.default_rng(seed).normal(size=[B, T, H]).astype(np.float32)
    places = np.broadcast_to(np.arange(T), [B, T])
    return x, tf.constant(places < 4), tf.constant((places >= 4) & (places < T - 1))


def test_features_are_dropped_at_all_places_of_a_row():
    layer = tiny_san(0.5)
    dropped = layer._drop(tf.ones([B, T, H]), "x_1", tf.constant([1, 2])).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, np.repeat(dropped[:, :1], T, axis=1))
    assert not np.array_equal(dropped[0], dropped[1])


def test_features_are_dropped_where_the_original_drops_them(monkeypatch):
    layer, sites = tiny_san(0.5, answer_num_turn=2), []
    monkeypatch.setattr(layer, "_drop", lambda x, site, seed: sites.append(site) or x)
    layer.turns(*pairs(), tf.constant([1, 2]))
    # What the premise gives is of the whole one; only its comparison is of a part.
    wanted = ["query", "x_0", "s_0", "merged_0", "state_1", "x_1", "s_1", "merged_1"]
    assert sites == wanted


@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5)])
def test_both_kinds_of_dropout_are_in_training_only(rates):
    layer = tiny_san(rates[0], answer_mem_drop_p=rates[1])
    inputs, plain = pairs(), tiny_san(0.0)
    for ours, theirs in zip(layer.variables, plain.variables, strict=True):
        theirs.assign(ours)
    np.testing.assert_array_equal(layer(*inputs), plain(*inputs))
    one, again, two = (
        layer(*inputs, tf.constant([step, 7])).numpy() for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, two)
    assert not np.allclose(one, layer(*inputs))


@pytest.mark.slow
def test_a_compiled_network_of_mixed_precision_drops_and_computes_the_same():
    config, (x, premise, hypothesis) = SanConfig(2, answer_mem_drop_p=0.5), pairs()
    layer = SanClassifier(C, config, 0.5, dtype="mixed_bfloat16", name="san")
    layer.build([None, None, H])
    compiled = tf.function(layer.call, jit_compile=True, autograph=False)
    arguments = tf.cast(x, tf.bfloat16), premise, hypothesis, tf.constant([1, 2])
    found, wanted = compiled(*arguments), layer.call(*arguments)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["none", "simple", "bilinear"])
def test_what_is_not_of_the_pair_is_never_looked_at(kind):
    layer, (x, premise, hypothesis) = tiny_san(answer_att_type=kind), pairs()
    wanted = layer(x, premise, hypothesis)
    x[:, -1] = 1e4
    np.testing.assert_array_equal(layer(x, premise, hypothesis), wanted)
    x[:, 0] += 1.0
    assert not np.allclose(layer(x, premise, hypothesis), wanted)


def test_a_row_without_a_text_has_scores_and_gradients():
    layer, (x, premise, hypothesis) = tiny_san(), pairs()
    nothing = tf.zeros_like(premise)
    for masks in ((nothing, nothing), (premise, nothing), (nothing, hypothesis)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, *masks))
        gradients = tape.gradient(loss, [v.value for v in layer.variables])
        assert all(np.isfinite(value).all() for value in (loss, *gradients))
    found = layer(x, nothing, nothing)
    np.testing.assert_array_equal(layer(-x, nothing, nothing), found)


def test_a_network_learns_a_batch_by_heart():
    layer, (x, premise, hypothesis) = tiny_san(answer_num_turn=2), pairs()
    labels, optimizer = tf.constant([0, 1, 0]), keras.optimizers.Adam(0.1)
    losses = []
    for _ in range(14):
        with tf.GradientTape() as tape:
            loss = cross_entropy(layer(x, premise, hypothesis), labels)
        found = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply_gradients(zip(found, layer.trainable_variables, strict=True))
        losses.append(float(loss))
    assert losses[0] > 0.3
    assert losses[-1] < 0.06


def test_the_pooler_ends_in_tanh_and_heads_are_affine():
    golden = load("pooler")
    width = golden["w/dense.weight"].shape[0]
    pooler = heads.Pooler(width, name="pooler")
    pooler.build([None, None, width])
    pooler.dense.kernel.assign(golden["w/dense.weight"].T)
    pooler.dense.bias.assign(golden["w/dense.bias"])
    pooled = pooler(tf.constant(golden["hidden_states"]))
    np.testing.assert_allclose(pooled, golden["out_intended_tanh"], atol=1e-5)
    for name, kind, read, wanted in (
        ("cls", "classification", pooled, "logits"),
        ("sim", "regression", pooled, "scores"),
    ):
        weights, bias = golden[f"head_{name}/weight"], golden[f"head_{name}/bias"]
        head = mt_dnn.make_head(HeadConfig(kind, len(bias)), name=name)
        head.build([None, None, width])
        head.output_weights.assign(weights)
        head.output_bias.assign(bias)
        found = head({"pooled_output": read}, None, None)
        np.testing.assert_allclose(found, golden[f"head_{name}/{wanted}"], atol=1e-5)
    scores = golden["head_rank/scores"].reshape(2, 3)
    # The labels were not kept; of all nine pairs only this has the original's loss.
    right, there = tf.constant([1, 2]), tf.ones([2, 3], tf.bool)
    losses = mt_dnn.ranking_losses(scores, right, there)
    wanted = golden["head_rank/loss_pairwise_size3"]
    np.testing.assert_allclose(tf.reduce_mean(losses), wanted, atol=1e-5)


def test_a_ranking_is_the_originals_whatever_room_there_is_for_candidates():
    golden = load("losses")
    wanted = json.loads((GOLDEN / "losses.json").read_text())
    wanted = wanted["ranking_RankCeCriterion_pairwise_size=4"]
    scores = golden["rank_logits"].reshape(3, 4)
    for room in (4, 6):
        padded = np.full([3, room], 99.0, np.float32)  # which would win
        padded[:, :4] = scores
        there = tf.constant(np.broadcast_to(np.arange(room) < 4, [3, room]))
        losses = mt_dnn.ranking_losses(padded, tf.constant([0, 0, 0]), there)
        np.testing.assert_allclose(tf.reduce_mean(losses), wanted, atol=1e-5)
    alone = tf.constant(np.arange(4) < 1)[None]
    losses = mt_dnn.ranking_losses(scores[:1], tf.constant([0]), alone)
    np.testing.assert_allclose(losses, [0.0])


@pytest.mark.parametrize(
    ("kind", "logits", "labels", "wanted"),
    [
        ("single_label", "cls_logits", "cls_labels", "classification_CeCriterion"),
        (
            *("single_label", "cls_logits", "cls_labels_ignore"),
            "classification_CeCriterion_ignore_index=-1",
        ),
        ("regression", "reg_logits", "reg_labels", "regression_MseCriterion"),
    ],
)
def test_the_losses_of_texts_and_pairs_are_the_originals(
    tmp_path, kind, logits, labels, wanted
):
    golden = load("losses")
    found = tiny.task(tmp_path)
    names = {} if kind == "single_label" else {"labels": (), "metrics": ("mse",)}
    config = dataclasses.replace(found.config, output_kind=kind, **names)
    task = ClassificationTask(config, found.system)
    label_ids = golden[labels]
    # What it leaves out has a label of -1 there; here no real example is without one.
    real = label_ids != -1 if kind == "single_label" else np.ones_like(label_ids, bool)
    batch = dict.fromkeys(("input_ids", "input_mask", "segment_ids")) | {
        "label_ids": tf.constant(np.where(real, label_ids, 0)),
        "is_real_example": tf.constant(real),
    }
    sums = task.loss_sums(lambda **_: tf.constant(golden[logits]), batch, None)
    loss = task.total_loss(sums, task.loss_denominators(batch))
    value = json.loads((GOLDEN / "losses.json").read_text())[wanted]
    np.testing.assert_allclose(loss, value, atol=1e-5)


TASKS = {
    "grades": HeadConfig("classification", 3, dropout_p=0.5),
    "pairs": HeadConfig("classification", 2, enable_san=True),
    "score": HeadConfig("regression"),
    "answers": HeadConfig("ranking"),
}


@pytest.fixture(scope="module")
def model():
    return MtDnnModel(tiny.CONFIG, TASKS, seed=3)


def batch(padding=0):
    """Two pairs of other lengths."""
    ids = np.zeros([2, 9 + padding], np.int32)
    mask, segments = np.zeros_like(ids), np.zeros_like(ids)
    for row, (first, second) in enumerate(((4, 5), (3, 3))):
        length = first + second
        ids[row, :length] = 5 + np.arange(length)
        mask[row, :length], segments[row, first:length] = 1, 1
    return tf.constant(ids), tf.constant(mask), tf.constant(segments)


def test_every_head_stands_on_one_encoder(model):
    found = model(*batch())
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        "grades": (2, 3),
        "pairs": (2, 2),
        "score": (2, 1),
        "answers": (2, 1),
    }
    for name, logits in found.items():
        np.testing.assert_array_equal(model(*batch(), task=name), logits)
    encoded = model.bert(*batch())
    head = model.scoring_list.by_task["grades"]
    wanted = encoded["pooled_output"] @ tf.transpose(head.output_weights)
    np.testing.assert_allclose(found["grades"], wanted, atol=1e-6)
    ids, mask, segments = batch()
    masks = (mask == 1) & (segments == 0), (mask == 1) & (segments == 1)
    pair = SanClassifier.call(
        model.scoring_list.by_task["pairs"], encoded["sequence_output"], *masks
    )
    np.testing.assert_allclose(found["pairs"], pair, atol=1e-6)


def test_padding_changes_nothing_under_any_head(model):
    wanted = model(*batch())
    ids, mask, segments = batch(padding=4)
    ids = tf.where(mask == 1, ids, 30)
    for name, found in model(ids, mask, segments).items():
        np.testing.assert_allclose(found, wanted[name], atol=1e-6, err_msg=name)


def test_each_task_has_dropout_of_its_own(model):
    rates = {"grades": 0.5, "pairs": 0.5, "score": 0.0, "answers": 0.5}
    heads = {
        name: dataclasses.replace(head, dropout_p=rates[name])
        for name, head in TASKS.items()
    }
    frozen = MtDnnModel(tiny.CONFIG, heads, frozen_encoder=True, seed=3)
    dropped = frozen(*batch(), dropout_seed=tf.constant([1, 2]))
    for name, whole in model(*batch()).items():
        assert np.array_equal(dropped[name], whole) == (rates[name] == 0), name


def test_names_are_the_tasks_and_initial_weights_do_not_depend_on_other_tasks(model):
    named = modeling.named_variables(model)
    assert "bert/pooler/dense/kernel" in named
    heads = {name for name in named if not name.startswith("bert/")}
    assert {n for n in heads if "pairs" not in n} == {
        f"scoring_list/{task}/output_{part}"
        for task in ("grades", "score", "answers")
        for part in ("weights", "bias")
    }
    assert {n for n in heads if "pairs" in n} == {
        f"scoring_list/pairs/{ours}" for ours in NAMES.values()
    }
    alone = MtDnnModel(tiny.CONFIG, {"pairs": TASKS["pairs"]}, seed=3)
    for name, variable in modeling.named_variables(alone).items():
        np.testing.assert_array_equal(variable, named[name], err_msg=name)
    limit = tiny.CONFIG.hidden_size**-0.5
    cells = named["scoring_list/pairs/rnn/bias_ih"].numpy()
    assert 0.5 * limit < np.abs(cells).max() <= limit


def test_a_model_can_be_made_again_from_its_config(model):
    config = json.loads(json.dumps(model.get_config()))
    again = MtDnnModel.from_config(config)
    assert again.heads == TASKS
    for name, found in again(*batch()).items():
        np.testing.assert_array_equal(found, model(*batch(), task=name))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "span"}, "kind is 'span', wanted classification, regression, ran"),
        ({"n_class": 1}, "n_class of a classification is 1: wanted 2 or more"),
        ({"kind": "ranking"}, "n_class of a ranking is 3: wanted 1"),
        ({"dropout_p": 1.0}, r"dropout_p is 1.0, wanted a number in \[0, 1\)"),
        (
            {"kind": "regression", "n_class": 1, "enable_san": True},
            "enable_san is for classification, not for regression",
        ),
    ],
)
def test_a_head_that_cannot_be_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        HeadConfig(**{"kind": "classification", "n_class": 3, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"answer_num_turn": 0}, "answer_num_turn is 0, wanted a positive whole numb"),
        ({"answer_rnn_type": "rnn"}, "answer_rnn_type is 'rnn', wanted gru, lstm"),
        ({"answer_merge_opt": 2}, "answer_merge_opt is 2, wanted 0, 1"),
        ({"answer_mem_drop_p": 1}, "answer_mem_drop_p is 1, wanted a number in"),
    ],
)
def test_an_answer_network_that_cannot_be_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        SanConfig(**values)
