"""The training loop: what it promises of numbers, of resuming and of stopping."""

import dataclasses
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import tiny

import checkpoints
import folder_lock
import modeling
import processes
from data_pipeline import batching
from optimization.optimizers import OptimizerConfig
from tasks.classification import ClassificationTask
from tasks.encoder import find_task_file
from training import state
from training.config import TrainingConfig
from training.run import Data, Run
from training.strategy import DistributionConfig, make_strategy
from training.trainer import BEST, Trainer

pytestmark = pytest.mark.long

STEPS = 6


class WithoutDropout:
    """A task whose losses are a function of weights and batch alone."""

    def __init__(self, task):
        self._task = task

    def __getattr__(self, name):
        return getattr(self._task, name)

    def loss_sums(self, model, batch, dropout_seed):
        """As the task's, with dropout off."""
        del dropout_seed
        return self._task.loss_sums(model, batch, None)


class Tiny:
    """A tiny task with its data, and trainers of it."""

    def __init__(self, folder, **kwargs):
        self.folder = folder
        self.task = tiny.task(folder, **kwargs)
        self.train = self.task.records("train", tiny.examples(50), str(folder))
        self.dev = self.task.records("eval", tiny.examples(37, 1), str(folder))

    def trainer(self, name, strategy=None, task=None, **kwargs):
        """Returns a trainer whose output folder is `name`."""
        output = self.folder / name
        output.mkdir(exist_ok=True)
        config = TrainingConfig(
            **{
                "output_dir": str(output),
                "num_train_steps": STEPS,
                "train_batch_size": 8,
                "eval_steps": 0,
                "optimizer": OptimizerConfig(learning_rate=1e-2),
                "seed": 5,
                **kwargs,
            }
        )
        strategy = strategy or tf.distribute.get_strategy()
        return Trainer(task or self.task, strategy, config)

    def weights(self, name, **kwargs):
        """Trains and returns the weights by name."""
        trainer = self.trainer(name, **kwargs)
        trainer.train(self.train, None, {})
        return weights_of(trainer)


def weights_of(trainer):
    variables = modeling.named_variables(trainer.model)
    return {name: variable.numpy() for name, variable in variables.items()}


def assert_close(left, right, **tolerance):
    assert left.keys() == right.keys()
    for name in left:
        if name.endswith("key/bias"):
            continue  # its true gradient is zero: rounding, amplified by Adam
        np.testing.assert_allclose(left[name], right[name], err_msg=name, **tolerance)


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def tensors(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
    }


@pytest.fixture
def run(tmp_path):
    return Tiny(tmp_path)


@pytest.fixture
def static(tmp_path):
    """All batches have one shape, which is compiled once."""
    return Tiny(tmp_path, static_shapes=True)


@pytest.mark.compiled
def test_two_mirrored_devices_equal_one(static):
    task = WithoutDropout(static.task)
    mirrored = make_strategy(DistributionConfig("mirrored"))
    assert mirrored.num_replicas_in_sync == 2
    one = static.weights("one", task=task)
    assert_close(static.weights("two", strategy=mirrored, task=task), one, atol=2e-5)


def test_two_mirrored_devices_score_every_example_once(run):
    one = run.trainer("one").predict(run.dev, 8)
    mirrored = make_strategy(DistributionConfig("mirrored"))
    two = run.trainer("two", strategy=mirrored).predict(run.dev, 8)
    assert len(one["probabilities"]) == run.dev.num_examples
    np.testing.assert_allclose(one["probabilities"], two["probabilities"], atol=1e-6)
    np.testing.assert_array_equal(one["label_ids"], two["label_ids"])


@pytest.mark.whole_steps
def test_an_evaluation_makes_one_graph_of_all_lengths(run):
    trainer, traced = run.trainer("one"), []
    evaluator = trainer._evaluators[""]
    predict = evaluator._predict_replica
    evaluator._predict_replica = lambda batch: traced.append(batch) or predict(batch)
    trainer.predict(run.dev, 2)
    trainer.predict(run.dev, 2)
    assert [batch["input_ids"].shape.as_list() for batch in traced] == [[2, None]]


