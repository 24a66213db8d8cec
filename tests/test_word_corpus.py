"""Words of a text, counted and numbered as word2vec.c and GloVe do."""

import collections
import gzip
import pathlib
import re
import tracemalloc

import numpy as np
import pytest

from data_pipeline.corpora import word_corpus, word_counts
from data_pipeline.corpora.word_splitter import WordSplitter
from errors import UserError

GOLDEN = pathlib.Path(__file__).parent / "golden/word2vec"
LINES = ["the cat sat", "", "on the mat", "the end"]


@pytest.fixture
def read(tmp_path):
    """Returns a function from text, or a file, to a WordCorpus."""
    number = iter(range(99))

    def read(text, *args, **kwargs):
        path = text
        if isinstance(text, str):
            path = tmp_path / f"{next(number)}.txt"
            path.write_bytes(text.encode())
        folder = tmp_path / f"{next(number)}"
        folder.mkdir()
        splitter = WordSplitter(*args, **kwargs)
        return word_corpus.read([str(path)], splitter, str(folder))

    return read


def lines_of(corpus, words, **kwargs):
    """Returns the lines of a corpus, as words; "?" is one that is not kept."""
    found = []
    for block in corpus.blocks(words, **kwargs):
        assert block.ids.dtype == np.int32
        assert block.offsets.dtype == np.int64
        names = [words[i] if i >= 0 else "?" for i in block.ids]
        ends = block.offsets.tolist()
        assert (ends[0], ends[-1]) == (0, len(names))
        found += [names[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    return found


def pairs(counts):
    return list(zip(counts.words, counts.counts.tolist(), strict=True))


def golden_vocabulary(path):
    """Returns what an original program wrote."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [(line.split(" ")[0], int(line.split(" ")[1])) for line in lines]


@pytest.mark.shared_data
def test_the_vocabulary_is_word2vecs(read, golden_dir):
    folder = golden_dir / "word2vec"
    corpus = read(folder / "corpus.txt")
    found = word_counts.word2vec_order(corpus.counts, corpus.num_lines, min_count=5)
    assert pairs(found) == golden_vocabulary(folder / "vocab.txt")
    assert found.text() == (folder / "vocab.txt").read_text(encoding="utf-8")


def test_the_order_is_word2vecs(read):
    corpus = read(GOLDEN / "tiny_corpus.txt")
    found = word_counts.word2vec_order(corpus.counts, corpus.num_lines, min_count=3)
    assert found.words == np.load(GOLDEN / "tiny_training.npz")["words"].tolist()
    assert found.counts[0] == 150


@pytest.mark.shared_data
def test_the_vocabulary_is_gloves(read, golden_dir):
    folder = golden_dir / "glove"
    corpus = read(folder / "corpus.txt")
    found = word_counts.glove_order(corpus.counts, min_count=4)
    assert found.text() == (folder / "vocab.txt").read_text(encoding="utf-8")


def test_equal_counts_are_in_each_originals_order(read):
    corpus = read("b a é b a é z\n\n")
    of_word2vec = word_counts.word2vec_order(corpus.counts, corpus.num_lines, 2)
    assert pairs(of_word2vec) == [("</s>", 2), ("b", 2), ("a", 2), ("é", 2)]
    of_glove = word_counts.glove_order(corpus.counts, 2)
    assert pairs(of_glove) == [("é", 2), ("a", 2), ("b", 2)]


def test_a_vocabulary_has_an_upper_bound(read):
    corpus = read("a b b c c c\n")
    found = word_counts.word2vec_order(corpus.counts, 1, 1, max_vocab=2)
    assert pairs(found) == [("</s>", 1), ("c", 3)]
    assert pairs(word_counts.glove_order(corpus.counts, 1, 2)) == [("c", 3), ("b", 2)]


def test_a_written_line_end_is_word2vecs(read):
    corpus = read("a </s> b\na\n")
    found = word_counts.word2vec_order(corpus.counts, corpus.num_lines, 1)
    assert pairs(found) == [("</s>", 3), ("a", 2), ("b", 1)]


def test_words_that_are_left_out_leave_no_gap(read):
    corpus = read("\n".join(LINES) + "\n")
    assert lines_of(corpus, ["the", "mat"]) == [["the"], [], ["the", "mat"], ["the"]]
    kept = lines_of(corpus, ["the", "mat"], keep_unknown=True)
    assert kept == [["the", "?", "?"], [], ["?", "the", "mat"], ["the", "?"]]
    assert (corpus.num_words, corpus.num_lines) == (8, 4)


@pytest.mark.parametrize("portion", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("block", [1, 4, 100])
def test_portions_and_blocks_cut_no_word(read, monkeypatch, portion, block):
    monkeypatch.setattr(word_corpus, "_PORTION_BYTES", portion)
    monkeypatch.setattr(word_corpus, "BLOCK_WORDS", block)
    corpus = read("\n".join(["", *LINES, "", "a long  line \t of words "]))
    assert (corpus.num_words, corpus.num_lines) == (13, 7)
    words = corpus.counts.words
    found = lines_of(corpus, words)
    flat = [word for line in found for word in line]
    assert flat == " ".join([*LINES, "a long line of words"]).split()
    if portion > 30:
        assert [" ".join(x) for x in found] == ["", *LINES, "", "a long line of words"]
    assert corpus.num_blocks == len(list(corpus.blocks(words)))
    later = [b.ids.tolist() for b in corpus.blocks(words, first=1)]
    assert later == [b.ids.tolist() for b in corpus.blocks(words)][1:]


def test_lines_longer_than_a_portion_stay_whole_in_a_block(read, monkeypatch):
    monkeypatch.setattr(word_corpus, "_PORTION_BYTES", 7)
    corpus = read("\n".join(LINES) + "\n" + "word " * 50 + "\nlast")
    found = lines_of(corpus, corpus.counts.words)
    assert [len(line) for line in found] == [3, 0, 3, 2, 50, 1]


def test_only_spaces_tabs_and_line_feeds_part_words(read):
    text = "a\u00a0b c\r\nd\x0ce\u3000f\tg h\u2028i\r\n"
    corpus = read(text)
    expected = [w for w in re.split("[ \t\n]+", text.replace("\r", "")) if w]
    assert corpus.counts.words == expected


def test_packed_files_are_unpacked(read, tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress("\n".join(LINES).encode()))
    corpus = read(path)
    assert [" ".join(line) for line in lines_of(corpus, corpus.counts.words)] == LINES
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match="text.gz: not a whole .gz file"):
        read(path)


def test_words_are_lower_cased_if_asked(read):
    assert read("The the ÉÉ\n", do_lower_case=True).counts.words == ["the", "éé"]
    assert read("The the\n").counts.words == ["The", "the"]


def test_english_words_part_from_their_marks(read):
    found = read("They don't (really) know.\n", "english").counts.words
    assert found == ["They", "do", "n't", "(", "really", ")", "know", "."]


def test_jieba_finds_the_words_of_chinese(read):
    found = read("我们 喜欢自然语言 BERT模型\n", segmenter="jieba").counts.words
    assert found == ["我们", "喜欢", "自然语言", "BERT", "模型"]


def test_several_processes_find_the_same(read, tmp_path, monkeypatch):
    monkeypatch.setattr(word_corpus, "_PORTION_BYTES", 50)
    path = tmp_path / "text"
    path.write_text("\n".join(LINES * 20))
    corpora = []
    for number in (1, 2):
        folder = tmp_path / f"by{number}"
        folder.mkdir()
        splitter = WordSplitter("english")
        corpora.append(word_corpus.read([str(path)], splitter, str(folder), number))
    words = corpora[0].counts.words
    assert pairs(corpora[0].counts) == pairs(corpora[1].counts)
    assert lines_of(corpora[0], words) == lines_of(corpora[1], words)


def test_counts_are_those_of_a_counter(read):
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in rng.zipf(1.3, 5000) % 700]
    corpus = read("\n".join(" ".join(words[i : i + 9]) for i in range(0, 5000, 9)))
    assert dict(pairs(corpus.counts)) == collections.Counter(words)


def test_memory_is_flat_in_the_corpus(read, tmp_path, monkeypatch):
    monkeypatch.setattr(word_corpus, "BLOCK_WORDS", 1 << 15)
    monkeypatch.setattr(word_corpus, "_PORTION_BYTES", 1 << 17)
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 999, (4999, 20))
    text = "".join(f"{' '.join(map(str, row))}\n" for row in rows)
    path, peaks = tmp_path / "text", []
    for times in (1, 10):
        path.write_text(text * times)
        tracemalloc.start()
        corpus = read(path)
        for _ in corpus.blocks(corpus.counts.words):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_vocabulary_is_read_back(tmp_path):
    counts = word_counts.WordCounts(["</s>", "é", "b"], np.array([4, 3, 2]))
    path = tmp_path / "vocab.txt"
    path.write_text(counts.text(), encoding="utf-8")
    assert pairs(word_counts.read(str(path))) == pairs(counts)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a 3\nb\n", "line 2: got 'b'"),
        ("a 3\n\nb 2\n", "line 2: got ''"),
        ("a 0.1 0.2\n", "line 1: got 'a 0.1 0.2'"),
        (
            f"a {2**63}\nb 2\n",
            "line 1: got a count of 9223372036854775808, wanted at mo",
        ),
        ("a 3\nb 2\na 1\n", "line 3: 'a' is there a second time"),
        ("", "line 1"),
    ],
)
def test_what_is_no_vocabulary_is_named(tmp_path, text, fault):
    path = tmp_path / "vocab.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(f"vocab.txt, {fault}")):
        word_counts.read(str(path))


def test_a_text_without_words_is_refused(read):
    with pytest.raises(UserError, match="no word in .*0.txt"):
        read(" \n\n\t\n")


def test_a_vocabulary_without_words_is_refused(read):
    corpus = read("a b b\n")
    for order in (
        lambda: word_counts.word2vec_order(corpus.counts, 1, 3),
        lambda: word_counts.glove_order(corpus.counts, 3),
    ):
        with pytest.raises(UserError, match="none of 2 words occurs --min_count=3"):
            order()


def test_a_fault_of_the_text_names_its_line(read, tmp_path, monkeypatch):
    monkeypatch.setattr(word_corpus, "_PORTION_BYTES", 4)
    path = tmp_path / "text"
    path.write_bytes(b"a b\nc d\ne \xff f\n")
    with pytest.raises(UserError, match="line 3: not UTF-8, 0xff"):
        read(path)


def test_ids_are_of_32_bits(read, monkeypatch):
    monkeypatch.setattr(word_corpus, "_MOST_WORDS", 2)
    with pytest.raises(UserError, match="more than 2 different words"):
        read("a b c\n")
