"""JSON of unknown origin: what is read, and what is refused by the file's name."""

import math

import pytest

import json_files
from errors import MissingFile, UserError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            '\ufeff{"a": [1, -2.5e3, null, true, "\\u00e9"]}',
            {"a": [1, -2500.0, None, True, "é"]},
        ),
        (
            '{"model_max_length": 1000000000000000019884624838656}',
            {"model_max_length": int(1e30)},
        ),
        ('"\\ud83d\\ude00"', "😀"),
        ("[" * 64 + "]" * 64, None),
    ],
    ids=["byte order mark", "no limit", "a pair of surrogates", "deep"],
)
def test_valid_json_is_read(text, wanted):
    found = json_files.parse(text.encode(), "here")
    assert wanted is None or found == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here: not JSON: Expecting value"),
        ('{"a": 1', "here: not JSON: .* line 1 column 8"),
        (b'{"a": "\xe9"}', "here: not JSON: 'utf-8' codec"),
        (b"\xff\xfe{\x00}\x00", "here: not JSON: 'utf-8' codec"),
        ('{"a": 1, "b": {"c": 2, "c": 2}}', "here: key 'c' occurs more than once"),
        ("NaN", "here: NaN is no JSON number"),
        ("[-Infinity]", "here: -Infinity is no JSON number"),
        ("1e999", "here: the number 1e999 is beyond 64-bit floats"),
        (
            "1" * 5000,
            r"here: the number 1{40}\.\.\. has 5000 digits, wanted at most 40",
        ),
        ("[" * 65 + "]" * 65, "here: nested deeper than 64 levels"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "here: nested deeper than 64 levels"),
        ('{"a": "\\ud83d"}', "here: not JSON: .*surrogates not allowed"),
    ],
)
def test_what_is_refused_is_named(text, message):
    with pytest.raises(UserError, match=f"^{message}"):
        json_files.parse(text, "here")


def test_a_key_twice_in_different_objects_is_no_duplicate():
    assert json_files.parse('[{"a": 1}, {"a": 2}]', "here") == [{"a": 1}, {"a": 2}]


def test_files_are_named(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(MissingFile, match=f"^{path}: no such file"):
        json_files.read(str(path))
    with pytest.raises(UserError, match=f"^{tmp_path}: cannot be read: "):
        json_files.read(str(tmp_path))
    path.write_text("[1]")
    assert json_files.read(str(path)) == [1]
    with pytest.raises(UserError, match=f"^{path}: got a JSON list, wanted a dog"):
        json_files.read_object(str(path), "a dog")


def test_numbers_of_float_stay_finite():
    assert math.isfinite(json_files.parse("1.7976931348623157e308", "here"))
