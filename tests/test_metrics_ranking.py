"""Rankings against values worked out by hand, and against scikit-learn's."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import label_ranking_average_precision_score

from errors import UserError
from metrics import ranking

# Two questions, their candidates mixed. Of 7, best first: wrong, right, wrong, right,
# right: AP (1/2 + 2/4 + 3/5) / 3, RR 1/2. Of 3: right, wrong.
QUESTIONS = [7, 3, 7, 7, 3, 7, 7]
RIGHT = [True, True, False, False, False, True, True]
SCORES = [0.8, -0.5, 0.9, 0.3, -4.0, 0.1, 0.0]
BOTH = ("mrr", "map")


def test_questions_weigh_the_same_whatever_their_candidates():
    found = ranking.compute(BOTH, QUESTIONS, RIGHT, SCORES)
    assert list(found) == ["mrr", "map"]
    assert found["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["map"] == pytest.approx((1.6 / 3 + 1) / 2)
    assert all(type(value) is float for value in found.values())
    assert list(ranking.compute(["map"], QUESTIONS, RIGHT, SCORES)) == ["map"]


def test_one_right_candidate_gives_scikit_learns_reciprocal_rank():
    rng = np.random.default_rng(0)
    scores, right = rng.normal(size=[11, 5]), rng.integers(5, size=11)
    targets = np.eye(5, dtype=int)[right]
    questions, order = np.repeat(rng.permutation(11), 5), rng.permutation(55)
    found = ranking.compute(
        BOTH, questions[order], targets.ravel()[order], scores.ravel()[order]
    )
    wanted = label_ranking_average_precision_score(targets, scores)
    assert found == {"mrr": pytest.approx(wanted), "map": pytest.approx(wanted)}


def test_the_loss_is_that_of_every_right_candidate_among_all_wrong_ones():
    packs = [[0.8, 0.9, 0.3], [0.1, 0.9, 0.3], [0.0, 0.9, 0.3], [-0.5, -4.0]]
    wanted = [-tf.nn.log_softmax(pack)[0] for pack in packs]
    found = ranking.cross_entropy(QUESTIONS, RIGHT, SCORES)
    assert found == pytest.approx(np.mean(wanted), rel=1e-6)
    # Scores of a model that diverges.
    assert ranking.cross_entropy([1, 1], [True, False], [-1e4, 1e4]) == 2e4


def test_questions_that_cannot_be_scored_change_nothing():
    questions = [8, 8, 9, *QUESTIONS, 10, 10]
    right = [False, False, True, *RIGHT, True, True]
    scores = [1.0, 2.0, 3.0, *SCORES, 4.0, 5.0]
    for measure in (lambda *data: ranking.compute(BOTH, *data), ranking.cross_entropy):
        whole = measure(questions, right, scores)
        assert whole == measure(QUESTIONS, RIGHT, SCORES)
        with pytest.raises(UserError, match="no question has a right and a wrong cand"):
            measure(questions[:3], right[:3], scores[:3])


def test_equal_scores_gain_nothing_by_the_order_of_the_file():
    for right in ([True, False, False, False], [False, False, False, True]):
        found = ranking.compute(BOTH, [1] * 4, right, [0.5] * 4)
        assert found == {"mrr": 0.25, "map": 0.25}
    found = ranking.compute(BOTH, [1] * 3, [False, True, True], [0.5, 0.5, 0.9])
    assert found == {"mrr": 1.0, "map": pytest.approx((1 + 2 / 3) / 2)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 1], [1, 0], [1, np.nan]), r"predictions\[1\] is nan"),
        (([1], [1, 0], [1, 2]), "differ in shape"),
        (([], [], []), "targets is empty"),
    ],
)
def test_what_cannot_be_ranked_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"ranking: .*{message}"):
        ranking.compute(BOTH, *arguments)
