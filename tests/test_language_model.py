"""Pre-training: the parent's numbers, padded records or not, and honest averages."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_pretraining
from test_training import WithoutDropout, assert_close, weights_of

import modeling
from checkpoints import CheckpointError, google_bert
from data_pipeline import batching, tfrecord
from optimization.optimizers import AdamWeightDecayOptimizer, OptimizerConfig
from systems.bert import BertSystem
from tasks.language_model import MaskedLanguageModelTask
from training.config import TrainingConfig
from training.step import StepConfig, TrainStep
from training.strategy import DistributionConfig, make_strategy
from training.trainer import Trainer

pytestmark = pytest.mark.long

RESULTS = {"loss", "masked_lm_accuracy", "masked_lm_loss", "next_sentence_accuracy"}
RESULTS |= {"next_sentence_loss", "unigram_entropy"}


def build(task, fused=False):
    """Returns the task's model, initialized."""
    model = task.build_model(dtype="float32", fused=fused, seed=3)
    task.initialize(modeling.named_variables(model))
    return model


def batches_of(task, files, batch_size=8):
    """Returns the evaluation batches of files."""
    return list(
        batching.eval_batches(
            files, task.feature_spec, batch_size=batch_size, buckets=task.buckets
        )
    )


def trainer(task, folder, strategy=None, **kwargs):
    """Returns a trainer of the tiny model."""
    config = {
        "num_train_steps": 5,
        "train_batch_size": 8,
        "eval_steps": 0,
        "optimizer": OptimizerConfig(learning_rate=1e-2),
    }
    config = TrainingConfig(str(folder), **(config | kwargs))
    return Trainer(task, strategy or tf.distribute.get_strategy(), config)


def loss_of(task, model, batch):
    sums = task.loss_sums(model, batch, None)
    return float(task.total_loss(sums, task.loss_denominators(batch)))


@pytest.fixture
def golden(golden_dir):
    """The original's folder, arrays and batch."""
    folder = golden_dir / "bert"
    arrays = np.load(folder / "golden.npz")
    return folder, arrays, tiny_pretraining.golden_batch(folder)


@pytest.mark.shared_data
@pytest.mark.parametrize("static", [False, True])
def test_losses_equal_the_originals_with_padding_and_without(golden, static):
    folder, arrays, batch = golden
    assert 0 < arrays["masked_lm_weights"].sum() < arrays["masked_lm_weights"].size
    task = tiny_pretraining.golden_task(folder, static_shapes=static)
    model = build(task, fused=not static)
    assert loss_of(task, model, batch) == pytest.approx(arrays["total_loss"], abs=1e-5)
    predictions = {k: v.numpy() for k, v in task.predict(model, batch).items()}
    scores = task.metrics(predictions)
    assert scores["masked_lm_loss"] == pytest.approx(arrays["mlm_loss"], abs=1e-5)
    assert scores["next_sentence_loss"] == pytest.approx(arrays["nsp_loss"], abs=1e-5)
    guessed = arrays["nsp_log_probs"].argmax(axis=1)
    right = guessed == arrays["next_sentence_labels"][:, 0]
    assert scores["next_sentence_accuracy"] == pytest.approx(right.mean())
    losses = arrays["mlm_example_loss"].reshape(5, 6) * arrays["masked_lm_weights"]
    np.testing.assert_allclose(
        predictions["masked_lm_loss"], losses.sum(axis=1), atol=1e-4
    )


@pytest.mark.shared_data
def test_twelve_updates_of_the_loop_follow_the_parents_trajectory(golden):
    folder, _, batch = golden
    wanted = json.loads((folder / "optimizer_trajectory.json").read_text())
    task = tiny_pretraining.golden_task(folder)
    model = build(task, fused=True)
    config = OptimizerConfig(
        learning_rate=wanted["init_lr"], num_warmup_steps=wanted["num_warmup_steps"]
    )
    optimizer = AdamWeightDecayOptimizer(
        modeling.named_variables(model),
        config.schedule(wanted["num_train_steps"]),
        task.parameter_groups(config),
    )
    updates = TrainStep(task, model, optimizer, StepConfig())
    same = iter(tf.data.Dataset.from_tensors(batch).repeat())
    losses, norms, _ = updates.run(same, tf.constant(12), tf.constant(0))
    np.testing.assert_allclose(norms, wanted["grad_norm_before_clip"], rtol=1e-4)
    losses = [*losses.numpy(), loss_of(task, model, batch)]
    np.testing.assert_allclose(losses, wanted["losses"], rtol=1e-4)
    variables = modeling.named_variables(model)
    for name, (*first, norm) in wanted["final_first4_and_norm"].items():
        if name.endswith("attention/self/key/bias"):
            continue  # its true gradient is zero: rounding, amplified by Adam
        value = variables[name].numpy().ravel()
        assert np.linalg.norm(value) == pytest.approx(norm, rel=1e-4), name
        np.testing.assert_allclose(value[: len(first)], first, atol=2e-4, err_msg=name)


