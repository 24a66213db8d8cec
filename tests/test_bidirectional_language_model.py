"""ELMo's pre-training against bilm-tf's; what goes from batch to batch; evaluation."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tiny_elmo
from test_training import (
    WithoutDropout,
    assert_close,
    assert_equal,
    tensors,
    weights_of,
)

from data_pipeline import tfrecord
from data_pipeline.corpora import sentence_streams
from modeling import ElmoConfig
from optimization.optimizers import OptimizerConfig
from systems.elmo import ElmoSystem
from tasks.bidirectional_language_model import BidirectionalLanguageModelTask
from training.config import TrainingConfig
from training.strategy import DistributionConfig, make_strategy
from training.trainer import Trainer
from vocabulary import Vocabulary

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
ADAGRAD = OptimizerConfig(
    kind="adagrad", learning_rate=0.2, decay="constant", max_grad_norm=10.0
)


def trainer(task, folder, strategy=None, **kwargs):
    """Returns a trainer of the tiny model."""
    config = {
        "num_train_steps": 6,
        "train_batch_size": 4,
        "eval_steps": 0,
        "save_checkpoints_steps": 2,
        "optimizer": ADAGRAD,
    }
    config = TrainingConfig(str(folder), **(config | kwargs))
    return Trainer(task, strategy or tf.distribute.get_strategy(), config)


@pytest.fixture
def files(tmp_path):
    """One file of records to train on."""
    path = tmp_path / "train.tfrecord"
    return [tiny_elmo.write_records(path, tiny_elmo.sentences(30))]


def golden_task(folder, name, **kwargs):
    """Returns a task over the original's text, in its order, and what it recorded."""
    record = json.loads((GOLDEN / f"elmo_train_{name}.json").read_text())
    text = (GOLDEN / "elmo_train_data.txt").read_text().splitlines()
    vocab = GOLDEN / "elmo_train_vocab.txt"
    vocabulary = Vocabulary.from_file(str(vocab))
    records, _ = sentence_streams.make_records(text, vocabulary, 100)
    path = str(folder / "records")
    tfrecord.write(path, records)
    options = record["options"]
    system = ElmoSystem(ElmoConfig.from_dict(options), str(vocab))
    task = BidirectionalLanguageModelTask(
        system, 102, options["unroll_steps"], **kwargs
    )
    return task, task.train_records([path]), record


@pytest.mark.parametrize("name", ["char_clip", "word_shared"])
def test_windows_are_the_originals_batches(tmp_path, name):
    task, records, record = golden_task(tmp_path, name)
    golden = np.load(GOLDEN / f"elmo_train_{name}.npz")
    batches = task.train_batches(
        records, batch_size=record["options"]["batch_size"], seed=0, shuffle=False
    )
    read = "tokens_characters" if name == "char_clip" else "token_ids"
    for i, batch in enumerate(batches.take(5)):
        for end in sentence_streams.DIRECTIONS:
            targets = golden[f"batch{i}/next_token_id{end}"]
            np.testing.assert_array_equal(batch[f"targets{end}"], targets)
            inputs = golden[f"batch{i}/{read}{end}"]
            np.testing.assert_array_equal(batch[f"inputs{end}"], inputs + 1)


def follow_the_original(task, records, record, folder, monkeypatch, start, steps):
    """Trains from the weights of a golden, in its order; returns the trainer."""
    golden = np.load(GOLDEN / f"elmo_train_{start}.npz")
    options = record["options"]
    ordered = task.train_batches
    monkeypatch.setattr(
        task, "train_batches", lambda *a, **k: ordered(*a, shuffle=False, **k)
    )
    monkeypatch.setattr(
        task,
        "initialize",
        lambda variables: [v.assign(golden[f"init/{k}"]) for k, v in variables.items()],
    )
    run = trainer(
        task,
        folder,
        num_train_steps=steps,
        train_batch_size=options["batch_size"],
        optimizer=dataclasses.replace(
            ADAGRAD, max_grad_norm=options["all_clip_norm_val"]
        ),
    )
    run.train(records, None, {})
    return run


def state_norms(prefix, num_layers):
    """The norms of the states that a checkpoint holds, in the original's order."""
    carried = tensors(prefix)
    return [
        np.linalg.norm(carried[f"trainer/states/{direction}_{layer}/{part}"])
        for direction in ("forward", "backward")
        for layer in range(num_layers)
        for part in "ch"
    ]


