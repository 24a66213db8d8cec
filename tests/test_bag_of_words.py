"""The bag of words: what it counts, and its accuracy on files as users have them."""

import json

import pytest
import scripts

from metrics import bag_of_words

TRAIN = [("a good film", 1), ("good fun", 1), ("a bad film", 0), ("bad fun", 0)]


def test_words_that_tell_the_class_decide():
    texts, labels = zip(*TRAIN, strict=True)
    found = bag_of_words.predict(texts, labels, ["so good", "a bad film", "bad"])
    assert found.tolist() == [1, 0, 0]


def test_pairs_of_words_count():
    """All words stand in both classes, and only their order tells these apart."""
    texts = ["good not bad", "it is good not bad", "bad not good", "it is bad not good"]
    found = bag_of_words.predict(texts, [1, 1, 0, 0], ["good not", "not good"])
    assert found.tolist() == [1, 0]


@pytest.fixture
def data_dir(tmp_path):
    """Five texts in each set; of the test set, one is labelled against its words."""
    for name in ("train", "dev", "test"):
        rows = [*TRAIN, ("good", 0 if name == "test" else 1)]
        lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "accuracy"),
    [
        (["--task_name=sst-2"], 1.0),
        (["--text_a_column=sentence", "--label_column=label"], 1.0),
        (
            ["--text_a_column=sentence", "--label_column=label", "--scored_set=test"],
            0.8,
        ),
    ],
)
def test_the_script_scores_a_set(data_dir, capsys, flags, accuracy):
    scripts.run("benchmarks.bag_of_words", f"--data_dir={data_dir}", *flags)
    result = json.loads(capsys.readouterr().out)
    assert (result["train"], result["scored"]) == (5, 5)
    assert result["accuracy"] == pytest.approx(accuracy)


def test_the_script_learns_from_as_many_examples_as_are_asked(data_dir, capsys):
    flags = ["--task_name=sst-2", "--max_train_examples=4", "--seed=1"]
    scripts.run("benchmarks.bag_of_words", f"--data_dir={data_dir}", *flags)
    assert json.loads(capsys.readouterr().out)["train"] == 4


def test_a_set_without_labels_and_files_without_columns_are_refused(data_dir):
    (data_dir / "test.tsv").write_text("index\tsentence\n0\tgood\n")
    arguments = "benchmarks.bag_of_words", f"--data_dir={data_dir}"
    with pytest.raises(ValueError, match="--scored_set=test: that set has no labels"):
        scripts.run(*arguments, "--task_name=sst-2", "--scored_set=test")
    with pytest.raises(ValueError, match="--text_a_column is not given"):
        scripts.run(*arguments)
