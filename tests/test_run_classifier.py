"""The script as its user runs it: files, resuming after a kill, workers, errors."""

import dataclasses
import json
import os
import pathlib
import pty
import random
import signal
import socket
import subprocess
import sys
import time

import forks
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
from test_training import assert_close, assert_equal, tensors

import modeling
import registry
from checkpoints import google_bert
from data_pipeline.readers import glue
from modeling import BertConfig
from systems.bert import BertSystem
from systems.classification_config import ClassificationConfig

pytestmark = pytest.mark.long

LONG = ("--do_train", "--num_train_epochs=8", "--save_checkpoints_steps=3")
LAST = 100  # its steps


def run_here(command):
    """Runs a command's flags in this process."""
    scripts.run("run_classifier", *command[2:])


def wait_for(path, process, seconds=120):
    """Waits until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < end, f"no {path} after {seconds} s"
        time.sleep(0.02)


@pytest.mark.compiled
def test_train_evaluate_predict_leave_a_folder_that_stands_alone(tmp_path):
    output = tmp_path / "out"
    command = tiny.classifier_command(tmp_path, output, "--do_train", "--do_eval")
    run_here([*command, "--do_predict", "--num_train_epochs=2"])
    results = tiny.read_results(output / "eval_results.txt")
    assert set(results) == {
        "eval_accuracy",
        "eval_loss",
        "eval_macro_f1",
        "global_step",
    }
    assert results["global_step"] == int(100 / 8 * 2)
    probabilities = np.loadtxt(output / "test_results.tsv", delimiter="\t")
    assert probabilities.shape == (11, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    labels = [e.label == "good" for e in tiny.examples(11, 2)]
    accuracy = np.mean(probabilities.argmax(axis=1) == labels)
    metrics = tiny.read_results(output / "test_metrics.txt")
    assert metrics["test_accuracy"] == pytest.approx(accuracy)
    # Elsewhere, without vocabulary, architecture or checkpoint flags: the same.
    moved = tmp_path / "moved"
    output.rename(moved)
    (moved / "test_results.tsv").unlink()
    (tmp_path / "data" / "train.tsv").unlink()  # the folder knows the labels
    keep = ("--task", "--data", "--text", "--label")
    flags = [flag for flag in command[2:] if flag.startswith(keep)]
    run_here([*command[:2], *flags, f"--output_dir={moved}", "--do_predict"])
    again = np.loadtxt(moved / "test_results.tsv", delimiter="\t")
    np.testing.assert_array_equal(again, probabilities)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The last checkpoint's tensors of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run_here(tiny.classifier_command(folder, folder / "out", *LONG))
    return tensors(folder / "out" / f"model.ckpt-{LAST}")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
@pytest.mark.whole_steps
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path, uninterrupted, kill, caplog
):
    parts = tmp_path / "parts"
    command = tiny.classifier_command(tmp_path, parts, *LONG)
    with open(tmp_path / "errors", "w") as errors:
        process = forks.start(command, stderr=errors)
    wait_for(parts / "model.ckpt-3.index", process)
    time.sleep(random.uniform(0, 0.2))
    process.send_signal(kill)
    process.wait()
    errors = (tmp_path / "errors").read_text()
    before = tf.train.latest_checkpoint(str(parts))
    steps = int(before.rpartition("-")[2])
    assert steps < LAST, "the run ended before it was killed"
    if kill == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
        assert f"terminated at step {steps}; the state is saved" in errors
        assert "Traceback" not in errors
    with caplog.at_level("INFO", "absl"):
        run_here([*command, "--verbosity=0"])
    assert f"resumed from {before}" in caplog.text
    assert_equal(tensors(parts / f"model.ckpt-{LAST}"), uninterrupted)


@pytest.mark.slow
def test_two_workers_on_loopback_equal_one(tmp_path):
    def worker(output, strategy, environment):
        return subprocess.Popen(
            [sys.executable, str(tiny.ROOT / "tests/worker.py")]
            + [str(tmp_path), output, strategy],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(process):
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-3000:]
        return out

    alone = wait(worker("alone", "off", {}))
    sockets = [socket.socket() for _ in range(2)]
    for found in sockets:
        found.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]}
    for found in sockets:
        found.close()
    workers = []
    for index in range(2):
        config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(config)}
        workers.append(worker("both", "multi_worker", environment))
    outputs = [wait(process) for process in workers]
    assert outputs[0] == outputs[1]
    scores = [float(text.split("eval_loss': ")[1].split(",")[0]) for text in outputs]
    expected = float(alone.split("eval_loss': ")[1].split(",")[0])
    assert scores[0] == pytest.approx(expected, abs=1e-5)
    both = tensors(tmp_path / "both" / "model.ckpt-6")
    one = tensors(tmp_path / "alone" / "model.ckpt-6")
    names = [name for name in one if "adam" not in name and "trainer/" not in name]
    assert_close(
        {name: both[name] for name in names},
        {name: one[name] for name in names},
        atol=2e-5,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training that its tests leave as it is, beside its data."""
    folder = tmp_path_factory.mktemp("trained")
    flags = ("--do_train", "--do_predict", "--num_train_epochs=1")
    run_here(tiny.classifier_command(folder, folder / "out", *flags))
    return folder / "out"


