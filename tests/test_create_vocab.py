"""A learnt vocabulary fits the tokenizer that will use it."""

import collections

import pytest
import scripts

import tokenization
import tokenization_bpe
from data_pipeline.corpora import bpe_learner, learners
from data_pipeline.corpora import wordpiece_learner as learner

LINES = [
    "The lower the newest, the wider: low lower lowest new newer newest wide wider.",
    "Ünïcödé café CAFÉ naïve, straße \u0130stanbul ΟΔΟΣ \u212bngström",
    "BERT中文模型的中文词表 in 2018\u3000中国\u200b人",
    "tab\tand\u2028line\x85end \x00zero\ufffd soft\u00adhyphen a\u0301b \u0301中",
    "$5.00 isn't [MASK] or ##ing ### x" + "y" * 250,
] * 3


def basic_counts(lines, do_lower_case):
    basic = tokenization.BasicTokenizer(do_lower_case)
    return collections.Counter(word for line in lines for word in basic.tokenize(line))


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_words_are_counted_as_the_tokenizer_makes_them(do_lower_case):
    counted = learner.count_words(LINES, do_lower_case)
    assert counted == basic_counts(LINES, do_lower_case)
    assert counted["中"] == 12


@pytest.mark.shared_data
def test_words_of_real_text_are_counted_as_the_tokenizer_makes_them(shared_dir):
    path = shared_dir / "clue/news-commentary-v13-en-zh_sampled.txt"
    lines = path.read_text(encoding="utf-8").split("\n")[:500]
    assert learner.count_words(lines, True) == basic_counts(lines, True)


def learn(tmp_path, do_lower_case=True, size=150, **kwargs):
    words = learner.count_words(LINES, do_lower_case)
    made = learner.learn(words, size, 2, do_lower_case, **kwargs)
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(made.pieces) + "\n", encoding="utf-8")
    return made, tokenization.FullTokenizer(str(path), do_lower_case)


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_the_tokenizer_can_produce_every_piece(tmp_path, do_lower_case):
    made, tokenizer = learn(tmp_path, do_lower_case)
    starts = [p for p in made.pieces[5:] if not p.startswith("##")]
    assert sum(p.startswith("##") for p in made.pieces) > 20
    for piece in made.pieces[5:]:
        ending = piece[2:] if piece.startswith("##") else ""
        texts = [start + ending for start in starts] if ending else [piece]
        assert any(piece in tokenizer.tokenize(text) for text in texts), piece


def test_pieces_that_cannot_be_produced_are_dropped():
    learnt = ["a", "b", "##b", "##a", "ab", "##ba", "B", "##中", "é", "##x"]
    words = {"ab": 3, "ba": 2}
    kept, dropped, tokens, unknown = learner._tested(words, learnt, True)
    assert dropped == ["B", "##中", "é"]
    assert kept == ["a", "b", "##b", "##a", "ab", "##ba", "##x"]
    assert (tokens, unknown) == (3 + 2 * 2, 0)


def test_frequent_words_become_pieces_and_reported_rates_are_the_tokenizers(tmp_path):
    made, tokenizer = learn(tmp_path)
    assert {"the", "low", "中", "."} <= set(made.pieces)
    tokens = [token for line in LINES for token in tokenizer.tokenize(line)]
    assert made.tokens == len(tokens)
    assert made.unknown == tokens.count("[UNK]") == 3  # the word of 251 characters


