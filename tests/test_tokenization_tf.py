"""The tokenizers made of TensorFlow ops equal tokenization.FullTokenizer."""

import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tokenization
import tokenization_tf
from errors import UserError

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parent.parent
GROUPS = json.loads((ROOT / "tests/golden/tokenization.json").read_text())
LETTERS = "aéไ𐍈x가"
# Every letter starts and continues a word, so that lengths are seen in the ids.
SPELLING = ["[UNK]", "[CLS]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
SPELLING += ["ᄀ", "##ᄀ", "##ᅡ", "中", "-", "i", "##i", "σ", "##σ", "##ς", "e", "##e"]


def write_vocab(path, pieces):
    path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    return str(path)


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def tokenizers(request, tmp_path):
    """FullTokenizer, FastTokenizer and InGraphTokenizer of one small vocabulary."""
    vocab_file = write_vocab(tmp_path / "vocab.txt", SPELLING)
    return (
        tokenization.FullTokenizer(vocab_file, request.param),
        tokenization_tf.FastTokenizer(vocab_file, request.param),
        tokenization_tf.InGraphTokenizer(SPELLING, request.param),
    )


def full_ids(full, texts):
    return [full.convert_tokens_to_ids(full.tokenize(text)) for text in texts]


def fast_ids(fast, texts):
    flat, offsets = fast.ids(texts)
    assert flat.dtype == np.int32
    assert offsets.dtype == np.int64
    assert len(offsets) == len(texts) + 1
    return [flat[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]


@pytest.mark.parametrize("group", GROUPS, ids=["uncased", "cased", "chinese"])
def test_ids_equal_the_originals(tmp_path, group):
    vocab_file = write_vocab(tmp_path / "vocab.txt", group["vocab"])
    do_lower_case = group["do_lower_case"]
    texts = [case["text"] for case in group["cases"]]
    in_graph = tokenization_tf.InGraphTokenizer(group["vocab"], do_lower_case)
    fast = tokenization_tf.FastTokenizer(vocab_file, do_lower_case)
    expected = [
        tokenization.convert_tokens_to_ids(fast.vocab, case["tokens"])
        for case in group["cases"]
    ]
    assert in_graph(tf.constant(texts)).to_list() == expected
    assert fast_ids(fast, texts) == expected


def test_a_word_is_limited_by_characters_not_bytes(tokenizers):
    full, fast, in_graph = tokenizers
    texts = [
        f"{before}{letter * length}{after}"
        for letter in LETTERS
        for length in (99, 100, 101, 199, 200, 201, 400, 900)
        for before, after in [("", ""), ("中", "-a"), ("a ", " aa"), ("-", "中")]
    ]
    expected = full_ids(full, texts)
    assert len(expected[0]) == 99
    assert in_graph(tf.constant(texts)).to_list() == expected
    assert fast_ids(fast, texts) == expected


def test_invalid_utf8_bytes_are_dropped_as_in_python(tokenizers):
    full, fast, in_graph = tokenizers
    draw = random.Random(5)
    bounds = b"a \x7f\x80\xbf\xc1\xc2\xe0\xe4\xed\xa0\x9f\xef\xf0\x90\xf4\x8f\xf5\xff"
    texts = [bytes(draw.choices(bounds, k=draw.randint(1, 9))) for _ in range(3000)]
    expected = full_ids(full, texts)
    assert in_graph(tf.constant(texts)).to_list() == expected
    assert fast_ids(fast, texts) == expected


def test_odd_unicode_goes_as_in_python(tokenizers):
    full, fast, in_graph = tokenizers
    odd = (
        "aaéIiİıßẞΣσς.'’:\u00ad\u0301\u0308\u200d\u2028\u3000\x1c\x85\0\ufffd\t\n 가中-"
    )
    draw = random.Random(7)
    texts = ["".join(draw.choices(odd, k=draw.randint(1, 30))) for _ in range(3000)]
    expected = full_ids(full, texts)
    assert in_graph(tf.constant(texts)).to_list() == expected
    assert fast_ids(fast, texts) == expected


def test_fast_tokenizer_sends_what_the_op_cannot_do_through_python(tokenizers):
    full, fast, _ = tokenizers
    # Vithkuqi capitals (Unicode 14), a nukta (Unicode 15), an unpaired surrogate.
    texts = ["a", "e \U00010570", "i a\U00011f43 i", "", "x\ud800 x", "ax", "\ud800"]
    assert fast_ids(fast, texts) == full_ids(full, texts)
    assert fast_ids(fast, texts[1:2]) == full_ids(full, texts[1:2])


def test_fast_tokenizer_agrees_on_every_character_it_trusts_the_op_with(tmp_path):
    trusted = [
        chr(cp)
        for cp in range(0x110000)
        if not 0xD800 <= cp < 0xE000
        and not tokenization_tf._doubtful_characters().search(chr(cp))
    ]
    # Ideographs are 90,000 of a kind: every 97th will do.
    trusted = [c for i, c in enumerate(trusted) if c < "\u3100" or not i % 97]
    texts = [f"a{char}b" for char in trusted]
    assert len(texts) > 9000
    # Deleted, joined, split off and separating characters each give other ids.
    vocab_file = write_vocab(tmp_path / "v.txt", ["[UNK]", "a", "b", "##b", "##a"])
    full = tokenization.FullTokenizer(vocab_file)
    fast = tokenization_tf.FastTokenizer(vocab_file)
    assert fast_ids(fast, texts) == full_ids(full, texts)


def test_offsets_span_chunks_and_empty_texts(tokenizers, monkeypatch):
    full, fast, _ = tokenizers
    monkeypatch.setattr(tokenization_tf, "_CHUNK", 3)
    texts = ["a", "", "a-x", "x\U00010570", "", "", "a a a", " "]
    assert fast_ids(fast, texts) == full_ids(full, texts)
    assert fast_ids(fast, []) == []
    assert fast.vocab == full.vocab


def test_in_graph_tokenizer_runs_in_a_tf_data_map(tokenizers):
    full, _, in_graph = tokenizers
    texts = ["a x", "", "Éé", "中a", "x" * 250]
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(in_graph)
    ids = [row for batch in dataset for row in batch.to_list()]
    assert ids == full_ids(full, texts)
    assert in_graph(tf.constant([], tf.string)).to_list() == []


def test_saved_model_carries_the_vocabulary(tokenizers, tmp_path):
    full, _, in_graph = tokenizers
    module = tf.Module()
    module.tokenizer = in_graph
    module.ids = tf.function(
        lambda texts: in_graph(texts).to_tensor(-1),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    (tmp_path / "vocab.txt").unlink()
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    texts = ["Éa x-", "a"]
    rows = [row[row >= 0].tolist() for row in loaded.ids(texts).numpy()]
    assert rows == full_ids(full, texts)


def test_in_graph_tokenizer_refuses_a_vocabulary_without_unk():
    with pytest.raises(ValueError, match=r"must contain \[UNK\]; none of the 2 "):
        tokenization_tf.InGraphTokenizer(["a", "b"], do_lower_case=True)


def test_a_piece_that_is_too_long_for_the_op_is_named(tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[UNK]\n" + "ä" * 128 + "\n##" + "a" * 256 + "\n")
    assert len(tokenization_tf.FastTokenizer(str(vocab)).vocab) == 3
    for piece, size in (("ä" * 129, 258), ("##" + "a" * 257, 257)):
        vocab.write_text(f"[UNK]\n{piece}\n")
        with pytest.raises(UserError, match=f"vocab.txt, line 2: .* has {size} bytes"):
            tokenization_tf.FastTokenizer(str(vocab))


def test_a_turkish_locale_changes_nothing():
    code = (
        "import tokenization_tf as t; ids = t.InGraphTokenizer"
        "(['[UNK]', 'i', '##i'], True)(['I iI', 'İı', 'I\u0307i', 'Ì']).to_list(); "
        "assert ids == [[1, 1, 2], [0], [1, 2], [1]], ids"
    )
    environment = os.environ | {"LC_ALL": "tr_TR.UTF-8", "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


@pytest.mark.shared_data
def test_all_golden_cases_are_exact(shared_dir, golden_dir):
    path = golden_dir / "pretraining_data/tokenization.json"
    cases = json.loads(path.read_text())
    compared = 0
    for vocab in sorted({case["vocab"] for case in cases}):
        chosen = [case for case in cases if case["vocab"] == vocab]
        texts = [case["text"] for case in chosen]
        do_lower_case = chosen[0]["do_lower_case"]
        vocab_file = str(shared_dir / "vocab" / vocab)
        fast = tokenization_tf.FastTokenizer(vocab_file, do_lower_case)
        in_graph = tokenization_tf.InGraphTokenizer(list(fast.vocab), do_lower_case)
        expected = [case["ids"] for case in chosen]
        assert in_graph(tf.constant(texts)).to_list() == expected
        assert fast_ids(fast, texts) == expected
        compared += len(chosen)
    assert compared == 990


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("vocab", "do_lower_case"),
    [("uncased_en", True), ("cased_en", False), ("zh", True)],
)
def test_real_lines_of_four_languages_are_exact(shared_dir, vocab, do_lower_case):
    vocab_file = str(shared_dir / "vocab" / f"google_{vocab}_vocab.txt")
    lines = []
    for name in [
        "sst2/dev.tsv",
        "multi30k/train.de",
        "msra_ner/dev.tsv",
        "book_review/dev.tsv",
        "wikitext2/wiki.valid.txt",
        "xquad/xquad.en.json",
        "xquad/xquad.zh.json",
    ]:
        text = (shared_dir / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            articles = json.loads(text)["data"]
            lines += [p["context"] for a in articles for p in a["paragraphs"]]
        else:
            lines += text.split("\n")[:2000]
    assert len(lines) > 9000
    full = tokenization.FullTokenizer(vocab_file, do_lower_case)
    fast = tokenization_tf.FastTokenizer(vocab_file, do_lower_case)
    expected = full_ids(full, lines)
    assert fast_ids(fast, lines) == expected
    in_graph = tokenization_tf.InGraphTokenizer(list(fast.vocab), do_lower_case)
    assert in_graph(tf.constant(lines)).to_list() == expected


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_words_in_the_graph_are_basic_tokenizers(do_lower_case):
    texts = [
        "",
        "Steve's (Café)--x",
        " 中国\u200b，a\u00a0B ",
        "İ \u0301 \ufffd",
        "[UNK]",
    ]
    tokenizer = tokenization_tf.InGraphTokenizer(["[UNK]", "a"], do_lower_case)
    basic = tokenization.BasicTokenizer(do_lower_case)
    found = [text.decode() for text in tokenizer.words(tf.constant(texts)).numpy()]
    assert found == [" ".join(basic.tokenize(text)) for text in texts]
