"""Text to byte pairs gives the original's ids; files that do not fit are named."""

import json
import pathlib
import pickle
import random
import sys
import types

import ftfy
import numpy as np
import pytest

import tokenization_bpe as bpe
import tokenization_english

GOLDEN = pathlib.Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "bpe_tokenizer.json").read_text("utf-8"))["cases"]
VOCAB, MERGES = GOLDEN / "bpe_tokenizer_vocab.json", GOLDEN / "bpe_tokenizer_merges.txt"
TEXTS = [case["text"] for case in CASES]


@pytest.fixture(autouse=True)
def own_rules(monkeypatch):
    """Without spaCy, wherever the tests run."""
    monkeypatch.setattr(bpe, "_spacy", lambda: None)


@pytest.fixture
def encoder():
    return bpe.TextEncoder(VOCAB, MERGES)


def check_case(encoder, case):
    spelt = [encoder.bpe(token.lower()).split(" ") for token in case["spacy_tokens"]]
    assert [piece for pieces in spelt for piece in pieces] == case["bpe"]
    assert encoder.tokenize(case["text"]) == case["bpe"]
    assert encoder.encode([case["text"]]) == [case["ids"]]
    fixed = bpe.text_standardize(bpe.fix_text(case["text"]))
    assert fixed == case["fixed_standardized"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:20])
def test_pieces_and_ids_are_the_originals(encoder, case):
    check_case(encoder, case)


OTHERS = json.loads((GOLDEN / "bpe_other_scripts.json").read_text("utf-8"))["cases"]


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: ascii(case["text"])[:40])
def test_text_of_other_scripts_is_split_as_by_the_original(case):
    words = bpe.split_words(bpe.fix_text(case["text"]))
    assert [token for w in words for token in bpe.word_tokens(w)] == case["tokens"]


@pytest.mark.shared_data
def test_the_released_vocabulary_gives_the_original_ids(shared_dir, golden_dir):
    folder = shared_dir / "gpt1"
    vocab = folder / "encoder_bpe_40000.json"
    encoder = bpe.TextEncoder(vocab, bpe.merges_beside(vocab))
    assert len(encoder.vocab) == 40478
    cases = json.loads((golden_dir / "gpt/bpe_tokenizer.json").read_text("utf-8"))
    assert len(cases["cases"]) == 231
    for case in cases["cases"]:
        check_case(encoder, case)


@pytest.mark.parametrize(
    "chunk",
    [
        "the",
        "' |tis",
        "dogs |'",
        "Dr.",
        "U.S.",
        "USA |.",
        "end |.",
        "Mid |. |Word",
        "who |'d |'ve",
        "Sha |n't",
        "its",
        "it |'s",
        "' |don |'",
        "ca |nt",
        "$ |5 |%",
        "US$ |9",
        "100 |km |.",
        "15Mb",
        "12 |p.m.",
        "13p.m",
        "wait |...",
        "a |... |b",
        "www.Example.com",
        "x:y@some.org:80",
        "key |= |value",
        "# |1",
        "3 |^ |4",
        "© |now",
        "20 |° |C |.",
        "f.",
        "xD",
        "« |oui |»",
        "& |c.",
        "& |& |'em",
        ":",
        "' |?",
    ],
)
def test_words_split_as_spacy_splits_them(chunk):
    assert tokenization_english.split(chunk.replace(" |", "")) == chunk.split(" |")


def test_a_whole_file_gives_the_ids_of_its_texts(encoder):
    flat, offsets = encoder.ids(TEXTS)
    assert (flat.dtype, offsets.dtype) == (np.int32, np.int64)
    assert len(offsets) == len(TEXTS) + 1
    rows = [flat[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)]
    assert rows == encoder.encode(TEXTS)
    assert encoder.ids([])[1].tolist() == [0]


def test_bytes_are_utf_8_and_ids_survive_a_full_memory(encoder, monkeypatch):
    expected = encoder.encode(TEXTS)
    monkeypatch.setattr(bpe, "_MEMORY", 3)
    small = bpe.TextEncoder(VOCAB, MERGES)
    assert small.encode(text.encode() for text in TEXTS) == expected
    assert len(small.cache) <= 3


def test_a_copy_in_another_process_gives_the_same_ids(encoder):
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy.encode(TEXTS) == encoder.encode(TEXTS)


def test_text_that_cannot_be_broken_is_repaired_as_ftfy_does():
    rng = random.Random(0)
    kinds = ["\t\n ab.<>;#\\~'\"%" + "“”‘’–—…", "“”‘’–—… \n", "aâ€™Ã© &amp;\r\x1b[1mﬁ“"]
    for _ in range(3000):
        text = "".join(rng.choices(rng.choice(kinds), k=rng.randint(1, 9)))
        assert bpe.fix_text(text) == ftfy.fix_text(text), repr(text)


