"""Byte pairs of several languages: their shares, fastBPE's files, flags."""

import collections
import re

import pytest

import tokenization_bpe
import tokenization_xlm
from data_pipeline.corpora import bpe_learner, language_texts
from data_pipeline.corpora.learners import LanguageBytePairs

TEXTS = {
    "en": ["low lower lowest", "Newer wider new"] * 9,
    "de": ["Löwe und Löwin und Lowe"] * 4,
}


@pytest.fixture
def no_moses(monkeypatch):
    """Words are what stands between spaces."""
    monkeypatch.setattr(tokenization_xlm, "_cleaner", lambda language: str)


def learner(**changes):
    values = {"vocab_size": 50, "min_frequency": 2, "do_lower_case": True}
    return LanguageBytePairs(
        **values | {"num_unused": 0, "languages": ["en", "de"]} | changes
    )


def test_small_languages_count_for_more():
    texts = {
        "en": collections.Counter({"a": 50, "the": 40}),
        "de": collections.Counter({"a": 10}),
    }
    # 100 words, in shares of .9^.5 : .1^.5 = .75 : .25
    found = language_texts.smoothed(texts)
    assert found == {"the": round(75 * 40 / 90), "a": round(75 * 50 / 90) + 25}
    assert language_texts.smoothed({"en": texts["en"]}) == texts["en"]


def test_learnt_files_are_fast_bpes_and_count_the_texts(no_moses, tmp_path):
    made = learner()
    texts = made.count_texts(TEXTS)
    assert texts["de"] == {"lowe": 8, "und": 8, "lowin": 4}
    learnt = made.learn_texts(texts, str(tmp_path / "vocab_x"))
    assert list(learnt.files) == [str(tmp_path / n) for n in ("vocab_x", "codes_x")]
    for path, text in learnt.files.items():
        with open(path, "w") as file:
            file.write(text)
    tokenizer = tokenization_xlm.load(tmp_path / "vocab_x", "en")
    pieces = collections.Counter(
        piece
        for language, lines in TEXTS.items()
        for line in lines
        for piece in tokenizer.of(language).tokenize(line)
    )
    assert dict(zip(tokenizer.vocab, tokenizer.bpe.counts, strict=True)) == {
        **dict.fromkeys(tokenization_xlm.SPECIAL, 0),
        **pieces,
    }
    counts = tokenizer.bpe.counts[len(tokenization_xlm.SPECIAL) :].tolist()
    assert counts == sorted(counts, reverse=True)
    assert (learnt.tokens, learnt.unknown) == (pieces.total(), 0)
    assert learnt.pieces == len(tokenizer.vocab) <= 50
    # Three columns; every piece is made by one pair, as fastBPE's reader wants it.
    lines = [
        line.split(" ") for line in (tmp_path / "codes_x").read_text().splitlines()
    ]
    assert len({a + b for a, b, _ in lines}) == len(lines) == len(tokenizer.bpe.ranks)


def test_a_pairs_count_is_how_often_it_is_merged():
    codes, pieces = bpe_learner.learn_codes({"aba": 5, "ab": 3}, {"aba": 2}, 7, 2)
    ranks = {pair: i for i, pair in enumerate(codes)}
    assert {tuple(tokenization_bpe.merge(w, ranks)) for w in ("aba", "ab")} == {
        ("aba</w>",),
        ("ab</w>",),
    }
    made = {"".join(pair): count for pair, count in codes.items()}
    assert made == {"ab": 5, "aba</w>": 5, "ab</w>": 3}
    assert pieces == {"aba</w>": 2}


def test_a_full_vocabulary_leaves_the_rarest_pieces_out(no_moses, caplog):
    made = learner(vocab_size=14 + 6, min_frequency=10**6)
    learnt = made.learn_texts(made.count_texts(TEXTS), "vocab")
    assert learnt.pieces == 20
    assert learnt.files["codes"] == ""
    assert "no pieces were joined" in caplog.text
    assert 0 < learnt.unknown < learnt.tokens
    with pytest.raises(ValueError, match="--vocab_size=15 leaves no room"):
        learner(vocab_size=15).learn_texts(made.count_texts(TEXTS), "vocab")


@pytest.mark.parametrize(
    ("languages", "input_file", "parallel", "message"),
    [
        ([], "en:a", None, "needs --languages"),
        (["en", "en"], "en:a", None, "--languages=en,en: wanted different names"),
        (["en-de"], "en:a", None, "--languages=en-de: wanted different names"),
        (["en", "de"], "a.txt", None, "got no language before 'a.txt'; .* en, de"),
        (["en", "de"], "en:a,fr:b", None, "got 'fr' before 'b'; wanted .* en, de"),
        (["en", "de"], "en:a", "en-de:a", "en-de has 1 files, wanted two"),
        (["en", "de"], "en:a", "en-fr:a,b", "got 'en-fr' before 'a'"),
    ],
)
def test_flags_of_languages_that_make_no_sense_are_named(
    languages, input_file, parallel, message
):
    (problem,) = language_texts.problems(languages, input_file, parallel)
    assert re.search(message, problem)


def test_files_belong_to_the_language_named_before():
    languages = ["en", "de", "fr"]
    found = language_texts.patterns(languages, "en:a,b*,gs://c/d,de:gs://e,en:f")
    assert found == {"en": ["a", "b*", "gs://c/d", "f"], "de": ["gs://e"]}
    found = language_texts.pairs(languages, "de-en:a,b,en-fr:c,d")
    assert found == {"de-en": ["a", "b"], "en-fr": ["c", "d"]}
    assert not list(language_texts.problems(languages, "en:a,de:b", "en-de:a,b"))


def test_an_output_without_a_name_for_its_codes_is_refused():
    (problem,) = learner().problems("words.txt", "en:a,de:b")
    assert "words.txt: XLM's vocabulary must have 'vocab' in its name" in problem
