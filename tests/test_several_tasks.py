"""Tasks that take turns in one training, and tables whose gradients stay rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import modeling
from data_pipeline import tfrecord, turns
from data_pipeline.feature_spec import Feature, FeatureSpec
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from tasks.several import SeveralTasks
from tasks.task import Records, Task
from training.config import TrainingConfig
from training.strategy import DistributionConfig, make_strategy
from training.trainer import Trainer

pytestmark = pytest.mark.long

WORDS, WIDTH, STEPS = 19, 5, 11


class Model(keras.layers.Layer):
    """A table of words, and what each task has on top."""

    def __init__(self):
        super().__init__(name="toy")
        self.table = self.add_weight(shape=(WORDS, WIDTH), name="table")
        self.scale = self.add_weight(shape=(WIDTH,), name="scale")
        self.choice = self.add_weight(shape=(WIDTH, 3), name="choice")
        self.built = True


class Toy(Task):
    """What both toy tasks have of a task."""

    def build_model(self, *, dtype, fused, seed):
        del dtype, fused
        model = Model()
        draw = np.random.default_rng(seed)
        for variable in model.variables:
            variable.assign(draw.normal(size=variable.shape))
        return model

    def initialize(self, variables):
        pass

    def save_beside(self, folder):
        pass

    def parameter_groups(self, config):
        return [ParameterGroup("", config.weight_decay)]

    def describe_examples(self, rows):
        return [f"{type(self).__name__} {row}" for row in rows]

    def loss_denominators(self, batch):
        return {"loss": tf.reduce_sum(tf.cast(batch["is_real_example"], tf.float32))}

    def vectors(self, model, batch):
        """Mean vector of the words of each row, [B, WIDTH]."""
        mask = tf.cast(batch["input_mask"], tf.float32)[..., None]
        found = tf.gather(tf.convert_to_tensor(model.table), batch["input_ids"])
        return tf.reduce_sum(found * mask, 1) / tf.reduce_sum(mask, 1)


class Number(Toy):
    """Says a number of some words; carries a sum from batch to batch."""

    main_metric = "closeness"
    buckets = (4, 8)
    feature_spec = FeatureSpec(
        [
            Feature("input_ids", tf.int32, (None,)),
            Feature("number", tf.float32, is_input=False),
        ]
    )

    def carried_states(self, model, rows):
        del model
        return {"sum": tf.zeros([rows])}

    def loss_sums(self, model, batch, dropout_seed):
        del dropout_seed
        found = tf.reduce_sum(self.vectors(model, batch) * model.scale, 1)
        found += 0.1 * tf.tanh(batch["sum"])
        loss = tf.square(found - batch["number"])
        return {"loss": tf.reduce_sum(loss), "sum": batch["sum"] + found}

    def predict(self, model, batch):
        return {"found": tf.reduce_sum(self.vectors(model, batch) * model.scale, 1)}

    def metrics(self, predictions):
        gap = np.abs(predictions["found"] - predictions["number"]).mean()
        return {"closeness": -float(gap)}


class Choice(Toy):
    """Chooses one of three for some words, which are longer rows than Number's."""

    main_metric = "right"
    buckets = (16,)
    feature_spec = FeatureSpec(
        [
            Feature("input_ids", tf.int32, (None,)),
            Feature("chosen", tf.int32, is_input=False),
        ]
    )

    def logits(self, model, batch):
        return tf.matmul(self.vectors(model, batch), tf.convert_to_tensor(model.choice))

    def loss_sums(self, model, batch, dropout_seed):
        del dropout_seed
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["chosen"], self.logits(model, batch)
        )
        return {"loss": tf.reduce_sum(losses)}

    def predict(self, model, batch):
        return {"found": tf.argmax(self.logits(model, batch), 1)}

    def metrics(self, predictions):
        return {"right": float(np.mean(predictions["found"] == predictions["chosen"]))}


class Both(SeveralTasks):
    """The two, on one model."""

    def __init__(self):
        super().__init__({"number": Number(), "choice": Choice()})

    build_model, initialize = Toy.build_model, Toy.initialize
    save_beside, parameter_groups = Toy.save_beside, Toy.parameter_groups
    describe_examples = Toy.describe_examples