def test_replicas_draw_different_dropout_masks(run):
    mirrored = make_strategy(DistributionConfig("mirrored"))
    trainer = run.trainer("two", strategy=mirrored)
    with mirrored.scope():
        trainer.initialize()
        updates = trainer._make_updates()
    batch = next(iter(trainer._batches(run.train, 0)))
    # The same rows on both replicas: only dropout can tell them apart.
    first = mirrored.experimental_local_results(batch["input_ids"])[0]

    @tf.function
    def losses():
        def replica():
            context = tf.distribute.get_replica_context()
            rows = {
                "input_ids": first,
                "input_mask": tf.ones_like(first),
                "segment_ids": tf.zeros_like(first),
                "label_ids": tf.zeros(first.shape[0], tf.int32),
                "is_real_example": tf.ones(first.shape[0], tf.int32),
            }
            seed = tf.stack([7, context.replica_id_in_sync_group])
            return run.task.loss_sums(trainer.model, rows, seed)["loss"]

        return mirrored.run(replica)

    del updates
    left, right = mirrored.experimental_local_results(losses())
    assert abs(float(left) - float(right)) > 1e-4


@pytest.mark.parametrize("pieces", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_accumulated_pieces_equal_the_bigger_batch(run, pieces):
    task = WithoutDropout(run.task)
    whole = run.weights("whole", task=task)
    split = run.weights("split", task=task, gradient_accumulation_steps=pieces)
    assert_close(split, whole, atol=2e-5)


def test_accumulated_pieces_draw_different_masks(run):
    # With one mask for all pieces, dropout at a high rate would be visible as equal
    # updates of equal rows; here it is enough that splitting changes the result.
    whole = run.weights("whole")
    split = run.weights("split", gradient_accumulation_steps=2)
    assert any(not np.allclose(whole[n], split[n], atol=1e-4) for n in whole)


def test_batches_by_pieces_resume_and_are_parted_as_others(run):
    options = {
        "num_train_steps": 3,
        "train_batch_pieces": 70,
        "train_batch_size": 70 / run.task.lengths(run.train).mean(),
        "task": WithoutDropout(run.task),
    }
    kept = {"keep_checkpoint_max": 0, "keep_optimizer": "all"}
    one = run.weights("one", save_checkpoints_steps=1, **kept, **options)
    for file in (run.folder / "one").glob("model.ckpt-[23].*"):
        file.unlink()
    assert_equal(run.weights("one", **options), one)
    mirrored = make_strategy(DistributionConfig("mirrored"))
    options["gradient_accumulation_steps"] = 3
    assert_close(run.weights("two", strategy=mirrored, **options), one, atol=2e-5)


@pytest.mark.compiled
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(static):
    whole = static.trainer("whole", save_checkpoints_steps=1000)
    whole.train(static.train, None, {})
    options = {"keep_checkpoint_max": 0, "keep_optimizer": "all"}
    part = static.trainer("parts", save_checkpoints_steps=2, **options)
    part.train(static.train, None, {})
    folder = static.folder / "parts"
    for file in folder.glob(f"model.ckpt-{STEPS}.*"):  # as if killed after step 4
        file.unlink()
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-4"\n')
    resumed = static.trainer("parts", save_checkpoints_steps=1000)
    resumed.train(static.train, None, {})
    assert_equal(weights_of(resumed), weights_of(whole))
    last = f"model.ckpt-{STEPS}"
    assert_equal(tensors(folder / last), tensors(static.folder / "whole" / last))


def test_same_seed_same_bytes_other_seed_other_weights(run):
    first, again = run.weights("first"), run.weights("again")
    other = run.weights("other", seed=6)
    assert_equal(first, again)
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.compiled
def test_step_compiles_under_xla_with_static_shapes(static):
    xla = static.weights("xla", jit_compile=True)
    # Dropout draws integers, so its masks are the same in both.
    assert_close(xla, static.weights("plain"), atol=2e-4)


@pytest.mark.slow
def test_mixed_precision_keeps_float32_variables_and_learns(run):
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2)
    task = WithoutDropout(tiny.task(run.folder, config=config))
    precise = run.weights("float32", task=task)
    for precision in ("bfloat16", "float16"):
        mixed = run.weights(precision, task=task, mixed_precision=precision)
        assert {value.dtype for value in mixed.values()} == {np.dtype("float32")}
        for name in ("output_weights", "bert/pooler/dense/kernel"):
            np.testing.assert_allclose(mixed[name], precise[name], atol=2e-2)
            assert (mixed[name] != precise[name]).any()