def test_a_fine_tuned_checkpoint_predicts_into_an_empty_folder(tmp_path, trained):
    used = tmp_path / "used"
    flags = [*tiny.COLUMNS, f"--data_dir={trained.parent / 'data'}"]
    flags += [f"--output_dir={used}"]
    flags += ["--do_predict", "--do_eval"]
    scripts.run("run_classifier", *flags, f"--init_checkpoint={trained}/model.ckpt-12")
    results = (folder / "test_results.tsv" for folder in (trained, used))
    np.testing.assert_array_equal(*(np.loadtxt(path) for path in results))
    assert tiny.read_results(used / "eval_results.txt")["global_step"] == 0
    # One without this task's head is not used as if it had one.
    variables = modeling.named_variables(modeling.BertModel(tiny.CONFIG))
    tensors = {name: variable.numpy() for name, variable in variables.items()}
    google_bert.save_folder(
        str(tmp_path / "plain"),
        tensors,
        tiny.CONFIG,
        str(trained.parent / "vocab.txt"),
        True,
    )
    with pytest.raises(ValueError, match="missing: output_bias"):
        scripts.run(
            "run_classifier",
            *flags[:-3],
            f"--output_dir={tmp_path / 'none'}",
            "--do_predict",
            "--max_seq_length=24",
            f"--init_checkpoint={tmp_path / 'plain'}",
        )


def test_folder_of_another_training_is_refused_and_left_alone(trained):
    command = tiny.classifier_command(trained.parent, trained, "--do_train")
    assert "--num_train_epochs=1.0" in (trained / "flags.txt").read_text().splitlines()
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"seed: there 0, now 7"):
        run_here([*command, "--num_train_epochs=1", "--seed=7"])
    assert before == {path: path.read_bytes() for path in before}


