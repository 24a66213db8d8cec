"""The promises of tokenization.py, and the original implementation's tokens."""

import collections
import json
import pathlib
import subprocess
import sys

import pytest

import tokenization

GOLDEN = pathlib.Path(__file__).parent / "golden/tokenization.json"
PIECES = ["[UNK]", "[CLS]", "play", "##ing", "##ful", "re", ",", "好", "p", "##l"]


def write_vocab(path, pieces):
    path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    return str(path)


@pytest.fixture
def vocab_file(tmp_path):
    return write_vocab(tmp_path / "vocab.txt", PIECES)


def test_full_tokenizer_splits_words_into_pieces_and_ids(vocab_file):
    tokenizer = tokenization.FullTokenizer(vocab_file)
    tokens = tokenizer.tokenize("Rèplaying, PLAYFUL好")
    assert tokens == ["[UNK]", ",", "play", "##ful", "好"]
    ids = tokenizer.convert_tokens_to_ids(tokens)
    assert ids == [0, 6, 2, 4, 7]
    assert tokenizer.convert_ids_to_tokens(ids) == tokens


def test_cased_tokenizer_keeps_case_and_accents(tmp_path):
    vocab_file = write_vocab(tmp_path / "vocab.txt", ["[UNK]", "É", "##t", "e", "##T"])
    cased = tokenization.FullTokenizer(vocab_file, do_lower_case=False)
    tokens = cased.tokenize("Ét et ET eT")
    assert tokens == ["É", "##t", "e", "##t", "[UNK]", "e", "##T"]
    assert tokenization.FullTokenizer(vocab_file).tokenize("Ét") == ["e", "##t"]


def test_basic_tokenizer_separates_every_cjk_character():
    basic = tokenization.BasicTokenizer()
    assert basic.tokenize("no漢字yes") == ["no", "漢", "字", "yes"]
    assert basic.tokenize("\U00020000\uf900") == ["\U00020000", "\u8c48"]
    assert basic.tokenize("カナ") == ["カナ"]  # kana stay words


def test_basic_tokenizer_lower_cases_only_when_asked():
    text = " \tWhat?No \n\r wáy!  "
    lower = tokenization.BasicTokenizer(do_lower_case=True).tokenize(text)
    assert lower == ["what", "?", "no", "way", "!"]
    cased = tokenization.BasicTokenizer(do_lower_case=False).tokenize(text)
    assert cased == ["What", "?", "No", "wáy", "!"]


def test_basic_tokenizer_deletes_control_characters_and_joins_around_them():
    basic = tokenization.BasicTokenizer()
    assert basic.tokenize("a\0b\ufffdc\u200bd\x85e\x1ff") == ["abcdef"]
    assert basic.tokenize("a\u2028b\u2003c\xa0d") == ["a", "b", "c", "d"]


def test_basic_tokenizer_drops_words_made_of_accents_alone():
    assert tokenization.BasicTokenizer().tokenize("a \u0301\u0308 b") == ["a", "b"]


def test_wordpiece_takes_the_longest_piece_first():
    vocab = {piece: index for index, piece in enumerate(PIECES)}
    wordpiece = tokenization.WordpieceTokenizer(vocab)
    assert wordpiece.tokenize("") == []
    assert wordpiece.tokenize("playing play") == ["play", "##ing", "play"]
    assert wordpiece.tokenize("pl") == ["p", "##l"]


def test_wordpiece_gives_up_the_whole_word_when_one_part_is_unknown():
    wordpiece = tokenization.WordpieceTokenizer({"play": 0, "##ing": 1}, unk_token="?")
    assert wordpiece.tokenize("playingX playing") == ["?", "play", "##ing"]


def test_wordpiece_knows_no_word_over_200_characters():
    wordpiece = tokenization.WordpieceTokenizer({"é": 0, "##é": 1})
    assert len(wordpiece.tokenize("é" * 200)) == 200
    assert wordpiece.tokenize("é" * 201) == ["[UNK]"]
    short = tokenization.WordpieceTokenizer({"é": 0, "##é": 1}, "?", 2)
    assert short.tokenize("éé ééé") == ["é", "##é", "?"]


def test_bytes_are_read_as_utf8_and_invalid_ones_dropped():
    assert tokenization.convert_to_unicode(b"caf\xc3\xa9\xff!") == "café!"
    assert tokenization.printable_text(b"\xe4\xb8ok") == "ok"
    assert tokenization.BasicTokenizer().tokenize(b"x\x80y") == ["xy"]
    with pytest.raises(ValueError, match="got int: 3"):
        tokenization.convert_to_unicode(3)


def test_unknown_token_or_id_is_named():
    with pytest.raises(KeyError, match="'nowhere' is not in the vocabulary of 1 "):
        tokenization.convert_tokens_to_ids({"here": 5}, ["here", "nowhere"])
    with pytest.raises(KeyError, match="9 is not in the vocabulary"):
        tokenization.convert_ids_to_tokens({5: "here"}, [9])


