"""Wherever a run is killed, and whatever is damaged: it ends as if nothing had been."""

import dataclasses
import os
import pathlib
import shutil
import signal
import tempfile

import forks
import pytest
import scripts
import tiny
from test_training import assert_equal, tensors

pytestmark = pytest.mark.long

LAST = 12
FLAGS = ("--do_train", "--do_eval", "--num_train_epochs=1", "--seed=3")
FLAGS += ("--save_checkpoints_steps=4", "--use_checkpoint=best")

# Makes a process die when it evaluates, or renames to a path with that ending, for the
# n-th time.
KILLED = """
import os, signal
import tensorflow as tf
from training.trainer import Trainer

place, calls = {!r}, {}

def count(is_place):
    global calls
    calls -= is_place
    if not calls:
        os.kill(os.getpid(), signal.SIGKILL)

def evaluate(trainer, records, old=Trainer.evaluate):
    count(place == "evaluate")
    return old(trainer, records)

def rename(source, target, overwrite=False, old=tf.io.gfile.rename):
    count(target.endswith(place))
    return old(source, target, overwrite)

Trainer.evaluate, tf.io.gfile.rename = evaluate, rename
"""


def command_of(folder, output):
    """Returns the command; of two layers, which are best at the last step."""
    command = tiny.classifier_command(folder, output, *FLAGS)
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2)
    (folder / "bert_config.json").write_text(config.to_json_string())
    return command


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "a[1] {b}*?"
    folder.mkdir()
    command = command_of(folder, folder / "out")
    scripts.run("run_classifier", *command[2:])
    return folder / "out"


def kill_and_go_on(tmp_path, whole, place, calls, damage=None):
    """Returns the folder of a run as `whole`, but killed, and then given again."""
    output = tmp_path / "lr[1e-4] {a}*?"
    command = command_of(whole.parent, output)
    done = forks.run(command, before=KILLED.format(place, calls))
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    if damage:
        damage(output)
    scripts.run("run_classifier", *command[2:])
    return output


def assert_same_end(output, whole):
    for folder in ("", "best"):
        name = f"{folder}/model.ckpt-{LAST}".lstrip("/")
        assert_equal(read(output, name), read(whole, name))
        results = pathlib.Path(folder, "eval_results.txt")
        assert (output / results).read_text() == (whole / results).read_text()
    names = (output / "training_settings.json", whole / "training_settings.json")
    assert len({path.read_bytes() for path in names}) == 1
    assert not [name for name in os.listdir(output) if ".writing-" in name]
    assert not (output / ".lock").exists()


def read(folder, name):
    """Reads a checkpoint with TensorFlow alone, out of a folder of a plain name."""
    with tempfile.TemporaryDirectory() as copy:
        for path in (folder / name).parent.iterdir():
            if path.name.startswith(f"model.ckpt-{LAST}."):
                shutil.copy(path, copy)
        return tensors(f"{copy}/model.ckpt-{LAST}")


def cut_newest(output):
    path = output / f"model.ckpt-{LAST}.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-9])


def lose_newest(output):
    for path in output.glob(f"model.ckpt-{LAST}.*"):
        path.unlink()
    (output / "checkpoint").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(None, marks=pytest.mark.slow),
        cut_newest,
        pytest.param(lose_newest, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_between_its_last_checkpoint_and_its_evaluation(
    tmp_path, whole, damage
):
    output = kill_and_go_on(tmp_path, whole, "evaluate", 3, damage)
    assert_same_end(output, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "calls"),
    [
        ("/training_settings.json", 1),
        ("?/model.ckpt-4.data-00000-of-00001", 1),
        ("?/model.ckpt-4.index", 1),
        ("?/checkpoint", 1),
        ("/training_settings.json", 2),  # that a checkpoint is there
        ("evaluate", 1),
        ("best/vocab.txt", 1),
        ("best/model.ckpt-4.index", 1),
        ("best/checkpoint", 1),
        ("best/eval_results.txt", 1),
        ("?/model.ckpt-8.index", 1),
        ("?/checkpoint", 2),
        ("best/checkpoint", 2),
        ("?/eval_results.txt", 1),
    ],
)
def test_a_run_killed_wherever_a_file_appears(tmp_path, whole, place, calls):
    assert_same_end(kill_and_go_on(tmp_path, whole, place, calls), whole)
