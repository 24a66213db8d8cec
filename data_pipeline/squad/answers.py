"""Scores of pieces to answers in the words of the context, n-best lists, files."""

import dataclasses
import json
import logging
import math
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from atomic_files import atomic_path
from data_pipeline.readers.squad import SquadExample
from data_pipeline.squad.features import SquadFeatures
from data_pipeline.squad.pieces import SquadTokenizer

PREDICTIONS = "predictions.json"
NBEST = "nbest_predictions.json"
NULL_ODDS = "null_odds.json"


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
    """How answers are chosen.

    Attributes:
      n_best_size: answers in the n-best list, and starts and ends looked at.
      max_answer_length: pieces of the longest answer.
      do_lower_case: whether the model's tokenizer lower-cases; the graph asks.
      version_2_with_negative: whether "no answer" is one.
      null_score_diff_threshold: by how much the score of "no answer" must exceed the
        best answer's to be given.
      verbose_logging: logs every answer that cannot be aligned with the context.
    """

    n_best_size: int = 20
    max_answer_length: int = 30
    do_lower_case: bool = True
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0
    verbose_logging: bool = False


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers by question id, in the order of the questions.

    Attributes:
      predictions: the answer given; "" is "no answer".
      nbest: the n-best list, as written to nbest_predictions.json.
      null_odds: 2.0: score of "no answer" minus that of the best answer.
      best: the best answer, whatever the score of "no answer".
    """

    predictions: dict[str, str]
    nbest: dict[str, list[dict[str, str | float]]]
    null_odds: dict[str, float]
    best: dict[str, str]


@dataclasses.dataclass(frozen=True)
class _Candidate:
    feature: SquadFeatures | None  # None: "no answer"
    start: int
    end: int
    start_logit: float
    end_logit: float


def choose_answers(
    examples: Sequence[SquadExample],
    features: Sequence[SquadFeatures],
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    tokenizer: SquadTokenizer,
    config: AnswerConfig,
) -> Answers:
    """Chooses an answer for every question, from all windows of its context.

    Args:
      examples: the questions.
      features: their windows, in order.
      start_logits: float [windows, S], score of each piece to begin the answer.
      end_logits: float [windows, S], to end it.
      tokenizer: of the model.
      config: how to choose.

    Returns:
      The answers.
    """
    windows: list[list[int]] = [[] for _ in examples]
    for i, feature in enumerate(features):
        windows[feature.example_index].append(i)
    answers = Answers({}, {}, {}, {})
    for example, rows in zip(examples, windows, strict=True):
        scored = [
            (features[i], start_logits[i].astype(float), end_logits[i].astype(float))
            for i in rows
        ]
        _answer(example, scored, tokenizer, config, answers)
    return answers


def _answer(example, scored, tokenizer, config, answers):
    """Adds one question's answer to `answers`."""
    null = _null_candidate(scored, tokenizer.no_answer_last)
    candidates = []
    for feature, starts, ends in scored:
        candidates += _candidates(feature, starts, ends, config)
    if config.version_2_with_negative:
        candidates.append(null)
    candidates.sort(key=lambda c: c.start_logit + c.end_logit, reverse=True)
    nbest = _distinct_texts(example, candidates, tokenizer, config)
    if config.version_2_with_negative and "" not in nbest:
        nbest[""] = null
    if not nbest:  # the parent's answer where no span is possible
        nbest["empty"] = _Candidate(None, 0, 0, 0.0, 0.0)
    key = example.qas_id
    answers.nbest[key] = _nbest_entries(nbest)
    if not config.version_2_with_negative:
        answers.predictions[key] = answers.best[key] = next(iter(nbest))
        return
    best = next((text for text in nbest if text), "")
    answers.best[key] = best
    # Where no span is possible (the parent fails there) it is as if one scored 0.
    score = nbest[best].start_logit + nbest[best].end_logit if best else 0.0
    odds = null.start_logit + null.end_logit - score
    answers.null_odds[key] = odds
    is_null = odds > config.null_score_diff_threshold
    answers.predictions[key] = "" if is_null else best


def _null_candidate(scored, no_answer_last):
    """The score of no answer, at its place, in the window where it is lowest."""
    null = _Candidate(None, 0, 0, 0.0, 0.0)
    lowest = math.inf
    for feature, starts, ends in scored:
        i = len(feature.input_ids) - 1 if no_answer_last else 0
        if starts[i] + ends[i] < lowest:
            lowest = starts[i] + ends[i]
            null = _Candidate(None, 0, 0, float(starts[i]), float(ends[i]))
    return null


