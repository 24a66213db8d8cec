"""CLM, MLM and TLM by turns: what is drawn, read and scored; runs from end to end."""

import collections
import dataclasses

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_xlm
from test_training import assert_equal, tensors

import modeling
import tokenization_xlm
from data_pipeline import turns
from errors import UserError
from optimization.optimizers import OptimizerConfig
from optimization.schedules import Coefficient
from systems.xlm import XlmSystem
from tasks import xlm, xlm_objectives
from training.step import StepConfig, TrainStep

pytestmark = pytest.mark.long

LENGTH = 24
STEPS = ("--clm_steps=en", "--mlm_steps=de,en-de")
SETTINGS = {
    "clm_steps": (),
    "mlm_steps": (),
    "lambda_clm": "1",
    "lambda_mlm": "1",
    "lg_sampling_factor": 0.7,
    "sample_alpha": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and records of two languages and of pairs, made by the script."""
    folder = tmp_path_factory.mktemp("xlm")
    vocab, _ = tiny_xlm.write_model(folder)
    rng = np.random.default_rng(0)
    for name in ("en", "de", "dev.en", "dev.de"):
        lines = [
            " ".join(rng.choice(tiny.WORDS, rng.integers(2, 8))) for _ in range(40)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenization_xlm, "_cleaner", lambda language: str)
        for part in ("", "dev."):
            en, de = (folder / f"{part}{name}.txt" for name in ("en", "de"))
            scripts.run(
                "create_pretraining_data",
                "--model_type=xlm",
                "--languages=en,de",
                f"--vocab_file={vocab}",
                f"--input_file=en:{en},de:{de}",
                f"--parallel=en-de:{en},{de}",
                f"--output_file={folder}/{part or 'train.'}records",
                f"--max_seq_length={LENGTH}",
                "--num_workers=1",
            )
    return folder


def task(folder, static_shapes=False, **changes):
    system = XlmSystem(tiny_xlm.CONFIG, str(folder / "vocab"))
    return xlm.XlmPretrainingTask(
        system, LENGTH, static_shapes=static_shapes, **SETTINGS | changes
    )


def records(folder, made, part="train"):
    return made.train_records(sorted(map(str, folder.glob(f"{part}.records.*"))))


def pretrain(folder, output, *more):
    scripts.run(
        "run_pretraining",
        f"--config_file={folder}/xlm_config.json",
        f"--vocab_file={folder}/vocab",
        f"--input_file={folder}/train.records.*",
        f"--eval_input_file={folder}/dev.records.*",
        f"--output_dir={output}",
        f"--max_seq_length={LENGTH}",
        "--do_train",
        "--train_batch_size=8",
        "--num_train_steps=9",
        "--num_warmup_steps=2",
        "--learning_rate=1e-3",
        "--optimizer=xlm_adam",
        "--learning_rate_decay=inverse_sqrt",
        *STEPS,
        *more,
    )
    return output


def test_a_round_draws_as_the_originals_loop():
    names = ["clm/en", "mlm/en", "mlm/de", "mlm/en-de"]
    found = xlm.round_shares(names, [300, 300, 100, 50], 0.5)
    r = 3**0.5
    english = r / (r + 1)
    wanted = [[1, 0, 0, 0], *[[0, english, 1 - english, 0]] * 2, [0, 0, 0, 1]]
    np.testing.assert_allclose(found, wanted)
    even = xlm.round_shares(names, [300, 300, 100, 50], -1)
    np.testing.assert_allclose(even[1], [0, 0.5, 0.5, 0])
    many = [f"mlm/{i}" for i in range(9)]
    assert xlm.round_shares(many, [1] * 9, 0.7).shape == (5, 9)


def test_turns_are_drawn_by_their_shares_and_go_on_from_any_step():
    shares = np.array([[0.75, 0.25, 0], [0, 0, 1.0]])
    order, past = turns.with_replacement(shares, seed=7, start_step=0)
    whole = np.fromiter(order.take(3000).as_numpy_iterator(), int)
    assert past == [0, 0, 0]
    assert (whole[1::2] == 2).all()
    assert (whole[::2] == 0).mean() == pytest.approx(0.75, abs=0.04)
    assert set(whole[::2]) == {0, 1}
    for step in (1, 512, 1301):
        order, past = turns.with_replacement(shares, seed=7, start_step=step)
        assert past == np.bincount(whole[:step], minlength=3).tolist()
        np.testing.assert_array_equal(
            list(order.take(9).as_numpy_iterator()), whole[step : step + 9]
        )
    other = turns.with_replacement(shares, seed=8, start_step=0)[0].take(99)
    assert list(other.as_numpy_iterator()) != whole[:99].tolist()


def test_an_objective_is_left_out_while_its_factor_is_zero(folder):
    made = task(
        folder,
        clm_steps=("en",),
        mlm_steps=("de", "en-de"),
        lambda_clm="0:1,600:0",
        lambda_mlm="0:0,300:0,500:2",
    )
    found = records(folder, made)

    def turns(step, number):
        order, past = made.turns(found, batch_size=8, seed=3, step=step)
        return np.fromiter(order.take(number).as_numpy_iterator(), int), past

    whole, _ = turns(0, 900)
    assert list(made.parts) == ["clm/en", "mlm/de", "mlm/en-de"]
    assert set(whole[:301]) == {0}  # at update 300 its factor still is 0
    assert set(whole[301:600]) == {0, 1, 2}
    assert set(whole[600:]) == {1, 2}
    for step in (0, 7, 301, 302, 600, 888):
        after, past = turns(step, 12)
        np.testing.assert_array_equal(after, whole[step : step + 12])
        counts = np.bincount(whole[:step], minlength=3).tolist()
        assert list(past.values()) == counts
    with pytest.raises(UserError, match="nothing is left to learn from update 5 on"):
        task(folder, clm_steps=("en",), lambda_clm="0:1,5:0")


@pytest.mark.parametrize("pieces", [1, 2])
def test_losses_and_gradients_have_the_factor_of_their_update(folder, pieces):
    made = task(folder, clm_steps=("en",), lambda_clm="0:0.5,4:0.1")
    part = made.parts["clm/en"]
    values = [float(part.loss_factor(tf.constant(step))) for step in (0, 1, 4, 9)]
    assert values == pytest.approx([0.5, 0.4, 0.1, 0.1])
    model = made.build_model(dtype="float32", fused=False, seed=1)
    variables = modeling.named_variables(model)
    config = OptimizerConfig()
    optimizer = config.build(variables, 9, made.parameter_groups(config))
    step = TrainStep(
        part, model, optimizer, StepConfig(gradient_accumulation_steps=pieces)
    )
    stream = part.train_batches(records(folder, made)["clm/en"], batch_size=8, seed=0)
    batch = next(iter(stream))
    given = (batch, part.loss_denominators(batch), [tf.constant(3), 0], 1.0)
    loss, gradients, _ = step._accumulate(step._parts[0], *given)
    part.factor = Coefficient.parse("1")
    step = TrainStep(part, model, optimizer, step.config)
    whole, full, _ = step._accumulate(step._parts[0], *given)
    assert float(loss) == pytest.approx(0.2 * float(whole))
    for ours, theirs in zip(gradients, full, strict=True):
        np.testing.assert_allclose(ours, 0.2 * theirs, atol=1e-7)


@pytest.mark.shared_data
def test_pairs_are_read_as_the_original_joins_them(golden_dir):
    stored = np.load(golden_dir / "xlm/learned_gelu.npz")
    x1, len1, x2, len2 = (stored[f"tlm/{k}"] for k in ("x1", "len1", "x2", "len2"))
    x, lengths = stored["tlm/x"].T, stored["tlm/lengths"]
    for row, length, a, i, b, j in zip(x, lengths, x1.T, len1, x2.T, len2, strict=True):
        shown = row[:length] != tokenization_xlm.MASK
        pair = np.concatenate([a[:i], b[:j]])
        np.testing.assert_array_equal(row[:length][shown], pair[shown])
    batch = {
        "input_ids": tf.constant(x, tf.int32),
        "second_start": tf.constant(len1, tf.int32),
    }
    real = np.arange(x.shape[1]) < lengths[:, None]
    positions = xlm_objectives._positions(batch).numpy()
    np.testing.assert_array_equal(positions[real], stored["tlm/positions"].T[real])
    languages = stored["tlm/langs"].T
    part = task_of_pair(languages[0, 0], languages[0, -1])
    np.testing.assert_array_equal(part.languages(batch), languages)


def task_of_pair(first, second):
    names = tiny_xlm.CONFIG.languages
    made = xlm.XlmPretrainingTask(
        XlmSystem(tiny_xlm.CONFIG),
        LENGTH,
        **SETTINGS | {"mlm_steps": [f"{names[first]}-{names[second]}"]},
    )
    (part,) = made.parts.values()
    return part


def test_replicas_have_the_rows_of_one_devices_batches(folder):
    made = task(folder, mlm_steps=["en-de"], sample_alpha=0.5)
    (part,) = made.parts.values()
    (found,) = records(folder, made).values()
    shared = {"batch_size": 8, "seed": 3, "start_step": 2}
    whole = next(iter(part.train_batches(found, **shared)))
    halves = [
        next(
            iter(part.train_batches(found, **shared, num_replicas=2, replica_offset=i))
        )
        for i in range(2)
    ]
    for name, value in whole.items():
        np.testing.assert_array_equal(value, np.concatenate([h[name] for h in halves]))
    stream = iter(part.train_batches(found, **shared | {"start_step": 0}))
    *_, third = (next(stream) for _ in range(3))
    for name, value in whole.items():
        np.testing.assert_array_equal(value, third[name], err_msg=name)
    assert whole["masked_lm_weights"].numpy().any()


def test_static_shapes_predict_the_same_words(folder):
    sums = []
    for static in (False, True):
        made = task(folder, static, clm_steps=["de"], mlm_steps=["en-de"])
        model = made.build_model(dtype="float32", fused=False, seed=1)
        for name, found in records(folder, made).items():
            part = made.parts[name]
            assert len(part.buckets) == 1 or not static
            predicted = collections.defaultdict(float)
            for batch in part.eval_batches(found, batch_size=8):
                for key, value in part.predict(model, batch).items():
                    real = tf.cast(batch["is_real_example"], tf.float32)
                    predicted[key] += float(tf.reduce_sum(value * real))
                if static:
                    assert batch["input_ids"].shape == (8, LENGTH)
            sums.append(predicted)
    for one, other in zip(sums[:2], sums[2:], strict=True):
        assert one.pop("lm_words") == other.pop("lm_words") > 40
        assert one == pytest.approx(other, rel=1e-5)


def test_a_run_is_scored_by_objective_and_language_and_goes_on_exactly(
    folder, tmp_path
):
    keep = "--keep_optimizer=all"
    whole = pretrain(folder, tmp_path / "whole", "--do_eval", "--eval_steps=0", keep)
    lines = (whole / "eval_results.txt").read_text().splitlines()
    scores = {k: float(v) for k, v in (line.split(" = ") for line in lines)}
    for name in ("clm/en", "mlm/de", "mlm/en-de"):
        loss = scores[f"{name}/loss"]
        assert scores[f"{name}/perplexity"] == pytest.approx(np.exp(loss), rel=1e-4)
        assert 0 <= scores[f"{name}/accuracy"] <= 1
    parts = pretrain(folder, tmp_path / "parts", "--save_checkpoints_steps=5", keep)
    for file in parts.glob("model.ckpt-9.*"):  # as if killed after step 5
        file.unlink()
    (parts / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-5"\n')
    pretrain(folder, parts, "--save_checkpoints_steps=5", keep)
    assert_equal(tensors(whole), tensors(parts))


def test_one_objective_is_enough_and_learns(folder, tmp_path):
    output = pretrain(
        folder,
        tmp_path,
        "--do_eval",
        "--eval_steps=0",
        f"--eval_input_file={folder}/train.records.*",
        "--clm_steps=",
        "--mlm_steps=en-de",
        "--num_train_steps=60",
        "--learning_rate=1e-2",
        "--sample_alpha=0.5",
    )
    lines = (output / "eval_results.txt").read_text().splitlines()
    scores = dict(line.split(" = ") for line in lines)
    assert float(scores["mlm/en-de/perplexity"]) < tiny_xlm.CONFIG.n_words / 2
    assert not any(key.startswith(("clm", "mlm/en/")) for key in scores)


@pytest.mark.slow
def test_two_devices_train_as_one(folder, tmp_path):
    found = []
    # Replicas drop different units.
    rates = {"dropout": 0.0, "attention_dropout": 0.0}
    config = dataclasses.replace(tiny_xlm.CONFIG, **rates)
    (tmp_path / "config.json").write_text(config.to_json_string())
    for strategy in ("off", "mirrored"):
        output = pretrain(
            folder,
            tmp_path / strategy,
            f"--config_file={tmp_path}/config.json",
            f"--distribution_strategy={strategy}",
            "--optimizer=adagrad",
            "--learning_rate_decay=constant",
            "--sample_alpha=0.5",
            "--do_eval",
        )
        lines = (output / "eval_results.txt").read_text().splitlines()
        found.append({k: float(v) for k, v in (line.split(" = ") for line in lines)})
    assert found[0] == pytest.approx(found[1], abs=2e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mlm_steps": ["fr"]}, "language 'fr': the model knows de, en, zh"),
        ({"mlm_steps": ["en"], "lambda_mlm": "0"}, "nothing is left to learn"),
    ],
)
def test_steps_that_make_no_sense_are_refused(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        task(folder, **changes)


def test_records_that_do_not_fit_are_named(folder, tmp_path):
    with pytest.raises(
        ValueError, match="--mlm_steps: no records of zh in .* has de, en, en-de"
    ):
        records(folder, task(folder, mlm_steps=["en", "zh"]))
    made = task(folder, mlm_steps=["zh"])
    with pytest.raises(ValueError, match="none of mlm/zh"):
        made.eval_records([str(folder / "train.records.en")])
    plain = tmp_path / "plain"
    feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2]))
    one = tf.train.Feature(int64_list=tf.train.Int64List(value=[0]))
    example = tf.train.Example(
        features=tf.train.Features(feature={"input_ids": feature, "second_start": one})
    )
    with tf.io.TFRecordWriter(str(plain)) as writer:
        writer.write(example.SerializeToString())
    with pytest.raises(ValueError, match="plain: its records do not say of which"):
        task(folder, mlm_steps=["en"]).train_records([str(plain)])
    with pytest.raises(ValueError, match="--sample_alpha=0.5 .* give --vocab_file"):
        xlm.XlmPretrainingTask(
            XlmSystem(tiny_xlm.CONFIG), LENGTH, **SETTINGS | {"sample_alpha": 0.5}
        )
