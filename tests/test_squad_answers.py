"""Scores to answers: the best span, its words, n-best lists, files."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from test_squad import convert, question, read, write_vocab

from data_pipeline.squad import answers as squad_answers
from data_pipeline.squad import pieces as squad_pieces
from data_pipeline.squad.pieces import WordPieces


@pytest.fixture
def tokenizer(tmp_path):
    return WordPieces(write_vocab(tmp_path))


@pytest.mark.parametrize(
    ("predicted", "original", "wanted"),
    [
        ("steve smith", "Steve Smith's", "Steve Smith"),
        ("smith ' s", "Steve Smith's", "Smith's"),
        ("cafe", "(Café),", "Café"),
        ("red fox", "(Red\u00a0\u3000Fox),", "Red\u00a0\u3000Fox"),
        ("fox", "red\u2028fox", "fox"),
        ("redfox", "(red\x0bfox)", "red\x0bfox"),  # a control character is dropped
        ("fox", "red", None),  # not in it
        ("fox", "fox\u200b", None),  # a character was dropped
        ("", "fox", None),
    ],
)
def test_an_answer_is_found_in_its_words_or_not_at_all(predicted, original, wanted):
    tokens = functools.partial(squad_pieces.basic_tokens, do_lower_case=True)
    assert squad_answers.get_final_text(predicted, original, tokens) == wanted


def test_pieces_join_to_words():
    assert squad_pieces.join_pieces(["un", "##aff", "##able", "!"]) == "unaffable !"


def answer(tokenizer, examples, starts, ends, windows=(10, 3, 2), **config):
    """Answers from scores: piece's position in each window -> score."""
    features = convert(tokenizer, examples, *windows)
    logits = np.full([2, len(features), 12], -9.0, np.float32)
    for side, scores in enumerate((starts, ends)):
        for (window, position), score in scores.items():
            logits[side, window, position] = score
    return squad_answers.choose_answers(
        examples,
        features,
        *logits,
        tokenizer,
        squad_answers.AnswerConfig(**config),
    )


@pytest.fixture
def examples(tmp_path):
    # Windows: [CLS] the fox [SEP] the red fox saw a [SEP], ... saw a red Fox. [SEP]
    data = question("the red fox saw a red Fox.", "saw")
    return read(tmp_path, data, is_training=False).examples


def test_the_best_span_of_all_windows_wins(tokenizer, examples):
    starts, ends = {(0, 5): 2.0, (1, 5): 3.0}, {(0, 6): 2.0, (1, 7): 1.5}
    answers = answer(tokenizer, examples, starts, ends)
    assert answers.predictions == {"q1": "a red Fox"}
    entries = answers.nbest["q1"]
    assert [e["text"] for e in entries[:2]] == ["a red Fox", "red fox"]
    ratio = entries[0]["probability"] / entries[1]["probability"]
    assert ratio == pytest.approx(math.exp(0.5))
    assert sum(e["probability"] for e in entries) == pytest.approx(1)


def test_an_answer_starts_where_its_piece_has_most_context(tokenizer, examples):
    # "saw" begins window 1; in window 0 it has a neighbour on either side.
    ends = {(1, 4): 9.0, (0, 8): 1.0}
    answers = answer(tokenizer, examples, {(1, 4): 9.0, (0, 7): 1.0}, ends)
    assert answers.predictions["q1"] == "saw a"


@pytest.mark.parametrize(
    ("length", "wanted"), [(3, "the red fox"), (2, "red fox")], ids=str
)
def test_answers_are_no_longer_than_asked_for(tokenizer, examples, length, wanted):
    starts, ends = {(0, 4): 5.0, (0, 5): 4.0}, {(0, 6): 5.0}
    answers = answer(tokenizer, examples, starts, ends, max_answer_length=length)
    assert answers.predictions["q1"] == wanted


@pytest.mark.parametrize(("threshold", "wanted"), [(0.5, "red"), (-0.5, "")])
def test_no_answer_must_exceed_the_best_answer_by_the_threshold(
    tokenizer, examples, threshold, wanted
):
    starts = {(0, 0): 3.0, (1, 0): 2.0, (0, 5): 2.0}
    ends = {(0, 0): 3.0, (1, 0): 2.0, (0, 5): 2.0}
    answers = answer(
        tokenizer,
        examples,
        starts,
        ends,
        version_2_with_negative=True,
        null_score_diff_threshold=threshold,
    )
    assert answers.null_odds == {"q1": 0.0}  # the lower of both windows
    assert answers.predictions == {"q1": wanted}
    assert answers.best == {"q1": "red"}
    assert "" in [entry["text"] for entry in answers.nbest["q1"]]


def test_a_context_without_pieces_is_answered_too(tmp_path, tokenizer):
    examples = read(tmp_path, question("\u200b", "x"), is_training=False).examples
    assert answer(tokenizer, examples, {}, {}).predictions == {"q1": "empty"}
    found = answer(tokenizer, examples, {}, {}, version_2_with_negative=True)
    assert found.predictions == {"q1": ""}
    assert found.null_odds == {"q1": 0.0}


def test_chinese_answers_are_cut_from_the_text_as_it_stands(tmp_path, tokenizer):
    data = question("（中国 人）saw", "国 人", question="fox")
    examples = read(tmp_path, data, False, language="zh").examples
    # [CLS] fox [SEP] （ 中 国 人 ） saw [SEP]
    answers = answer(tokenizer, examples, {(0, 5): 5.0}, {(0, 6): 5.0}, (16, 3, 2))
    assert answers.predictions == {"q1": "国 人"}


def test_files_are_the_originals_layout(tmp_path):
    answers = squad_answers.Answers({"q": "é"}, {"q": []}, {}, {"q": "é"})
    squad_answers.write_answers(str(tmp_path), answers)
    text = (tmp_path / "predictions.json").read_text()
    assert text == '{\n    "q": "\\u00e9"\n}\n'
    assert not tf.io.gfile.exists(str(tmp_path / "null_odds.json"))