def test_overflow_under_float16_halves_the_scale_and_skips_the_update(run):
    trainer = run.trainer("half", mixed_precision="float16")
    trainer.initialize()
    updates = trainer._make_updates()
    updates._loss_scale.assign(2.0**127)
    before = weights_of(trainer)
    batches = iter(trainer._batches(run.train, 0))
    updates.run(batches, tf.constant(1), tf.constant(0))
    assert_equal(weights_of(trainer), before)
    assert float(updates._loss_scale.numpy()) == 2.0**126
    assert int(updates.global_step.numpy()) == 1


def test_loss_that_is_not_finite_stops_the_run_and_names_the_examples(run):
    trainer = run.trainer("nan", save_checkpoints_steps=2)

    class Broken(WithoutDropout):
        def loss_sums(self, model, batch, dropout_seed):
            sums = self._task.loss_sums(model, batch, None)
            step = dropout_seed[0]
            return {"loss": sums["loss"] + tf.where(step == 3, np.nan, 0.0)}

    trainer._task = Broken(run.task)
    with pytest.raises(FloatingPointError, match=r"step 3: the loss is nan") as error:
        trainer.train(run.train, None, {})
    batches = batching.train_batches(
        list(run.train.files),
        run.task.feature_spec,
        batch_size=8,
        seed=5,
        start_step=3,
        buckets=run.task.buckets,
    )
    rows = next(iter(batches))["example_index"].numpy()
    assert all(f"example-{row}:" in str(error.value) for row in rows)
    assert state.latest(str(run.folder / "nan")).endswith("model.ckpt-2")


def test_best_checkpoint_is_kept_and_patience_ends_the_run(run):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.1, 0.2])
    trainer = run.trainer("best", eval_steps=1, early_stopping_patience=2)
    trainer.evaluate = lambda records: {"eval_accuracy": next(scores)}
    trainer.train(run.train, run.dev, {})
    output = str(run.folder / "best")
    assert state.latest(os.path.join(output, BEST)).endswith("model.ckpt-2")
    assert state.latest(output).endswith("model.ckpt-4")
    results = tiny.read_results(os.path.join(output, BEST, "eval_results.txt"))
    assert results == {"eval_accuracy": 0.7, "global_step": 2}
    # Patience ran out for good: running again trains no further.
    again = run.trainer("best", eval_steps=1, early_stopping_patience=2)
    again.train(run.train, run.dev, {})
    assert state.latest(output).endswith("model.ckpt-4")


def scored(trainer, scores):
    """Lets a trainer find these scores, one by one; None kills it."""
    scores = iter(scores)

    def evaluate(records):
        score = next(scores)
        if score is None:
            raise KeyboardInterrupt
        return {"eval_accuracy": score}

    trainer.evaluate = evaluate
    return trainer


def test_a_run_killed_before_its_last_evaluation_finds_the_best_after_all(run):
    output = str(run.folder / "late")
    trainer = scored(run.trainer("late", eval_steps=4), [0.54, None])
    with pytest.raises(KeyboardInterrupt):
        trainer.train(run.train, run.dev, {})
    assert state.latest(output).endswith("model.ckpt-6")
    again = scored(run.trainer("late", eval_steps=4), [1.0])
    assert again.train(run.train, run.dev, {}) == {"eval_accuracy": 1.0}
    assert state.latest(os.path.join(output, BEST)).endswith("model.ckpt-6")
    results = tiny.read_results(os.path.join(output, BEST, "eval_results.txt"))
    assert results == {"eval_accuracy": 1.0, "global_step": 6}