@pytest.mark.parametrize("name", ["char_clip", "word_shared"])
def test_five_updates_of_a_run_are_the_originals(tmp_path, monkeypatch, name):
    task, records, record = golden_task(tmp_path, name)
    out = tmp_path / "out"
    run = follow_the_original(task, records, record, out, monkeypatch, name, 5)
    golden = np.load(GOLDEN / f"elmo_train_{name}.npz")
    for key, value in weights_of(run).items():
        np.testing.assert_allclose(
            value, golden[f"final/{key}"], atol=1e-5, err_msg=key
        )
    norms = state_norms(out / "model.ckpt-5", record["options"]["lstm"]["n_layers"])
    expected = record["steps"][-1]["final_state_norms"]
    np.testing.assert_allclose(norms, expected, atol=1e-5)


@pytest.mark.parametrize("state_reset", ["never", "sentence"])
def test_where_windows_begin_with_sentences_never_is_the_original(
    tmp_path, monkeypatch, state_reset
):
    task, records, record = golden_task(tmp_path, "starts", state_reset=state_reset)
    batches = task.train_batches(records, batch_size=2, seed=0, shuffle=False)
    starts = [batch["starts_sentence"].numpy().tolist() for batch in batches.take(6)]
    assert starts == [[int(word == 0) for word in row] for row in record["first_words"]]
    assert starts[4] == [1, 0]
    out = tmp_path / "out"
    first = "word_shared"
    run = follow_the_original(task, records, record, out, monkeypatch, first, 6)
    golden = np.load(GOLDEN / "elmo_train_starts.npz")
    errors = [
        np.abs(value - golden[f"final/{key}"]).max()
        for key, value in weights_of(run).items()
    ]
    norms = state_norms(out / "model.ckpt-6", 1)
    errors += list(np.abs(np.subtract(norms, record["final_state_norms"])))
    if state_reset == "never":
        assert max(errors) < 1e-5
    else:
        assert max(errors) > 1e-3


@pytest.mark.parametrize(
    ("replicas", "pieces"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)]
)
def test_states_of_pieces_and_replicas_are_those_of_the_whole_batch(
    tmp_path, files, replicas, pieces
):
    task = WithoutDropout(tiny_elmo.task())
    train = task.train_records(files)
    whole = trainer(task, tmp_path / "whole", num_train_steps=3)
    whole.train(train, None, {})
    mirrored = make_strategy(DistributionConfig("mirrored")) if replicas > 1 else None
    kwargs = {"num_train_steps": 3, "gradient_accumulation_steps": pieces}
    split = trainer(task, tmp_path / "split", mirrored, **kwargs)
    split.train(train, None, {})
    assert_close(weights_of(split), weights_of(whole), atol=1e-5)
    left, right = (tensors(tmp_path / n / "model.ckpt-3") for n in ("split", "whole"))
    states = [name for name in left if name.startswith("trainer/states/")]
    assert len(states) == 8
    for name in states:
        np.testing.assert_allclose(left[name], right[name], atol=1e-5)
        assert np.abs(left[name]).min(axis=1).max() > 0  # every row has read something


def test_a_window_that_begins_with_a_sentence_begins_with_zeros(files):
    task = tiny_elmo.task(dataclasses.replace(tiny_elmo.CONFIG, dropout=0.0))
    model = task.build_model(dtype="float32", fused=False, seed=3)
    carried = {
        name: tf.fill(zeros.shape, 0.9)
        for name, zeros in task.carried_states(model, 4).items()
    }
    found = set()
    records = task.train_records(files)
    for batch in task.train_batches(records, batch_size=4, seed=1).take(12):
        starts = batch["starts_sentence"].numpy()
        # Ids of letters: begin of word, then the mark <S>, moved up by one.
        np.testing.assert_array_equal(batch["inputs"][:, 0, 1] == 257, starts == 1)
        fresh = task.predict(model, batch)["forward_loss"]
        for row, start in enumerate(starts):
            one = {**batch, **carried, "is_real_example": np.eye(4, dtype=int)[row]}
            loss = task.loss_sums(model, one, None)["forward_loss"]
            found.add((int(start), bool(np.isclose(loss, fresh[row], atol=1e-5))))
    assert found == {(1, True), (0, False)}


