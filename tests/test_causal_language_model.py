"""GPT's pre-training: honest averages, an honest baseline, and learning."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny_streams
from test_language_model import batches_of, build, loss_of, trainer
from test_training import WithoutDropout, assert_close, weights_of

from data_pipeline import tfrecord
from data_pipeline.corpora import token_streams
from metrics.ngram import KneserNey
from optimization.optimizers import OptimizerConfig
from training.strategy import DistributionConfig, make_strategy

pytestmark = pytest.mark.long


def write_rows(path, rows):
    """Writes records of these tokens; returns the file's path."""
    arrays = [np.array(row) for row in rows]
    tfrecord.write(str(path), token_streams.encode_rows(arrays))
    return str(path)


@pytest.mark.parametrize("static", [False, True])
def test_loss_is_the_mean_over_all_tokens_but_first_ones(tmp_path, static):
    task = tiny_streams.task(static_shapes=static)
    model = build(task, fused=not static)
    rows = list(tiny_streams.rows(5))
    losses, right = [], 0
    for row in rows:
        ids = tf.constant(row[None], tf.int32)
        logits = model.lm_logits(model(ids)["sequence_output"][0, :-1]).numpy()
        log_probs = tf.nn.log_softmax(logits).numpy()
        losses += (-log_probs[np.arange(len(row) - 1), row[1:]]).tolist()
        right += (logits.argmax(axis=1) == row[1:]).sum()
    assert logits.shape[1] == tiny_streams.CONFIG.num_rows  # all rows, as train.py
    path = write_rows(tmp_path / "records", rows)
    (batch,) = batches_of(task, [path], 8)  # three rows fill it up
    assert loss_of(task, model, batch) == pytest.approx(np.mean(losses), rel=1e-5)
    predicted = task.predict(model, batch)
    in_order = np.argsort(batch["example_index"].numpy()[:5])
    results = task.metrics({k: v.numpy()[in_order] for k, v in predicted.items()})
    assert results == {
        "loss": pytest.approx(np.mean(losses), rel=1e-5),
        "log_likelihood": -results["loss"],
        "perplexity": pytest.approx(np.exp(np.mean(losses)), rel=1e-5),
        "lm_accuracy": pytest.approx(right / len(losses)),
    }


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_pieces_of_unequal_lengths_equal_the_whole_batch(tmp_path, replicas):
    task = WithoutDropout(tiny_streams.task())
    train = task.train_records([tiny_streams.write(tmp_path / "records", 50)])
    whole = trainer(task, tmp_path / "whole")
    whole.train(train, None, {})
    strategy = None
    if replicas == 2:
        strategy = make_strategy(DistributionConfig("mirrored"))
    pieces = {"gradient_accumulation_steps": 4 // replicas}
    split = trainer(task, tmp_path / "split", strategy, **pieces)
    split.train(train, None, {})
    assert_close(weights_of(split), weights_of(whole), atol=3e-5)


def test_static_shapes_score_as_cut_ones(tmp_path):
    path = tiny_streams.write(tmp_path / "records", 11)
    found = []
    for static in (False, True):
        task = tiny_streams.task(static_shapes=static)
        run = trainer(task, tmp_path / "out", jit_compile=static)
        found.append(run.evaluate(task.eval_records([path])))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_batch_in_which_nothing_is_predicted_has_no_loss(tmp_path):
    task = tiny_streams.task()
    model = build(task)
    (batch,) = batches_of(task, [write_rows(tmp_path / "one", [[3], [5]])], 2)
    assert loss_of(task, model, batch) == 0


def test_ngrams_are_scored_on_the_tokens_that_the_model_predicts(tmp_path):
    task = tiny_streams.task()
    train_rows = list(tiny_streams.rows(30))
    train = write_rows(tmp_path / "train", train_rows)
    dev_rows = list(tiny_streams.rows(9, seed=1))
    dev = task.eval_records([write_rows(tmp_path / "dev", dev_rows)], 6)
    run = trainer(task, tmp_path / "out")
    assert "ngram_perplexity" not in run.evaluate(dev)
    task.compare_with_ngrams(3, [train], dev)

    def joined(rows):
        return np.concatenate(rows), np.array([len(row) for row in rows])

    model = KneserNey(*joined(train_rows), tiny_streams.CONFIG.n_vocab, 3)
    probabilities = model.probabilities(*joined(dev_rows[:6]))
    assert len(probabilities) == run.predict(dev, 8)["lm_tokens"].sum()
    wanted = np.exp(-np.log(probabilities).mean())
    assert run.evaluate(dev)["ngram_perplexity"] == pytest.approx(wanted)


@pytest.mark.whole_steps
def test_tiny_model_learns_what_no_bigram_tells(tmp_path):
    # Steps of one and of two: the last token alone leaves two next ones.
    task = tiny_streams.task(dataclasses.replace(tiny_streams.CONFIG, embd_pdrop=0.0))
    files = [tiny_streams.write(tmp_path / "train", 300)]
    dev = task.eval_records([tiny_streams.write(tmp_path / "dev", 40, seed=1)])
    task.compare_with_ngrams(2, files, dev)
    run = trainer(
        task,
        tmp_path / "out",
        num_train_steps=250,
        train_batch_size=32,
        optimizer=OptimizerConfig(learning_rate=1e-2, num_warmup_steps=25),
    )
    before = run.evaluate(dev)
    run.train(task.train_records(files), None, {})
    after = run.evaluate(dev)
    assert before["perplexity"] > 15
    assert 2 < after["ngram_perplexity"] < 2.2
    assert after["perplexity"] < 1.4
    assert after["lm_accuracy"] > 0.85


def test_files_of_other_records_and_lengths_are_named(tmp_path):
    task = tiny_streams.task()
    record = tf.train.Example().SerializeToString()
    tfrecord.write(str(tmp_path / "other"), [record])
    long = write_rows(tmp_path / "long", [[1] * 4, [1] * 14])
    for path, message in (
        (tmp_path / "other", "other: no examples of create_pretraining_data.py"),
        (long, "long: record 1 has length 14, but --max_seq_length=13"),
    ):
        with pytest.raises(ValueError, match=message):
            task.train_records([str(path)])
