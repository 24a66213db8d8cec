"""SQuAD 1.1, SQuAD 2.0 and CMRC 2018 (in SQuAD's layout): JSON to questions.

A context is cut into words at white space; answers are whole numbers of words until
the word pieces (data_pipeline/squad/features.py) say more. Chinese has no white space:
with `language="zh"` every CJK character is a word as well.
"""

import bisect
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import json_files
import tokenization
from data_pipeline.readers import text_files
from errors import UserError

# Of XQuAD, and so of its 11 all but Thai, which is written without spaces as Chinese.
LANGUAGES = ("en", "zh", "ar", "de", "el", "es", "hi", "ru", "tr", "vi")

# What the parent separates words at; tokenizers know more white space than that.
_SPACES = " \t\r\n\u202f"
_CJK = "".join(f"{chr(low)}-{chr(high)}" for low, high in tokenization.CJK_RANGES)
_WORD = re.compile(f"[^{_SPACES}]+")
_CHINESE_WORD = re.compile(f"[{_CJK}]|[^{_SPACES}{_CJK}]+")
_IDS_SHOWN = 20
_UNFOUND = (
    "left out %d of %d questions, whose answer is not in the context at its "
    "answer_start"
)
_MOVED = (
    "took the answers of %d of %d questions from the place nearest to their "
    "answer_start, which is another"
)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Context:
    """A text and where its words are; shared by all questions about it.

    Attributes:
      text: the text; any white space between words is one space here.
      starts: where in `text` each word starts.
      ends: where each word ends (exclusive).
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def words(self) -> list[str]:
        """Returns the words in order."""
        return [self.text[a:b] for a, b in zip(self.starts, self.ends, strict=True)]

    def span(self, first: int, last: int) -> str:
        """Returns the text from word `first` to word `last`, both included."""
        return self.text[self.starts[first] : self.ends[last]]


@dataclasses.dataclass(frozen=True, slots=True)
class SquadExample:
    """A question about a context.

    Attributes:
      qas_id: the question's id in the file.
      question_text: the question.
      context: where the answer stands.
      orig_answer_text: training: the answer as annotated; "" where there is none.
      start_position: training: first word of the answer; -1 where there is none.
      end_position: training: its last word; -1 where there is none.
      is_impossible: whether the context does not answer the question (SQuAD 2.0).
      answers: all annotated answers, for scoring; None where the file has none.
    """

    qas_id: str
    question_text: str
    context: Context
    orig_answer_text: str | None = None
    start_position: int | None = None
    end_position: int | None = None
    is_impossible: bool = False
    answers: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class SquadData:
    """What a file holds.

    Attributes:
      examples: the questions, in the file's order.
      unfound: training: ids of the questions left out because their annotated answer
        is not in the context at the place given.
      moved: training: ids of the questions whose answer was taken from elsewhere than
        the place given, see `read_squad_examples`.
    """

    examples: list[SquadExample]
    unfound: tuple[str, ...]
    moved: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Passage:
    """A context as it stands in the file, and where in it each word starts."""

    raw: str
    context: Context
    word_starts: list[int]

    def words_at(self, answer: str, start: int, end: int) -> tuple[int, int] | None:
        """Returns the first and last word of raw[start:end], if they hold the answer.

        White space of any kind and number is one space on both sides: words are cut
        at fewer characters than answers may hold.
        """
        first = bisect.bisect_right(self.word_starts, start) - 1
        last = bisect.bisect_right(self.word_starts, end - 1) - 1
        cleaned = _squeeze(answer)
        if not cleaned or not 0 <= first <= last < len(self.context.starts):
            return None
        if cleaned not in _squeeze(self.context.span(first, last)):
            return None
        return first, last

    def nearest(self, answer: str, place: int) -> tuple[int, int] | None:
        """Returns start and end of the answer where it is nearest to a place."""
        words = answer.split()
        if not words:
            return None
        pattern = r"\s+".join(map(re.escape, words))
        # Looked ahead for, so that they may overlap.
        found = [m.span(1) for m in re.finditer(f"(?=({pattern}))", self.raw)]
        return min(found, key=lambda span: abs(span[0] - place), default=None)


def _squeeze(text: str) -> str:
    return " ".join(tokenization.whitespace_tokenize(text))


def make_context(raw: str, language: str = "en") -> tuple[Context, list[int]]:
    """Cuts a text into words.

    Args:
      raw: the text as in the file.
      language: one of LANGUAGES.

    Returns:
      The context, and where in `raw` each word starts and the text ends.
    """
    pieces, raw_starts, starts, ends = [], [], [], []
    length = raw_end = 0
    pattern = _CHINESE_WORD if language == "zh" else _WORD
    for match in pattern.finditer(raw):
        if pieces and match.start() > raw_end:
            pieces.append(" ")
            length += 1
        pieces.append(match.group())
        raw_starts.append(match.start())
        starts.append(length)
        length += match.end() - match.start()
        ends.append(length)
        raw_end = match.end()
    return Context("".join(pieces), tuple(starts), tuple(ends)), [*raw_starts, len(raw)]


def read_squad_examples(
    input_file: str,
    is_training: bool,
    *,
    version_2_with_negative: bool = False,
    language: str = "en",
) -> SquadData:
    """Reads a SQuAD file.

    Args:
      input_file: JSON in SQuAD's layout, local or remote.
      is_training: whether each question must have its answer.
      version_2_with_negative: whether questions may have none (`is_impossible`).
      language: one of LANGUAGES.

    Returns:
      The questions. Those whose answer is not where the file says are left out of a
      training set, and their ids are logged and returned. In Chinese, where CMRC 2018
      is off by a few characters, the answer is taken from the nearest place that has
      it, and only what is nowhere is left out.

    Raises:
      MissingFile: there is no such file.
      UserError: not JSON, not SQuAD's layout, an id given twice, no questions, or a
        training question without exactly one answer; names file, place and question.
    """
    examples, unfound, moved, total = [], [], [], 0
    for qa, passage, qas_id, place in _questions(input_file, language):
        total += 1
        example = SquadExample(
            qas_id=qas_id,
            question_text=_get(qa, "question", str, place),
            context=passage.context,
            is_impossible=version_2_with_negative
            and _is_impossible(qa, is_training, place),
            answers=_answers(qa, place),
        )
        is_moved = False
        if is_training and example.is_impossible:
            example = dataclasses.replace(
                example, orig_answer_text="", start_position=-1, end_position=-1
            )
        elif is_training:
            answer = _only_answer(qa, version_2_with_negative, place)
            example, is_moved = _with_span(
                example, *answer, passage, search=language == "zh"
            )
        if example is None:
            unfound.append(qas_id)
        else:
            examples.append(example)
        if is_moved:
            moved.append(qas_id)
    if not examples:
        raise UserError(f"{input_file}: no questions that can be used")
    _report(input_file, _UNFOUND, unfound, total)
    _report(input_file, _MOVED, moved, total)
    return SquadData(examples, tuple(unfound), tuple(moved))


def has_answers(examples: Sequence[SquadExample], version_2: bool) -> bool:
    """Says whether every question has an answer to compare with.

    Args:
      examples: the questions.
      version_2: whether "no answer" is one.
    """
    return all(e.answers if not version_2 else e.answers is not None for e in examples)


def _report(path: str, what: str, ids: list[str], total: int) -> None:
    if not ids:
        return
    more = "" if len(ids) <= _IDS_SHOWN else f" and {len(ids) - _IDS_SHOWN} more"
    shown = ", ".join(ids[:_IDS_SHOWN]) + more
    logging.warning("%s: " + what + ": %s", path, len(ids), total, shown)


def _questions(
    path: str, language: str
) -> Iterator[tuple[Mapping[str, Any], _Passage, str, str]]:
    """Yields each question with its passage, its id and its place in the file."""
    seen = set()
    for paragraph, where in _paragraphs(path):
        raw = _get(paragraph, "context", str, where)
        passage = _Passage(raw, *make_context(raw, language))
        for i, qa in enumerate(_get(paragraph, "qas", list, where)):
            place = f"{where}.qas[{i}]"
            qas_id = _question_id(qa, place)
            place = f"{place} (question {qas_id!r})"
            if qas_id in seen:
                raise UserError(f"{place}: the id was given to a question before")
            seen.add(qas_id)
            yield qa, passage, qas_id, place


def _paragraphs(path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yields each paragraph and its place in the file."""
    content = json_files.parse(text_files.read_text(path), path)
    for i, entry in enumerate(_get(content, "data", list, path)):
        where = f"{path}, data[{i}]"
        for j, paragraph in enumerate(_get(entry, "paragraphs", list, where)):
            yield paragraph, f"{where}.paragraphs[{j}]"


