"""Streams: every token once and in its place, however many workers there are."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest
import tiny_streams
from tiny_corpus import read

import tokenization_bpe
from data_pipeline.corpora import token_streams
from data_pipeline.corpora.token_streams import StreamConfig, StreamWriter

CONFIG = StreamConfig(len(tiny_streams.VOCAB), tiny_streams.BOUNDARY, 11, 5)


def stream_of(texts, vocab_file):
    """The stream that documents should become, each tokenized as one text."""
    encoder = tokenization_bpe.load(vocab_file)
    found = []
    for ids in encoder.encode(texts):
        found += [tiny_streams.BOUNDARY, *ids]
    return found[1:]


def create(tmp_path, files, num_workers=1, **changed):
    outputs = [str(tmp_path / f"{num_workers}-{part}") for part in "ab"]
    config = dataclasses.replace(CONFIG, **changed)
    vocab = tiny_streams.write_vocab(tmp_path)
    report = token_streams.create(files, vocab, config, outputs, num_workers)
    return report, outputs


def rows_of(outputs):
    """The records in the order in which they were dealt out."""
    parts = [read(path) for path in outputs]
    assert all(set(record) == {"input_ids"} for part in parts for record in part)
    records = sum(map(len, parts))
    return [parts[i % 2][i // 2]["input_ids"] for i in range(records)]


def test_records_are_the_joined_documents_cut_and_mixed(tmp_path, monkeypatch):
    monkeypatch.setattr(token_streams, "_BLOCK_RECORDS", 7)
    files = [tiny_streams.write_corpus(tmp_path / f"{i}", 40, seed=i) for i in range(2)]
    report, outputs = create(tmp_path, files)
    texts = [" ".join(d) for i in range(2) for d in tiny_streams.documents(40, seed=i)]
    stream = stream_of(texts, str(tmp_path / "vocab.json"))
    wanted = [tuple(stream[i : i + 11]) for i in range(0, len(stream), 11)]
    assert 0 < len(wanted[-1]) < 11
    rows = [tuple(row) for row in rows_of(outputs)]
    assert sorted(rows) == sorted(wanted)
    assert len(rows) == report.instances > 50
    places = np.array([wanted.index(row) for row in rows])
    half = len(places) // 2  # early and late ones come in both halves
    assert 0.3 < (places[:half] < half).mean() < 0.7
    assert report.documents == 80
    assert report.tokens == len(stream) - 79
    assert report.instance_tokens == len(stream)
    assert report.sentences == sum(
        len(d) for i in range(2) for d in tiny_streams.documents(40, seed=i)
    )


def test_bytes_do_not_depend_on_the_number_of_workers_but_on_the_seed(tmp_path):
    # Portions are parts of files: two files are two jobs at least.
    files = [tiny_streams.write_corpus(tmp_path / f"{i}", 30, seed=i) for i in range(2)]
    outputs = [create(tmp_path, files, n)[1] for n in (1, 2)]
    made = [[pathlib.Path(path).read_bytes() for path in paths] for paths in outputs]
    assert made[0] == made[1]
    rows = rows_of(outputs[0])
    other = rows_of(create(tmp_path, files, random_seed=6)[1])
    assert rows != other
    assert sorted(rows) == sorted(other)


def test_unknown_pieces_are_counted(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("zz abc\n\nabc zabc\n\n")
    report, outputs = create(tmp_path, [str(text)])
    abc = tiny_streams.VOCAB.index("abc</w>")
    assert rows_of(outputs) == [[0, 0, abc, tiny_streams.BOUNDARY, abc, 0, abc]]
    assert (report.unknown, report.tokens) == (3, 6)


@pytest.mark.parametrize("portions", [1, 2, 3, 9])
def test_boundaries_stand_between_documents_that_have_text(tmp_path, portions):
    # Blank lines first, in a row and last; a line without tokens is no document.
    lengths = np.array([-1, 2, 1, -1, -1, 0, -1, 3, -1])
    ids = np.array([5, 6, 7, 1, 2, 3])
    path = str(tmp_path / "stream")
    with StreamWriter(path, CONFIG) as stream:
        for part in np.array_split(np.arange(9), portions):
            first, last = (
                int(lengths[:n].clip(0).sum()) for n in (part[0], part[-1] + 1)
            )
            stream.add(ids[first:last], lengths[part])
        assert stream.num_documents == 2
        assert stream.num_tokens == 7
    found = np.fromfile(path, CONFIG.dtype).tolist()
    assert found == [5, 6, 7, tiny_streams.BOUNDARY, 1, 2, 3]


def test_large_vocabularies_are_kept_whole(tmp_path):
    config = StreamConfig(70_000, 69_999, 3, 0)
    path = str(tmp_path / "stream")
    with StreamWriter(path, config) as stream:
        stream.add(np.array([69_998, 66_000]), np.array([1, -1, 1]))
    found = np.fromfile(path, config.dtype).tolist()
    assert found == [69_998, 69_999, 66_000]


def test_what_cannot_be_used_is_named_and_leaves_nothing(tmp_path):
    vocab = tiny_streams.write_vocab(tmp_path)
    with pytest.raises(ValueError, match="max_seq_length=1, but the shortest"):
        token_streams.stream_config(vocab, max_seq_length=1, random_seed=0)
    without = [p for p in tiny_streams.VOCAB if p != tokenization_bpe.NEWLINE_TOKEN]
    tiny_streams.write_vocab(tmp_path, without)
    with pytest.raises(ValueError, match=r"vocab\.json has no piece '\\n</w>' among"):
        token_streams.stream_config(vocab, max_seq_length=9, random_seed=0)
    for text, message in (
        ("\n\n", r"no text in .*a\.txt"),
        ("abc", r"a\.txt, lines 1 to 1: no blank line"),
    ):
        (tmp_path / "a.txt").write_text(text)
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(ValueError, match=message):
            create(tmp_path, [str(tmp_path / "a.txt")])
        assert sorted(os.listdir(tmp_path)) == before
