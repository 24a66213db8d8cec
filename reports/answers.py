"""Answers to questions about a text."""

import dataclasses
import json
import re
from collections.abc import Sequence

import numpy as np

from metrics import comparison
from metrics.comparison import RowSums
from reports import confidence, drawing
from reports.labels import MISTAKES
from reports.page import Section, Table
from reports.results import Columns, Results, shown

# What asks, longer ones first where one begins with another.
_ENGLISH = (
    "how many",
    "how much",
    "how long",
    "what",
    "who",
    "whom",
    "whose",
    "when",
    "where",
    "which",
    "why",
    "how",
)
_ENGLISH_WORD = re.compile(rf"\b({'|'.join(_ENGLISH)})\b", re.IGNORECASE)
_CHINESE = {
    "谁": "谁",
    "为什么|为何": "为什么",
    "什么时候|何时|哪一?年|哪一?天": "何时",
    "哪里|哪儿|何处|什么地方": "哪里",
    "多少|几": "多少",
    "怎么|怎样|如何": "怎么",
    "哪": "哪",
    "什么|何": "什么",
}
_OTHER = "other"
_LENGTHS = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 400)


@dataclasses.dataclass(frozen=True)
class Answers(Results):
    """Predicted answers.

    Attributes:
      ids: the questions' ids.
      questions: N of them.
      contexts: where their answers stand.
      gold: all right answers of each question, none where it has no answer; None where
        they are not known.
      predicted: the answers given; "" is "no answer".
      probabilities: float [N], of the answers given, among the best ones.
      scores: float [N, 2], exact match and F1 of each question, 0 to 1; None where
        the right answers are not known.
      by_characters: whether lengths are those of characters, as of Chinese.
    """

    columns_of = frozenset({"question", "gold_answers", "predicted_answer"})
    metrics = ("f1", "exact_match")

    ids: Sequence[str]
    questions: Sequence[str]
    contexts: Sequence[str]
    gold: Sequence[Sequence[str]] | None
    predicted: Sequence[str]
    probabilities: np.ndarray
    scores: np.ndarray | None
    by_characters: bool = False

    @property
    def is_known(self) -> bool:
        """See Results."""
        return self.gold is not None

    def columns(self) -> Columns:
        """See Results; the right answers are JSON lists."""
        count = len(self.ids)
        gold, exact, f1 = [""] * count, [""] * count, [""] * count
        if self.is_known:
            gold = [json.dumps(list(a), ensure_ascii=False) for a in self.gold]
            exact, f1 = (list(map(shown, column)) for column in self.scores.T)
        return {
            "id": self.ids,
            "question": self.questions,
            "context": self.contexts,
            "gold_answers": gold,
            "predicted_answer": self.predicted,
            "probability": list(map(shown, self.probabilities)),
            "exact_match": exact,
            "f1": f1,
        }

    @classmethod
    def of_columns(cls, columns: Columns) -> "Answers":
        """See Results."""
        gold = scores = None
        if all(columns["gold_answers"]):
            gold = [json.loads(cell) for cell in columns["gold_answers"]]
            names = ("exact_match", "f1")
            scores = np.array([columns[name] for name in names], dtype=float).T
        return cls(
            columns["id"],
            columns["question"],
            columns["context"],
            gold,
            columns["predicted_answer"],
            np.array(columns["probability"], dtype=float),
            scores,
        )

    def same_rows(self) -> Columns:
        """See Results."""
        columns = self.columns()
        return {n: columns[n] for n in ("id", "question", "context", "gold_answers")}

    def row_sums(self, metric: str) -> RowSums:
        """See Results."""
        return comparison.mean(self.scores[:, self.metrics[::-1].index(metric)])

    def right_rows(self, metric: str) -> np.ndarray | None:
        """See Results."""
        return self.scores[:, 0] == 1 if metric == "exact_match" else None

    def sections(self) -> list[Section]:
        """See Results."""
        if not self.is_known:
            lengths = _groups(map(self._length, self.predicted))
            line = "The right answers are not known (or not of every question)."
            rows = [(name, int(which.sum())) for name, which in lengths]
            table = Table(("length of the answer given", "questions"), rows)
            section = confidence.confidence_section(self.probabilities, None)
            return [Section("Answers given", [line], [table]), section]
        return [
            self._question_words(),
            self._lengths(),
            self._kinds(),
            confidence.coverage_section(
                self.probabilities, self.scores[:, 1], None, "F1"
            ),
            self._mistakes(),
        ]

    def _question_words(self):
        words = np.array([question_word(q) for q in self.questions], object)
        names, counts = np.unique(words, return_counts=True)
        order = np.lexsort((names, -counts))
        groups = [(names[i], words == names[i]) for i in order]
        rows = [self._row(*group) for group in groups]
        drawings = [
            drawing.bars(
                [row[0] for row in rows],
                [row[3] for row in rows],
                [row[1] for row in rows],
                "F1 by question word",
                "F1",
            )
        ]
        table = Table(("question word", "questions", "exact match", "F1"), rows)
        return Section("Question words", [], [table], drawings)

    def _lengths(self):
        unit = "characters" if self.by_characters else "words"
        answers = [min(map(self._length, a), default=0) for a in self.gold]
        parts = {
            "answer": answers,
            "question": map(self._length, self.questions),
            "context": map(self._length, self.contexts),
        }
        tables = []
        for name, lengths in parts.items():
            rows = [self._row(*group) for group in _groups(lengths)]
            header = (f"{name}, {unit}", "questions", "exact match", "F1")
            tables.append(Table(header, rows, f"By the length of the {name}"))
        line = "An answer's length is that of the shortest right one; 0 is no answer."
        return Section("Lengths", [line], tables)

    def _kinds(self):
        exact, f1 = self.scores.T
        answered = np.array([bool(a) for a in self.gold])
        given = np.array([bool(p) for p in self.predicted])
        kinds = {
            "right": exact == 1,
            "overlaps a right answer": (exact < 1) & (f1 > 0),
            "another place": (f1 == 0) & answered & given,
            "no answer given, but there is one": (f1 == 0) & answered & ~given,
            "an answer given, but there is none": (f1 == 0) & ~answered,
        }
        rows = [
            (name, int(which.sum()), float(which.mean()))
            for name, which in kinds.items()
            if which.any()
        ]
        table = Table(("kind", "questions", "share"), rows)
        return Section("Kinds of answers", [], [table])

    def _mistakes(self):
        wrong = np.flatnonzero(self.scores[:, 0] < 1)
        order = wrong[np.argsort(-self.probabilities[wrong], kind="stable")][:MISTAKES]
        rows = [
            (
                self.ids[i],
                self.questions[i],
                " | ".join(dict.fromkeys(self.gold[i])) or "(none)",
                self.predicted[i] or "(none)",
                float(self.probabilities[i]),
                float(self.scores[i, 1]),
            )
            for i in order
        ]
        line = f"{len(wrong):,} of {len(self.ids):,} answers are no exact match"
        line += f"; the {len(rows)} most confident of them." if rows else "."
        header = ("id", "question", "gold", "predicted", "probability", "F1")
        tables = [Table(header, rows)] if rows else []
        return Section("Most confident mistakes", [line], tables)

    def _row(self, name, which):
        exact, f1 = self.scores[which].mean(axis=0)
        return name, int(which.sum()), float(exact), float(f1)

    def _length(self, text):
        if self.by_characters:
            return len(re.sub(r"\s", "", text))
        return len(text.split())


def _groups(lengths):
    """Names ranges of lengths, and tells which of them are in each."""
    places = np.searchsorted(_LENGTHS, np.array(list(lengths)), side="right") - 1
    for i in np.unique(places):
        low = _LENGTHS[i]
        last = i + 1 == len(_LENGTHS)
        high = None if last else _LENGTHS[i + 1] - 1
        name = f"{low} or more" if last else f"{low} to {high}"
        yield str(low) if low == high else name, places == i


def question_word(question: str) -> str:
    """Returns what asks in an English or Chinese question; "other" if nothing does."""
    for pattern, name in _CHINESE.items():
        if re.search(pattern, question):
            return name
    found = _ENGLISH_WORD.search(question)
    return found.group(1).lower() if found else _OTHER