def test_decoding_puts_a_space_after_words_and_keeps_lines(encoder):
    ids = encoder.encode(["Across a \n\n larger building."])[0]
    assert encoder.decode(ids) == "across a \nlarger building ."
    for end in range(len(ids)):  # so that text can be shown while it is made
        assert encoder.decode(ids).startswith(encoder.decode(ids[:end]))
    with pytest.raises(ValueError, match=rf"id 9999 .* of {len(encoder.vocab)}"):
        encoder.decode([1, 9999])


def test_pieces_outside_the_vocabulary_are_zero(encoder):
    assert encoder.tokenize("\u2603") == ["\u2603</w>"]
    assert encoder.encode(["\u2603 a"]) == [[0, encoder.vocab["a</w>"]]]


def test_unknown_pieces_are_unk_wherever_it_stands(tmp_path):
    for name, text in zip(("vocab.json", "merges.txt"), PAIR, strict=True):
        (tmp_path / name).write_text(text)
    encoder = bpe.load(str(tmp_path / "vocab.json"))
    assert encoder.encode(["ab c"]) == [[2, 3]]
    assert encoder.unknown_id == 3


def test_the_first_pair_learnt_is_merged_first_and_everywhere():
    ranks = {("a", "b"): 1, ("b", "a"): 0, ("ba", "ba"): 2, ("a", "a</w>"): 3}
    assert bpe.merge("ababa", ranks) == ["a", "ba", "b", "a</w>"]
    assert bpe.merge("babab", ranks) == ["baba", "b</w>"]
    assert bpe.merge("aaaa", ranks) == ["a", "a", "aa</w>"]
    assert bpe.merge("x", ranks) == ["x</w>"]


def test_spacy_splits_where_it_is_installed(encoder, monkeypatch):
    monkeypatch.undo()
    tokens = {"tokenizer": lambda text: [types.SimpleNamespace(text=c) for c in text]}
    blank = {"en": types.SimpleNamespace(**tokens)}.__getitem__
    monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(blank=blank))
    bpe._spacy.cache_clear()
    try:
        assert encoder.tokenize("The") == ["t</w>", "h</w>", "e</w>"]
        monkeypatch.setitem(sys.modules, "spacy", None)
        bpe._spacy.cache_clear()
        assert bpe.TextEncoder(VOCAB, MERGES).tokenize("The") == ["the</w>"]
    finally:
        bpe._spacy.cache_clear()


@pytest.mark.parametrize(
    ("vocab", "merges"),
    [
        ("m/vocab.json", "m/merges.txt"),
        ("m/openai-gpt-vocab.json", "m/openai-gpt-merges.txt"),
        ("m/encoder_bpe_40000.json", "m/vocab_40000.bpe"),
    ],
)
def test_merges_lie_beside_the_vocabulary(vocab, merges):
    assert bpe.merges_beside(vocab) == merges
    with pytest.raises(ValueError, match=r"m/vocab\.txt: .* vocab\.json or encoder_"):
        bpe.merges_beside("m/vocab.txt")


PAIR = ('{"a": 0, "b</w>": 1, "ab</w>": 2, "<unk>": 3}', "#version: 0.2\na b</w>\n")


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        (None, PAIR[1], r"no vocabulary file .*vocab\.json"),
        (PAIR[0], None, r"no vocabulary file .*merges\.txt"),
        ("{", PAIR[1], r"vocab\.json: not JSON"),
        ("[1]", PAIR[1], r"vocab\.json: got a JSON list"),
        (b"\xff{}", PAIR[1], r"vocab\.json: not JSON: 'utf-8'"),
        ('{"a": 0, "b": 2}', "", r"ids 0 to 1, each one once; got 2 for 'b'"),
        ('{"a": 0, "b": 0}', "", r"each one once; got 0 for 'b'"),
        ('{"a": [0]}', "", r"got \[0\] for 'a'"),
        (
            '{"a": 0, "\u0120a": 1, "<|endoftext|>": 2}',
            "\u0120 a\n",
            r"vocab\.json: none of 3 pieces ends in '</w>'.* GPT-2's",
        ),
        ('{"a</w>": 0}', "", r"vocab\.json: no piece '<unk>' among 1"),
        (PAIR[0], b"a \xff\n", r"merges\.txt: not UTF-8"),
        (
            PAIR[0],
            "a b</w>\n\nb a\n",
            r"merges\.txt, line 2: wanted two pieces, got ''",
        ),
        (
            PAIR[0],
            PAIR[1] + "b a\n",
            r"vocab\.json \(4 pieces\) and .*merges\.txt \(2 merges\) do not belong "
            r"together: 1 merges make a piece that has no id \['ba'\]",
        ),
        (PAIR[0], "a b\n", r"1 pieces are made by no merge \['ab</w>'\]"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, vocab, merges, message):
    paths = [tmp_path / "vocab.json", tmp_path / "merges.txt"]
    for path, data in zip(paths, (vocab, merges), strict=True):
        if data is not None:
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        bpe.TextEncoder(*paths)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_merges_may_lack_the_version_and_end_as_on_any_system(tmp_path, end):
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(PAIR[0])
    merges.write_bytes(("a b</w>" + end).encode())
    assert bpe.TextEncoder(vocab, merges).encode(["AB b"]) == [[2, 1]]