def test_padded_records_of_the_parent_give_the_same_numbers(tmp_path):
    task = tiny_pretraining.task()
    model = build(task)
    found = [
        batches_of(task, [tiny_pretraining.write(tmp_path / name, 19, padded=padded)])
        for name, padded in (("ours", False), ("parents", True))
    ]
    assert len(found[0]) == len(found[1]) == 3
    for ours, parents in zip(*found, strict=True):
        assert ours.keys() == parents.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], parents[name], err_msg=name)
    widths = {batch["input_ids"].shape[1] for batch in found[1]}
    assert min(widths) < tiny_pretraining.MAX_SEQ_LENGTH
    assert all(np.isfinite(loss_of(task, model, batch)) for batch in found[0])


def test_rows_that_fill_a_batch_count_in_no_term(tmp_path):
    task = tiny_pretraining.task()
    model = build(task)
    path = tiny_pretraining.write(tmp_path / "records", 5)
    (filled,) = batches_of(task, [path], batch_size=8)
    (exact,) = batches_of(task, [path], batch_size=5)
    assert loss_of(task, model, filled) == pytest.approx(loss_of(task, model, exact))


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_pieces_equal_the_whole_batch_in_both_terms(tmp_path, replicas):
    # Pieces have as many examples, but not as many masked words.
    task = WithoutDropout(tiny_pretraining.task())
    train = task.train_records([tiny_pretraining.write(tmp_path / "records", 50)])
    whole = trainer(task, tmp_path / "whole")
    whole.train(train, None, {})
    strategy = None
    if replicas == 2:
        strategy = make_strategy(DistributionConfig("mirrored"))
    pieces = {"gradient_accumulation_steps": 4 // replicas}
    split = trainer(task, tmp_path / "split", strategy, **pieces)
    split.train(train, None, {})
    assert_close(weights_of(split), weights_of(whole), atol=3e-5)


def test_padded_words_are_no_part_of_the_loss_and_the_denominator_is_the_parents(
    tmp_path,
):
    task = tiny_pretraining.task()
    model = build(task)
    (batch,) = batches_of(task, [tiny_pretraining.write(tmp_path / "records", 6)], 6)
    weights = batch["masked_lm_weights"].numpy()
    assert 0 < weights.sum() < weights.size
    others = tf.where(weights > 0, batch["masked_lm_ids"], 7)
    assert np.any(others != batch["masked_lm_ids"])
    sums = task.loss_sums(model, batch, None)
    same = task.loss_sums(model, batch | {"masked_lm_ids": others}, None)
    np.testing.assert_array_equal(sums["masked_lm_loss"], same["masked_lm_loss"])
    # A denominator so small that the parent's 1e-5 is seen.
    few = {"masked_lm_loss": tf.constant(1e-5), "next_sentence_loss": tf.constant(6.0)}
    words, order = (float(sums[name]) for name in few)
    total = task.total_loss(sums, few)
    assert float(total) == pytest.approx(words / 2e-5 + order / 6, rel=1e-5)


def test_losses_of_two_halves_add_up_to_the_whole(tmp_path):
    task = tiny_pretraining.task()
    model = build(task)
    (batch,) = batches_of(task, [tiny_pretraining.write(tmp_path / "records", 6)], 6)
    halves = (
        {k: v[part] for k, v in batch.items()} for part in (slice(2), slice(2, 6))
    )
    one, other = (task.loss_sums(model, half, None) for half in halves)
    for name, whole in task.loss_sums(model, batch, None).items():
        np.testing.assert_allclose(one[name] + other[name], whole, rtol=1e-5)


def test_batch_without_a_masked_word_has_the_other_loss_alone(tmp_path):
    task = tiny_pretraining.task()
    model = build(task)
    (batch,) = batches_of(task, [tiny_pretraining.write(tmp_path / "records", 6)], 6)
    batch["masked_lm_weights"] = tf.zeros_like(batch["masked_lm_weights"])
    optimizer = AdamWeightDecayOptimizer(
        modeling.named_variables(model),
        OptimizerConfig().schedule(1),
        task.parameter_groups(OptimizerConfig()),
    )
    updates = TrainStep(task, model, optimizer, StepConfig())
    same = iter(tf.data.Dataset.from_tensors(batch).repeat())
    sums = task.loss_sums(model, batch, None)
    losses, norms, _ = updates.run(same, tf.constant(1), tf.constant(0))
    assert np.isfinite(losses).all()
    assert np.isfinite(norms).all()
    assert float(sums["masked_lm_loss"]) == 0
    total = task.total_loss(sums, task.loss_denominators(batch))
    assert float(total) == pytest.approx(float(sums["next_sentence_loss"]) / 6)


@pytest.mark.whole_steps
def test_tiny_model_learns_words_and_order(tmp_path):
    task = tiny_pretraining.task()
    train = task.train_records([tiny_pretraining.write(tmp_path / "train", 400)])
    dev = task.eval_records([tiny_pretraining.write(tmp_path / "dev", 60, seed=1)])
    run = trainer(
        task,
        tmp_path / "out",
        num_train_steps=400,
        train_batch_size=32,
        optimizer=OptimizerConfig(learning_rate=5e-3, num_warmup_steps=40),
    )
    before = run.evaluate(dev)
    run.train(train, None, {})
    after = run.evaluate(dev)
    assert set(after) == RESULTS
    assert before["masked_lm_loss"] > after["unigram_entropy"]
    assert after["masked_lm_loss"] < after["unigram_entropy"] - 1
    assert after["masked_lm_accuracy"] > 0.9
    assert after["next_sentence_accuracy"] > 0.9
    assert after["loss"] == pytest.approx(
        after["masked_lm_loss"] + after["next_sentence_loss"]
    )


def test_unigram_entropy_is_that_of_the_real_masked_words():
    zeros = np.zeros(2, np.float32)
    names = ("masked_lm_loss", "masked_lm_right", "next_sentence_loss")
    predictions = dict.fromkeys((*names, "next_sentence_right"), zeros)
    predictions["masked_lm_ids"] = np.array([[7, 7, 0], [7, 9, 0]])
    predictions["masked_lm_weights"] = np.array([[1, 1, 0], [1, 1, 0]], np.float32)
    got = tiny_pretraining.task().metrics(predictions)["unigram_entropy"]
    assert got == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_evaluation_may_stop_after_the_first_examples(tmp_path):
    task = tiny_pretraining.task()
    files = [tiny_pretraining.write(tmp_path / f"{i}", 11, seed=i) for i in range(2)]
    run = trainer(task, tmp_path / "out")
    everything = run.predict(task.eval_records(files), 8)
    some = run.predict(task.eval_records(files, max_examples=13), 8)
    assert len(everything["masked_lm_loss"]) == 22
    assert len(some["masked_lm_loss"]) == 13
    for name, values in some.items():
        np.testing.assert_allclose(values, everything[name][:13], atol=1e-5)
    assert task.eval_records(files, max_examples=100).num_examples == 22


def test_two_mirrored_devices_score_as_one(tmp_path):
    task = tiny_pretraining.task()
    dev = task.eval_records([tiny_pretraining.write(tmp_path / "dev", 13)])
    one = trainer(task, tmp_path / "one").evaluate(dev)
    mirrored = make_strategy(DistributionConfig("mirrored"))
    two = trainer(task, tmp_path / "two", mirrored).evaluate(dev)
    assert two == pytest.approx(one, rel=1e-5)


def test_records_that_do_not_fit_the_flags_are_named(tmp_path):
    path = tiny_pretraining.write(tmp_path / "padded", 3, padded=True)
    system = BertSystem(tiny.CONFIG)
    for length, predictions, message in (
        (24, 3, r"padded: record 0 has length 4, but --max_predictions_per_seq=3"),
        (9, 4, r"padded: record \d has length \d+, but --max_seq_length=9"),
    ):
        task = MaskedLanguageModelTask(system, length, predictions)
        with pytest.raises(ValueError, match=message):
            task.train_records([path])
    with pytest.raises(ValueError, match=r"--max_seq_length=41.*embeddings=40"):
        MaskedLanguageModelTask(system, 41, 4)


def test_files_without_pretraining_examples_are_named(tmp_path):
    task = tiny_pretraining.task()
    good = tiny_pretraining.write(tmp_path / "good", 3)
    (tmp_path / "text").write_text("This is no TFRecord file, but it is long enough.")
    tfrecord.write(str(tmp_path / "empty"), [])
    row = next(tiny_pretraining.rows(1))
    del row["next_sentence_labels"]
    record = tiny_pretraining.to_example(row)
    tfrecord.write(str(tmp_path / "other"), [record])
    for name, message in (
        ("text", "text: no TFRecord file"),
        ("empty", "empty holds no examples"),
        ("other", r"other: no examples of .*next_sentence_labels"),
    ):
        with pytest.raises(ValueError, match=message):
            task.train_records([good, str(tmp_path / name)])


def test_heads_that_a_checkpoint_lacks_are_new_but_half_a_head_is_an_error(tmp_path):
    model = build(tiny_pretraining.task())
    tensors = {k: v.numpy() for k, v in modeling.named_variables(model).items()}

    def load(lacking, extra=()):
        kept = {k: v for k, v in tensors.items() if not k.startswith(lacking)}
        kept |= dict.fromkeys(extra, np.zeros(2, np.float32))
        prefix = str(tmp_path / "some.ckpt")
        google_bert.save(prefix, kept)
        other = tiny_pretraining.task(init_checkpoint=prefix)
        made = other.build_model(dtype="float32", fused=False, seed=8)
        fresh = weights_of_model(made)
        other.initialize(modeling.named_variables(made))
        for name, value in weights_of_model(made).items():
            wanted = fresh if name.startswith(lacking) else tensors
            np.testing.assert_array_equal(value, wanted[name], err_msg=name)

    load(("nothing",))
    load(("cls/",), extra=("output_weights", "output_bias", "cls/squad/output_bias"))
    load(("cls/seq_relationship/", "bert/pooler/"))
    for part in ("cls/predictions/transform", "bert/encoder/layer_0/output"):
        with pytest.raises(CheckpointError, match=rf"missing: {part}"):
            load((part,))


def weights_of_model(model):
    return {k: v.numpy() for k, v in modeling.named_variables(model).items()}
