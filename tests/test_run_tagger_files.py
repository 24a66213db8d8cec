"""The tagger with files as users have them: other schemes, columns, types, no tags."""

import conlleval
import numpy as np
import pytest
import scripts
import tiny
import tiny_tagging

from data_pipeline.readers import conll
from errors import UserError

pytestmark = pytest.mark.long


def run(*flags):
    scripts.run("run_tagger", *flags)


def in_scheme(words, tags, scheme):
    """The tags of a sentence in another scheme; plain: part of the word's name."""
    if scheme == "plain":
        return [word[:4].upper() for word in words]
    if scheme == "typeless":
        return [tag[0] for tag in tags]
    tags = np.array(tags, object)
    return conll.convert(tags, np.array([0, len(tags)]), scheme).tolist()


def write(path, sentences, separator="\t"):
    """Writes words and tags in two columns."""
    path.write_text(
        "\n\n".join(
            "\n".join(separator.join(row) for row in zip(*sentence, strict=True))
            for sentence in sentences
        )
        + "\n"
    )


def trained(folder, scheme, *more, train=80):
    """Trains on a file in a scheme and predicts; returns the output folder."""
    flags = tiny_tagging.flags(folder, folder / "out")
    for seed, (name, number) in enumerate(
        {"train": train, "dev": 23, "test": 9}.items()
    ):
        found = tiny_tagging.sentences(number, seed)
        found = [(words, in_scheme(words, tags, scheme)) for words, tags in found]
        write(folder / f"{name}.txt", found)
    flags += ["--do_train", "--do_eval", "--do_predict", "--num_train_epochs=4"]
    run(*flags, f"--tag_scheme={'BIO' if scheme == 'typeless' else scheme}", *more)
    return folder / "out"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """The folder of a trained tagger of BIO files."""
    return trained(tmp_path_factory.mktemp("tagger"), "BIO")


def predict(tagger, path, *flags):
    """Tags a file; returns what was written, and the scores or None."""
    for name in ("test_predictions.txt", "test_results.txt"):
        (tagger / name).unlink(missing_ok=True)
    run("--do_predict", f"--test_file={path}", f"--output_dir={tagger}", *flags)
    scores = tagger / "test_results.txt"
    return tagger / "test_predictions.txt", (
        tiny.read_results(scores) if scores.exists() else None
    )


_SLOW = [pytest.param(x, marks=pytest.mark.slow) for x in ("BILOU", "typeless")]


@pytest.mark.parametrize("scheme", ["BMES", *_SLOW])
def test_every_scheme_of_entities_is_learnt_written_and_scored(tmp_path, scheme):
    output = trained(tmp_path, scheme)
    results = tiny.read_results(output / "eval_results.txt")
    assert results["eval_f1"] > 0.9
    assert ("eval_f1_PER" in results) == (scheme != "typeless")
    lines = (output / "test_predictions.txt").read_text().splitlines()
    assert [line.rpartition("\t")[0] for line in lines] == (
        (tmp_path / "test.txt").read_text().splitlines()
    )
    right, predicted = zip(
        *(line.split("\t")[1:] for line in lines if line), strict=True
    )
    assert {tag[0] for tag in predicted} <= {tag[0] for tag in right}
    scores = tiny.read_results(output / "test_results.txt")
    same = np.mean([a == b for a, b in zip(right, predicted, strict=True)])
    assert scores["test_accuracy"] == pytest.approx(same)
    if scheme == "typeless":
        found = conlleval.f1(output / "test_predictions.txt", "\t")
        assert scores["test_f1"] == pytest.approx(found)


@pytest.mark.whole_steps
def test_plain_labels_are_scored_by_their_accuracy(tmp_path):
    output = trained(tmp_path, "plain", "--use_checkpoint=best", "--eval_steps=20")
    results = tiny.read_results(output / "eval_results.txt")
    assert set(results) == {"eval_accuracy", "eval_loss", "global_step"}
    assert results["eval_accuracy"] > 0.9
    assert tiny.read_results(output / "test_results.txt")["test_accuracy"] > 0.9
    # A label that training never saw is one that was missed.
    write(tmp_path / "new.txt", [(["good", "word1", "bad"], ["GOOD", "NEW", "BAD"])])
    written, scores = predict(output, tmp_path / "new.txt")
    rows = [line.split("\t") for line in written.read_text().splitlines()]
    assert [row[1] for row in rows] == ["GOOD", "NEW", "BAD"]
    assert rows[1][2] in ("GOOD", "BAD", "WORD")
    assert set(scores) == {"test_accuracy"}
    assert scores["test_accuracy"] == pytest.approx(
        sum(row[1] == row[2] for row in rows) / 3
    )


