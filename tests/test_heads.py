"""Heads from a file: outputs go by name, those of another kind are new."""

import dataclasses
import json
import logging
import re

import numpy as np
import pytest
import tiny
import tiny_elmo
import tiny_gpt
from safetensors.numpy import load_file, save_file

import modeling
from checkpoints import google_bert, huggingface
from checkpoints.mapping import CheckpointError
from systems.classification_config import ClassificationConfig
from systems.elmo import ElmoSystem
from tasks.classification import ClassificationTask
from tasks.language_model import MaskedLanguageModelTask
from tasks.tagging import TaggingConfig, TaggingTask

pytestmark = pytest.mark.long

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
OLD = ("blue", "green", "red")
NEW = ("black", "green", "blue", "white")
TAGS, NEW_TAGS = ("O", "B-LOC", "B-PER"), ("O", "B-GPE", "B-LOC", "B-PER")


def classifier(system, labels=OLD, kind="single_label"):
    """A task over these labels."""
    config = ClassificationConfig(
        "tiny", kind, labels, ("accuracy",), "accuracy", 24, system.do_lower_case
    )
    return ClassificationTask(config, system)


def tagger(system, tags=TAGS, crf=True):
    """A task over these tags."""
    config = TaggingConfig(tags, "BIO", "BIO", crf, 24, system.do_lower_case)
    return TaggingTask(config, system)


def make(task, seed):
    """The variables of the task's model."""
    model = task.build_model(dtype="float32", fused=False, seed=seed)
    return modeling.named_variables(model)


def write(task, folder, values=None):
    """Writes a folder as a training of the task leaves it; returns its tensors."""
    tensors = {name: v.numpy() for name, v in make(task, 5).items()}
    rng = np.random.default_rng(3)
    for name, value in tensors.items():  # biases and CRFs begin as zeros
        tensors[name] = value + rng.normal(size=value.shape).astype(np.float32)
    task.save_beside(str(folder))
    google_bert.save(str(folder / "model.ckpt-1"), tensors | (values or {}))
    return tensors


def load(task, folder, caplog):
    """Fills another model; returns it before and after, and the log's line."""
    system = dataclasses.replace(task.system, init_checkpoint=str(folder))
    task = type(task)(task.config, system)
    variables = make(task, 1)
    before = {name: v.numpy() for name, v in variables.items()}
    with caplog.at_level(logging.INFO, logger="absl"):
        task.initialize(variables)
    lines = [r.getMessage() for r in caplog.records if r.msg.startswith("head: ")]
    after = {name: v.numpy() for name, v in variables.items()}
    return before, after, lines[-1] if lines else ""


@pytest.fixture(params=["bert", "gpt", "elmo"])
def system(request, tmp_path):
    """Each system that classifies."""
    if request.param == "elmo":
        vocab, _ = tiny_elmo.write_model(tmp_path)
        return ElmoSystem(tiny_elmo.CONFIG, vocab, do_lower_case=False)
    if request.param == "gpt":
        return tiny_gpt.system(tmp_path)
    return tiny.system(tmp_path, CONFIG)


def test_a_classifiers_outputs_go_by_name(system, tmp_path, caplog):
    old = write(classifier(system), tmp_path / "old")
    before, after, line = load(classifier(system, NEW), tmp_path / "old", caplog)
    assert line == "head: 2 of 4 labels kept (green, blue), new: black, white, " + (
        "left out: red"
    )
    outputs = [n for n, v in after.items() if v.shape != old.get(n, v).shape]
    assert len(outputs) == 2  # weights and bias
    for name in set(after) - set(outputs):
        np.testing.assert_array_equal(after[name], old[name], err_msg=name)
    for name in outputs:
        axis = before[name].shape.index(4)
        now, then, there = (np.moveaxis(v[name], axis, 0) for v in (after, before, old))
        np.testing.assert_array_equal(now[[1, 2]], there[[1, 0]], err_msg=name)
        np.testing.assert_array_equal(now[[0, 3]], then[[0, 3]], err_msg=name)


