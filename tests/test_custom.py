"""The user's own files: what is read, and how mistakes in them are reported."""

import json
import logging

import pytest

import metrics
from data_pipeline.readers.custom import CustomProcessor
from data_pipeline.readers.examples import InputExample


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return str(path)


def processor(**changes):
    return CustomProcessor(**{"text_a_column": "text", "label_column": "y", **changes})


def test_the_same_rows_come_from_all_three_formats(tmp_path):
    write(tmp_path, "train.tsv", "y\ttext\nno\ta b\nyes\tc\n")
    write(tmp_path, "dev.csv", 'text,more,y\n"a b",1,no\n"c",2,yes\n')
    lines = [{"text": "a b", "y": "no"}, {"y": "yes", "text": "c"}]
    write(tmp_path, "test.jsonl", "".join(json.dumps(x) + "\n" for x in lines))
    reader = processor()
    sets = [
        reader.get_train_examples(str(tmp_path)),
        reader.get_dev_examples(str(tmp_path)),
        reader.get_test_examples(str(tmp_path)),
    ]
    for examples in sets:
        found = [(e.text_a, e.text_b, e.label) for e in examples]
        assert found == [("a b", None, "no"), ("c", None, "yes")]
    assert sets[0][1].guid == f"{tmp_path}/train.tsv:3"
    assert reader.get_labels() == ["no", "yes"]


def test_labels_are_found_in_the_training_set_whichever_set_is_read_first(tmp_path):
    write(tmp_path, "train.tsv", "y\ttext\nb\tx\nc\tx\na\tx\nb\tx\n")
    write(tmp_path, "dev.tsv", "y\ttext\nc\tx\n")
    reader = processor()
    with pytest.raises(ValueError, match="read a set first"):
        reader.get_labels()
    reader.get_dev_examples(str(tmp_path))
    assert reader.get_labels() == ["a", "b", "c"]


def test_given_labels_keep_their_order_and_need_no_training_set(tmp_path):
    write(tmp_path, "test.tsv", "text\nx\n")
    reader = processor(labels=["z", "a"])
    (example,) = reader.get_test_examples(str(tmp_path))
    assert example == InputExample(f"{tmp_path}/test.tsv:2", "x")
    assert reader.get_labels() == ["z", "a"]


def test_pairs_come_from_two_columns(tmp_path):
    write(tmp_path, "train.tsv", "b\ty\ttext\nsecond\t0\tfirst\nq\t1\tp\n")
    examples = processor(text_b_column="b").get_train_examples(str(tmp_path))
    assert [(e.text_a, e.text_b) for e in examples] == [("first", "second"), ("p", "q")]


def test_a_column_of_languages_makes_a_set_of_each(tmp_path):
    path = write(tmp_path, "dev.tsv", "lang\ttext\ty\nen\ta\t0\nde\tb\t1\nen\tc\t1\n")
    reader = processor(labels=["0", "1"], language_column="lang")
    found = reader.extra_dev_sets(str(tmp_path))
    assert {name: [e.text_a for e in sets] for name, sets in found.items()} == {
        "de": ["b"],
        "en": ["a", "c"],
    }
    assert found["de"][0].language == "de"
    assert processor(labels=["0", "1"]).extra_dev_sets(str(tmp_path)) == {}
    write(tmp_path, "dev.tsv", "lang\ttext\ty\n\ta\t0\n")
    with pytest.raises(ValueError, match=f"{path}, line 2: the language is missing"):
        reader.extra_dev_sets(str(tmp_path))


def test_files_may_be_named_instead_of_found(tmp_path):
    path = write(tmp_path, "mine.csv", "text,y\nx,0\nz,1\n")
    reader = processor(files={"train": path})
    assert len(reader.get_train_examples("/nowhere")) == 2
    with pytest.raises(ValueError, match=r"mine\.txt: the name must end in"):
        processor(files={"train": "mine.txt"}).get_train_examples("")


def test_several_labels_come_separated_or_as_a_list(tmp_path):
    write(tmp_path, "train.tsv", "y\ttext\nb|a\tx\n\tz\n")
    write(tmp_path, "dev.jsonl", '{"y": ["a", "b"], "text": "x"}\n')
    reader = processor(label_kind="multi_label")
    train = reader.get_train_examples(str(tmp_path))
    assert [e.label for e in train] == [("b", "a"), ()]
    assert reader.get_labels() == ["a", "b"]
    assert reader.get_dev_examples(str(tmp_path))[0].label == ("a", "b")


def test_blanks_around_a_label_do_not_make_another_one(tmp_path, caplog):
    write(tmp_path, "train.tsv", "text\ty\nx\tyes \nz\tno\nx\tyes\nz\t\u00a0no\n")
    write(tmp_path, "dev.jsonl", '{"y": " yes", "text": "x"}\n')
    write(tmp_path, "test.tsv", "text\ty\nx\t \n")
    reader = processor()
    with caplog.at_level(logging.WARNING, "absl"):
        train = reader.get_train_examples(str(tmp_path))
    assert [e.label for e in train] == ["yes", "no", "yes", "no"]
    assert reader.get_labels() == ["no", "yes"]
    message = "train.tsv: 2 labels have blanks around them, which do not count: line 2"
    assert message in caplog.text
    assert reader.get_dev_examples(str(tmp_path))[0].label == "yes"
    assert reader.get_test_examples(str(tmp_path))[0].label is None
    several = processor(label_kind="multi_label")
    write(tmp_path, "train.tsv", "text\ty\nx\ta | b\nz\tb|a\n")
    train = several.get_train_examples(str(tmp_path))
    assert [e.label for e in train] == [("a", "b"), ("b", "a")]


