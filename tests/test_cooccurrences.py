"""Co-occurrences are the original GloVe's, in bounded memory, always the same bytes."""

import itertools
import pathlib
import re
import tracemalloc

import numpy as np
import pytest

from data_pipeline.corpora import (
    cooccurrence_runs,
    cooccurrences,
    word_corpus,
    word_counts,
    word_splitter,
)
from data_pipeline.corpora.cooccurrences import RECORD, CooccurrenceConfig
from data_pipeline.corpora.word_corpus import Block
from errors import UserError

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).parent / "golden/glove"
SETTINGS = {
    "w10_sym_dist": {"window": 10},
    "w4_asym_dist": {"window": 4, "symmetric": False},
    "w3_sym_nodist": {"window": 3, "distance_weighting": False},
}
ENGINES = ("numba", "numpy")
LITTLE = 1e-5  # 10 kB


@pytest.fixture
def count(tmp_path):
    """Returns a function from blocks to (records, what was counted)."""

    def count(blocks, vocab_size, engine="numpy", **settings):
        if engine == "numba":
            pytest.importorskip("numba")
        path, config = str(tmp_path / "counts.bin"), CooccurrenceConfig(**settings)
        found = cooccurrences.count(blocks, vocab_size, path, config, engine)
        return np.fromfile(path, RECORD), found

    return count


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The golden's corpus and vocabulary."""
    folder = tmp_path_factory.mktemp("corpus")
    files = [str(GOLDEN / "corpus.txt")]
    corpus = word_corpus.read(files, word_splitter.WordSplitter(), str(folder))
    return corpus, word_counts.glove_order(corpus.counts, min_count=4).words


def block(*lines):
    """A block of lines of ids, each a string of letters."""
    ids = [ord(letter) - ord("a") for line in lines for letter in line]
    offsets = np.cumsum([0, *map(len, lines)])
    return Block(np.array(ids, np.int32), offsets)


def random_blocks(number):
    rng = np.random.default_rng(3)
    for _ in range(number):
        ids = rng.integers(0, 2000, 999, np.int32)
        yield Block(ids, np.arange(0, 1000, 27))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SETTINGS)
def test_pairs_and_counts_are_the_originals(count, corpus, name, engine):
    text, words = corpus
    records, _ = count(text.blocks(words), len(words), engine, **SETTINGS[name])
    golden = np.load(GOLDEN / f"cooccur_{name}.npz")
    np.testing.assert_array_equal(records["word1"], golden["word1"])
    np.testing.assert_array_equal(records["word2"], golden["word2"])
    expected = golden["value"].copy()
    expected[0] /= 2  # the original's own mistake
    np.testing.assert_allclose(records["value"], expected, rtol=1e-13)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_bytes_depend_neither_on_memory_nor_on_the_engine(count, corpus, settings):
    text, words = corpus
    runs = []
    for engine, memory in itertools.product(ENGINES, (4.0, LITTLE)):
        records, found = count(
            text.blocks(words), len(words), engine, memory=memory, **settings
        )
        runs.append((found.runs, records.tobytes(), found.records, found.words))
    assert runs[0][0] == runs[2][0] == 1
    assert min(runs[1][0], runs[3][0]) > 4
    assert len({run[1:] for run in runs}) == 1


def test_counts_by_hand(count):
    records, found = count([block("abc", "", "aab")], 3, window=2)
    expected = {
        (1, 1): 2.0,  # from both sides
        (1, 2): 1 + 0.5 + 1,
        (1, 3): 0.5,
        (2, 1): 1 + 0.5 + 1,
        (2, 3): 1.0,
        (3, 1): 0.5,
        (3, 2): 1.0,
    }
    assert {(i, j): x for i, j, x in records.tolist()} == expected
    assert (found.words, found.records, found.runs) == (6, 7, 1)