def test_a_killed_training_goes_on_with_its_states_bit_for_bit(tmp_path, files):
    task = tiny_elmo.task(dataclasses.replace(tiny_elmo.CONFIG, sample_softmax=True))
    train = task.train_records(files)
    keep = {"keep_optimizer": "all"}
    trainer(task, tmp_path / "whole", **keep).train(train, None, {})
    parts = tmp_path / "parts"
    trainer(task, parts, **keep).train(train, None, {})
    for file in parts.glob("model.ckpt-6.*"):
        file.unlink()
    (parts / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-4"\n')
    trainer(task, parts, **keep).train(train, None, {})
    whole = tensors(tmp_path / "whole" / "model.ckpt-6")
    assert_equal(tensors(parts / "model.ckpt-6"), whole)


def test_evaluation_of_a_sentence_depends_on_nothing_but_the_sentence(tmp_path):
    task = tiny_elmo.task()
    lines = list(tiny_elmo.sentences(11, seed=3))
    path = tiny_elmo.write_records(tmp_path / "dev", lines)
    run = trainer(task, tmp_path / "out")
    run.initialize()
    dev = task.eval_records([path])
    together, alone = run.predict(dev, 8), run.predict(dev, 1)
    for name, values in together.items():
        np.testing.assert_allclose(values, alone[name], rtol=1e-4)
    words = np.array([len(line.split()) for line in lines])
    np.testing.assert_array_equal(together["lm_tokens"], words + 1)
    scores = task.metrics(together)
    both = scores["forward_perplexity"] * scores["backward_perplexity"]
    assert scores["perplexity"] == pytest.approx(np.sqrt(both))
    assert scores["perplexity"] == pytest.approx(len(tiny_elmo.VOCAB), rel=0.3)


def test_the_backward_model_predicts_from_the_end(tmp_path):
    task = tiny_elmo.task()
    path = tiny_elmo.write_records(tmp_path / "dev", ["the w1", "w2 zoë never"])
    (batch,) = task.eval_batches(task.eval_records([path]), batch_size=2)
    ids = {word: i for i, word in enumerate(tiny_elmo.VOCAB)}
    wanted = [ids[word] for word in ("<UNK>", "zoë", "w2", "<S>")]
    row = int(np.flatnonzero(batch["example_index"] == 1)[0])
    found = batch["targets_reverse"][row]
    np.testing.assert_array_equal(found[: len(wanted)], wanted)
    # The letters of a word that the vocabulary lacks are read all the same.
    spelled = bytes(batch["inputs_reverse"][row, 1, 1:6].numpy().astype(np.uint8) - 1)
    assert spelled == b"never"


@pytest.mark.whole_steps
def test_a_tiny_model_learns_to_count_both_ways(tmp_path):
    task = tiny_elmo.task(dataclasses.replace(tiny_elmo.CONFIG, dropout=0.0))
    train = tiny_elmo.write_records(tmp_path / "train", tiny_elmo.sentences(300))
    dev = tiny_elmo.write_records(tmp_path / "dev", tiny_elmo.sentences(40, seed=1))
    dev = task.eval_records([dev])
    task.compare_with_ngrams(3, [train], dev)
    run = trainer(
        task,
        tmp_path / "out",
        num_train_steps=150,
        train_batch_size=16,
        save_checkpoints_steps=1000,
        optimizer=OptimizerConfig(kind="adamw", learning_rate=2e-2),
    )
    run.train(task.train_records([train]), None, {})
    scores = run.evaluate(dev)
    # The first word and the end of a sentence cannot be known.
    assert 1 < scores["ngram_perplexity"] < 3.5
    assert scores["forward_perplexity"] < 5
    assert scores["backward_perplexity"] < 5


def test_records_of_another_vocabulary_and_unsorted_ones_are_refused(tmp_path):
    vocab, _ = tiny_elmo.write_model(tmp_path)
    few = dataclasses.replace(tiny_elmo.CONFIG, n_tokens_vocab=9)
    lines = list(tiny_elmo.sentences(40))
    path = tiny_elmo.write_records(tmp_path / "train", lines)
    with pytest.raises(ValueError, match=r"train: record 0 .*\d+; .*n_tokens_vocab=9"):
        tiny_elmo.task(few).train_records([path])
    sampled = dataclasses.replace(tiny_elmo.CONFIG, sample_softmax=True)
    last = tiny_elmo.write_records(tmp_path / "last", ["zoë zoë zoë w8 zoë"] * 9)
    with pytest.raises(ValueError, match="not sorted by falling frequency"):
        tiny_elmo.task(sampled, vocab_file=vocab).train_records([last])
    tiny_elmo.task(vocab_file=vocab).train_records([last])  # no matter in full
    one = sentence_streams.SPEC.to_example({"input_ids": [3], "words": ["w"]})
    tfrecord.write(str(tmp_path / "one"), [one])
    with pytest.raises(ValueError, match="one: record 0 has length 1; wanted 2 or"):
        tiny_elmo.task().train_records([str(tmp_path / "one")])