def _get(values: Any, key: str, kind: type, place: str) -> Any:
    """Returns values[key], which must be of the type wanted."""
    if not isinstance(values, dict):
        raise UserError(f"{place}: wanted a JSON object, got {str(values)[:40]!r}")
    if key not in values:
        raise UserError(f"{place}: no key {key!r}; found {sorted(values)}")
    if not isinstance(values[key], kind):
        raise UserError(
            f"{place}: {key!r} is {str(values[key])[:40]!r}, wanted a {kind.__name__}"
        )
    return values[key]


def _question_id(qa: Any, place: str) -> str:
    """Reads `id`, which some files have as a number."""
    if isinstance(qa, dict) and type(qa.get("id")) is int:
        return str(qa["id"])
    return _get(qa, "id", str, place)


def _is_impossible(qa: Mapping[str, Any], is_training: bool, place: str) -> bool:
    """Reads `is_impossible`; to be predicted, questions of 1.1 have none."""
    if "is_impossible" not in qa and not is_training:
        return False
    return _get(qa, "is_impossible", bool, place)


def _answers(qa: Mapping[str, Any], place: str) -> tuple[str, ...] | None:
    """Returns the annotated answers, each once."""
    if "answers" not in qa:
        return None
    texts = [_get(a, "text", str, place) for a in _get(qa, "answers", list, place)]
    return tuple(dict.fromkeys(texts))


