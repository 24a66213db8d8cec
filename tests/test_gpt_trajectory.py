"""Eight updates of GPT's fine-tuning, against the original's train.py and opt.py."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import checkpoints
import modeling
from modeling.gpt import GptClassifier
from modeling.gpt_config import GptConfig
from optimization import optimizers as optimization
from optimization import schedules
from systems.gpt import gpt_groups

pytestmark = pytest.mark.long


@pytest.fixture
def golden(golden_dir):
    """The reference's settings and losses; its batches and weights."""
    folder = golden_dir / "gpt"
    settings = json.loads((folder / "golden.json").read_text())
    return settings, np.load(folder / "forward.npz"), np.load(folder / "trajectory.npz")


@pytest.fixture
def model(golden, golden_dir):
    """The reference's model before its first update."""
    settings, forward, _ = golden
    names = {field.name for field in dataclasses.fields(GptConfig)}
    config = GptConfig(**{k: v for k, v in settings["config"].items() if k in names})
    made = GptClassifier(config, 1, combine="choice", fused=True)
    variables = modeling.named_variables(made)
    found = checkpoints.open_checkpoint(golden_dir / "gpt")
    in_file = dataclasses.replace(
        config, n_special=0, n_ctx=settings["n_ctx_in_params_file"]
    )
    found = dataclasses.replace(found, config=in_file)
    checkpoints.initialize(
        variables,
        found,
        new={r"clf/.*": "the head"},
        unused={},
        rows=checkpoints.embedding_rows(found, config),
    )
    table = variables["we"].numpy()
    table[config.n_vocab : config.n_vocab + 3] = forward["special_embeddings"]
    variables["we"].assign(table)
    variables["clf/w"].assign(forward["clf_w"])
    variables["clf/b"].assign(forward["clf_b"])
    return made


@pytest.mark.shared_data
def test_eight_updates_follow_openais_trajectory(golden, model):
    settings, _, reference = golden
    wanted = settings["config"]
    variables = modeling.named_variables(model)
    config = optimization.OptimizerConfig(
        "openai_adam",
        wanted["lr"],
        num_warmup_steps=schedules.warmup_steps(
            wanted["lr_schedule"], wanted["n_updates_total"], wanted["lr_warmup"]
        ),
        decay=wanted["lr_schedule"],
        weight_decay=wanted["l2"],
    )
    optimizer = config.build(
        variables,
        wanted["n_updates_total"],
        gpt_groups(wanted["n_layer"], config),
    )

    @tf.function
    def update(step, batch):
        trainable = list(optimizer.trainable.values())
        with tf.GradientTape() as tape:
            outputs = model(batch["X"][..., 0], tf.cast(batch["M"], tf.int32))
            clf = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    batch["Y"], outputs["logits"]
                )
            )
            lm = tf.reduce_mean(outputs["lm_losses"])
            loss = clf + wanted["lm_coef"] * lm
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, trainable)]
        gradients, norm = tf.clip_by_global_norm(gradients, wanted["max_grad_norm"])
        optimizer.apply(gradients, step)
        return clf, lm, norm

    rates = [optimizer.schedule(tf.constant(i)) for i in range(8)]
    np.testing.assert_allclose(rates, settings["lr_before_bias_correction"], atol=1e-9)
    for i, step in enumerate(settings["steps"]):
        batch = {name: tf.constant(reference[f"{name}{i}"]) for name in "XMY"}
        clf, lm, norm = update(tf.constant(i), batch)
        np.testing.assert_allclose(clf, step["clf_loss"], atol=1e-4)
        np.testing.assert_allclose(lm, step["lm_loss"], atol=1e-4)
        np.testing.assert_allclose(norm, step["grad_norm_before_clip"], rtol=1e-4)
    for name, variable in variables.items():
        found, final = variable.numpy(), reference[f"final/model/{name}"]
        if name == "clf/b":
            continue  # its true gradient is zero: rounding, amplified by Adam
        if name.endswith("c_attn/b"):  # and so is that of the keys, in the middle
            width = wanted["n_embd"]
            found, final = (
                np.delete(x, slice(width, 2 * width)) for x in (found, final)
            )
        np.testing.assert_allclose(found, final, atol=5e-6, err_msg=name)
