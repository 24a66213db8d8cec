"""Text is read in portions without a trace of it, and every fault is named."""

import pytest
from tiny_corpus import write_vocab

from data_pipeline.corpora import bert_corpus, corpus, segmentation


def lines(path):
    found, wanted_first = [], 1
    for first, some in corpus.chunks(str(path)):
        assert first == wanted_first
        found += some
        wanted_first += len(some)
    return found


@pytest.mark.parametrize("chunk", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"a b\n\n c\xe4\xb8\xad\t\r\nd", ["a b", "", "c中", "d"]),
        (b"a\n \n", ["a", ""]),
        ("x\u2028y\x0bz\n".encode(), ["x\u2028y\x0bz"]),
        (b"\n\n", ["", ""]),
        (b"", []),
    ],
)
def test_lines_are_whole_wherever_portions_end(
    tmp_path, monkeypatch, chunk, data, wanted
):
    monkeypatch.setattr(corpus, "_CHUNK_BYTES", chunk)
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert lines(path) == wanted


@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_undecodable_bytes_are_named_by_file_line_and_place(
    tmp_path, monkeypatch, chunk
):
    monkeypatch.setattr(corpus, "_CHUNK_BYTES", chunk)
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n\nabc\xe9 d\nmore\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 3: not UTF-8, 0xe9 .* byte 4"):
        lines(path)


def test_a_vocabulary_without_special_tokens_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"v\.txt has no line \[CLS\], \[MASK\]"):
        bert_corpus.instance_config("v.txt", {"[UNK]": 0, "[SEP]": 1})


def test_segmented_words_continue_and_pieces_stay_the_tokenizers(tmp_path):
    pytest.importorskip("jieba")
    vocab = tmp_path / "vocab.txt"
    pieces = ["[UNK]", *"我们在北京大学的", "te", "##st", "."]
    vocab.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    tokenizer = bert_corpus.LineTokenizer(str(vocab), True)
    text = ["我们在北京大学的test.中国", "", "北京 test"]
    plain = tokenizer(text)
    segmented = tokenizer(text, segmentation.parts(text))
    bit = 1 << 15
    assert (segmented.packed & (bit - 1)).tolist() == (
        plain.packed & (bit - 1)
    ).tolist()
    assert segmented.lengths.tolist() == plain.lengths.tolist() == [13, -1, 4]
    assert segmented.unknown == plain.unknown == 2
    # 我们|在|北京大学|的|te ##st|.|中国 and 北京|te ##st; 1 continues a word.
    wanted = [0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1] + [0, 1, 0, 1]
    assert (segmented.packed >= bit).astype(int).tolist() == wanted
    assert (plain.packed >= bit).sum() == 2


def test_parts_make_up_the_line():
    pytest.importorskip("jieba")
    for line in ("T恤衫 and 卡拉OK。", "e\u0301中\u0301国x", "plain", ""):
        [parts] = segmentation.parts([line])
        assert "".join(text for text, _ in parts) == line


def test_lines_of_white_space_end_documents_and_lines_without_pieces_do_not(tmp_path):
    tokenizer = bert_corpus.LineTokenizer(write_vocab(tmp_path), True)
    found = tokenizer(["wa wbea", "", "\u200b", "wc"])
    assert found.lengths.tolist() == [3, -1, 0, 1]
