"""task.json: what each script writes is read back by its own kind, and no other."""

import json

import pytest

from tasks.classification_config import ClassificationConfig
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


@pytest.mark.parametrize("config", CONFIGS[1:], ids=lambda c: type(c).__name__)
def test_the_same_keys_under_another_tasks_name_are_refused(config, path):
    values = json.loads(config.to_json_string()) | {"task_name": "mrpc"}
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"{config.script} trained: task_name 'mrpc'"):
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