def test_a_run_killed_before_patience_ran_out_stops_where_it_would_have(run):
    output = str(run.folder / "stops")
    settings = {"eval_steps": 2, "save_checkpoints_steps": 2}
    settings["early_stopping_patience"] = 1
    trainer = scored(run.trainer("stops", **settings), [0.7, None])
    with pytest.raises(KeyboardInterrupt):
        trainer.train(run.train, run.dev, {})
    again = scored(run.trainer("stops", **settings), [0.6])
    assert again.train(run.train, run.dev, {}) == {"eval_accuracy": 0.6}
    assert state.latest(output).endswith("model.ckpt-4")
    assert run.trainer("stops", **settings).train(run.train, run.dev, {}) is None


def test_a_training_whose_best_model_is_gone_does_not_go_on(run):
    trainer = scored(run.trainer("gone", eval_steps=4), [0.5, 0.4])
    trainer.train(run.train, run.dev, {})
    shutil.rmtree(run.folder / "gone" / BEST)
    with pytest.raises(ValueError, match=r"gone/best has no checkpoint"):
        run.trainer("gone", eval_steps=4).train(run.train, run.dev, {})
    run.trainer("gone", eval_steps=0).train(run.train, None, {})  # asks for none


def test_patience_lowers_the_rate_and_goes_on_from_the_best_model(run, monkeypatch):
    def train(name, drop):
        monkeypatch.setattr("training.best._DROP", drop)
        scores = iter([0.5, 0.7, 0.6, 0.7, 0.8, 0.1])
        trainer = run.trainer(
            name,
            eval_steps=1,
            save_checkpoints_steps=1,
            keep_checkpoint_max=0,
            early_stopping_patience=2,
            learning_rate_drops=1,
        )
        trainer.evaluate = lambda records: {"eval_accuracy": next(scores)}
        trainer.train(run.train, run.dev, {})
        output = str(run.folder / name)
        checkpoints = [f"{output}/model.ckpt-{step}" for step in (2, 4, 5, 6)]
        return trainer, [load(path, trainer) for path in checkpoints]

    def load(path, trainer):
        reader = tf.train.load_checkpoint(path)
        return {name: reader.get_tensor(name) for name in weights_of(trainer)}

    trainer, (best, returned, after, last) = train("drop", 0.1)
    assert_close(returned, best, atol=0)
    _, (_, _, control, _) = train("control", 1.0)
    for name, value in best.items():
        full, small = control[name] - value, after[name] - value
        np.testing.assert_allclose(10 * small, full, atol=1e-6, err_msg=name)
    # A run that goes on after the fall knows of it.
    output = str(run.folder / "drop")
    state._write_listed(output, f"{output}/model.ckpt-4", [f"{output}/model.ckpt-4"])
    monkeypatch.setattr("training.best._DROP", 0.1)
    again = run.trainer(
        "drop", early_stopping_patience=2, learning_rate_drops=1, eval_steps=0
    )
    again.train(run.train, None, {})
    assert_close(weights_of(again), last, atol=0)


def test_drops_of_the_rate_without_patience_are_refused(run):
    trainer = run.trainer("drops", learning_rate_drops=1)
    with pytest.raises(ValueError, match=r"--learning_rate_drops=1 needs an --early"):
        trainer.train(run.train, None, {})


def test_only_the_newest_checkpoints_are_kept(run):
    run.weights("few", save_checkpoints_steps=1, keep_checkpoint_max=2)
    found = sorted(path.name for path in (run.folder / "few").glob("*.index"))
    assert found == ["model.ckpt-5.index", "model.ckpt-6.index"]


