"""Records of languages and of pairs: what they hold, and what is refused."""

import concurrent.futures
import contextlib
import logging

import pytest
import tensorflow as tf

import tokenization_xlm
from data_pipeline.corpora import language_streams, parallel
from data_pipeline.corpora.makers import LanguageStreams
from data_pipeline.feature_spec import FeatureSpec
from tokenization_xlm import EOS

LETTERS = "abcdefgh"
ENGLISH = ["a b", "", "c d e", "f", "a a a"]
GERMAN = ["b a", "x", "h g f e", "d", "c c"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A vocabulary of letters, and text without Moses."""
    monkeypatch.setattr(tokenization_xlm, "_cleaner", lambda language: str)
    monkeypatch.chdir(tmp_path)
    vocab = "".join(f"{c} {10 - i}\n" for i, c in enumerate(LETTERS))
    (tmp_path / "vocab").write_text(vocab)
    (tmp_path / "codes").write_text("")
    (tmp_path / "en.txt").write_text("\n".join(ENGLISH) + "\n")
    (tmp_path / "de.txt").write_text("\n".join(GERMAN) + "\n")
    return tmp_path


@pytest.fixture
def threads(monkeypatch):
    """Lets threads do the work of processes."""

    @contextlib.contextmanager
    def start(number, prepare=None, arguments=()):
        with concurrent.futures.ThreadPoolExecutor(number, "", prepare, arguments) as p:
            yield p

    monkeypatch.setattr(parallel, "worker_processes", start)


def maker(**changes):
    options = {
        "vocab_file": "vocab",
        "languages": ["en", "de"],
        "input_file": "en:en.txt,de:de.txt",
        "parallel": "en-de:en.txt,de.txt",
        "output_file": "records",
        "num_output_shards": 1,
        "num_workers": 1,
        "do_lower_case": True,
        "max_vocab": None,
        "max_seq_length": 9,
        "random_seed": 3,
    }
    return LanguageStreams(options | changes)


def ids(text):
    return [len(tokenization_xlm.SPECIAL) + LETTERS.index(c) for c in text.split()]


def read(path):
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    columns, lengths = FeatureSpec(language_streams.features()).parse(
        tf.constant(records)
    )
    assert (
        lengths.numpy().tolist() == columns["input_ids"].row_lengths().numpy().tolist()
    )
    return columns


def test_a_stream_is_its_sentences_with_their_ends_between(folder):
    report = maker(max_seq_length=4, parallel=None).make()
    columns = read("records.en")
    rows = columns["input_ids"].to_list()
    wanted = [EOS]
    for line in filter(None, ENGLISH):
        wanted += [*ids(line), EOS]
    cut = [wanted[i : i + 4] for i in range(0, len(wanted), 4)]
    assert sorted(rows) == sorted(cut)
    assert set(columns["language"].numpy()) == {b"en"}
    assert not columns["second_start"].numpy().any()
    assert report.parts["en"].sentences == 4
    assert report.parts["de"].unknown == 1


def test_a_pair_begins_with_the_language_that_is_named_first(folder):
    report = maker().make()
    columns = read("records.en-de")
    a, b = ENGLISH[0], GERMAN[0]
    rows = columns["input_ids"].to_list()
    assert rows[0] == [EOS, *ids(a), EOS, EOS, *ids(b), EOS]
    starts = columns["second_start"].numpy()
    for row, start in zip(rows, starts, strict=True):
        assert row[start - 1 : start + 1] == [EOS, EOS]
    assert set(columns["language"].numpy()) == {b"en-de"}
    # One has an empty side, one eleven pieces.
    assert report.parts["en-de"].dropped_pairs == 2
    assert len(rows) == report.parts["en-de"].instances == 3
    other = maker(parallel="de-en:de.txt,en.txt", output_file="other")
    other.make()
    assert read("other.de-en")["input_ids"].to_list()[0] == [
        *(EOS, *ids(b), EOS, EOS, *ids(a), EOS)
    ]
    assert "dropped_pairs = 2" in report.lines(9, 1.0)
    assert "en-de_instances = 3" in report.lines(9, 1.0)


def test_bytes_do_not_depend_on_workers_and_are_dealt_out_to_shards(
    folder, threads, monkeypatch
):
    monkeypatch.setattr(language_streams, "_PORTION_LINES", 2)
    maker().make()
    made = maker(num_workers=2, num_output_shards=2, output_file="shards")
    made.make()
    assert made.output_files == [
        f"shards.{name}-0000{i}-of-00002"
        for name in ("en", "de", "en-de")
        for i in range(2)
    ]
    for name in ("en", "de", "en-de"):
        whole = list(tf.data.TFRecordDataset(f"records.{name}").as_numpy_iterator())
        parts = [
            list(tf.data.TFRecordDataset(path).as_numpy_iterator())
            for path in made.written[name]
        ]
        assert parts == [whole[0::2], whole[1::2]]


def test_another_seed_gives_another_order(folder):
    (folder / "en.txt").write_text("\n".join("abcdefgh" * 4))
    orders = []
    for seed in (1, 2):
        maker(parallel=None, max_seq_length=2, random_seed=seed).make()
        orders.append(read("records.en")["input_ids"].to_list())
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_what_cannot_be_used_is_named_and_leaves_no_file(folder):
    (folder / "short.txt").write_text("a\nb\nc\n")
    with pytest.raises(ValueError, match=r"en\.txt has 5 lines, short\.txt has 3"):
        maker(parallel="en-de:en.txt,short.txt").make()
    with pytest.raises(ValueError, match="en-de: no record .* 5 pairs are too long"):
        maker(max_seq_length=4).make()
    (folder / "de.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"de: no record from de\.txt"):
        maker(parallel=None).make()
    with pytest.raises(FileNotFoundError, match=r"--parallel: no file matches 'x\.de'"):
        maker(parallel="en-de:en.txt,x.de").inputs()
    assert not list(folder.glob("records*"))


def test_pieces_that_the_model_has_not_are_unknown_and_warned_of(folder, caplog):
    with caplog.at_level(logging.WARNING, "absl"):
        report = maker(max_vocab=15).make()
    assert read("records.en")["input_ids"].flat_values.numpy().max() == 14
    assert report.parts["en"].unknown == 5
    assert "en: vocab: 56% of the text's 9 pieces" in caplog.text
    assert "en-de: vocab: " in caplog.text


def test_flags_that_make_no_sense_are_named():
    options = {"languages": ["en"], "input_file": "de:x", "parallel": None}
    (problem,) = LanguageStreams.problems(options)
    assert "--input_file=de:x: got 'de' before 'x'" in problem