def write_labelled(folder, rows):
    """Writes train, dev and test sets of (text_a, text_b, label) as jsonl."""
    folder.mkdir()
    for name in ("train", "dev", "test"):
        lines = [
            json.dumps(dict(zip(("a", "b", "y"), row, strict=True))) for row in rows
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return [f"--data_dir={folder}", "--text_a_column=a", "--text_b_column=b"]


@pytest.mark.parametrize(
    ("kind", "label_of", "columns", "score"),
    [
        ("regression", lambda i: i / 10, 1, "eval_pearson"),
        ("multi_label", lambda i: ["x", "y"][: i % 3], 2, "eval_micro_f1"),
    ],
)
def test_custom_pairs_with_numbers_or_several_labels(
    tmp_path, kind, label_of, columns, score
):
    texts = tiny.examples(40)
    rows = [(e.text_a, "word3 good", label_of(i)) for i, e in enumerate(texts)]
    flags = write_labelled(tmp_path / "mine", rows)
    flags += ["--label_column=y", f"--label_kind={kind}", "--num_train_epochs=1"]
    flags += ["--do_train", "--do_eval", "--do_predict"]
    run_here([*tiny.classifier_command(tmp_path, tmp_path / "out"), *flags])
    assert score in tiny.read_results(tmp_path / "out" / "eval_results.txt")
    results = np.loadtxt(tmp_path / "out" / "test_results.tsv", ndmin=2)
    assert results.shape == (40, columns)
    # Afterwards the folder knows the kind, and is used for no other.
    command = tiny.classifier_command(
        tmp_path, tmp_path / "out", *flags, "--nodo_train"
    )
    command = [flag for flag in command if not flag.startswith("--label_kind")]
    (tmp_path / "out" / "eval_results.txt").unlink()
    run_here(command)
    assert score in tiny.read_results(tmp_path / "out" / "eval_results.txt")
    message = f"output_kind 'single_label', but .* trained for '{kind}'"
    with pytest.raises(ValueError, match=message):
        run_here([*command, "--label_kind=single_label"])


def test_a_trained_model_is_not_scored_on_other_labels(trained):
    flags = ("--do_predict", "--labels=good,bad")
    command = tiny.classifier_command(trained.parent, trained, *flags)
    message = r"labels \('good', 'bad'\), but .* trained for \('bad', 'good'\)"
    with pytest.raises(ValueError, match=message):
        run_here(command)


def evaluate_as(tmp_path, task, trained, text_columns, label):
    """Asks for a task on two examples, of a folder that was trained on another."""
    command = tiny.classifier_command(tmp_path, tmp_path / "out", "--do_eval")
    header = [*text_columns, "label"]
    rows = [["good"] * len(text_columns) + [label]] * 2
    lines = ["\t".join(cells) for cells in (header, *rows)]
    (tmp_path / "data" / "dev.tsv").write_text("\n".join(lines) + "\n")
    processor = glue.PROCESSORS[trained]()
    config = ClassificationConfig(
        task_name=trained,
        output_kind=processor.output_kind,
        labels=tuple(processor.get_labels()),
        metrics=processor.metrics,
        main_metric=processor.main_metric,
        max_seq_length=24,
        do_lower_case=True,
        text_pair=len(processor.text_columns) == 2,
        symmetric=processor.symmetric,
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "task.json").write_text(config.to_json_string())
    run_here([*command, f"--task_name={task}"])


@pytest.mark.parametrize(
    ("trained", "task", "text_columns", "label", "message"),
    [
        ("mrpc", "sst-2", ["sentence"], "1", r"metrics \('accuracy',\)"),
        ("sst-2", "wnli", ["sentence1", "sentence2"], "1", "text_pair True"),
        ("wnli", "rte", ["sentence1", "sentence2"], "entailment", "labels"),
    ],
)
def test_a_trained_model_is_not_scored_on_another_kind_of_task(
    tmp_path, trained, task, text_columns, label, message
):
    message = f"--task_name={task} has {message}.* in {tmp_path}/out .*is {trained}$"
    with pytest.raises(ValueError, match=message):
        evaluate_as(tmp_path, task, trained, text_columns, label)


def test_a_trained_model_may_be_scored_on_another_task_of_its_kind(tmp_path):
    with pytest.raises(ValueError, match="holds no trained checkpoint"):
        evaluate_as(tmp_path, "rte", "qnli", ["sentence1", "sentence2"], "entailment")
    assert list((tmp_path / "out").glob("eval-*.tfrecord"))  # the data were taken


def test_progress_bar_is_shown_on_a_terminal_only(tmp_path):
    flags = ("--do_train", "--num_train_epochs=1")
    command = tiny.classifier_command(tmp_path, tmp_path / "out", *flags)
    main, terminal = pty.openpty()
    process = forks.start(command, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            data = os.read(main, 4096)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        shown += data
    assert process.wait() == 0
    assert b"12/12" in shown
    assert b"examples/s" in shown


def broken(tmp_path, name, text):
    """Writes a broken data file over a good one; returns the command's flags."""
    command = tiny.classifier_command(
        tmp_path, tmp_path / "out", "--do_train", "--do_eval"
    )
    (tmp_path / "data" / name).write_bytes(text)
    return command


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dev.tsv", b"text\tlabel\ngood\tgood\nfine\tfair\n", r"dev.tsv.*3.*'fair'"),
        ("train.tsv", b"words\tlabel\ngood\tgood\n", r"train.tsv.*'text'.*words"),
        ("train.tsv", b"text\tlabel\ngood\tgood\nbad\n", r"train.tsv.*3"),
        ("train.tsv", b"", r"train.tsv.*empty"),
        ("train.tsv", b"text\tlabel\ngood\tgood\n\x81\tbad\n", r"train.tsv.*3"),
    ],
    ids=["unknown label", "missing column", "ragged", "empty", "undecodable"],
)
def test_bad_data_stops_the_run_before_training(tmp_path, file, text, message):
    command = broken(tmp_path, file, text)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        run_here(command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_seq_length=41"], r"--max_seq_length=41.*max_position_embeddings=40"),
        (["--task_name=mnli2"], r"--task_name=mnli2; known: .*mrpc"),
        (["--nodo_train"], r"at least one of --do_train"),
        (["--train_batch_size=1000"], r"100 training examples .* no batch"),
        (["--init_checkpoint=nowhere"], r"nowhere"),
        (["--seeds=0"], r"seeds"),
    ],
)
def test_impossible_flags_name_themselves(tmp_path, flags, message):
    command = tiny.classifier_command(tmp_path, tmp_path / "out", "--do_train", *flags)
    with pytest.raises(Exception, match=f"(?s){message}"):
        run_here([*command, "--num_train_epochs=1"])
    assert not (tmp_path / "out").exists()


