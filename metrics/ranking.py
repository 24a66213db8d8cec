"""Metrics of rankings: candidates of questions, put in the order of their scores.

A question can be scored where it has a right candidate and a wrong one: without the
former nothing is to be found, without the latter nothing can go wrong. So "clean" TREC
QA is scored (Rao et al. 2016); the others are counted. scikit-learn is
imported on first use.
"""

import numpy as np
from numpy.typing import ArrayLike

from errors import UserError
from metrics.inputs import paired


def ranking(
    targets: ArrayLike, scores: ArrayLike, questions: ArrayLike
) -> dict[str, float]:
    """Mean average precision and mean reciprocal rank over questions.

    Candidates with equal scores have no order: precision is taken after all of them, as
    scikit-learn does, and a wrong one counts as standing before a right one.

    Args:
        targets: int [N], 1 = the candidate is right, 0 = it is wrong.
        scores: float [N], a better candidate's is higher.
        questions: int [N], whose candidate each is.

    Returns:
        {"map": 0 to 1, "mrr": 0 to 1, "scored_questions", "questions_without_right",
        "questions_without_wrong": counts}; both metrics are 0 where no question can be
        scored.

    Raises:
        UserError: a target other than 0 and 1, or see `inputs.paired`.
    """
    from sklearn.metrics import average_precision_score

    targets, scores = paired("ranking", targets, scores, (1,))
    _, questions = paired("ranking", targets, questions, (1,))
    strange = targets[~np.isin(targets, (0, 1))]
    if strange.size:
        raise UserError(f"ranking: targets hold {strange[0]}, wanted 0 or 1")
    order = np.argsort(questions, kind="stable")
    bounds = np.flatnonzero(np.diff(questions[order])) + 1
    precisions, reciprocals = [], []
    counts = {"questions_without_right": 0.0, "questions_without_wrong": 0.0}
    for rows in np.split(order, bounds):
        right, found = targets[rows] == 1, scores[rows]
        if not right.any():
            counts["questions_without_right"] += 1
        elif right.all():
            counts["questions_without_wrong"] += 1
        else:
            precisions.append(average_precision_score(right, found))
            before = np.count_nonzero(found[~right] >= found[right].max())
            reciprocals.append(1 / (1 + before))
    return {
        "map": float(np.mean(precisions)) if precisions else 0.0,
        "mrr": float(np.mean(reciprocals)) if reciprocals else 0.0,
        "scored_questions": float(len(precisions)),
        **counts,
    }