def write(folder, name, spec, number, longest, label):
    draw = np.random.default_rng(len(name))
    records = [
        spec.to_example(
            {
                "input_ids": draw.integers(0, WORDS, draw.integers(1, longest + 1)),
                **label(draw),
            },
            i,
        )
        for i in range(number)
    ]
    path = str(folder / f"{name}.tfrecord")
    tfrecord.write(path, records)
    return Records((path,), number)


@pytest.fixture
def records(tmp_path):
    return {
        "number": write(
            tmp_path,
            "number",
            Number.feature_spec,
            21,
            8,
            lambda draw: {"number": draw.normal()},
        ),
        "choice": write(
            tmp_path,
            "choice",
            Choice.feature_spec,
            33,
            15,
            lambda draw: {"chosen": draw.integers(3)},
        ),
    }


def trainer(folder, task, strategy=None, **changes):
    optimizer = OptimizerConfig("adagrad", 0.1, decay="constant", weight_decay=0.0)
    config = {
        "output_dir": str(folder),
        "num_train_steps": STEPS,
        "train_batch_size": 4,
        "eval_steps": 0,
        "optimizer": optimizer,
        "seed": 3,
    }
    strategy = strategy or tf.distribute.get_strategy()
    return Trainer(task, strategy, TrainingConfig(**{**config, **changes}))


def weights(made):
    variables = modeling.named_variables(made.model)
    return {name: variable.numpy() for name, variable in variables.items()}


def train(folder, task, records, strategy=None, **changes):
    made = trainer(folder, task, strategy, **changes)
    made.train(records, None, {})
    return weights(made)


def test_an_epoch_has_every_batch_of_every_task_once():
    order, past = turns.by_epoch([3, 5], seed=7, start_step=0)
    assert past == [0, 0]
    epochs = np.fromiter(order.take(24).as_numpy_iterator(), int).reshape(3, 8)
    assert [np.bincount(epoch).tolist() for epoch in epochs] == [[3, 5]] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = turns.by_epoch([3, 5], seed=8, start_step=0)[0].take(24)
    assert list(other.as_numpy_iterator()) != epochs.ravel().tolist()


@pytest.mark.parametrize("step", [1, 7, 8, 19])
def test_turns_go_on_from_any_step(step):
    whole = np.fromiter(
        turns.by_epoch([3, 5], seed=7, start_step=0)[0].take(30).as_numpy_iterator(),
        int,
    )
    order, past = turns.by_epoch([3, 5], seed=7, start_step=step)
    assert past == np.bincount(whole[:step], minlength=2).tolist()
    rest = order.take(30 - step).as_numpy_iterator()
    assert list(rest) == whole[step:].tolist()


def test_a_batch_moves_what_its_task_has_and_the_other_not(tmp_path, records):
    made = trainer(tmp_path / "a", Both(), num_train_steps=1)
    before = weights(made)
    made.train(records, None, {})
    moved = {name for name, w in weights(made).items() if (w != before[name]).any()}
    first = int(next(iter(made._turns(records, 0)[0])))
    assert moved == {"toy/table", ("toy/scale", "toy/choice")[first]}


def test_a_run_of_several_tasks_goes_on_bit_for_bit(tmp_path, records):
    whole = train(tmp_path / "whole", Both(), records)
    often = {"save_checkpoints_steps": 6, "keep_optimizer": "all"}
    train(tmp_path / "parts", Both(), records, **often)
    folder = tmp_path / "parts"
    for file in folder.glob(f"model.ckpt-{STEPS}.*"):  # as if killed after step 6
        file.unlink()
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-6"\n')
    reader = tf.train.load_checkpoint(str(folder / "model.ckpt-6"))
    assert reader.get_tensor("trainer/number/sum").any()
    parts = train(folder, Both(), records)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)


