"""Optimizer, schedules and parameter groups, against the parent and other libraries."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_pretraining

import modeling
from optimization import groups as parameter_groups
from optimization import optimizers as optimization
from optimization import schedules
from systems.bert import encoder_groups
from systems.gpt import gpt_groups
from training import strategy as distribution

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/gpt"


def one_group(**kwargs):
    return [parameter_groups.ParameterGroup("", **kwargs)]


def minimize(optimizer, gradients, steps):
    for step in range(steps):
        optimizer.apply([tf.constant(g) for g in gradients], tf.constant(step))


@pytest.mark.shared_data
def test_twelve_updates_follow_the_parents_trajectory(golden_dir):
    folder = golden_dir / "bert"
    golden = json.loads((folder / "optimizer_trajectory.json").read_text())
    batch = tiny_pretraining.golden_batch(folder)
    task = tiny_pretraining.golden_task(folder)
    model = task.build_model(dtype="float32", fused=True, seed=0)
    variables = modeling.named_variables(model)
    task.initialize(variables)
    adam = golden["adam"]
    optimizer = optimization.AdamWeightDecayOptimizer(
        variables,
        schedules.Schedule(
            golden["init_lr"], golden["num_train_steps"], golden["num_warmup_steps"]
        ),
        one_group(weight_decay=adam["weight_decay_rate"]),
        beta_1=adam["beta_1"],
        beta_2=adam["beta_2"],
        epsilon=adam["epsilon"],
    )

    def total_loss():
        sums = task.loss_sums(model, batch, None)
        return task.total_loss(sums, task.loss_denominators(batch))

    @tf.function
    def update(step):
        trainable = list(optimizer.trainable.values())
        with tf.GradientTape() as tape:
            loss = total_loss()
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, trainable)]
        gradients, norm = tf.clip_by_global_norm(gradients, 1.0)
        optimizer.apply(gradients, step)
        return loss, norm

    losses, norms = zip(
        *(update(tf.constant(k)) for k in range(len(golden["learning_rate_used"]))),
        strict=True,
    )
    rates = [optimizer.schedule(tf.constant(k)) for k in range(len(losses))]
    np.testing.assert_allclose(rates, golden["learning_rate_used"], rtol=1e-6)
    np.testing.assert_allclose(norms, golden["grad_norm_before_clip"], rtol=1e-4)
    np.testing.assert_allclose([*losses, total_loss()], golden["losses"], rtol=1e-4)
    for name, (*first, norm) in golden["final_first4_and_norm"].items():
        if name.endswith("attention/self/key/bias"):
            continue  # its true gradient is zero: rounding, amplified by Adam
        value = variables[name].numpy().ravel()
        assert np.linalg.norm(value) == pytest.approx(norm, rel=1e-4), name
        np.testing.assert_allclose(value[: len(first)], first, atol=2e-4, err_msg=name)


@pytest.mark.compiled
def test_adamw_follows_the_papers_algorithm():
    # Loshchilov and Hutter 2019, algorithm 2, computed in float64.
    rng = np.random.default_rng(3)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    gradient = rng.normal(size=(4, 3)).astype(np.float32)
    variable = tf.Variable(start)
    optimizer = optimization.AdamWeightDecayOptimizer(
        {"w": variable},
        schedules.Schedule(0.1, 100, decay="constant"),
        one_group(weight_decay=0.3),
        epsilon=1e-3,
        bias_correction=True,
    )
    minimize(optimizer, [gradient], 5)
    w, m, v = start.astype(np.float64), 0.0, 0.0
    for t in range(1, 6):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient.astype(np.float64) ** 2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-3)
        w = w - 0.1 * (step + 0.3 * w)
    np.testing.assert_allclose(variable.numpy(), w, atol=2e-6)


@pytest.mark.compiled
def test_openais_adam_follows_its_formulas():
    # openai/finetune-transformer-lm, opt.py, computed in float64.
    rng = np.random.default_rng(4)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    gradient = rng.normal(size=(4, 3)).astype(np.float32)
    variable = tf.Variable(start)
    optimizer = optimization.OpenAIAdamOptimizer(
        {"w": variable},
        schedules.Schedule(0.1, 100, decay="warmup_constant"),
        one_group(weight_decay=0.3),
        epsilon=1e-3,
    )
    minimize(optimizer, [gradient], 5)
    w, m, v = start.astype(np.float64), 0.0, 0.0
    for t in range(1, 6):
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient.astype(np.float64) ** 2
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        w = w - rate * (m / (np.sqrt(v) + 1e-3) + 0.3 * w)
    np.testing.assert_allclose(variable.numpy(), w, atol=2e-6)


@pytest.mark.compiled
def test_adamax_follows_its_paper_torch_and_keras():
    # Gradients that grow, shrink and vanish: the maximum is the new one or the old one.
    rng = np.random.default_rng(5)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    scales = (1.0, 3.0, 0.01, 0.0, 0.5, 2.0, 0.0)
    gradients = [(rng.normal(size=(4, 3)) * s).astype(np.float32) for s in scales]
    gradients[0][0] = 0.0  # as in rows of embeddings that are read late
    config = optimization.OptimizerConfig("adamax", 0.1, decay="constant")
    variable, undecayed = tf.Variable(start), tf.Variable(start)
    keras_variable = keras.Variable(start)
    theirs = keras.optimizers.Adamax(0.1, 0.9, 0.999, 1e-8)
    optimizer = config.build({"w": variable}, 10, one_group(weight_decay=0.3))
    plain = config.build({"w": undecayed}, 10, one_group())
    w, m, u = start.astype(np.float64), 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        for ours in (optimizer, plain):
            ours.apply([tf.constant(gradient)], tf.constant(t - 1))
        theirs.apply([tf.constant(gradient)], [keras_variable])
        # mt_dnn/optim.py, in float64: torch's Adamax after a decay of its own.
        w = w * (1 - 0.1 * 0.3)
        m = 0.9 * m + 0.1 * gradient
        u = np.maximum(0.999 * u, np.abs(gradient.astype(np.float64)) + 1e-8)
        w = w - 0.1 / (1 - 0.9**t) * m / u
    np.testing.assert_allclose(variable.numpy(), w, atol=2e-6)
    np.testing.assert_allclose(undecayed.numpy(), keras_variable.numpy(), atol=2e-6)


@pytest.mark.parametrize("kind", optimization.OPTIMIZERS)
def test_a_config_builds_the_optimizer_that_it_names(kind):
    # At the first update they differ most: g / (sqrt(v) + epsilon) by constants.
    config = optimization.OptimizerConfig(kind, 0.1, decay="constant")
    variable = tf.Variable([[1.0]])
    optimizer = config.build({"w": variable}, 10, one_group(weight_decay=0.5))
    minimize(optimizer, [[[2.0]]], 1)
    m, v, corrected = 0.1 * 2, 0.001 * 4, 0.001**0.5 / 0.1
    expected = {
        "adam_weight_decay": 1 - 0.1 * (m / v**0.5 + 0.5),
        "adamw": 1 - 0.1 * (1 + 0.5),
        "openai_adam": 1 - 0.1 * corrected * (m / v**0.5 + 0.5),
        "adagrad": 1 - 0.1 * 2 / (1 + 4) ** 0.5,  # no decay
        "ulmfit_adam": 1 - 0.1 * (1 + 0.5),
        "xlm_adam": 1 - 0.1 * (1 + 0.5),
        "adamax": 1 - 0.1 * (1 + 0.5),
    }
    np.testing.assert_allclose(variable.numpy(), [[expected[kind]]], rtol=1e-4)


def test_an_update_of_rows_is_that_of_the_whole_table():
    start = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows = tf.IndexedSlices([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]], [2, 0])
    whole = tf.scatter_nd([[2], [0]], rows.values, start.shape)
    found = []
    for gradient in (rows, whole):
        variable = tf.Variable(start)
        optimizer = optimization.AdagradOptimizer(
            {"w": variable}, schedules.Schedule(0.1, 10, decay="constant"), one_group()
        )
        for step in range(2):
            optimizer.apply([gradient], tf.constant(step), factor=0.5)
        found.append((variable.numpy(), optimizer.slots["w/Adagrad"].numpy()))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    np.testing.assert_array_equal(found[0][0][[1, 3]], start[[1, 3]])
    assert (found[0][0][[0, 2]] != start[[0, 2]]).all()


def test_ulmfits_adam_remembers_as_its_paper_says():
    config = optimization.OptimizerConfig("ulmfit_adam", 0.1, decay="constant")
    variable = tf.Variable([[1.0]])
    optimizer = config.build({"w": variable}, 10, one_group())
    for step, gradient in enumerate((2.0, -1.0)):
        optimizer.apply([tf.constant([[gradient]])], tf.constant(step))
    m = (0.7 * 0.3 * 2 - 0.3 * 1) / (1 - 0.7**2)
    v = (0.99 * 0.01 * 4 + 0.01 * 1) / (1 - 0.99**2)
    wanted = 1 - 0.1 - 0.1 * m / v**0.5
    np.testing.assert_allclose(variable.numpy(), [[wanted]], rtol=1e-5)


def test_what_is_trained_later_begins_then_as_if_there_had_been_no_update():
    group = parameter_groups.ParameterGroup
    schedule = schedules.Schedule(0.1, 10, decay="constant")
    one, late = tf.Variable([[1.0]]), tf.Variable([[1.0]])
    optimizer = optimization.AdamWeightDecayOptimizer(
        {"one": one, "late": late},
        schedule,
        [group("late", 0.5, first_step=2), group("one", 0.5)],
        bias_correction=True,
    )
    at_first = None
    for step in range(5):
        gradients = [tf.constant([[3.0]]), tf.constant([[2.0]])]
        thawed = optimizer.thawed(gradients, tf.constant(step))
        assert [float(g[0, 0]) for g in thawed] == [3.0, 2.0 if step >= 2 else 0.0]
        optimizer.apply(thawed, tf.constant(step))
        if step == 1:
            assert late.numpy() == 1
            assert not any(
                slot.numpy().any()
                for name, slot in optimizer.slots.items()
                if name.startswith("late")
            )
        if step == 2:
            at_first = one.numpy()
    # Adam's steps do not depend on the gradient's size: after three updates each.
    np.testing.assert_allclose(late.numpy(), at_first, rtol=1e-6)


def test_an_unknown_optimizer_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="'sgd'.*openai_adam"):
        optimization.OptimizerConfig("sgd")


@pytest.mark.compiled
def test_the_compiled_pass_is_tensorflows_adam_after_clipping_and_decay():
    rng = np.random.default_rng(6)
    start = rng.normal(size=(5, 7)).astype(np.float32)
    variable, theirs = tf.Variable(start), tf.Variable(start)
    m, v = tf.Variable(tf.zeros([5, 7])), tf.Variable(tf.zeros([5, 7]))
    optimizer = optimization.AdamWeightDecayOptimizer(
        {"w": variable},
        schedules.Schedule(0.1, 10, decay="constant"),
        one_group(weight_decay=0.3),
    )
    for step in range(6):
        gradient = tf.constant(rng.normal(size=(5, 7)), tf.float32)
        optimizer.apply([gradient], tf.constant(step), factor=tf.constant(0.25))
        theirs.assign_sub(0.1 * 0.3 * theirs)
        tf.raw_ops.ResourceApplyAdam(
            **{"var": theirs.handle, "m": m.handle, "v": v.handle},
            **{"beta1_power": 0.0, "beta2_power": 0.0, "lr": 0.1},
            **{"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6},
            grad=0.25 * gradient,
        )
    np.testing.assert_allclose(variable.numpy(), theirs.numpy(), atol=1e-6)
    np.testing.assert_allclose(optimizer.slots["w/adam_m"].numpy(), m, rtol=1e-5)
    np.testing.assert_allclose(optimizer.slots["w/adam_v"].numpy(), v, rtol=1e-5)


@pytest.mark.compiled
def test_replicas_update_each_variable_of_one_shape_by_its_own_gradient():
    def updated(strategy):
        with strategy.scope():
            variables = {name: tf.Variable(tf.ones([2, 3])) for name in "abc"}
            optimizer = optimization.AdamWeightDecayOptimizer(
                variables, schedules.Schedule(0.1, 10, decay="constant"), one_group()
            )
        gradients = [tf.constant(g, shape=[2, 3]) for g in (1.0, -2.0, 3.0)]
        update = tf.function(lambda: optimizer.apply(gradients, tf.constant(0)))
        for _ in range(2):
            strategy.run(update)
        return [v.numpy() for v in variables.values()]

    config = distribution.DistributionConfig("mirrored")
    two = updated(distribution.make_strategy(config))
    np.testing.assert_array_equal(two, updated(tf.distribute.get_strategy()))


def test_disabled_update_changes_nothing():
    variable = tf.Variable([1.0, 2.0, 3.0])
    optimizer = optimization.AdamWeightDecayOptimizer(
        {"w": variable}, schedules.Schedule(0.1, 10, decay="constant"), one_group()
    )
    apply = tf.function(optimizer.apply)
    apply([tf.ones(3)], tf.constant(0), tf.constant(False))
    np.testing.assert_array_equal(variable.numpy(), [1.0, 2.0, 3.0])
    assert not any(slot.numpy().any() for slot in optimizer.slots.values())
    apply([tf.ones(3)], tf.constant(0), tf.constant(True))
    assert (variable.numpy() < [1.0, 2.0, 3.0]).all()


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("linear", [0.0, 1.0, 1.6, 1.0, 0.0, 0.0]),
        ("cosine", [0.0, 1.0, 1.80901699, 1.0, 0.0, 0.0]),
        ("constant", [0.0, 1.0, 2.0, 2.0, 2.0, 2.0]),
    ],
)
def test_schedules_warm_up_then_decay_from_step_zero(decay, expected):
    schedule = schedules.Schedule(2.0, 10, 2, decay)
    rates = [float(schedule(tf.constant(step))) for step in (0, 1, 2, 5, 10, 13)]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


@pytest.mark.parametrize("decay", ["cosine", "constant", "linear"])
@pytest.mark.parametrize(("warmup", "num_warmup_steps"), [("0.002", 2), ("0.1", 100)])
def test_openais_schedules_give_their_values(decay, warmup, num_warmup_steps):
    golden = json.loads((GOLDEN / "schedules.json").read_text())
    schedule = schedules.Schedule(1.0, 1000, num_warmup_steps, f"warmup_{decay}")
    rates = [float(schedule(tf.constant(round(1000 * x)))) for x in golden["x"]]
    np.testing.assert_allclose(rates, golden[f"warmup_{decay}"][warmup], atol=1e-6)


@pytest.mark.shared_data
def test_the_slanted_triangle_is_the_papers(golden_dir):
    golden = json.loads((golden_dir / "ulmfit" / "golden.json").read_text())
    for case in golden["stlr"]:
        number = schedules.warmup_steps("slanted", case["T"], case["cut_frac"])
        schedule = schedules.Schedule(case["lr_max"], case["T"], number, "slanted")
        rates = [float(schedule(tf.constant(step))) for step in range(case["T"])]
        np.testing.assert_allclose(rates, case["values"], atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 19, 25])
def test_a_slanted_triangle_of_any_size_stays_between_its_rates(steps):
    number = schedules.warmup_steps("slanted", steps, 0.1)
    schedule = schedules.Schedule(0.32, steps, number, "slanted")
    rates = [float(schedule(tf.constant(step))) for step in range(steps + 1)]
    assert rates[0] == pytest.approx(0.01)
    assert min(rates) >= 0.01 - 1e-7
    assert max(rates) <= 0.32 + 1e-7
    assert steps == 1 or max(rates) == pytest.approx(0.32)


def openais_rate(x, warmup, decay):
    """The factor on the rate at a share x of the run: opt.py, in numpy."""
    if decay == "linear":
        return (x / warmup if x <= warmup else 1) * (1 - x)
    if x <= warmup:
        return x / warmup
    return 0.5 * (1 + np.cos(np.pi * x)) if decay == "cosine" else 1


@pytest.mark.parametrize("decay", ["cosine", "constant", "linear"])
@pytest.mark.parametrize("steps", [16, 20, 30, 750])
@pytest.mark.parametrize("warmup", [0.002, 0.07, 0.1, 0.3])
def test_openais_warm_up_ends_at_a_share_of_the_run(decay, steps, warmup):
    name = f"warmup_{decay}"
    number = schedules.warmup_steps(name, steps, warmup)
    schedule = schedules.Schedule(1.0, steps, number, name)
    shown = range(min(steps, 60))
    rates = [float(schedule(tf.constant(step))) for step in shown]
    wanted = [openais_rate(step / steps, warmup, decay) for step in shown]
    np.testing.assert_allclose(rates, wanted, atol=1e-6)
    assert schedules.warmup_steps(decay, 16, 0.1) == 1  # as the parent cuts it


BERT_NAMES = [
    "bert/embeddings/word_embeddings",
    "bert/embeddings/LayerNorm/gamma",
    "bert/encoder/layer_0/output/dense/kernel",
    "bert/encoder/layer_0/output/dense/bias",
    "bert/encoder/layer_1/output/dense/kernel",
    "bert/encoder/layer_1/output/dense/bias",
    "bert/pooler/dense/kernel",
    "bert/pooler/dense/bias",
    "output_weights",
    "output_bias",
]


def named(names):
    """Variables of these names: biases and gains are vectors, all others matrices."""
    vectors = ("bias", "gamma", "/b", "/g")
    ranks = {name: 1 if name.endswith(vectors) else 2 for name in names}
    return {name: tf.Variable(tf.zeros([1] * rank)) for name, rank in ranks.items()}


def groups_of(config):
    groups = encoder_groups(2, config)
    return parameter_groups.assign_groups(named(BERT_NAMES), groups)


def test_layer_norms_and_biases_do_not_decay():
    groups = groups_of(optimization.OptimizerConfig(weight_decay=0.2))
    decayed = {name for name, group in groups.items() if group.weight_decay == 0.2}
    assert decayed == {n for n in BERT_NAMES if "bias" not in n and "Norm" not in n}


def test_layer_decay_slows_lower_layers_geometrically():
    groups = groups_of(optimization.OptimizerConfig(layer_decay=0.5))
    assert {name: group.lr_multiplier for name, group in groups.items()} == {
        "bert/embeddings/word_embeddings": 0.125,
        "bert/embeddings/LayerNorm/gamma": 0.125,
        "bert/encoder/layer_0/output/dense/kernel": 0.25,
        "bert/encoder/layer_0/output/dense/bias": 0.25,
        "bert/encoder/layer_1/output/dense/kernel": 0.5,
        "bert/encoder/layer_1/output/dense/bias": 0.5,
        "bert/pooler/dense/kernel": 1.0,
        "bert/pooler/dense/bias": 1.0,
        "output_weights": 1.0,
        "output_bias": 1.0,
    }


def test_frozen_encoder_trains_the_head_alone():
    groups = groups_of(optimization.OptimizerConfig(finetune_encoder=False))
    trained = {name for name, group in groups.items() if group.trainable}
    assert trained == {"output_weights", "output_bias"}


GPT_NAMES = [
    "we",
    "h0/attn/c_attn/w",
    "h0/attn/c_attn/b",
    "h1/ln_2/g",
    "h1/mlp/c_fc/w",
    "h1/mlp/c_fc/b",
]
GPT_HEAD = ["clf/w", "clf/b"]


def gpt_groups_of(names, **kwargs):
    config = optimization.OptimizerConfig(**kwargs)
    groups = gpt_groups(2, config)
    return parameter_groups.assign_groups(named(names), groups)


@pytest.mark.parametrize("head", [[], GPT_HEAD], ids=["language model", "classifier"])
def test_matrices_of_gpt_decay_and_vectors_do_not(head):
    groups = gpt_groups_of(GPT_NAMES + head, weight_decay=0.2)
    decay = {name: group.weight_decay for name, group in groups.items()}
    matrices = {"we", "h0/attn/c_attn/w", "h1/mlp/c_fc/w", "clf/w"}
    assert decay == {n: 0.2 if n in matrices else 0.0 for n in decay}
    assert {group.lr_multiplier for group in groups.values()} == {1.0}


def test_layer_decay_slows_lower_layers_of_gpt_geometrically():
    groups = gpt_groups_of(GPT_NAMES + GPT_HEAD, layer_decay=0.5)
    factors = {name: group.lr_multiplier for name, group in groups.items()}
    layers = {"we": 0.125, "h0": 0.25, "h1": 0.5, "clf": 1.0}
    assert factors == {name: layers[name.split("/")[0]] for name in factors}


def test_frozen_gpt_trains_the_head_alone():
    groups = gpt_groups_of(GPT_NAMES + GPT_HEAD, finetune_encoder=False)
    assert [name for name, group in groups.items() if group.trainable] == GPT_HEAD


def test_variable_without_group_and_group_without_variable_are_errors():
    group = parameter_groups.ParameterGroup
    with pytest.raises(ValueError, match="no parameter group matches 'b'"):
        parameter_groups.assign_groups(named(["a", "b"]), [group("a")])
    with pytest.raises(ValueError, match=r"match no variable: \['c'\]"):
        parameter_groups.assign_groups(named(["a"]), [group("a"), group("c")])


def test_everything_frozen_is_an_error():
    with pytest.raises(ValueError, match="nothing to train"):
        optimization.AdamWeightDecayOptimizer(
            {"w": tf.Variable([1.0])},
            schedules.Schedule(0.1, 10),
            one_group(trainable=False),
        )


def test_a_coefficient_goes_straight_from_value_to_value():
    down = schedules.Coefficient.parse("0:0,1000:0,2000:1")
    found = [
        float(down(tf.constant(step))) for step in (0, 999, 1000, 1250, 2000, 9999)
    ]
    assert found == pytest.approx([0, 0, 0, 0.25, 1, 1])
    assert found[:3] == [0, 0, 0]
    assert float(schedules.Coefficient.parse("0.7")(tf.constant(5))) == pytest.approx(
        0.7
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "wanted a number, or steps as in 0:1,1000:0"),
        ("1,2", "wanted a number, or steps"),
        ("0:1,1:2:3", "wanted a number, or steps"),
        ("0:1,0.5:2", "wanted a number, or steps"),
        ("5:1,9:0", "wanted steps that begin with 0 and ascend"),
        ("0:1,9:0,9:1", "wanted steps that begin with 0 and ascend"),
        ("-1", "wanted values of 0 or more"),
        ("0:1,9:inf", "wanted values of 0 or more"),
        ("nan", "wanted values of 0 or more"),
    ],
)
def test_what_is_no_coefficient_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        schedules.Coefficient.parse(text)
