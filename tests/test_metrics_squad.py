"""EM and F1 of answers: hand-computed values of the official scripts."""

import pytest

from metrics import squad


def test_case_articles_punctuation_and_spaces_do_not_count():
    assert squad.normalize_answer(" The  U.S.' a-team, an ") == "us ateam"
    assert squad.exact_score("the Cat", "cat!") == 1.0
    assert squad.exact_score("cats", "cat") == 0.0


def test_f1_counts_common_words_as_often_as_both_have_them():
    # 2 words of 3 found ("b" only once), 2 of 4 right.
    assert squad.f1_score("b c d", "b b c e") == pytest.approx(2 * 2 / (3 + 4))
    assert squad.f1_score("b", "c") == 0.0
    assert squad.f1_score("the", "") == 1.0
    assert squad.f1_score("", "c") == 0.0


def test_version_1_takes_the_best_answer_and_counts_missing_predictions():
    references = {"p": ["red fox", "fox"], "q": ["blue"], "r": ["old green hat"]}
    predictions = {"p": "the fox", "r": "green hat"}
    scores = squad.squad_v1(references, predictions)
    assert scores["exact_match"] == pytest.approx(100 / 3)
    assert scores["f1"] == pytest.approx((1 + 0 + 0.8) * 100 / 3)


def test_version_2_scores_both_kinds_of_questions():
    references = {"p": ["red"], "q": [], "r": ["blue sky"], "s": []}
    predictions = {"p": "", "q": "", "r": "sky", "s": "x"}
    best = {"p": "red", "q": "y", "r": "sky", "s": "x"}
    odds = {"p": 3.0, "q": 4.0, "r": -1.0, "s": -2.0}
    scores = squad.squad_v2(references, predictions, odds, best)
    two_thirds = 200 / 3
    assert scores["exact"] == pytest.approx(25)
    assert scores["f1"] == pytest.approx((two_thirds + 100) / 4)
    assert scores["HasAns_f1"] == pytest.approx(two_thirds / 2)
    assert scores["NoAns_f1"] == pytest.approx(50)
    # No answers at all: 2 right. s: 1, r: 1 2/3, p: 2 2/3, q: 1 2/3.
    assert scores["best_f1"] == pytest.approx((2 + 2 / 3) * 25)
    assert scores["best_f1_thresh"] == 3.0
    # Exact: 2, then 1, 1, 2, 1: nothing is better than to answer nothing.
    assert scores["best_exact"] == pytest.approx(50)
    assert scores["best_exact_thresh"] == 0.0


def test_an_answer_given_at_the_best_threshold_is_one_that_the_score_counts():
    references = {"p": ["red"], "q": []}
    best, odds = {"p": "red", "q": "blue"}, {"p": 1.5, "q": 2.5}
    found = squad.squad_v2(references, best, odds, best)["best_f1_thresh"]
    given = {key: "" if odds[key] > found else best[key] for key in best}
    scores = squad.squad_v2(references, given, odds, best)
    assert scores["f1"] == scores["best_f1"] == 100


def test_chinese_is_scored_by_the_longest_common_run_of_characters():
    # 北京 is common and unbroken; 天 and 门 stand apart.
    scores = squad.cmrc({"p": ["北京天安门"]}, {"p": "天，北京门"})
    assert scores["f1"] == pytest.approx(100 * 2 * 2 / (5 + 4))
    assert scores["exact_match"] == 0.0


def test_chinese_punctuation_and_latin_case_do_not_count():
    references = {"p": ["《Nexon公司》", "Nexon"], "q": ["3.5米"]}
    scores = squad.cmrc(references, {"p": "nexon公司。", "q": "3.5 米"})
    assert scores["exact_match"] == pytest.approx(50)
    assert scores["f1"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("references", "message"), [({}, "no questions"), ({"q7": []}, "'q7'")]
)
def test_nothing_to_compare_with_is_an_error(references, message):
    for score in (squad.squad_v1, squad.cmrc):
        with pytest.raises(ValueError, match=message):
            score(references, {})