def moments(folder):
    """Which steps' checkpoints hold the optimizer's moments."""
    steps = (int(path.stem.rpartition("-")[2]) for path in folder.glob("*.index"))
    return {
        step: any("/adam_" in name for name in tensors(folder / f"model.ckpt-{step}"))
        for step in steps
    }


def test_only_checkpoints_that_a_training_may_go_on_from_keep_the_optimizer(run):
    seen = []

    class Watched(Trainer):
        def _save(self, variables):
            super()._save(variables)
            seen.append(moments(run.folder / "w"))

    trainer = run.trainer("w", save_checkpoints_steps=2)
    Watched(run.task, tf.distribute.get_strategy(), trainer._config).train(
        run.train, None, {}
    )
    assert seen[:2] == [{2: True}, {2: True, 4: True}]
    assert seen[2:] == [{2: False, 4: True, 6: False}]  # 6 may be damaged when read
    # What was taken out is no reason to start a finished run again, or to go on from
    # where that cannot be done exactly.
    whole = run.weights("w", save_checkpoints_steps=2)
    for path in (run.folder / "w").glob("model.ckpt-6.*"):
        path.unlink()
    assert_equal(run.weights("w", save_checkpoints_steps=2), whole)
    for step in (4, 6):
        for path in (run.folder / "w").glob(f"model.ckpt-{step}.*"):
            path.unlink()
    with pytest.raises(ValueError, match="ckpt-2 does not keep its optimizer's state"):
        run.weights("w", save_checkpoints_steps=2)


def test_a_damaged_newest_checkpoint_leaves_one_to_resume_exactly(run):
    whole = run.weights("whole")

    class Killed(Trainer):
        def _save(self, variables):
            super()._save(variables)
            if int(variables["global_step"].numpy()) == 4:
                raise KeyboardInterrupt

    config = run.trainer("part", save_checkpoints_steps=1)._config
    with pytest.raises(KeyboardInterrupt):
        Killed(run.task, tf.distribute.get_strategy(), config).train(
            run.train, None, {}
        )
    assert moments(run.folder / "part") == {1: False, 2: False, 3: True, 4: True}
    data = run.folder / "part/model.ckpt-4.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert_equal(run.weights("part", save_checkpoints_steps=1), whole)


def test_folder_of_another_training_is_refused_and_left_alone(run):
    run.weights("used")
    folder = run.folder / "used"
    before = {
        path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()
    }
    other = run.trainer("used", train_batch_size=10)
    with pytest.raises(ValueError, match=r"train_batch_size: there 8, now 10"):
        other.train(run.train, None, {})
    after = {
        path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()
    }
    assert after == before


def test_batch_that_cannot_be_divided_is_refused(run):
    with pytest.raises(ValueError, match=r"--train_batch_size=8 .*_steps=3"):
        run.trainer("odd", gradient_accumulation_steps=3)