def test_whole_numbers_in_json_are_labels_too(tmp_path):
    rows = '{"y": 1, "text": "x"}\n{"y": 0, "text": "x"}\n'
    write(tmp_path, "train.jsonl", rows)
    reader = processor()
    assert [e.label for e in reader.get_train_examples(str(tmp_path))] == ["1", "0"]


def test_regression_reads_numbers_and_has_no_labels(tmp_path):
    write(tmp_path, "train.csv", "text,y\nx,2.5\nz,-1\n")
    reader = processor(label_kind="regression")
    examples = reader.get_train_examples(str(tmp_path))
    assert [e.label for e in examples] == [2.5, -1.0]
    assert reader.get_labels() == []


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("single_label", "c\tx", r"unknown label 'c'; known: \['a', 'b'\]"),
        ("single_label", "\tx", "the label is missing"),
        ("multi_label", "a|d\tx", r"unknown label 'd'; known: \['a', 'b'\]"),
        ("multi_label", "a||b\tx", "the label is missing"),
        ("regression", "nan\tx", "wanted a finite number, got 'nan'"),
        ("regression", "much\tx", "wanted a finite number, got 'much'"),
        ("regression", "\tx", "wanted a finite number, got ''"),
    ],
)
def test_faulty_label_in_dev_is_named(tmp_path, kind, line, message):
    good = "1\tx\n2\tz\n" if kind == "regression" else "a\tx\nb\tz\n"
    write(tmp_path, "train.tsv", "y\ttext\n" + good)
    write(tmp_path, "dev.tsv", "y\ttext\n" + good + line + "\n")
    with pytest.raises(ValueError, match=r"dev\.tsv, line 4: " + message):
        processor(label_kind=kind).get_dev_examples(str(tmp_path))


@pytest.mark.parametrize("value", ["1.5", "true", "null", '{"a": 1}'])
def test_json_value_that_is_no_label_is_named(tmp_path, value):
    write(tmp_path, "train.jsonl", f'{{"text": "x", "y": {value}}}\n')
    with pytest.raises(ValueError, match=r"train\.jsonl, line 1: wanted a label, got"):
        processor().get_train_examples(str(tmp_path))


def test_json_text_that_is_no_text_is_named(tmp_path):
    write(tmp_path, "train.jsonl", '{"text": 5, "y": "a"}\n')
    with pytest.raises(ValueError, match=r"line 1: column 'text' must be text, got 5"):
        processor().get_train_examples(str(tmp_path))


def test_missing_label_column_is_an_error_in_train_but_not_in_test(tmp_path):
    write(tmp_path, "train.tsv", "text\tz\nx\t0\n")
    write(tmp_path, "test.tsv", "text\tz\nx\t0\n")
    with pytest.raises(ValueError, match=r"train\.tsv: no column 'y'; found \['text'"):
        processor().get_train_examples(str(tmp_path))
    assert processor(labels=["a"]).get_test_examples(str(tmp_path))[0].label is None


def test_labels_of_a_test_set_are_kept_and_checked(tmp_path):
    write(tmp_path, "test.tsv", "text\ty\nx\ta\nz\t\n")
    examples = processor(labels=["a"]).get_test_examples(str(tmp_path))
    assert [e.label for e in examples] == ["a", None]
    with pytest.raises(ValueError, match="unknown label 'a'"):
        processor(labels=["b"]).get_test_examples(str(tmp_path))


def test_no_file_and_two_files_are_errors_that_name_them(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"train\.tsv, train\.csv, train\.jsonl"
    ):
        processor().get_train_examples(str(tmp_path))
    write(tmp_path, "train.tsv", "text\ty\n")
    write(tmp_path, "train.csv", "text,y\n")
    with pytest.raises(ValueError, match=r"train\.tsv, .*train\.csv: only one"):
        processor().get_train_examples(str(tmp_path))


def test_header_without_rows_and_a_single_label_are_errors(tmp_path):
    write(tmp_path, "train.tsv", "text\ty\n")
    with pytest.raises(ValueError, match="a header but no rows"):
        processor().get_train_examples(str(tmp_path))
    write(tmp_path, "train.tsv", "text\ty\nx\ta\nz\ta\n")
    with pytest.raises(ValueError, match=r"only the labels \['a'\]"):
        processor().get_train_examples(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_kind": "ranking"}, "label_kind must be one of"),
        ({"label_kind": "regression", "labels": ["a"]}, "a regression has no labels"),
        ({"labels": ["a", "b", "a"]}, "more than once"),
        ({"files": {"training": "x"}}, r"\['training'\]"),
    ],
)
def test_arguments_that_make_no_sense_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        processor(**change)


@pytest.mark.parametrize(
    ("kind", "main"),
    [
        ("single_label", "accuracy"),
        ("multi_label", "micro_f1"),
        ("regression", "pearson"),
    ],
)
def test_each_kind_of_label_has_known_metrics(kind, main):
    reader = processor(label_kind=kind)
    assert reader.main_metric == main
    assert main in reader.metrics
    assert set(reader.metrics) <= set(metrics.METRICS)
