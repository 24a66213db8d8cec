"""What is held out, and the short look at a user's data."""

import collections
import logging

import pytest
import tickets

from data_pipeline.readers import splits, survey
from data_pipeline.readers.custom import CustomProcessor
from data_pipeline.readers.examples import InputExample


def examples(*rows):
    return [
        InputExample(f"a:{i}", text, None, y) for i, (text, y) in enumerate(rows, 2)
    ]


def some(number=200):
    return examples(*tickets.tickets(number))


def counts(found, rows):
    return collections.Counter(found[i].label for i in rows)


def test_a_share_is_held_out_evenly_by_label_and_seed():
    found = some()
    train, dev = splits.hold_out(found, 0.25, seed=3)
    assert sorted(train + dev) == list(range(200))
    assert len(dev) == 50
    whole, part = counts(found, range(200)), counts(found, dev)
    assert all(abs(part[label] - whole[label] / 4) < 1 for label in whole)
    assert (train, dev) == splits.hold_out(found, 0.25, seed=3)
    assert dev != splits.hold_out(found, 0.25, seed=4)[1]


def test_a_label_of_one_row_is_trained_on(caplog):
    found = [*some(40), *examples(("alone", "Rare"))]
    train, _ = splits.hold_out(found, 0.3, seed=0)
    assert train[-1] == 40
    (told,) = caplog.messages
    assert told.startswith("labels of one row, which cannot be held out: ")
    assert told.endswith("'Rare'")


def test_every_row_is_held_out_once():
    found = some()
    parts = splits.folds(found, 5, seed=1)
    assert sorted(i for _, held_out in parts for i in held_out) == list(range(200))
    for train, held_out in parts:
        assert sorted(train + held_out) == list(range(200))
        whole, part = counts(found, range(200)), counts(found, held_out)
        assert all(abs(part[label] - whole[label] / 5) < 1 for label in whole)
    assert parts == splits.folds(found, 5, seed=1)


def test_numbers_and_rare_labels_are_split_as_well(caplog):
    numbers = [InputExample(f"a:{i}", "x", None, float(i)) for i in range(10)]
    assert [len(part) for part in splits.hold_out(numbers, 0.3, 0)] == [7, 3]
    assert [len(part) for _, part in splits.folds(numbers, 5, 0)] == [2] * 5
    rare = examples(*((f"t{i}", f"label{i}") for i in range(6)))
    assert [len(part) for _, part in splits.folds(rare, 3, 0)] == [2] * 3
    assert "labels of fewer rows than --cross_validation=3" in caplog.text


def test_splits_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match=r"--holdout=0.2 of \d+ rows with \d+ labels"):
        splits.hold_out(some(20), 0.2, 0)
    with pytest.raises(ValueError, match="--cross_validation=5: .* has 4 rows"):
        splits.folds(some(4), 5, 0)


@pytest.mark.parametrize(
    ("kind", "label"), [("single_label", "a"), ("multi_label", ("a", "b"))]
)
def test_a_written_split_is_read_again(tmp_path, kind, label):
    text = 'with "quotes", commas;\nand lines'
    written = [
        InputExample("x", text, "second", label),
        InputExample("y", "", "z", label),
    ]
    reader = CustomProcessor("t", "y", "u", kind, labels=["a", "b"])
    (tmp_path / "train.csv").write_text(reader.csv_text(written))
    again = reader.get_train_examples(str(tmp_path))
    assert [(e.text_a, e.text_b, e.label) for e in again] == [
        (e.text_a, e.text_b, e.label) for e in written
    ]


def test_what_looks_wrong_is_told(caplog):
    train = examples(
        ("a", "Yes"), ("b", "no"), ("a", "no"), (" ", "yes"), ("c", "no"), ("b", "no")
    )
    dev = examples(("c", "no"), ("d", "Yes"))
    with caplog.at_level(logging.INFO, "absl"):
        survey.tell({"train": train, "dev": dev})
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "train: 6 rows, 3 labels: no 4, Yes 1, yes 1",
        "train: 1 row: the text is empty (a:5)",
        "train: 2 rows: the text stands in an earlier row (a:4, a:7)",
        "train: 1 row: an earlier row of that text has another label (a:4)",
        "train: labels that differ in case or blanks only: 'Yes', 'yes'",
        "dev: 2 rows, 2 labels: no 1, Yes 1",
        "dev: 1 row: the text is in train, too (a:2)",
    ]


def test_good_data_have_no_problems():
    assert survey.problems(examples(("a", "yes"), ("b", "no"))) == []