def test_only_the_left_word_is_a_context_of_an_asymmetric_window(count):
    records, _ = count([block("abc")], 3, window=2, symmetric=False)
    assert records.tolist() == [(1, 2, 1.0), (1, 3, 0.5), (2, 3, 1.0)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_lines_that_are_cut_count_as_whole(count, engine, size):
    lines = "abcaabdc", "dbacabcabdbcaabc", "ad"
    whole, _ = count([block(*lines)], 4, engine, window=6)
    flat = block(*lines)
    ends = set(flat.offsets.tolist())
    blocks = []
    for start in range(0, len(flat.ids), size):
        stop = min(start + size, len(flat.ids))
        inside = [end - start for end in sorted(ends) if start < end < stop]
        offsets = np.array([0, *inside, stop - start])
        blocks.append(Block(flat.ids[start:stop], offsets, start not in ends))
    blocks.insert(2, Block(flat.ids[:0], np.array([0, 0]), 2 * size not in ends))
    parts, _ = count(blocks, 4, engine, window=6)
    assert parts.tolist() == whole.tolist()


def test_a_line_of_a_corpus_that_two_blocks_share_counts_as_whole(
    count, tmp_path, monkeypatch
):
    path = tmp_path / "text"
    path.write_text("a b c a b a c b a d c b a b\nd a b\n\nb b")
    found = []
    for number, size in enumerate((10**6, 4)):
        monkeypatch.setattr(word_corpus, "BLOCK_WORDS", size)
        monkeypatch.setattr(word_corpus, "_PORTION_BYTES", 6)
        folder = tmp_path / str(number)
        folder.mkdir()
        corpus = word_corpus.read(
            [str(path)], word_splitter.WordSplitter(), str(folder)
        )
        assert (corpus.num_blocks > 1) == bool(number)
        found.append(count(corpus.blocks("abd"), 3, window=3)[0].tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("window", [22, 23, 40])
def test_large_windows_count_one_over_the_distance(count, window):
    records, _ = count([block("b" + "a" * 60)], 2, window=window, symmetric=False)
    expected = sum(1 / d for d in range(1, window + 1))
    found = {(i, j): x for i, j, x in records.tolist()}
    np.testing.assert_allclose(found[2, 1], expected, rtol=1e-8)
    assert (2, 2) not in found


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_is_flat_in_the_corpus(tmp_path, engine, monkeypatch):
    if engine == "numba":
        pytest.importorskip("numba")
    monkeypatch.setattr(cooccurrence_runs, "_WRITTEN", 1 << 10)
    monkeypatch.setattr(cooccurrence_runs, "_RUNS_AT_ONCE", 8)
    peaks, runs = [], []
    for blocks in (1, 6, 60):  # the first compiles
        tracemalloc.start()
        found = cooccurrences.count(
            random_blocks(blocks),
            2000,
            str(tmp_path / "counts.bin"),
            CooccurrenceConfig(memory=1e-3),
            engine,
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        runs.append(found.runs)
    assert runs[2] > 8 * runs[1] > 40
    assert peaks[2] < 1.3 * peaks[1]


def test_of_many_runs_no_more_are_written_again_than_have_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(cooccurrence_runs, "_RUNS_AT_ONCE", 8)
    runs = cooccurrence_runs.Runs(str(tmp_path), memory=0)
    random = np.random.default_rng(3)
    counted = random.poisson(0.3, (12, 999))
    for counts in counted:
        keys = np.flatnonzero(counts)
        runs.write(keys, counts[keys])
    keys, sums = map(np.concatenate, zip(*runs.merged(), strict=True))
    assert runs.written == 13  # five became one, which leaves eight
    np.testing.assert_array_equal(keys, np.flatnonzero(counted.sum(0)))
    np.testing.assert_array_equal(sums, counted.sum(0)[keys])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_small_corpus_takes_little_of_the_memory(count, engine):
    count(random_blocks(1), 2000, engine)  # compiles
    tracemalloc.start()
    _, found = count(random_blocks(1), 2000, engine, memory=4.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.records > 1 << 12  # more than the first table holds
    assert peak < 1 << 25  # 32 MB


def shuffled(tmp_path, records, seed, name="shuffled.bin"):
    source, path = tmp_path / "counts.bin", tmp_path / name
    records.tofile(source)
    cooccurrences.shuffle(str(source), str(path), seed)
    return np.fromfile(path, RECORD)


def numbered(size):
    records = np.zeros(size, RECORD)
    records["word1"] = np.arange(size) + 1
    return records


@pytest.mark.parametrize("bucket", [1 << 22, 100])
def test_a_shuffle_keeps_all_records_and_depends_on_the_seed(
    tmp_path, monkeypatch, bucket
):
    monkeypatch.setattr(cooccurrences, "_BUCKET", bucket)
    monkeypatch.setattr(cooccurrences, "_READ", 64)
    one, again, other = (
        shuffled(tmp_path, numbered(5000), seed)["word1"] for seed in (1, 1, 2)
    )
    assert sorted(one.tolist()) == list(range(1, 5001))
    assert one.tolist() == again.tolist() != other.tolist()
    # Far from where they were: on average a third of the length.
    assert abs(np.abs(one - np.arange(5000)).mean() / 5000 - 1 / 3) < 0.02
    assert not list(tmp_path.glob("*.buckets*"))


def test_shuffling_takes_no_more_memory_for_more_records(tmp_path, monkeypatch):
    monkeypatch.setattr(cooccurrences, "_BUCKET", 1 << 12)
    monkeypatch.setattr(cooccurrences, "_READ", 1 << 12)
    peaks = []
    for size in (1 << 14, 10 << 14):
        records = numbered(size)
        records.tofile(tmp_path / "counts.bin")
        tracemalloc.start()
        path = str(tmp_path / "counts.bin")
        cooccurrences.shuffle(path, str(tmp_path / "shuffled.bin"), 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "counts.bin: got 0 bytes"),
        (bytes(40), "counts.bin: got 40 bytes, wanted co-occurrences in records of 16"),
    ],
)
def test_a_file_that_is_cut_is_refused(tmp_path, data, fault):
    path = tmp_path / "counts.bin"
    path.write_bytes(data)
    with pytest.raises(UserError, match=re.escape(fault)):
        cooccurrences.check_size(str(path))
    with pytest.raises(UserError, match=r"missing\.bin: no such file"):
        cooccurrences.check_size(str(tmp_path / "missing.bin"))


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ((1, 5, 1.0), "record 71: got words number 1 and 5, but the vocabulary has"),
        ((0, 1, 1.0), "record 71: got words number 0 and 1"),
        ((1, 1, np.nan), "record 71: got a count of nan, wanted a positive number"),
        ((1, 1, np.inf), "record 71: got a count of inf"),
        ((1, 1, 0.0), "record 71: got a count of 0.0"),
    ],
)
def test_a_file_of_another_vocabulary_is_refused(tmp_path, monkeypatch, record, fault):
    monkeypatch.setattr(cooccurrences, "_READ", 64)
    records = np.full(100, np.array((4, 4, 1.0), RECORD))
    path = tmp_path / "counts.bin"
    records.tofile(path)
    assert cooccurrences.check(str(path), 4) == 100
    records[70] = record
    records.tofile(path)
    with pytest.raises(UserError, match=re.escape(f"counts.bin, {fault}")):
        cooccurrences.check(str(path), 4)


def test_a_corpus_without_pairs_is_refused(count, tmp_path):
    with pytest.raises(UserError, match="no two of the vocabulary's 3 words stand in"):
        count([block("a", "b")], 3)
    assert not list(tmp_path.glob("counts.bin*"))


def test_a_count_beyond_63_bits_is_refused(count, monkeypatch):
    weights = np.array([0, 1 << 62])
    monkeypatch.setattr(CooccurrenceConfig, "weights", weights)
    with pytest.raises(UserError, match="a count is beyond 63 bits"):
        count([block("abab")], 2, window=1)