def test_a_head_of_the_same_labels_is_taken_as_it_is(system, tmp_path, caplog):
    old = write(classifier(system), tmp_path / "old")
    _, after, line = load(classifier(system), tmp_path / "old", caplog)
    assert line == "head: 3 of 3 labels kept (blue, green, red)"
    for name, value in after.items():
        np.testing.assert_array_equal(value, old[name], err_msg=name)


@pytest.mark.parametrize(
    ("labels", "kind", "line"),
    [
        (
            ("cat", "dog", "fish"),
            "single_label",
            r"new: none of .*\(blue, green, red\)",
        ),
        ((), "regression", "new: the file's is of another kind, single_label"),
        (OLD, "multi_label", "new: the file's is of another kind, single_label"),
    ],
)
def test_a_head_with_no_common_label_or_of_another_kind_is_new(
    system, tmp_path, caplog, labels, kind, line
):
    old = write(classifier(system), tmp_path / "old")
    task = classifier(system, labels, kind)
    before, after, found = load(task, tmp_path / "old", caplog)
    assert re.match(f"head: {line}", found)
    head = next(p for k, p in system.heads.items() if k == task.head)
    for name, value in after.items():
        wanted = before if re.fullmatch(head, name) else old
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)


@pytest.mark.parametrize("labels", [OLD, NEW])
def test_a_regression_becomes_a_classifier_with_a_new_head(tmp_path, caplog, labels):
    system = tiny.system(tmp_path, CONFIG)
    write(classifier(system, (), "regression"), tmp_path / "old")
    before, after, line = load(classifier(system, labels), tmp_path / "old", caplog)
    assert line == "head: new: the file's is of another kind, regression"
    np.testing.assert_array_equal(after["output_weights"], before["output_weights"])
    _, _, line = load(classifier(system, (), "regression"), tmp_path / "old", caplog)
    assert line == "head: kept, a regression"


def test_a_taggers_outputs_and_transitions_go_by_name(system, tmp_path, caplog):
    old = write(tagger(system), tmp_path / "old")
    before, after, line = load(tagger(system, NEW_TAGS), tmp_path / "old", caplog)
    assert line == "head: 3 of 4 labels kept (O, B-LOC, B-PER), new: B-GPE"
    kept = [0, 2, 3]
    for name in ("emissions/output_weights", "emissions/output_bias", "crf/start"):
        name = f"tagger/{name}"
        np.testing.assert_array_equal(after[name][kept], old[name], err_msg=name)
        np.testing.assert_array_equal(after[name][1], before[name][1], err_msg=name)
    name = "tagger/crf/transitions"
    np.testing.assert_array_equal(after[name][np.ix_(kept, kept)], old[name])
    np.testing.assert_array_equal(after[name][1], before[name][1])
    np.testing.assert_array_equal(after[name][:, 1], before[name][:, 1])


@pytest.mark.parametrize("crf", [False, True])
def test_a_tagger_may_gain_and_lose_its_crf(tmp_path, caplog, crf):
    system = tiny.system(tmp_path, CONFIG)
    old = write(tagger(system, crf=not crf), tmp_path / "old")
    before, after, _ = load(tagger(system, NEW_TAGS, crf), tmp_path / "old", caplog)
    name = "tagger/emissions/output_weights"
    np.testing.assert_array_equal(after[name][[0, 2, 3]], old[name])
    if crf:
        name = "tagger/crf/transitions"
        np.testing.assert_array_equal(after[name], before[name])


def test_a_tagger_starts_from_a_classifier_and_the_reverse(tmp_path, caplog):
    system = tiny.system(tmp_path, CONFIG)
    write(classifier(system), tmp_path / "a")
    assert load(tagger(system), tmp_path / "a", caplog)[2] == "head: new"
    write(tagger(system), tmp_path / "b")
    assert load(classifier(system), tmp_path / "b", caplog)[2] == "head: new"