def test_vocabulary_of_another_model_is_refused(tmp_path):
    command = tiny.classifier_command(tmp_path, tmp_path / "out", "--do_train")
    with open(tmp_path / "vocab.txt", "a") as file:
        file.write("more\n")
    with pytest.raises(ValueError, match=r"vocab.txt has 38 rows.*vocab_size=37"):
        run_here(command)


READ = []


def begin(config, words, **options):
    """Makes a new system of its text, as an entry's `begins` does."""
    READ.extend(words)
    pieces = [*tiny.VOCAB[:5], *sorted(set(READ))]
    path = options["vocab_file"]
    pathlib.Path(path).write_text("\n".join(pieces) + "\n")
    return BertSystem(dataclasses.replace(config, vocab_size=len(pieces)), path)


def test_a_system_that_begins_with_a_text_gets_the_words_of_training(
    tmp_path, monkeypatch
):
    entry = dataclasses.replace(
        registry.find("bert"),
        begins=f"{__name__}:begin",
        reads=registry.find("bert").reads | {"vocab_file"},
    )
    monkeypatch.setitem(registry._ENTRIES, "bert", entry)
    flags = ("--do_train", "--do_predict", "--model_type=bert", "--num_train_epochs=1")
    command = tiny.classifier_command(tmp_path, tmp_path / "out", *flags)
    run_here(command)
    texts = (example.text_a for example in tiny.examples(100))
    assert [word for text in texts for word in text.split()] == READ
    config = BertConfig.from_json_file(str(tmp_path / "out" / "bert_config.json"))
    assert config.vocab_size == 5 + len(set(READ))
