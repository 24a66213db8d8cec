"""task.json: what each script writes is read back by its own kind, and no other."""

import json

import pytest

from errors import UserError
from systems.classification_config import ClassificationConfig
from systems.multitask_config import MultitaskConfig, PartConfig
from tasks.span import SpanConfig
from tasks.tagging import TaggingConfig

CONFIGS = (
    ClassificationConfig(
        "mine",
        "single_label",
        ("gut", "übel"),
        ("accuracy",),
        "eval_accuracy",
        13,
        True,
    ),
    SpanConfig(max_seq_length=13, doc_stride=2, max_query_length=5),
    TaggingConfig(("O", "B-X"), "IOB1", "BIO", True, 7, None),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "task.json"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_a_config_survives_its_file(config, path):
    path.write_text(config.to_json_string(), encoding="utf-8")
    assert type(config).from_json_file(str(path)) == config


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_missing_and_unknown_keys_are_named_with_file_and_script(config, path):
    values = json.loads(config.to_json_string()) | {"colour": 1}
    del values["max_seq_length"]
    path.write_text(json.dumps(values))
    message = (
        f"{path} is not .* {config.script} trained: .* missing keys "
        r"\['max_seq_length'\], unknown keys \['colour'\]"
    )
    with pytest.raises(ValueError, match=message):
        type(config).from_json_file(str(path))


def test_another_scripts_model_is_told_by_the_script(path):
    part = PartConfig("mine", "regression", (), ("mse",), "mse", 13, True)
    path.write_text(MultitaskConfig(13, True, (part,)).to_json_string())
    message = "run_classifier.py trained, but run_multitask.py, which evaluates it"
    with pytest.raises(UserError, match=f"{path} is not of a model that {message}"):
        ClassificationConfig.from_json_file(str(path))


@pytest.mark.parametrize("config", CONFIGS[1:], ids=lambda c: type(c).__name__)
def test_the_same_keys_under_another_tasks_name_are_refused(config, path):
    values = json.loads(config.to_json_string()) | {"task_name": "mrpc"}
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"{config.script} trained: task_name 'mrpc'"):
        type(config).from_json_file(str(path))


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (0, {"labels": "gut"}, "labels is 'gut', wanted a list of texts"),
        (0, {"labels": ["gut", 1]}, r"labels is \('gut', 1\), wanted a list of texts"),
        (0, {"labels": ["gut", "gut"]}, "labels has 'gut' more than once"),
        (0, {"labels": []}, r"labels is \[\], which no single_label has"),
        (
            0,
            {"output_kind": "regression"},
            r"labels is \['gut', .* which no regression",
        ),
        (
            0,
            {"output_kind": "ranking"},
            "output_kind has 'ranking', wanted one of sing",
        ),
        (0, {"metrics": ["bleu"]}, "metrics has 'bleu', wanted one of accuracy"),
        (0, {"max_seq_length": 0}, "max_seq_length is 0, wanted 1 to 1000000"),
        (0, {"max_seq_length": 3e9}, "max_seq_length is 3000000000.0, wanted a whole"),
        (0, {"max_seq_length": 3 * 10**9}, "max_seq_length is 3000000000, wanted 1 to"),
        (0, {"do_lower_case": "yes"}, "do_lower_case is 'yes', wanted true, false or"),
        (0, {"text_pair": 1}, "text_pair is 1, wanted true, false or null"),
        (1, {"doc_stride": "2"}, "doc_stride is '2', wanted a whole number"),
        (1, {"doc_stride": 0}, "doc_stride"),
        (1, {"null_score_diff_threshold": [0]}, r"is \(0,\), wanted a number"),
        (1, {"do_lower_case": None}, "do_lower_case is None, wanted true or false"),
        (2, {"labels": []}, r"labels is \[\], wanted the tags"),
        (2, {"tag_scheme": "IOB9"}, "tag_scheme has 'IOB9', wanted one of IOB1"),
        (2, {"output_scheme": "plain"}, "exclude: plain labels are learnt as they are"),
        (2, {"crf": None}, "crf is None, wanted true or false"),
    ],
)
def test_impossible_values_are_named_with_the_file(path, number, changes, message):
    config = CONFIGS[number]
    path.write_text(json.dumps(json.loads(config.to_json_string()) | changes))
    with pytest.raises(UserError, match=f"^{path}: .*{message}"):
        type(config).from_json_file(str(path))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_a_file_that_is_not_there_is_asked_of_its_script(config, path):
    message = f"{path} does not exist; it is written by {config.script} --do_train"
    with pytest.raises(ValueError, match=message):
        type(config).from_json_file(str(path))


def test_a_classifiers_file_from_before_pairs_were_kept_is_read(path):
    values = json.loads(CONFIGS[0].to_json_string())
    del values["text_pair"], values["symmetric"]
    path.write_text(json.dumps(values))
    assert ClassificationConfig.from_json_file(str(path)) == CONFIGS[0]
