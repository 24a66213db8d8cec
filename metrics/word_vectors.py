"""How word vectors agree with what people say: similarities and analogies.

The rules are gensim's (KeyedVectors), which are those of word2vec's compute-accuracy:
cosines of vectors of length 1; an analogy's own words are no answers to it; spellings
that differ in case are one word, whose vector is that of the first of them.

Letters: V words, D values of a vector, N pairs or questions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metrics import similarity

# Blocks in which analogies are solved: memory is bounded by questions x 3 x columns,
# and what is gone through several times, scores x columns, stays in a core's cache.
_QUESTIONS, _COLUMNS, _SCORES = 4096, 4096, 64


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors of length 1, float32 [V, D]; of zeros alone, zeros."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.sqrt(np.einsum("vd,vd->v", vectors, vectors, dtype=np.float64))
    return vectors / np.where(lengths, lengths, 1).astype(np.float32)[:, None]


class Vocabulary:
    """Where words stand, as evaluations look them up.

    Attributes:
      first: int64 [V], of each word the first that is spelt like it.
    """

    def __init__(self, words: Sequence[str], case_insensitive: bool = True):
        """Keeps the words' places; upper case tells words apart, or their own."""
        self._name = str.upper if case_insensitive else str
        names = list(map(self._name, words))
        self._places: dict[str, int] = {}
        for place, name in enumerate(names):
            self._places.setdefault(name, place)
        self.first = np.array([self._places[name] for name in names], np.int64)

    def find(self, rows: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns the places of words: int64 as `rows`, -1 for what is not there."""
        names = ([self._name(word) for word in row] for row in rows)
        found = [[self._places.get(name, -1) for name in row] for row in names]
        return np.array(found, np.int64)


def similarity_scores(
    unit: np.ndarray, pairs: np.ndarray, scores: ArrayLike, dummy4unknown: bool = False
) -> dict[str, float]:
    """Scores the cosines of pairs of words against people's judgements.

    Args:
      unit: float32 [V, D], of length 1.
      pairs: int [N, 2], places of words; -1 for one that has no vector.
      scores: float [N], higher for words that are more alike.
      dummy4unknown: counts a pair that is not found as one of cosine 0, as gensim's
        argument of that name; else it is left out.

    Returns:
      "spearman" and "pearson", -1 to 1; "pairs", N; "found", how many have vectors for
      both words, at least one; and "coverage", found / pairs.

    Raises:
      ValueError: no pair is found, or a score is not finite.
    """
    found = (pairs >= 0).all(1)
    if not found.any():
        raise ValueError(f"none of the {len(pairs)} pairs has vectors")
    left, right = (unit[side].astype(np.float64) for side in pairs[found].T)
    cosines = np.zeros(len(pairs))
    cosines[found] = (left * right).sum(1)
    used = slice(None) if dummy4unknown else found
    scores = np.asarray(scores, np.float64)[used]
    return {
        **similarity.spearman(scores, cosines[used]),
        **similarity.pearson(scores, cosines[used]),
        "coverage": float(found.mean()),
        "found": int(found.sum()),
        "pairs": len(pairs),
    }


def _3cosadd(a, b, c):
    return b - a + c


def _3cosmul(a, b, c):
    return b * c / (a + 1e-6)


# Of cosines moved into [0, 1], as Levy and Goldberg (2014), equations 3 and 4 with
# footnote 7, have them; the first one's order is that of the cosines themselves.
MEASURES: dict[str, Callable] = {"3cosadd": _3cosadd, "3cosmul": _3cosmul}


def solve_analogies(
    unit: np.ndarray, questions: np.ndarray, first: np.ndarray
) -> dict[str, np.ndarray]:
    """Answers "a is to b as c is to ...?" with the best of all words.

    Args:
      unit: float32 [V, D], of length 1.
      questions: int [N, 3], the places of a, b and c, each a value of `first`.
      first: int [V], see `Vocabulary`; what is spelt like a, b or c is no answer.

    Returns:
      For each of MEASURES, int64 [N], the answers' places; -1 where there is none.
    """
    answers = {name: np.full(len(questions), -1) for name in MEASURES}
    for start in range(0, len(questions), _QUESTIONS):
        some = slice(start, start + _QUESTIONS)
        for name, found in _solve(unit, questions[some], first).items():
            answers[name][some] = found
    return answers


def _solve(unit, questions, first):
    # The words of questions are few, so that their cosines cost little; a question's
    # scores are made of three rows of them.
    words, rows = np.unique(questions, return_inverse=True)
    rows = rows.reshape(questions.shape)
    answers = {name: np.full(len(questions), -1) for name in MEASURES}
    highest = {name: np.full(len(questions), -np.inf) for name in MEASURES}
    for low in range(0, len(unit), _COLUMNS):
        cosines = unit[words] @ unit[low : low + _COLUMNS].T
        cosines += 1
        cosines /= 2
        names = first[low : low + _COLUMNS]
        for start in range(0, len(questions), _SCORES):
            some = slice(start, start + _SCORES)
            a, b, c = (cosines[row] for row in rows[some].T)
            for name, measure in MEASURES.items():
                best, score = _best(measure(a, b, c), names, questions[some])
                better = score > highest[name][some]
                highest[name][some][better] = score[better]
                answers[name][some][better] = low + best[better]
    return answers


def _best(scores, names, taken):
    """Returns the columns of the highest scores whose names are not taken, and these.

    Where all names of a row are taken, the score is minus infinity.
    """
    rows = np.arange(len(scores))
    while True:
        best = scores.argmax(1)
        highest = scores[rows, best]
        wrong = (names[best][:, None] == taken).any(1) & (highest > -np.inf)
        if not wrong.any():
            return best, highest
        scores[rows[wrong], best[wrong]] = -np.inf


def analogy_scores(
    unit: np.ndarray,
    questions: np.ndarray,
    sections: Sequence[str],
    first: np.ndarray,
    dummy4unknown: bool = False,
) -> dict[str, Any]:
    """Counts the questions that are answered rightly, by section.

    Args:
      unit: float32 [V, D], of length 1.
      questions: int [N, 4], places of words as `Vocabulary.find` gives them; -1 for one
        that has no vector.
      sections: N names. Those that begin with "gram" are syntactic, the others
        semantic, as they are in questions-words.txt.
      first: int [V], see `Vocabulary`.
      dummy4unknown: counts a question that is not found as answered wrongly, as
        gensim's argument of that name; else it is left out.

    Returns:
      "coverage", found / questions; "found", how many have vectors for all words;
      "questions", N; and for each of MEASURES: "sections", a count for each name,
      "semantic" and "syntactic", where there are both, and "total". A count is
      {"accuracy": 0 to 1, "correct", "questions"}; the accuracy of none is 0.
    """
    found = (questions >= 0).all(1)
    scores = {
        "coverage": float(found.mean()),
        "found": int(found.sum()),
        "questions": len(questions),
    }
    used = np.full(len(found), True) if dummy4unknown else found
    sections = np.asarray(sections)
    asked = questions[found]
    for name, answers in solve_analogies(unit, asked[:, :3], first).items():
        right = np.zeros(len(questions), bool)
        right[found] = (answers >= 0) & (first[answers] == asked[:, 3])
        scores[name] = _by_section(sections, right, used)
    return scores


def _by_section(sections, right, used):
    def count(which):
        correct, questions = int(right[which].sum()), int(used[which].sum())
        accuracy = correct / questions if questions else 0.0
        return {"accuracy": accuracy, "correct": correct, "questions": questions}

    names = dict.fromkeys(sections.tolist())
    scores = {"sections": {name: count(sections == name) for name in names}}
    syntactic = np.char.startswith(sections, "gram")
    if syntactic.any() and not syntactic.all():
        scores |= {"semantic": count(~syntactic), "syntactic": count(syntactic)}
    return {**scores, "total": count(slice(None))}


def nearest(unit: np.ndarray, place: int, topn: int) -> list[tuple[int, float]]:
    """Returns the places of the `topn` words nearest to one, and their cosines."""
    return _top(unit @ unit[place], [place], topn)


def analogy(
    unit: np.ndarray, a: int, b: int, c: int, topn: int
) -> dict[str, list[tuple[int, float]]]:
    """Answers "a is to b as c is to ...?" as gensim's most_similar(_cosmul) does.

    Returns:
      For each of MEASURES the places of the `topn` best words, and their scores:
      3CosAdd's are cosines with b - a + c.
    """
    taken = [a, b, c]
    offset = unit_vectors((unit[b] - unit[a] + unit[c])[None])[0]
    moved = (1 + unit[taken] @ unit.T) / 2
    return {
        "3cosadd": _top(unit @ offset, taken, topn),
        "3cosmul": _top(_3cosmul(*moved), taken, topn),
    }


def _top(scores, taken, topn):
    scores[taken] = -np.inf
    count = min(topn, len(scores) - len(set(taken)))
    best = np.argpartition(-scores, count - 1)[:count] if count else np.arange(0)
    best = best[np.argsort(-scores[best], kind="stable")]
    return [(int(place), float(scores[place])) for place in best]


def odd_one_out(unit: np.ndarray, places: Sequence[int]) -> int:
    """Returns which of some words is farthest from their mean (gensim's doesnt_match).

    Args:
      unit: float32 [V, D], of length 1.
      places: at least one.
    """
    some = unit[list(places)]
    return places[int((some @ some.mean(0)).argmin())]