def test_vocabulary_ids_are_line_numbers(tmp_path):
    path = tmp_path / "vocab.txt"
    # A carriage return is stripped, a Unicode line separator ends no line.
    path.write_bytes("[UNK]\r\nb\n##\u2028\nlast".encode())
    vocab = tokenization.load_vocab(path)
    assert isinstance(vocab, collections.OrderedDict)
    assert list(vocab.items()) == [("[UNK]", 0), ("b", 1), ("##", 2), ("last", 3)]


def test_vocabulary_behind_a_url_is_read_by_tensorflow(tmp_path):
    path = write_vocab(tmp_path / "vocab.txt", PIECES)
    assert list(tokenization.load_vocab(f"file://{path}")) == PIECES
    with pytest.raises(FileNotFoundError, match="no vocabulary file file:///nowhere"):
        tokenization.load_vocab("file:///nowhere")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"[UNK]\na\nb\na\n", r"v\.txt, line 4: 'a' is already on line 2"),
        (b"[UNK]\ncaf\xe9\n", r"v\.txt, line 2: .*UTF-8.*caf\\xe9.*byte 3"),
        (b"a\nb\nc\n", r"v\.txt has no line \[UNK\] among its 3 lines"),
        (b"", r"v\.txt has no line \[UNK\] among its 0 lines"),
    ],
)
def test_a_broken_vocabulary_is_refused_with_file_and_line(tmp_path, contents, message):
    path = tmp_path / "v.txt"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        tokenization.FullTokenizer(str(path))


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vocabulary file .*gone\.txt"):
        tokenization.load_vocab(str(tmp_path / "gone.txt"))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("uncased_L-12_H-768_A-12", True),
        ("uncased_L-24_H-1024_A-16", True),
        ("multilingual_L-12_H-768_A-12", True),
        ("chinese_L-12_H-768_A-12", True),
        ("cased_L-12_H-768_A-12", False),
        ("cased_L-24_H-1024_A-16", False),
        ("multi_cased_L-12_H-768_A-12", False),
    ],
)
def test_a_released_checkpoint_refuses_the_wrong_casing(name, right):
    path = f"gs://models/{name}/bert_model.ckpt"
    tokenization.validate_case_matches_checkpoint(right, path)
    with pytest.raises(ValueError, match=f"--do_lower_case={not right}.*{name}"):
        tokenization.validate_case_matches_checkpoint(not right, path)


@pytest.mark.parametrize(
    "path", [None, "", "out/model.ckpt-10", "my_cased/bert_model.ckpt"]
)
def test_an_unknown_checkpoint_accepts_either_casing(path):
    for do_lower_case in (True, False):
        tokenization.validate_case_matches_checkpoint(do_lower_case, path)


@pytest.mark.parametrize("char", [" ", "\t", "\r", "\n", "\u00a0", "\u3000"])
def test_white_space_is_no_control_and_no_punctuation(char):
    assert tokenization._is_whitespace(char)
    assert not tokenization._is_control(char)
    assert not tokenization._is_punctuation(char)


def test_character_classes():
    for char in "\x00\x05\x7f\u200d\ufeff":
        assert tokenization._is_control(char)
    for char in "A -\U0001f4a9":
        assert not tokenization._is_control(char)
    for char in "!/:@[`{~$+<^|。「¿—":
        assert tokenization._is_punctuation(char)
    for char in "Az09é€中\u0301":
        assert not tokenization._is_punctuation(char)
        assert not tokenization._is_whitespace(char)


def test_importing_it_does_not_import_tensorflow():
    code = "import sys, tokenization; sys.exit('tensorflow' in sys.modules)"
    root = pathlib.Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


@pytest.mark.parametrize("index", [0, 1, 2], ids=["uncased", "cased", "chinese"])
def test_tokens_equal_the_originals(tmp_path, index):
    group = json.loads(GOLDEN.read_text())[index]
    vocab_file = write_vocab(tmp_path / "vocab.txt", group["vocab"])
    tokenizer = tokenization.FullTokenizer(vocab_file, group["do_lower_case"])
    assert len(group["cases"]) == 50
    for case in group["cases"]:
        assert tokenizer.tokenize(case["text"]) == case["tokens"]


@pytest.mark.shared_data
def test_all_golden_cases_are_exact(shared_dir, golden_dir):
    path = golden_dir / "pretraining_data/tokenization.json"
    cases = json.loads(path.read_text())
    assert len(cases) == 990
    tokenizers = {}
    for case in cases:
        key = case["vocab"], case["do_lower_case"]
        if key not in tokenizers:
            vocab_file = str(shared_dir / "vocab" / case["vocab"])
            tokenizers[key] = tokenization.FullTokenizer(vocab_file, key[1])
        tokens = tokenizers[key].tokenize(case["text"])
        assert tokens == case["tokens"], case["text"]
        assert tokenizers[key].convert_tokens_to_ids(tokens) == case["ids"]
