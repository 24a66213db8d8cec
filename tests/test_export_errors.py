"""An export is refused, or whole; what was there before is not touched."""

import pytest
import tensorflow as tf
from test_export import SINGLE, VOCAB, make_model_dir

from inference import export
from systems.classification_config import ClassificationConfig

pytestmark = pytest.mark.long


@pytest.fixture
def model_dir(tmp_path_factory):
    """A trained folder, away from tmp_path."""
    _, output = make_model_dir(tmp_path_factory.mktemp("model"), SINGLE)
    return str(output)


def test_a_folder_that_was_not_trained_is_refused(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(ValueError, match="no trained checkpoint in .*do_train"):
            export.export_model(str(folder), str(tmp_path / "export"))
    _, output = make_model_dir(tmp_path / "model", SINGLE)
    (output / "best/checkpoint").unlink()
    (output / "best/model.ckpt-2.index").unlink()
    with pytest.raises(ValueError, match=r"checkpoint in .*best; .*--do_eval"):
        export.export_model(
            str(output), str(tmp_path / "export"), use_checkpoint="best"
        )
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("name", ["task.json", "bert_config.json", "vocab.txt"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path, name):
    _, output = make_model_dir(tmp_path / "model", SINGLE)
    (output / name).unlink()
    with pytest.raises(ValueError, match=name):
        export.export_model(str(output), str(tmp_path / "export"))
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "got a JSON list"), ("{}", "missing keys .*'labels'")],
)
def test_a_broken_task_file_is_named(tmp_path, text, message):
    path = tmp_path / "task.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}.* {message}"):
        ClassificationConfig.from_json_file(str(path))


def test_a_vocabulary_of_another_size_is_refused(tmp_path):
    _, output = make_model_dir(tmp_path / "model", SINGLE)
    with (output / "vocab.txt").open("a") as file:
        file.write("more\n")
    with pytest.raises(
        ValueError, match=f"{len(VOCAB) + 1} rows.*vocab_size={len(VOCAB)}"
    ):
        export.export_model(str(output), str(tmp_path / "export"))


def test_what_is_in_the_export_folder_is_never_touched(model_dir, tmp_path):
    full, file = tmp_path / "full", tmp_path / "full/notes.txt"
    full.mkdir()
    file.write_text("mine")
    for path in (full, file):
        with pytest.raises(ValueError, match="wanted a new or empty folder"):
            export.export_model(model_dir, str(path))
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [full]
    (tmp_path / "empty").mkdir()
    export.export_model(model_dir, str(tmp_path / "empty") + "/")
    assert export.load(str(tmp_path / "empty")).labels == SINGLE.labels


def test_unknown_names_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="dtype=int8; wanted .*float32, bfloat16"):
        export.export_model("model", str(tmp_path / "x"), dtype="int8")
    with pytest.raises(ValueError, match="checkpoint=first; wanted .*last, best"):
        export.export_model("model", str(tmp_path / "x"), use_checkpoint="first")


def test_an_interrupted_export_leaves_nothing_that_looks_complete(
    model_dir, tmp_path, monkeypatch
):
    save, folder = tf.saved_model.save, tmp_path / "export"

    def save_and_stop(*args, **kwargs):
        save(*args, **kwargs)
        assert not folder.exists()
        assert [".writing-" in path.name for path in tmp_path.iterdir()] == [True]
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        export.export_model(model_dir, str(folder))
    assert list(tmp_path.iterdir()) == []
