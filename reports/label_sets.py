"""Any number of labels each."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metrics import comparison
from metrics.comparison import RowSums
from reports import confidence
from reports.labels import (
    MISTAKES,
    UNSURE,
    class_section,
    probability_columns,
    read_probabilities,
    text_columns,
)
from reports.page import Section, Table
from reports.results import Columns, Results

_DECIDED = 0.5


@dataclasses.dataclass(frozen=True)
class LabelSets(Results):
    """Probabilities of labels, each by itself; what is above 1/2 is predicted.

    A row's confidence is that of its least certain decision.

    Attributes:
      ids: a name of each of N rows.
      texts: name of a column -> the rows' texts.
      labels: L names.
      gold: int [N, L] of 0 and 1, the right ones; None where they are not all known.
      probabilities: float [N, L].
      unsure_below: a prediction of less confidence is called "unsure"; None: none is.
    """

    columns_of = frozenset({"gold_labels", "predicted_labels"})
    metrics = ("micro_f1", "macro_f1", "exact_match")

    ids: Sequence[str]
    texts: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    gold: np.ndarray | None
    probabilities: np.ndarray
    unsure_below: float | None = None

    @property
    def predicted(self) -> np.ndarray:
        """Int [N, L] of 0 and 1."""
        return (self.probabilities > _DECIDED).astype(int)

    @property
    def certainty(self) -> np.ndarray:
        """The probability of each decision, float [N, L]."""
        return np.maximum(self.probabilities, 1 - self.probabilities).astype(float)

    @property
    def is_known(self) -> bool:
        """See Results."""
        return self.gold is not None

    def columns(self) -> Columns:
        """See Results; sets of labels are JSON lists."""
        predicted = self._named(self.predicted)
        if self.unsure_below is not None:
            below = self.certainty.min(axis=1) < self.unsure_below
            predicted = [
                UNSURE if unsure else names
                for names, unsure in zip(predicted, below, strict=True)
            ]
        known = self._named(self.gold) if self.is_known else [""] * len(self.ids)
        return {
            "id": self.ids,
            **self.texts,
            "gold_labels": known,
            "predicted_labels": predicted,
            **probability_columns(self.labels, self.probabilities),
        }

    def _named(self, decisions):
        labels = np.array(self.labels, object)
        return [
            json.dumps(labels[row == 1].tolist(), ensure_ascii=False)
            for row in decisions
        ]

    @classmethod
    def of_columns(cls, columns: Columns) -> "LabelSets":
        """See Results."""
        labels, probabilities = read_probabilities(columns)
        gold = None
        if all(columns["gold_labels"]):
            sets = [set(json.loads(cell)) for cell in columns["gold_labels"]]
            gold = np.array([[int(name in row) for name in labels] for row in sets])
        return cls(columns["id"], text_columns(columns), labels, gold, probabilities)

    def same_rows(self) -> Columns:
        """See Results."""
        return {**self.texts, "gold_labels": self._named(self.gold)}

    def row_sums(self, metric: str) -> RowSums:
        """See Results."""
        compute: Callable[..., RowSums] = getattr(comparison, metric)
        return compute(self.gold, self.predicted)

    def right_rows(self, metric: str) -> np.ndarray | None:
        """See Results."""
        same = (self.gold == self.predicted).all(axis=1)
        return same if metric == "exact_match" else None

    def sections(self) -> list[Section]:
        """See Results."""
        least = self.certainty.min(axis=1)
        if not self.is_known:
            counts = map(int, self.predicted.sum(axis=0))
            rows = list(zip(self.labels, counts, strict=True))
            line = "The right labels are not known (or not of every row)."
            table = Table(("label", "rows"), rows)
            return [
                Section("Predicted labels", [line], [table]),
                confidence.confidence_section(least, self.unsure_below),
            ]
        right = self.gold == self.predicted
        return [
            class_section(self.gold, self.predicted, self.labels),
            self._errors(),
            confidence.calibration_section(
                self.certainty.ravel(), right.ravel(), ["Over all decisions on labels."]
            ),
            confidence.coverage_section(
                least, right.all(axis=1), self.unsure_below, "exact match"
            ),
            self._mistakes(right),
        ]

    def _errors(self):
        sides = (self.gold == 1, self.predicted == 1)
        counts = [(a & b).sum(axis=0) for a in _both(sides[0]) for b in _both(sides[1])]
        rows = list(zip(self.labels, *(map(int, c) for c in counts), strict=True))
        header = ("label", "right", "missed", "wrongly given", "rightly not given")
        return Section("Decisions", [], [Table(header, rows)])

    def _mistakes(self, right):
        rows, columns = np.nonzero(~right)
        order = np.argsort(-self.certainty[rows, columns], kind="stable")[:MISTAKES]
        shown = [
            (
                self.ids[i],
                self.labels[k],
                "yes" if self.gold[i, k] else "no",
                float(self.probabilities[i, k]),
                *(column[i] for column in self.texts.values()),
            )
            for i, k in zip(rows[order], columns[order], strict=True)
        ]
        exact = int((~right).any(axis=1).sum())
        line = (
            f"{exact:,} of {len(right):,} rows have a wrong set of labels, by "
            f"{len(rows):,} wrong decisions."
        )
        header = ("id", "label", "gold", "probability", *self.texts)
        tables = [Table(header, shown)] if shown else []
        return Section("Most confident mistakes", [line], tables)


def _both(side):
    return side, ~side
