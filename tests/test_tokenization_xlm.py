"""XLM's text to byte pairs: Moses' words, fastBPE's files and Hugging Face's."""

import json
import pathlib
import sys

import numpy as np
import pytest

import tokenization_xlm as xlm

GOLDEN = pathlib.Path(__file__).parent / "golden"
MOSES = json.loads((GOLDEN / "moses.json").read_text("utf-8"))["cases"]
CODES = "l o 9\nlo w</w> 7\ne r</w> 5\nn e 2\n"
VOCAB = "low 5\nlo@@ 4\n\ner 3\nno count here 1\nx\u2028y 1\ner 2\nn@@ 2\nw 1\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "codes_x").write_text(CODES)
    (tmp_path / "vocab_x").write_text(VOCAB)
    return tmp_path / "vocab_x"


@pytest.fixture
def tokenizer(files, monkeypatch):
    """Without Moses, so that words are what stands between spaces."""
    monkeypatch.setattr(xlm, "_cleaner", lambda language: str)
    return xlm.load(files, "en")


@pytest.mark.parametrize("case", MOSES, ids=lambda case: case["text"][:20])
def test_words_are_those_of_moses_scripts(case):
    pytest.importorskip("sacremoses")
    assert xlm._cleaner(case["language"])(case["text"]) == case["words"]


def test_chinese_is_cut_into_words_before_its_punctuation():
    pytest.importorskip("sacremoses")
    pytest.importorskip("jieba")
    assert xlm.prepare("我来到北京，很好。", "zh").split() == [
        *("我", "来到", "北京", ",", "很", "好", ".")
    ]


def test_lower_case_has_no_accents_unless_case_is_kept(tokenizer, files):
    assert xlm.lower_without_accents("Größe ÉTÉ İ") == "große ete i"
    assert tokenizer.words("LÖW") == ["low"]
    assert xlm.load(files, "en", do_lower_case=False).words("LÖW") == ["LÖW"]


def test_ids_go_on_over_lines_that_are_no_piece(tokenizer):
    pieces = [*xlm.SPECIAL, "low", "lo@@", "er", "n@@", "w"]
    assert list(tokenizer.vocab) == pieces
    assert list(tokenizer.vocab.values()) == list(range(19))
    assert tokenizer.bpe.counts.tolist() == [0] * 14 + [5, 4, 3, 2, 1]
    assert xlm.SPECIAL[xlm.EOS] == "</s>"
    assert xlm.SPECIAL[xlm.MASK] == "<special1>"


def test_words_become_pieces_and_ids(tokenizer):
    assert tokenizer.tokenize("low lower") == ["low", "lo@@", "w@@", "er"]
    assert tokenizer.encode(["low newer </s>", ""]) == [[14, 3, 3, 16, 3, 3, 3, 3], []]
    flat, offsets = tokenizer.ids(["low", "", "n w"])
    assert (flat.tolist(), offsets.tolist()) == ([14, 3, 18], [0, 1, 1, 3])
    assert flat.dtype == np.int32
    assert tokenizer.of("de").bpe is tokenizer.bpe


def test_what_text_writes_as_a_special_piece_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(xlm, "_cleaner", lambda language: str)
    (tmp_path / "codes").write_text("< s 9\n<s >\u003c/w> 9\n<s ></w> 8\n")
    (tmp_path / "vocab").write_text("a 1\n")
    tokenizer = xlm.load(tmp_path / "vocab", "en")
    assert tokenizer.tokenize("<s>") == ["<s>"]
    assert tokenizer.encode(["<s> a"]) == [[xlm.UNK, 14]]


def test_pieces_from_max_vocab_on_are_unknown(files, monkeypatch):
    monkeypatch.setattr(xlm, "_cleaner", lambda language: str)
    tokenizer = xlm.load(files, "en", max_vocab=16)
    assert len(tokenizer.vocab) == len(tokenizer.bpe.counts) == 16
    assert tokenizer.encode(["low lower"]) == [[14, 15, 3, 3]]


def test_hugging_faces_files_give_the_same_pieces(tokenizer, tmp_path):
    pieces = [*xlm.SPECIAL, "low</w>", "lo", "er</w>", "n", "w</w>"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text(CODES.replace("\n", "\r\n"))
    other = xlm.load(tmp_path / "vocab.json", "en")
    assert other.vocab == tokenizer.vocab
    assert other.encode(["lower n no"]) == tokenizer.encode(["lower n no"])
    assert other.bpe.counts is None


def test_a_vocabulary_that_does_not_know_the_text_is_doubted(tokenizer, tmp_path):
    assert tokenizer.bpe.doubt(5, 100) is None
    assert "6% of the text's 100 pieces" in tokenizer.bpe.doubt(6, 100)
    assert "other codes" in tokenizer.bpe.doubt(6, 100)
    (tmp_path / "vocab_words").write_text("lower 3\n")
    (tmp_path / "codes_words").write_text(CODES)
    doubt = xlm.BytePairs(tmp_path / "vocab_words").doubt(60, 100)
    assert "vocab_words: 60%" in doubt
    assert "before the codes were applied" in doubt


@pytest.mark.parametrize(
    ("name", "text", "codes", "message"),
    [
        ("words.txt", VOCAB, CODES, r"words\.txt: XLM's vocabulary must have 'vocab'"),
        ("vocab", VOCAB, None, r"no vocabulary file .*codes"),
        ("vocab", "a 1\nb x\n", CODES, r"vocab, line 2: wanted a piece and its count"),
        ("vocab", "a\nb\n", CODES, r"vocab: no line is a piece and its count"),
        ("vocab", VOCAB, "a b c\n", r"codes, line 1: wanted two pieces, got 'a b c'"),
        ("vocab.json", '{"<s>": 1}', CODES, r"ids 0 to 0, each one once; none has 0"),
        ("vocab.json", '{"<unk>": 0}', CODES, r"begins with <s> </s> .*, got <unk>"),
    ],
)
def test_files_of_another_form_are_named(tmp_path, name, text, codes, message):
    (tmp_path / name).write_text(text)
    if codes:
        for beside in ("codes", "merges.txt"):
            (tmp_path / beside).write_text(codes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        xlm.load(str(tmp_path / name), "en")


def test_what_is_missing_is_named(monkeypatch):
    for package, language in (("sacremoses", "pt"), ("jieba", "zh")):
        monkeypatch.setitem(sys.modules, package, None)
        xlm._jieba.cache_clear()
        with pytest.raises(ImportError, match=rf"package {package}: pip install"):
            xlm.prepare("a", language)
    with pytest.raises(ValueError, match="language ja: its words are not written"):
        xlm.prepare("a", "ja")