def _only_answer(
    qa: Mapping[str, Any], version_2_with_negative: bool, place: str
) -> tuple[str, int]:
    """Returns text and place of a training question's one answer."""
    annotated = _get(qa, "answers", list, place)
    if len(annotated) != 1:
        hint = ""
        if not annotated and not version_2_with_negative:
            hint = "; SQuAD 2.0 needs --version_2_with_negative"
        raise UserError(
            f"{place}: has {len(annotated)} answers; for training each question must "
            f"have exactly 1{hint}"
        )
    answer = annotated[0]
    return _get(answer, "text", str, place), _get(answer, "answer_start", int, place)


def _with_span(
    example: SquadExample, answer: str, start: int, passage: _Passage, search: bool
) -> tuple[SquadExample | None, bool]:
    """Adds the answer's words; None where there are none.

    Args:
      example: the question.
      answer: its answer.
      start: where it should begin.
      passage: that it is in.
      search: whether to look for it elsewhere.

    Returns:
      The question, and whether the answer was found elsewhere.
    """
    words, is_moved = passage.words_at(answer, start, start + len(answer)), False
    if words is None and search and (span := passage.nearest(answer, start)):
        words, is_moved = passage.words_at(answer, *span), True
    if words is None:
        return None, False
    first, last = words
    found = dataclasses.replace(
        example, orig_answer_text=answer, start_position=first, end_position=last
    )
    return found, is_moved
