"""The command line: all that is wrong with it is told at once, in one line."""

import pytest
import scripts
from absl import flags

import command_line
from errors import UserError


def parse(*words, **kwargs):
    """Reads the words as create_vocab.py's; returns what main is given."""
    scripts.load("create_vocab")
    try:
        return command_line.parse_flags(["create_vocab.py", *words], **kwargs)
    finally:
        values = flags.FLAGS.flag_values_dict()
        flags.FLAGS.unparse_flags()
        parse.values = values


def problems(*words, **kwargs):
    """Returns what is wrong with the words."""
    with pytest.raises(UserError) as error:
        parse(*words, **kwargs)
    message = str(error.value).removesuffix(" (--help lists all flags)")
    return message.split("; ")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--vocab_size=0", "--vocab_size=0: 0 is not a positive integer"),
        ("--vocab_size=many", "--vocab_size=many: invalid literal for int()"),
        ("--vocab_size=99999999999", "--vocab_size=99999999999: wanted a number of"),
        (
            "--model_type=brt",
            "--model_type=brt: value should be one of <bert|gpt|elmo",
        ),
        ("--vocab_sise=3", "--vocab_sise is no flag, --vocab_size is"),
        ("--colour", "--colour is no flag"),
        ("true", "'true' belongs to no flag: wanted --flag=value"),
        ("--input_file=", "--input_file is not given: its value is empty"),
        ("--input_file=\udcff", "--input_file='\\udcff': not UTF-8"),
        ("--nodo_lower_case=3", "--nodo_lower_case=3 does not take an argument"),
        ("--vocab_size", "Missing value for flag --vocab_size"),
        ("--flagfile=nowhere", "--flagfile: Unable to open flagfile: [Errno 2]"),
    ],
)
def test_a_word_that_is_wrong_is_told_by_its_flag(word, message):
    (found,) = problems(word)
    assert found.startswith(message)


def test_all_that_is_wrong_is_told_at_once():
    found = problems(
        "--vocab_size",
        "0",
        "--no_such_flag",
        "word",
        "--min_frequency=x",
        "--num_unused=-1",
        check=lambda: ["together"],
        required=["input_file", "output_file", "vocab_size"],
    )
    starts = [line.split(":")[0] for line in found]
    assert starts == [
        *("--vocab_size=0", "--min_frequency=x", "--num_unused=-1"),
        *("--no_such_flag is no flag", "'word' belongs to no flag"),
        *("--input_file is not given", "--output_file is not given", "together"),
    ]


def test_a_wrong_value_of_a_required_flag_is_told_once():
    scripts.load("convert_checkpoint")
    words = ["convert_checkpoint.py", "--output_format=foo"]
    with pytest.raises(UserError) as error:
        command_line.parse_flags(words, required=["output_format"])
    flags.FLAGS.unparse_flags()
    assert str(error.value).startswith("--output_format=foo: ")
    assert "is not given" not in str(error.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(value):
    scripts.load("run_pretraining")
    with pytest.raises(UserError, match="--learning_rate=.*: (wanted|-inf is)"):
        command_line.parse_flags(["run_pretraining.py", f"--learning_rate={value}"])
    flags.FLAGS.unparse_flags()


def test_a_flag_behind_a_word_and_in_a_file_is_read(tmp_path):
    (tmp_path / "flags").write_text("--vocab_size=7\n--nodo_lower_case\n")
    left = parse(f"--flagfile={tmp_path / 'flags'}", "--input_file", "a")
    assert left == ["create_vocab.py"]
    assert parse.values["vocab_size"] == 7
    assert parse.values["do_lower_case"] is False
    assert parse.values["input_file"] == "a"
    assert problems("word", "--vocab_size=8")[0].startswith("'word' belongs to no flag")
    assert parse.values["vocab_size"] == 8


def test_a_flagfile_of_another_encoding_is_told(tmp_path):
    (tmp_path / "flags").write_bytes(b"--input_file=\xff\n")
    (found,) = problems(f"--flagfile={tmp_path / 'flags'}")
    assert found.startswith("--flagfile: 'utf-8' codec can't decode")