@pytest.mark.parametrize(
    "flags", [["--output_scheme=BIO"], ["--tag_scheme=BIO", "--output_scheme=plain"]]
)
def test_plain_labels_and_entities_exclude(tmp_path, flags):
    with pytest.raises(ValueError, match="--tag_scheme=.* and --output_scheme=.* excl"):
        trained(tmp_path, "BIO" if len(flags) > 1 else "plain", *flags)
    assert not (tmp_path / "out").exists()


@pytest.mark.whole_steps
def test_what_is_written_is_what_conlleval_scores(tagger, tmp_path):
    found = tiny_tagging.sentences(9, seed=7)
    found[2] = (["word3", *found[2][0]], ["B-LOC", *found[2][1]])  # not to be guessed
    columns = tiny_tagging.columns(found).replace("\n\n", "\n\n-DOCSTART- X O\n\n", 3)
    (tmp_path / "words.txt").write_text(f"-DOCSTART- X O\n\n{columns}")
    written, scores = predict(tagger, tmp_path / "words.txt")
    assert written.read_text().count("-DOCSTART- X O O\n") == 4
    assert 0.5 < scores["test_f1"] < 1
    assert scores["test_f1"] == pytest.approx(conlleval.f1(written))


def test_types_that_training_never_saw_count_as_missed(tagger, tmp_path):
    path = tmp_path / "words.txt"
    write(path, [(["bad", "good", "word26"], ["B-LOC", "O", "B-NEW"])])
    written, scores = predict(tagger, path)
    gold = [line.split("\t")[1] for line in written.read_text().splitlines()]
    assert gold == ["B-LOC", "O", "B-NEW"]
    assert scores["test_recall"] == 0.5
    assert (scores["test_recall_NEW"], scores["test_recall_LOC"]) == (0, 1)
    assert scores["test_f1"] == pytest.approx(conlleval.f1(written, "\t"))
    assert "test_loss" not in scores


def test_files_with_other_columns_or_none_are_tagged(tagger, tmp_path):
    words = "good\nword26\n\nbad\n"
    (tmp_path / "words.txt").write_text(words)
    written, scores = predict(tagger, tmp_path / "words.txt")
    assert scores is None
    assert written.read_text() == "good B-PER\nword26 I-PER\n\nbad B-LOC\n"
    (tmp_path / "pos.txt").write_text("good JJ\nword26 NN\n\nbad NN\n")
    written, scores = predict(tagger, tmp_path / "pos.txt", "--tag_column=none")
    assert scores is None
    assert written.read_text() == "good JJ B-PER\nword26 NN I-PER\n\nbad NN B-LOC\n"
    with pytest.raises(ValueError, match="line 1: 'JJ' is no tag; .*tag_column=none"):
        predict(tagger, tmp_path / "pos.txt")
    (tmp_path / "line.txt").write_text("good word26 bad\nword2 bad\n")
    for flags in ([], ["--tag_column=none"]):
        with pytest.raises(ValueError, match="wanted a word a line, with an"):
            predict(tagger, tmp_path / "line.txt", *flags)


def test_words_with_spaces_are_tagged_as_one(tagger, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("good word26\tB-PER\n \tO\n\u3000\tO\nbad\tB-LOC\n", "utf-8")
    written, scores = predict(tagger, path)
    lines = written.read_text("utf-8").split("\n")
    assert [line.split("\t")[0] for line in lines[:4]] == [
        "good word26",
        " ",
        "\u3000",
        "bad",
    ]
    assert scores["test_f1"] == pytest.approx(conlleval.f1(written, "\t"))


def test_raw_sentences_are_tagged_word_by_word(tagger, tmp_path):
    path = tmp_path / "raw.txt"
    path.write_text("word1 (good word26), bad.\n北京\n")
    found, scores = predict(tagger, path, "--raw_text")
    rows = [line.split() for line in found.read_text().splitlines()]
    wanted = ["word1", "(", "good", "word26", ")", ",", "bad", "."]
    assert [row[0] for row in rows if row] == [*wanted, "北", "京"]
    assert [row[1] for row in rows if row][2:4] == ["B-PER", "I-PER"]
    assert rows[8] == []
    assert scores is None
    with pytest.raises(UserError, match="--raw_text is of --test_file"):
        run("--do_eval", "--raw_text", f"--output_dir={tagger}")


def test_training_needs_the_tags(tmp_path):
    with pytest.raises(ValueError, match="train.txt: --tag_column=none, but its tags"):
        trained(tmp_path, "BIO", "--tag_column=none")