def test_pre_training_goes_on_from_any_fine_tuned_folder(tmp_path):
    system = tiny.system(tmp_path, CONFIG)
    old = write(tagger(system), tmp_path / "old")
    system = dataclasses.replace(system, init_checkpoint=str(tmp_path / "old"))
    task = MaskedLanguageModelTask(system, 24, 3)
    variables = make(task, 1)
    task.initialize(variables)
    name = "bert/encoder/layer_0/output/dense/kernel"
    np.testing.assert_array_equal(variables[name], old[name])


@pytest.mark.parametrize("labels", [OLD, NEW])
def test_a_head_of_unknown_labels_is_kept_in_order_if_it_fits(tmp_path, caplog, labels):
    system = tiny.system(tmp_path, CONFIG)
    old = write(classifier(system), tmp_path / "old")
    (tmp_path / "old/task.json").unlink()
    _, after, line = load(classifier(system, labels), tmp_path / "old", caplog)
    if len(labels) == 3:
        assert line.startswith("head: kept in the file's order: it does not say")
        np.testing.assert_array_equal(after["output_bias"], old["output_bias"])
    else:
        assert line == "head: new: the file's, of unknown labels, has another size"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["blue", "green"], r"output_bias is \[3\], but there are 2 labels beside it"),
        (["blue", "red", "blue"], "the label 'blue' stands beside it more than once"),
        ("blue", "labels is 'blue', wanted a list of texts"),
        ([1, 2, 3], r"labels is \[1, 2, 3\], wanted a list of texts"),
    ],
)
def test_labels_that_cannot_be_the_files_are_refused(tmp_path, caplog, labels, message):
    system = tiny.system(tmp_path, CONFIG)
    write(classifier(system), tmp_path / "old")
    path = tmp_path / "old/task.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": labels}))
    with pytest.raises(CheckpointError, match=message):
        load(classifier(system), tmp_path / "old", caplog)


# Hugging Face's.


def write_huggingface(system, folder, labels, **config):
    """Writes a classifier of theirs; returns our tensors."""
    tensors = {name: v.numpy() for name, v in make(classifier(system), 5).items()}
    huggingface.save(
        str(folder), tensors, system.config, system.vocab_file, True, labels=labels
    )
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return tensors


@pytest.mark.parametrize("labels", [("red", "blue", "green"), ("red", "cat", "dog")])
def test_their_classifier_is_taken_by_id2label(tmp_path, caplog, labels):
    system = tiny.system(tmp_path, CONFIG)
    old = write_huggingface(system, tmp_path / "hf", labels)
    before, after, line = load(classifier(system), tmp_path / "hf", caplog)
    weights, there = after["output_weights"], old["output_weights"]
    np.testing.assert_array_equal(weights[2], there[0])
    if "cat" in labels:
        assert line.startswith("head: 1 of 3 labels kept (red), new: blue, green")
        np.testing.assert_array_equal(weights[:2], before["output_weights"][:2])
    else:
        np.testing.assert_array_equal(weights[:2], there[1:])


def test_their_labels_without_a_name_are_no_names_of_ours(tmp_path, caplog):
    system = tiny.system(tmp_path, CONFIG)
    write_huggingface(system, tmp_path / "hf", None)
    _, _, line = load(classifier(system), tmp_path / "hf", caplog)
    assert line.startswith("head: new: none of the file's labels (LABEL_0, LABEL_1")