def test_several_tasks_on_two_devices_equal_one(tmp_path, records):
    one = train(tmp_path / "one", Both(), records)
    mirrored = make_strategy(DistributionConfig("mirrored"))
    two = train(tmp_path / "two", Both(), records, mirrored)
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], atol=1e-6, err_msg=name)


def test_scores_of_several_tasks_stand_under_their_names(tmp_path, records):
    made = trainer(tmp_path / "a", Both())
    scores = made.evaluate(records)
    assert set(scores) == {"number/closeness", "choice/right", "eval_mean"}
    mean = (scores["number/closeness"] + scores["choice/right"]) / 2
    assert scores["eval_mean"] == pytest.approx(mean)


def test_the_examples_of_a_broken_batch_are_those_of_its_task(tmp_path, records):
    task = Both()
    made = trainer(tmp_path / "a", task, save_checkpoints_steps=1)
    order = np.fromiter(made._turns(records, 0)[0].take(STEPS), int)
    step = int(np.flatnonzero(order == 1)[2])  # the third batch of "choice"

    class Broken(Choice):
        def loss_sums(self, model, batch, dropout_seed):
            sums = super().loss_sums(model, batch, dropout_seed)
            return {"loss": sums["loss"] + tf.where(dropout_seed[0] == step, np.nan, 0)}

    task.parts["choice"] = Broken()
    with pytest.raises(FloatingPointError, match=f"step {step}: ") as error:
        made.train(records, None, {})
    batches = made._train_batches(records["choice"], 2, task.parts["choice"])
    rows = next(iter(batches))["example_index"].numpy()
    assert all(f"Broken {row}" in str(error.value) for row in rows)


def sparse(kind):
    class Sparse(kind):
        sparse_tables = "/table$"

        def vectors(self, model, batch):
            mask = tf.cast(batch["input_mask"], tf.float32)[..., None]
            found = tf.gather(model.table.value, batch["input_ids"])
            return tf.reduce_sum(found * mask, 1) / tf.reduce_sum(mask, 1)

    return Sparse()


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("strategy", ["off", "mirrored"])
def test_rows_of_a_sparse_table_train_as_the_dense_one(
    tmp_path, records, pieces, strategy
):
    changes = {"gradient_accumulation_steps": pieces}
    dense = train(tmp_path / "dense", Choice(), records["choice"], **changes)
    made = make_strategy(DistributionConfig(strategy))
    rows = train(tmp_path / "rows", sparse(Choice), records["choice"], made, **changes)
    for name, value in dense.items():
        np.testing.assert_allclose(value, rows[name], atol=1e-6, err_msg=name)


def test_gradients_of_a_sparse_table_are_unique_rows(tmp_path, records):
    task = sparse(Choice)
    made = trainer(tmp_path / "rows", task, num_train_steps=1)
    made.initialize()
    updates = made._make_updates()
    seen = []
    apply = updates.optimizer.apply

    def spy(gradients, *args, **kwargs):
        table = gradients[list(updates.optimizer.trainable).index("toy/table")]
        assert isinstance(table, tf.IndexedSlices)
        tf.numpy_function(lambda ids: seen.append(ids), [table.indices], [])
        return apply(gradients, *args, **kwargs)

    updates.optimizer.apply = spy
    batches = made._iterator(records["choice"], 0)
    updates.run(batches, tf.constant(1), tf.constant(0))
    batch = next(iter(made._train_batches(records["choice"], 0)))
    wanted = set(batch["input_ids"].numpy().ravel())
    assert sorted(seen[0]) == sorted(wanted)


def test_a_sparse_table_under_an_optimizer_that_moves_all_rows_is_refused(
    tmp_path, records
):
    adam = trainer(tmp_path / "a", sparse(Choice), optimizer=OptimizerConfig())
    with pytest.raises(ValueError, match="AdamWeightDecayOptimizer changes rows that"):
        adam.train(records["choice"], None, {})


def test_a_table_that_is_read_as_a_whole_cannot_be_sparse(tmp_path, records):
    class Whole(Choice):
        sparse_tables = "/choice$"

    with pytest.raises(ValueError, match="choice.* is declared a sparse table"):
        train(tmp_path / "a", Whole(), records["choice"])
