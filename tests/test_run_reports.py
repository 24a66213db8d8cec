"""Scripts leave a table and a report of every set; a temperature is used everywhere."""

import json

import numpy as np
import pytest
import scripts
import tiny
import tiny_squad
import tiny_tagging

from inference import export
from reports import files

pytestmark = pytest.mark.long


def read(output, split=files.TEST):
    """The table of a run's set, whose report is there as well."""
    names = files.names(split)
    assert all((output / name).is_file() for name in names)
    return files.read(str(output / names[0]))


def test_a_classifier_leaves_tables_and_one_temperature_for_all_who_ask(tmp_path):
    output = tmp_path / "out"
    command = tiny.classifier_command(tmp_path, output, "--do_train", "--do_eval")
    more = ("--do_predict", "--num_train_epochs=1", "--calibrate", "--unsure_below=0.6")
    scripts.run("run_classifier", *command[2:], *more)
    temperature = json.loads((output / "calibration.json").read_text())["temperature"]
    assert temperature != pytest.approx(1, abs=0.01)
    dev, test = read(output, files.DEV), read(output)
    texts = {len(dev.ids): dev, len(test.ids): test}
    for seed, number in ((1, 37), (2, 11)):
        wanted = tiny.examples(number, seed)
        found = texts[number]
        assert list(found.texts["text_a"]) == [e.text_a for e in wanted]
        assert [found.labels[i] for i in found.gold] == [e.label for e in wanted]
    told = np.loadtxt(output / "test_results.tsv", delimiter="\t")
    np.testing.assert_array_equal(test.probabilities, told)
    scores = tiny.read_results(output / "eval_results.txt")
    assert dev.row_sums("accuracy").value == pytest.approx(scores["eval_accuracy"])
    unsure = np.array(read_column(output, "predicted")) == "unsure"
    assert unsure.tolist() == (told.max(axis=1) < 0.6).tolist()
    # An export divides by the temperature as well.
    export.export_model(str(output), str(tmp_path / "export"))
    exported = export.load(str(tmp_path / "export")).predict(test.texts["text_a"])
    np.testing.assert_allclose(exported["probabilities"], told, atol=1e-5)
    # Without it, the logits are what they were.
    (output / "calibration.json").unlink()
    keep = ("--task", "--data", "--text", "--label", "--output")
    flags = [flag for flag in command[2:] if flag.startswith(keep)]
    scripts.run("run_classifier", *flags, "--do_predict")
    raw = np.loadtxt(output / "test_results.tsv", delimiter="\t")
    logits = np.log(raw) / temperature
    powers = np.exp(logits)
    np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), told, atol=1e-5)
    assert "unsure" not in read_column(output, "predicted")


def read_column(output, name):
    return files.read_table(str(output / "predictions.tsv"))[name]


def test_a_tagger_leaves_a_table_of_its_words(tmp_path):
    output = tmp_path / "out"
    steps = ["--do_train", "--do_eval", "--do_predict", "--num_train_epochs=1"]
    scripts.run("run_tagger", *tiny_tagging.flags(tmp_path, output), *steps)
    for split, name in ((files.DEV, "eval_results"), (files.TEST, "test_results")):
        scores = tiny.read_results(output / f"{name}.txt")
        found, start = read(output, split), name.partition("_")[0]
        for metric in ("f1", "accuracy"):
            value = scores[f"{start}_{metric}"]
            assert found.row_sums(metric).value == pytest.approx(value)


def test_questions_leave_a_table_of_their_answers(tmp_path):
    output = tmp_path / "out"
    flags = tiny_squad.flags(tmp_path, output)
    scripts.run("run_squad", *flags, "--do_train", "--do_predict")
    scores = tiny.read_results(output / "eval_results.txt")
    answers = json.loads((output / "predictions.json").read_text())
    for split in (files.DEV, files.TEST):
        found = read(output, split)
        assert dict(zip(found.ids, found.predicted, strict=True)) == answers
        for metric in ("f1", "exact_match"):
            value = 100 * found.row_sums(metric).value
            assert value == pytest.approx(scores[metric])