def test_their_token_classifier_is_a_tagger(tmp_path, caplog):
    system = tiny.system(tmp_path, CONFIG)
    architectures = ["BertForTokenClassification"]
    labels = ("O", "B-PER", "B-ORG")
    old = write_huggingface(
        system, tmp_path / "hf", labels, architectures=architectures
    )
    path = tmp_path / "hf/model.safetensors"
    kept = {k: v for k, v in load_file(path).items() if "pooler" not in k}
    save_file(kept, path)
    _, after, line = load(tagger(system, crf=False), tmp_path / "hf", caplog)
    assert line == ("head: 2 of 3 labels kept (O, B-PER), new: B-LOC, left out: B-ORG")
    weights = after["tagger/emissions/output_weights"]
    np.testing.assert_array_equal(weights[[0, 2]], old["output_weights"][[0, 1]])
    before, after, line = load(classifier(system), tmp_path / "hf", caplog)
    assert line == "head: new"
    name = "bert/pooler/dense/kernel"
    np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize(
    ("labels", "order"), [(("red", "green", "blue"), [2, 1, 0]), (None, [0, 1, 2])]
)
def test_their_classifier_is_scored_in_the_order_of_the_data(
    tmp_path, caplog, labels, order
):
    system = tiny.system(tmp_path, CONFIG, new_head=False)
    old = write_huggingface(system, tmp_path / "hf", labels)
    _, after, _ = load(classifier(system), tmp_path / "hf", caplog)
    np.testing.assert_array_equal(after["output_weights"], old["output_weights"][order])


def test_their_classifier_is_not_scored_on_other_labels(tmp_path, caplog):
    system = tiny.system(tmp_path, CONFIG, new_head=False)
    write_huggingface(system, tmp_path / "hf", ("red", "green", "yellow"))
    message = "tells red, green, yellow apart, .* data are blue, green, red: .*do_train"
    with pytest.raises(CheckpointError, match=message):
        load(classifier(system), tmp_path / "hf", caplog)


# No pooler, as BertForMaskedLM saves its weights.


def test_a_classifier_and_pre_training_get_a_new_pooler(tmp_path, caplog):
    system = tiny.system(tmp_path, CONFIG)
    write_huggingface(system, tmp_path / "hf", OLD)
    path = tmp_path / "hf/model.safetensors"
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if "pooler" not in k}, path)
    before, after, _ = load(classifier(system), tmp_path / "hf", caplog)
    assert "new: bert/pooler/dense/kernel, bert/pooler/dense/bias" in caplog.text
    name = "bert/pooler/dense/kernel"
    np.testing.assert_array_equal(after[name], before[name])
    system = dataclasses.replace(system, init_checkpoint=str(tmp_path / "hf"))
    task = MaskedLanguageModelTask(system, 24, 3)
    task.initialize(make(task, 1))
    used = dataclasses.replace(system, new_head=False)
    with pytest.raises(CheckpointError, match="missing: bert/pooler/dense/kernel"):
        load(classifier(used), tmp_path / "hf", caplog)
    del tensors["bert.pooler.dense.bias"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="missing: bert/pooler/dense/bias"):
        load(classifier(system), tmp_path / "hf", caplog)


# More rows than pieces.


@pytest.mark.parametrize("resize_vocab", [None, False, True])
def test_rows_beyond_the_vocabulary_are_accepted_with_both_numbers(
    tmp_path, caplog, resize_vocab
):
    config = dataclasses.replace(CONFIG, vocab_size=40)
    system = tiny.system(tmp_path, config, resize_vocab=resize_vocab)
    assert system.match_vocabulary().config.vocab_size == 40
    assert re.search(r"vocab.txt has 37 pieces, but the model 40 rows", caplog.text)


@pytest.mark.parametrize("resize_vocab", [None, False, True])
def test_fewer_rows_than_pieces_need_resize_vocab_where_there_is_one(
    tmp_path, resize_vocab
):
    config = dataclasses.replace(CONFIG, vocab_size=36)
    system = tiny.system(tmp_path, config, resize_vocab=resize_vocab)
    if resize_vocab:
        assert system.match_vocabulary().config.vocab_size == 37
        return
    with pytest.raises(ValueError, match=r"has 37 rows, .* vocab_size=36") as error:
        system.match_vocabulary()
    assert ("--resize_vocab" in str(error.value)) == (resize_vocab is not None)