def test_events_hold_loss_rate_norm_speed_and_scores(run):
    trainer = run.trainer("events", eval_steps=3)
    trainer.train(run.train, run.dev, {})
    found = {}
    for path in pathlib.Path(run.folder / "events" / "events").glob("events.out.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                number = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, {})[event.step] = number
    assert set(found) >= {
        "train/loss",
        "train/gradient_norm",
        "train/learning_rate",
        "train/examples_per_second",
        "train/steps_per_cpu_second",
        "eval/eval_accuracy",
    }
    assert sorted(found["eval/eval_accuracy"]) == [3, 6]
    assert found["train/learning_rate"][6] == pytest.approx(1e-2 / 6, rel=1e-5)


def test_frozen_encoder_stays_as_it_was(run):
    task = tiny.task(run.folder, frozen_encoder=True)
    trainer = run.trainer(
        "frozen",
        task=task,
        optimizer=OptimizerConfig(learning_rate=1e-2, finetune_encoder=False),
    )
    trainer.initialize()
    before = weights_of(trainer)
    trainer.train(run.train, None, {})
    after = weights_of(trainer)
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert moved == {"output_weights", "output_bias"}


def test_seeds_report_mean_and_standard_deviation(run):
    tuning = Run(
        task=run.task,
        strategy=tf.distribute.get_strategy(),
        data=Data(run.train, {"": run.dev}, {}),
        settings={},
        use_checkpoint="last",
        predict_batch_size=8,
        write_predictions=lambda *_: None,
    )
    config = TrainingConfig(
        str(run.folder / "seeds"), 2, train_batch_size=8, eval_steps=0
    )
    results = tuning.run_seeds(config, 3)
    losses = [
        tiny.read_results(run.folder / "seeds" / f"seed_{seed}" / "eval_results.txt")
        for seed in range(3)
    ]
    losses = [result["eval_loss"] for result in losses]
    assert results["eval_loss"] == pytest.approx(np.mean(losses))
    assert results["eval_loss_std"] == pytest.approx(np.std(losses, ddof=1))
    assert len(set(losses)) == 3
    written = tiny.read_results(run.folder / "seeds" / "eval_results.txt")
    assert written == pytest.approx(results)


def test_a_folder_of_seeds_is_used_as_the_best_of_them(run):
    scores = iter([0.5, 0.75, 0.75])

    class Scored(ClassificationTask):
        def metrics(self, predictions):
            return {"eval_accuracy": next(scores)}

    task = Scored(run.task.config, run.task.system)
    data = Data(run.train, {"": run.dev}, {})
    parent = run.folder / "seeds"
    config = TrainingConfig(str(parent), 1, train_batch_size=8, eval_steps=0)
    Run(task, tf.distribute.get_strategy(), data, {}).run_seeds(config, 3)
    assert checkpoints.open_checkpoint(parent).path == f"{parent}/seed_1/model.ckpt-1"
    assert find_task_file("nowhere", str(parent)) == f"{parent}/seed_1/task.json"
    (parent / "best_seed.json").write_text('{"folder": "../else"}')
    with pytest.raises(ValueError, match=r"best_seed.json: folder is '../else'"):
        checkpoints.open_checkpoint(parent)


def fine_tuning(run, config):
    """Trains and scores as the scripts do."""
    data = Data(run.train, {"": run.dev}, {})
    Run(run.task, tf.distribute.get_strategy(), data, {}).run_seeds(config, 1)


def test_a_folder_in_which_another_run_writes_is_left_alone(run):
    config = TrainingConfig(str(run.folder / "taken"), 2, train_batch_size=8)
    with folder_lock.hold(config.output_dir):
        with pytest.raises(ValueError, match="taken is being written to by process"):
            fine_tuning(run, config)
        assert os.listdir(config.output_dir) == [folder_lock.LOCK]


def test_a_folder_removed_while_training_is_an_error_and_is_not_made_again(
    run, monkeypatch
):
    def evaluate(trainer, records):
        del trainer, records
        shutil.rmtree(run.folder / "gone")
        return {"eval_accuracy": 0.5}

    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    config = TrainingConfig(
        str(run.folder / "gone"), 4, train_batch_size=8, eval_steps=2
    )
    with pytest.raises(ValueError, match="gone was removed or replaced while"):
        fine_tuning(run, config)
    assert not (run.folder / "gone").exists()


def test_a_run_removes_what_a_killed_one_left_unfinished(run):
    folder = run.folder / "left"
    config = TrainingConfig(str(folder), 1, train_batch_size=8, eval_steps=0)
    fine_tuning(run, config)
    (folder / "best").mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    aside = f"model.ckpt-9.writing-{processes.machine()}-{ended.pid}-0123abcd.index"
    for path in (folder / aside, folder / "best" / aside):
        path.write_text("cut")
    fine_tuning(run, config)
    assert not list(folder.rglob("*.writing-*"))


def test_settings_that_do_not_shape_the_weights_may_change():
    config = TrainingConfig("out", 3)
    other = dataclasses.replace(
        config, output_dir="else", save_checkpoints_steps=7, keep_checkpoint_max=1
    )
    assert config.settings() == other.settings()
    assert config.settings() != dataclasses.replace(config, seed=1).settings()
