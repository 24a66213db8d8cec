"""A training folder: nothing outside is touched, and nothing in it is given up."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from checkpoints import tensorflow_files
from checkpoints.mapping import CheckpointError
from errors import UserError
from training import state

ODD_NAMES = ["lr[1e-4]", "run?", "a*b", "{x}", "[]]", "a\\b", "c d"]


def save(folder, *steps, keep=5):
    """Saves a variable whose values are the step."""
    for step in steps:
        weights = tf.Variable(np.full((3, 50), step, np.float32))
        variables = {"weights": weights, "global_step": tf.Variable(np.int64(step))}
        state.save(str(folder), variables, keep)
    return folder


def restored(folder):
    """Restores from a folder; returns what was found in it, once in each variable."""
    variables = {
        "weights": tf.Variable(np.zeros((3, 50), np.float32)),
        "global_step": tf.Variable(np.int64(-1)),
    }
    assert state.restore_newest(str(folder), variables)
    weights = set(variables["weights"].numpy().ravel().tolist())
    return weights | {int(variables["global_step"].numpy())}


def checkpoints(folder):
    return sorted(path.name for path in folder.glob("*.index"))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "out"
    state.check_settings(os.fspath(folder), {"seed": 1})
    return save(folder, 2, 4, 6)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_may_have_any_name_and_others_are_left_alone(tmp_path, name):
    others = [save(tmp_path / other, 1, 2) for other in ("runA", "lr1", "aab", "x")]
    folder = save(tmp_path / name, 1, 2, 3, keep=1)
    assert state.latest(str(folder)) == f"{folder}/model.ckpt-3"
    assert tensorflow_files.find_prefix(str(folder)) == f"{folder}/model.ckpt-3"
    assert restored(folder) == {3}
    assert checkpoints(folder) == ["model.ckpt-3.index"]
    for other in others:
        assert checkpoints(other) == ["model.ckpt-1.index", "model.ckpt-2.index"]


def test_a_checkpoint_may_have_any_name(tmp_path):
    for name in ODD_NAMES:
        prefix = str(tmp_path / name)
        tensorflow_files.save(prefix, {"w": np.full(7, 3.0)})
        reader = tensorflow_files.Reader(prefix)
        np.testing.assert_array_equal(reader.read("w"), np.full(7, 3.0))


@pytest.mark.parametrize(
    "named", ["../victim/*", "../victim/model.ckpt-1", "{victim}/model.ckpt-1", "*"]
)
def test_what_a_checkpoint_file_says_leads_nowhere_else(tmp_path, folder, named):
    victim = save(tmp_path / "victim", 1)
    before = sorted(tmp_path.rglob("*"))
    named = named.format(victim=victim)
    (folder / "checkpoint").write_text(
        f'model_checkpoint_path: "{named}"\n'
        f'all_model_checkpoint_paths: "{named}"\n'
        'all_model_checkpoint_paths: "model.ckpt-6"\n'
    )
    assert state.latest(str(folder)) == f"{folder}/model.ckpt-6"
    assert restored(folder) == {6}
    save(folder, 8, keep=1)
    gone = set(before) - set(tmp_path.rglob("*"))
    assert {path.name.partition(".data")[0] for path in gone} == {
        "model.ckpt-6",
        "model.ckpt-6.index",
    }
    assert {path.parent for path in gone} == {folder}


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "no index": lambda folder: (folder / "model.ckpt-6.index").unlink(),
    "index cut": lambda folder: cut(folder / "model.ckpt-6.index"),
    "no data": lambda folder: (folder / f"model.ckpt-6{DATA}").unlink(),
    "data cut": lambda folder: cut(folder / f"model.ckpt-6{DATA}"),
}
DATA = ".data-00000-of-00001"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_is_named_and_left_out(folder, caplog, damage):
    DAMAGE[damage](folder)
    assert state.latest(str(folder)) == f"{folder}/model.ckpt-4"
    assert f"{folder}/model.ckpt-6 is not complete and left out: " in caplog.text
    assert tensorflow_files.find_prefix(str(folder)) == f"{folder}/model.ckpt-4"
    assert restored(folder) == {4}
    # It is made again, and what is kept is complete.
    save(folder, 6, keep=2)
    assert restored(folder) == {6}
    assert checkpoints(folder) == ["model.ckpt-4.index", "model.ckpt-6.index"]


def test_a_wrong_checksum_is_met_when_reading_and_the_one_before_is_used(
    folder, caplog
):
    for step, before in ((6, 4), (4, 2)):
        flip(folder / f"model.ckpt-{step}{DATA}")
        assert restored(folder) == {before}
        assert f"model.ckpt-{step} is damaged and left out" in caplog.text
        assert "cannot read weights" in caplog.text
    flip(folder / f"model.ckpt-2{DATA}")
    with pytest.raises(UserError, match="no complete.*ckpt-6: cannot read weights"):
        restored(folder)


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"model_checkpoint_path: ", b'other: "x"\n']
)
def test_without_a_readable_checkpoint_file_the_newest_is_taken(
    folder, caplog, content
):
    (folder / "checkpoint").unlink()
    if content is not None:
        (folder / "checkpoint").write_bytes(content)
    assert state.latest(str(folder)) == f"{folder}/model.ckpt-6"
    assert "which should name the newest, names none that is there" in caplog.text


def test_a_checkpoint_file_that_names_what_is_not_there_is_told(folder, caplog):
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-8"\n')
    assert state.latest(str(folder)) == f"{folder}/model.ckpt-6"
    assert "names none that is there" in caplog.text


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (["*.data*"], r"model\.ckpt-6\.index does not exist"),
        (["*.index"], r"data-\* have 0 bytes, wanted 608"),
        (["checkpoint"], r"\(checkpoint\), but no complete.* no model\.ckpt-"),
        (["training_settings.json"], r"\(training_settings\.json\), but no complete"),
        (["best"], r"\(best\), but no complete checkpoint: there is no model\.ckpt-"),
    ],
)
def test_a_training_of_which_nothing_is_left_does_not_start_again(
    folder, left, message
):
    save(folder / "best", 2)
    for path in folder.iterdir():
        if not any(path.match(pattern) for pattern in left):
            os.rename(path, folder.parent / path.name)
    for use in (state.latest, lambda path: state.check_settings(path, {"seed": 1})):
        with pytest.raises(UserError, match=f"(?s){message}"):
            use(str(folder))
    with pytest.raises(UserError, match="no complete checkpoint"):
        state.restore_newest(str(folder), {})


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path):
    folder = tmp_path / "out"
    state.check_settings(str(folder), {"seed": 1})
    save(folder / "best", 1)
    (folder / f"model.ckpt-2{DATA}").write_bytes(b"the index was still to come")
    assert state.latest(str(folder)) is None
    state.check_settings(str(folder), {"seed": 1})
    # But its best model is of these settings.
    with pytest.raises(UserError, match="seed: there 1, now 2"):
        state.check_settings(str(folder), {"seed": 2})
    save(folder, 2)
    assert json.loads((folder / "training_settings.json").read_text()) == {"seed": 1}
    for path in folder.glob("model.ckpt-*"):
        path.unlink()
    (folder / "checkpoint").unlink()
    with pytest.raises(UserError, match="training_settings.json, best|best, training"):
        state.latest(str(folder))


def test_settings_of_a_run_without_any_checkpoint_may_change(tmp_path):
    for seed in (1, 2):
        state.check_settings(str(tmp_path / "out"), {"seed": seed})
    save(tmp_path / "out", 2)
    with pytest.raises(UserError, match="seed: there 2, now 3"):
        state.check_settings(str(tmp_path / "out"), {"seed": 3})


def test_what_is_no_setting_any_more_does_not_count(folder):
    state.check_settings(str(folder), {"seed": 1})
    path = folder / "training_settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unroll_steps": 20}))
    state.check_settings(str(folder), {"seed": 1})
    with pytest.raises(UserError, match="seed: there 1, now 2"):
        state.check_settings(str(folder), {"seed": 2})


def test_damaged_settings_name_their_file(folder):
    (folder / "training_settings.json").write_text('{"seed": ')
    with pytest.raises(UserError, match=r"out/training_settings\.json"):
        state.check_settings(str(folder), {"seed": 1})


def test_a_checkpoint_of_something_else_is_no_reason_to_take_an_older_one(folder):
    with pytest.raises(UserError, match=r"ckpt-6 is not a .*\n.*other: wanted \[2\]"):
        state.restore_newest(str(folder), {"other": tf.Variable([1.0, 2.0])})


def test_an_empty_or_missing_folder_holds_no_training(tmp_path):
    assert state.latest(str(tmp_path)) is None
    assert state.latest(str(tmp_path / "missing")) is None
    (tmp_path / "dev.tsv").write_text("mine")
    assert state.latest(str(tmp_path)) is None


def test_a_folder_with_only_damaged_checkpoints_is_no_source_of_weights(folder):
    for path in folder.glob("*.data*"):
        cut(path)
    (folder / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match=r"no complete checkpoint.*-\* have"):
        tensorflow_files.find_prefix(str(folder))
