"""Rankings against values worked out by hand, and against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from metrics.ranking import ranking

# Two questions of other sizes, their candidates mixed. Question 7, best first: wrong,
# right, wrong, right: AP (1/2 + 2/4) / 2, RR 1/2. Question 3: right, wrong: 1 and 1.
QUESTIONS = [7, 3, 7, 7, 3, 7]
TARGETS = [1, 1, 0, 0, 0, 1]
SCORES = [0.8, -0.5, 0.9, 0.3, -4.0, 0.1]


def test_questions_weigh_the_same_whatever_their_candidates():
    found = ranking(TARGETS, SCORES, QUESTIONS)
    assert found["map"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["mrr"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["scored_questions"] == 2
    assert found["questions_without_right"] == found["questions_without_wrong"] == 0
    assert all(type(value) is float for value in found.values())


def test_one_right_candidate_gives_scikit_learns_reciprocal_rank():
    rng = np.random.default_rng(0)
    scores, right = rng.normal(size=[11, 5]), rng.integers(5, size=11)
    targets = np.eye(5, dtype=int)[right]
    questions = np.repeat(rng.permutation(11), 5)
    order = rng.permutation(55)
    found = ranking(targets.ravel()[order], scores.ravel()[order], questions[order])
    wanted = label_ranking_average_precision_score(targets, scores)
    assert found["mrr"] == pytest.approx(wanted)
    assert found["map"] == pytest.approx(wanted)


def test_questions_that_cannot_be_scored_are_counted_apart():
    questions = [*QUESTIONS, 8, 8, 9, 10, 10]
    targets = [*TARGETS, 0, 0, 0, 1, 1]
    found = ranking(targets, [*SCORES, 1, 2, 3, 4, 5], questions)
    without = ranking(TARGETS, SCORES, QUESTIONS)
    assert found == without | {
        "questions_without_right": 2.0,
        "questions_without_wrong": 1.0,
    }
    nothing = ranking([0, 0, 1], [1, 2, 3], [1, 1, 2])
    assert (nothing["map"], nothing["mrr"], nothing["scored_questions"]) == (0, 0, 0)


def test_equal_scores_gain_nothing_by_the_order_of_the_file():
    for targets in ([1, 0, 0, 0], [0, 0, 0, 1]):
        found = ranking(targets, [0.5] * 4, [1] * 4)
        assert found["map"] == found["mrr"] == 0.25
    found = ranking([0, 1, 1], [0.5, 0.5, 0.9], [1] * 3)
    assert (found["map"], found["mrr"]) == (pytest.approx((1 + 2 / 3) / 2), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([2, 0], [1, 2], [1, 1]), "targets hold 2, wanted 0 or 1"),
        (([1, 0], [1, np.nan], [1, 1]), r"predictions\[1\] is nan"),
        (([1, 0], [1, 2], [1]), "differ in shape"),
        (([], [], []), "targets is empty"),
    ],
)
def test_what_cannot_be_ranked_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"ranking: .*{message}"):
        ranking(*arguments)
