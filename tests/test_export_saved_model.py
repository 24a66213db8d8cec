"""The script, from a folder that run_classifier.py trained to the same answers."""

import re

import numpy as np
import pytest
import scripts
import tiny

from errors import UserError
from inference import export

pytestmark = pytest.mark.long


def test_a_moved_folder_is_exported_and_answers_as_test_results_say(tmp_path):
    output, moved = tmp_path / "output", tmp_path / "moved"
    flags = ["--do_train", "--do_predict", "--num_train_epochs=1"]
    command = tiny.classifier_command(tmp_path, output, *flags)
    scripts.run("run_classifier", *command[2:])
    output.rename(moved)
    for path in (tmp_path / "vocab.txt", tmp_path / "bert_config.json"):
        path.unlink()
    folder = tmp_path / "served/1"
    flags = (f"--model_dir={moved}", f"--export_dir={folder}")
    scripts.run("export_saved_model", *flags)
    rows = (tmp_path / "data/test.tsv").read_text().splitlines()[1:]
    answers = export.load(str(folder)).predict([row.split("\t")[0] for row in rows])
    expected = np.loadtxt(moved / "test_results.tsv", delimiter="\t")
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=0, atol=1e-5)
    names = [("bad", "good")[i] for i in expected.argmax(axis=1)]
    assert answers["labels"].tolist() == names


def test_an_error_names_the_flag_and_leaves_no_folder(tmp_path):
    target, model = tmp_path / "export", tmp_path / "model"
    model.mkdir()
    message = f"--model_dir={model}: there is no trained checkpoint"
    with pytest.raises(UserError, match=re.escape(message)):
        scripts.run(
            "export_saved_model", f"--model_dir={model}", f"--export_dir={target}"
        )
    assert not target.exists()
