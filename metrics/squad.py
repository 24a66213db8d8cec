"""Exact match and F1 of answers, as the scripts of SQuAD 1.1, SQuAD 2.0 and CMRC 2018.

All values are percentages. A question without a prediction scores 0.
"""

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence

from errors import UserError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# What CMRC's script leaves out, and makes tokens of their own.
_CMRC_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
# A Chinese character there; or a run of others, which its script gives to NLTK.
_CMRC_CHUNK = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")
# NLTK's English tokens: words with inner points and commas, and single marks.
_WORD = re.compile(r"\w+(?:[.,]\w+)*|[^\w\s]")

References = Mapping[str, Sequence[str]]  # question id -> all correct answers
Predictions = Mapping[str, str]  # question id -> answer
Score = Callable[[str, str], float]  # (correct, predicted) -> 0 to 1


def normalize_answer(text: str) -> str:
    """Lower-cases, drops ASCII punctuation and English articles, squeezes spaces."""
    text = _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION))
    return " ".join(text.split())


def exact_score(answer: str, prediction: str) -> float:
    """1.0 where both are equal once normalized."""
    return float(normalize_answer(answer) == normalize_answer(prediction))


def f1_score(answer: str, prediction: str) -> float:
    """F1 of the words that both have; two empty texts agree, as in SQuAD 2.0."""
    wanted = normalize_answer(answer).split()
    got = normalize_answer(prediction).split()
    if not wanted or not got:
        return float(wanted == got)
    common = sum((collections.Counter(wanted) & collections.Counter(got)).values())
    return _f1(common, wanted, got)


def squad_v1(references: References, predictions: Predictions) -> dict[str, float]:
    """Scores as evaluate-v1.1.py does: the best over a question's correct answers.

    Args:
      references: of every question; each has at least one.
      predictions: the answers given.

    Returns:
      `exact_match` and `f1`.

    Raises:
      UserError: no questions, or one without a correct answer.
    """
    _check(references)
    exact = _per_question(references, predictions, exact_score)
    f1 = _per_question(references, predictions, f1_score)
    return {"exact_match": _mean(exact.values()), "f1": _mean(f1.values())}


def question_scores(
    references: References, predictions: Predictions, language: str = "en"
) -> tuple[list[float], list[float]]:
    """Scores each question by itself.

    Args:
      references: of every question; none where it has no answer.
      predictions: the answers given; "" is "no answer".
      language: "zh": as CMRC 2018's script, else as SQuAD's.

    Returns:
      Exact match and F1 of each of `references`, 0 to 1.
    """
    scores = (exact_score, f1_score)
    if language == "zh":
        scores = (_cmrc_exact, _cmrc_f1)
    references = {key: _said(answers) for key, answers in references.items()}
    exact, f1 = (_per_question(references, predictions, score) for score in scores)
    return list(exact.values()), list(f1.values())


def _said(answers):
    """Answers such as "the" are none once normalized."""
    return [answer for answer in answers if normalize_answer(answer)] or [""]


def cmrc(references: References, predictions: Predictions) -> dict[str, float]:
    """Scores as cmrc2018_evaluate.py does, by the longest common run of tokens.

    One departure: words in Latin letters are cut by an expression of ours, where the
    script calls NLTK's tokenizer.

    Args, Returns, Raises: see `squad_v1`.
    """
    _check(references)
    exact = _per_question(references, predictions, _cmrc_exact)
    f1 = _per_question(references, predictions, _cmrc_f1)
    return {"exact_match": _mean(exact.values()), "f1": _mean(f1.values())}


def squad_v2(
    references: References,
    predictions: Predictions,
    null_odds: Mapping[str, float],
    best_answers: Predictions,
) -> dict[str, float]:
    """Scores as evaluate-v2.0.py does, and finds the best thresholds.

    The thresholds are sought over `best_answers`: where "no answer" has already
    replaced an answer, no threshold could bring it back.

    Args:
      references: of every question; none where it has no answer.
      predictions: the answers given; "" is "no answer".
      null_odds: score of "no answer" minus that of the best answer.
      best_answers: the best answers, whatever null_odds says.

    Returns:
      `exact`, `f1`; the same of the questions with (`HasAns_`) and without (`NoAns_`)
      answers, where there are any; `best_exact` and `best_f1`, and the values of
      null_score_diff_threshold that give them, `..._thresh`.

    Raises:
      UserError: no questions.
    """
    _check(references, answered=False)
    references = {key: _said(answers) for key, answers in references.items()}
    answered = {key for key, answers in references.items() if answers != [""]}
    results = {}
    for name, score in (("exact", exact_score), ("f1", f1_score)):
        scores = _per_question(references, predictions, score)
        results[name] = _mean(scores.values())
        for group, keys in (("HasAns", answered), ("NoAns", scores.keys() - answered)):
            if keys:
                results[f"{group}_{name}"] = _mean([scores[key] for key in keys])
        raw = _per_question(references, best_answers, score)
        found = _best_threshold(raw, best_answers, null_odds, answered)
        results[f"best_{name}"], results[f"best_{name}_thresh"] = found
    return results


def _best_threshold(scores, answers, null_odds, answered):
    """Returns (score, threshold): start with no answers at all, add them one by one."""
    current = best = float(len(scores) - len(answered))
    threshold = 0.0
    for key in sorted(null_odds, key=null_odds.get):
        if key not in scores:
            continue
        if key in answered:
            current += scores[key]
        elif answers.get(key):
            current -= 1
        if current > best:
            best, threshold = current, null_odds[key]
    return 100.0 * best / len(scores), threshold


def _per_question(
    references: References, predictions: Predictions, score: Score
) -> dict[str, float]:
    return {
        key: max(score(answer, predictions[key]) for answer in answers)
        if key in predictions
        else 0.0
        for key, answers in references.items()
    }


def _mean(values):
    return 100.0 * sum(values) / len(values)


def _f1(common, wanted, got):
    """Harmonic mean of precision and recall, given what is common."""
    return 2.0 * common / (len(wanted) + len(got))


def _check(references, answered=True):
    if not references:
        raise UserError("there are no questions to score")
    for key, answers in references.items():
        if answered and not answers:
            raise UserError(f"question {key!r} has no correct answer to compare with")


def _cmrc_tokens(text):
    kept = [c for c in text.lower().strip() if c not in _CMRC_PUNCTUATION]
    tokens = []
    for chunk in _CMRC_CHUNK.findall("".join(kept)):
        tokens += _WORD.findall(chunk)
    return tokens


def _cmrc_exact(answer, prediction):
    sides = (
        "".join(c for c in text.lower().strip() if c not in _CMRC_PUNCTUATION)
        for text in (answer, prediction)
    )
    return float(next(sides) == next(sides))


def _cmrc_f1(answer, prediction):
    wanted, got = _cmrc_tokens(answer), _cmrc_tokens(prediction)
    common = _longest_common_run(wanted, got)
    return _f1(common, wanted, got) if common else 0.0


def _longest_common_run(first, second):
    """Length of the longest sequence of tokens that stands in both without a gap."""
    longest, row = 0, [0] * (len(second) + 1)
    for a in first:
        previous, row = row, [0] * (len(second) + 1)
        for j, b in enumerate(second, start=1):
            if a == b:
                row[j] = previous[j - 1] + 1
                longest = max(longest, row[j])
    return longest