def test_special_tokens_stand_in_the_released_order(tmp_path):
    assert learner.first_rows(0) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made, tokenizer = learn(tmp_path, size=250, num_unused=101)
    assert made.pieces[:2] == ["[PAD]", "[unused0]"]
    ids = tokenizer.convert_tokens_to_ids(["[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    assert ids == [100, 101, 102, 103]
    assert made.pieces[99] == "[unused98]"
    assert made.pieces[104:106] == ["[unused99]", "[unused100]"]


@pytest.mark.shared_data
def test_the_released_vocabulary_has_the_same_first_rows(shared_dir):
    released = shared_dir / "vocab/google_uncased_en_vocab.txt"
    rows = released.read_text(encoding="utf-8").split("\n")
    assert rows[:999] == learner.first_rows(994)


def test_a_vocabulary_never_exceeds_its_size_and_equal_text_gives_an_equal_one():
    words = learner.count_words(LINES, True)
    first = learner.learn(words, 120, 2, True)
    assert 100 < len(first.pieces) <= 120
    backwards = collections.Counter(dict(reversed(words.items())))
    for again in (words, backwards, words):
        assert learner.learn(again, 120, 2, True) == first


def test_rarest_characters_give_way_when_there_is_no_room():
    words = {"aa": 50, "b": 20, "c": 10, "d": 1}
    made = learner.learn(words, 8, 2, True)
    assert made.pieces[5:] == ["##a", "a", "b"]
    assert made.unknown == 11


def test_one_occurrence_of_twenty_thousand_is_left_out():
    words = {"a": 60_000, "b": 2, "c": 1_000}
    assert set(learner.learn(words, 90, 2, True).pieces[5:]) == {"a", "c"}


@pytest.mark.shared_data
def test_english_text_has_few_unknown_words(golden_dir, tmp_path, capsys):
    text = golden_dir / "pretraining_data/corpus_en.txt"
    output = tmp_path / "vocab.txt"
    flags = (f"--input_file={text}", f"--output_file={output}", "--vocab_size=5000")
    scripts.run("create_vocab", *flags)
    report = dict(line.split(" = ") for line in capsys.readouterr().out.splitlines())
    assert float(report["unk_rate"]) < 0.001
    assert int(report["pieces"]) == len(output.read_text().splitlines()) > 4900
    tokenizer = tokenization.FullTokenizer(str(output))
    lines = text.read_text(encoding="utf-8").split("\n")
    tokens = [token for line in lines for token in tokenizer.tokenize(line)]
    assert len(tokens) == int(report["tokens"])
    rate = tokens.count("[UNK]") / len(tokens)
    assert rate == pytest.approx(float(report["unk_rate"]), abs=1e-6)


def test_bad_input_is_named_and_leaves_no_file(tmp_path):
    bad, output = tmp_path / "bad.txt", tmp_path / "vocab.txt"
    bad.write_bytes(b"fine\nalso\nn\xe9e\n")
    with pytest.raises(ValueError, match=r"bad\.txt, line 3: not UTF-8"):
        scripts.run("create_vocab", f"--input_file={bad}", f"--output_file={output}")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]


def test_a_vocabulary_of_marks_alone_is_refused():
    words = learners.WholeWords(1000, 2, do_lower_case=False, num_unused=0)
    with pytest.raises(ValueError, match="none of 3 words .*min_frequency=2"):
        words.learn(words.count(["each word once"]), "vocab.txt")
    with pytest.raises(ValueError, match="none of 2 words .*min_frequency=2"):
        words.learn(words.count(["<S> once <S>"]), "vocab.txt")


def byte_pairs(size=200, min_frequency=2):
    return bpe_learner.learn(bpe_learner.count_words(LINES), size, min_frequency)


@pytest.fixture
def own_rules(monkeypatch):
    """Without spaCy, wherever the tests run."""
    monkeypatch.setattr(tokenization_bpe, "_spacy", lambda: None)


def test_byte_pairs_stand_in_the_released_order(own_rules):
    made = byte_pairs()
    characters = [piece for piece in made.pieces if len(piece) == 1]
    ends = [f"{character}</w>" for character in characters]
    merged = ["".join(pair) for pair in made.merges]
    merged = list(dict.fromkeys(merged))  # two merges may make one piece
    assert made.pieces == ["<unk>", *characters, *ends, *merged, "\n</w>"]
    assert characters[:2] == ["y", "e"]  # the most frequent
    assert len(merged) > 5


def test_byte_pairs_never_exceed_the_size_and_equal_text_gives_equal_ones(own_rules):
    words = bpe_learner.count_words(LINES)
    made = bpe_learner.learn(words, 150, 2)
    assert 130 < len(made.pieces) <= 150
    backwards = collections.Counter(dict(reversed(words.items())))
    for again in (backwards, words):
        assert bpe_learner.learn(again, 150, 2) == made
    assert len(bpe_learner.learn(words, 10_000, 10**6).merges) == 0
    with pytest.raises(ValueError, match="--vocab_size=3 leaves no room"):
        bpe_learner.learn(words, 3, 2)


def test_rarest_characters_give_way_to_byte_pairs_of_the_others():
    made = bpe_learner.learn({"aa": 50, "b": 20, "ba": 10, "d": 1}, 7, 2)
    assert made.pieces == ["<unk>", "a", "b", "a</w>", "b</w>", "aa</w>", "\n</w>"]
    assert (made.tokens, made.unknown) == (50 + 20 + 2 * 10 + 1, 1)


def test_words_of_byte_pairs_are_counted_as_the_encoder_splits_them(own_rules):
    words = bpe_learner.count_words(["It's the DOG\u2019s.", "", "the\u00a0(end)"])
    expected = ["it", "'s", "the", "dog", "'s", ".", "the", "(", "end", ")"]
    assert words == collections.Counter(expected)


def test_learnt_byte_pairs_are_what_the_encoder_reads(own_rules, tmp_path, capsys):
    text, vocab = tmp_path / "text.txt", tmp_path / "new" / "vocab.json"
    text.write_text("\n".join(LINES), encoding="utf-8")
    flags = ["--model_type=gpt", f"--input_file={text}", f"--output_file={vocab}"]
    scripts.run("create_vocab", *flags, "--vocab_size=150")
    report = dict(line.split(" = ") for line in capsys.readouterr().out.splitlines())
    encoder = tokenization_bpe.TextEncoder(
        vocab, tokenization_bpe.merges_beside(str(vocab))
    )
    pieces = [piece for line in LINES for piece in encoder.tokenize(line)]
    assert len(encoder.vocab) == int(report["pieces"]) == len(byte_pairs(150).pieces)
    assert len(encoder.bpe_ranks) == int(report["merges"])
    assert len(pieces) == int(report["tokens"])
    unknown = sum(piece not in encoder.vocab for piece in pieces)
    assert float(report["unk_rate"]) == pytest.approx(unknown / len(pieces), abs=1e-6)
    assert {path.name for path in vocab.parent.iterdir()} == {
        "vocab.json",
        "merges.txt",
    }


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--output_file=vocab.txt", r"vocab\.txt: .* named vocab\.json"),
        ("--nodo_lower_case", "--do_lower_case=False .* always lower-cased"),
        ("--num_unused=3", "--num_unused=3 .* no unused rows"),
    ],
)
def test_flags_without_meaning_for_byte_pairs_are_refused(
    tmp_path, monkeypatch, flag, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("a b\n")
    with pytest.raises(ValueError, match=message):
        scripts.run("create_vocab", "--model_type=gpt", "--input_file=text.txt", flag)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_a_disk_that_fails_leaves_both_old_files(tmp_path, monkeypatch, own_rules):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("aa bb aa bb\n")
    (tmp_path / "vocab.json").write_text("old")
    (tmp_path / "merges.txt").mkdir()  # a file cannot take its place
    with pytest.raises(Exception, match=r"merges\.txt"):
        scripts.run("create_vocab", "--model_type=gpt", "--input_file=text.txt")
    assert (tmp_path / "vocab.json").read_text() == "old"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"text.txt", "vocab.json", "merges.txt"}