def _candidates(feature, start_logits, end_logits, config):
    """Returns the spans between the best starts and ends that can be answers."""
    starts = _best_indexes(start_logits, config.n_best_size, len(feature.input_ids))
    ends = _best_indexes(end_logits, config.n_best_size, len(feature.input_ids))
    in_document = np.asarray(feature.token_to_orig) >= 0
    starts = starts[
        in_document[starts] & (np.asarray(feature.is_max_context)[starts] > 0)
    ]
    ends = ends[in_document[ends]]
    lengths = ends[None, :] - starts[:, None] + 1
    allowed = (lengths >= 1) & (lengths <= config.max_answer_length)
    return [
        _Candidate(
            feature,
            int(start),
            int(end),
            float(start_logits[start]),
            float(end_logits[end]),
        )
        for start, end in ((starts[i], ends[j]) for i, j in np.argwhere(allowed))
    ]


def _best_indexes(logits, number, length):
    """The `number` best positions, of equal ones the first; padding left out then."""
    best = np.argsort(-logits, kind="stable")[:number]
    return best[best < length]


def _distinct_texts(example, candidates, tokenizer, config):
    """Returns text -> candidate for the best texts, best first."""
    nbest = {}
    for candidate in candidates:
        if len(nbest) >= config.n_best_size:
            break
        text = ""
        if candidate.feature is not None:
            text = _text(example, candidate, tokenizer, config)
        nbest.setdefault(text, candidate)
    return nbest


def _text(example, candidate, tokenizer, config):
    """Returns the candidate's words of the context, without what it leaves of them."""
    feature, last = candidate.feature, candidate.end + 1
    predicted = tokenizer.join(feature.input_ids[candidate.start : last])
    original = example.context.span(
        feature.token_to_orig[candidate.start], feature.token_to_orig[candidate.end]
    )
    text = get_final_text(predicted, original, tokenizer.tokens)
    if text is None:
        if config.verbose_logging:
            logging.info(
                "%s: cannot align %r with %r", example.qas_id, predicted, original
            )
        return original
    return text


def get_final_text(
    pred_text: str, orig_text: str, tokens: Callable[[str], Sequence[str]]
) -> str | None:
    """Finds what was tokenized to `pred_text` within the words it stands in.

    "steve smith" in "Steve Smith's" is "Steve Smith". Both texts are compared without
    white space: where tokenizing changed nothing else but case, characters correspond
    one to one. (The parent takes only " " for white space, and so gives the whole
    words where they hold another.)

    Args:
      pred_text: tokens joined by spaces.
      orig_text: words of the context.
      tokens: a word -> its tokens, as they come to be in `pred_text`.

    Returns:
      The part of `orig_text`, or None where the characters do not correspond.
    """
    words = orig_text.split(" ")
    tok_text = " ".join(token for word in words for token in tokens(word))
    start = tok_text.find(pred_text)
    end = start + len(pred_text) - 1
    orig_places = [i for i, char in enumerate(orig_text) if not char.isspace()]
    tok_places = [i for i, char in enumerate(tok_text) if char != " "]
    if start < 0 or end < start or len(orig_places) != len(tok_places):
        return None
    first = orig_places[tok_places.index(start)]
    return orig_text[first : orig_places[tok_places.index(end)] + 1]


def _nbest_entries(nbest):
    """Returns the JSON of an n-best list, with a softmax over its scores."""
    scores = [c.start_logit + c.end_logit for c in nbest.values()]
    exponents = [math.exp(score - max(scores)) for score in scores]
    total = sum(exponents)
    return [
        {
            "text": text,
            "probability": exponent / total,
            "start_logit": candidate.start_logit,
            "end_logit": candidate.end_logit,
        }
        for (text, candidate), exponent in zip(nbest.items(), exponents, strict=True)
    ]


def write_answers(folder: str, answers: Answers) -> None:
    """Writes predictions.json, nbest_predictions.json and, for 2.0, null_odds.json."""
    contents = {PREDICTIONS: answers.predictions, NBEST: answers.nbest}
    if answers.null_odds:
        contents[NULL_ODDS] = answers.null_odds
    for name, content in contents.items():
        with (
            atomic_path(os.path.join(folder, name)) as path,
            tf.io.gfile.GFile(path, "w") as file,
        ):
            file.write(json.dumps(content, indent=4) + "\n")
