"""A number each."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metrics import comparison, similarity
from metrics.comparison import RowSums
from reports import drawing
from reports.labels import MISTAKES, text_columns
from reports.page import Section, Table
from reports.results import Columns, Results, shown

_PARTS = 5


@dataclasses.dataclass(frozen=True)
class Scores(Results):
    """Predicted numbers.

    Attributes:
      ids: a name of each of N rows.
      texts: name of a column -> the rows' texts.
      gold: float [N], the right ones; NaN where it is not known.
      predicted: float [N].
    """

    columns_of = frozenset({"gold_score", "predicted_score"})
    metrics = ("pearson", "mse")
    lower_is_better = frozenset({"mse"})

    ids: Sequence[str]
    texts: Mapping[str, Sequence[str]]
    gold: np.ndarray
    predicted: np.ndarray

    @property
    def is_known(self) -> bool:
        """See Results."""
        return not np.isnan(self.gold).any()

    def columns(self) -> Columns:
        """See Results."""
        return {
            "id": self.ids,
            **self.texts,
            "gold_score": ["" if np.isnan(x) else shown(x) for x in self.gold],
            "predicted_score": list(map(shown, self.predicted)),
        }

    @classmethod
    def of_columns(cls, columns: Columns) -> "Scores":
        """See Results."""
        gold = np.array([x or "nan" for x in columns["gold_score"]], dtype=float)
        predicted = np.array(columns["predicted_score"], dtype=float)
        return cls(columns["id"], text_columns(columns), gold, predicted)

    def same_rows(self) -> Columns:
        """See Results."""
        return {**self.texts, "gold_score": list(map(shown, self.gold))}

    def row_sums(self, metric: str) -> RowSums:
        """See Results."""
        compute: Callable[..., RowSums] = getattr(comparison, metric)
        return compute(self.gold, self.predicted.astype(float))

    def sections(self) -> list[Section]:
        """See Results."""
        if not self.is_known:
            return [self._spread()]
        residuals = self.predicted.astype(float) - self.gold
        return [
            self._agreement(residuals),
            self._by_score(residuals),
            self._mistakes(residuals),
        ]

    def _spread(self):
        values = np.quantile(self.predicted, [0, 0.25, 0.5, 0.75, 1])
        names = ("least", "lower quartile", "median", "upper quartile", "greatest")
        rows = list(zip(names, map(float, values), strict=True))
        line = "The right scores are not known (or not of every row)."
        return Section("Predicted scores", [line], [Table(("", "score"), rows)])

    def _agreement(self, residuals):
        sides = self.gold, self.predicted
        rows = [
            ("Pearson's correlation", similarity.pearson(*sides)["pearson"]),
            ("Spearman's correlation", similarity.spearman(*sides)["spearman"]),
            ("mean squared error", float(np.square(residuals).mean())),
            ("mean absolute error", float(np.abs(residuals).mean())),
            ("mean residual", float(residuals.mean())),
        ]
        line = "A residual is the predicted score minus the right one."
        drawings = [
            drawing.scatter(self.gold, self.predicted, "Predicted over right scores"),
            drawing.histogram(residuals, "Residuals", "residual"),
        ]
        return Section("Agreement", [line], [Table(("", "value"), rows)], drawings)

    def _by_score(self, residuals):
        parts = np.array_split(np.argsort(self.gold, kind="stable"), _PARTS)
        rows = [
            (
                f"{self.gold[p[0]]:.2f} to {self.gold[p[-1]]:.2f}",
                len(p),
                float(self.predicted[p].mean()),
                float(residuals[p].mean()),
                float(np.abs(residuals[p]).mean()),
            )
            for p in parts
            if len(p)
        ]
        header = (
            "right scores",
            "rows",
            "mean predicted",
            "mean residual",
            "mean absolute residual",
        )
        line = "Rows by their right score, in equal parts."
        return Section("Residuals", [line], [Table(header, rows)])

    def _mistakes(self, residuals):
        order = np.argsort(-np.abs(residuals), kind="stable")[:MISTAKES]
        rows = [
            (
                self.ids[i],
                float(self.gold[i]),
                float(self.predicted[i]),
                float(residuals[i]),
                *(column[i] for column in self.texts.values()),
            )
            for i in order
        ]
        header = ("id", "gold", "predicted", "residual", *self.texts)
        return Section("Largest residuals", [], [Table(header, rows)])
