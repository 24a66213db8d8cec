"""One label each, or the right one of several endings."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metrics import calibration, classification, comparison
from metrics.comparison import RowSums
from reports import confidence, drawing
from reports.page import Section, Table
from reports.results import Columns, Results, shown

UNSURE = "unsure"
PROBABILITY = "probability:"  # begins the columns of probabilities
MISTAKES = 30  # rows shown
_CLASSES = 30  # of a drawn matrix


@dataclasses.dataclass(frozen=True)
class Labels(Results):
    """Class probabilities of rows.

    Attributes:
      ids: a name of each of N rows.
      texts: name of a column -> the rows' texts.
      labels: L names.
      gold: int [N], the right class ids; -1 where it is not known.
      probabilities: float [N, L].
      temperature: by which their logits were divided.
      unsure_below: a prediction of less confidence is called "unsure"; None: none is.
    """

    columns_of = frozenset({"gold", "predicted"})
    metrics = ("accuracy", "f1", "macro_f1", "matthews_correlation")

    ids: Sequence[str]
    texts: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    gold: np.ndarray
    probabilities: np.ndarray
    temperature: float = 1.0
    unsure_below: float | None = None

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class ids, int [N]."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """Their probabilities, float [N]."""
        return self.probabilities.max(axis=1).astype(float)

    @property
    def is_known(self) -> bool:
        """See Results."""
        return bool((self.gold >= 0).all())

    def columns(self) -> Columns:
        """See Results."""
        predicted = [self.labels[i] for i in self.predicted]
        if self.unsure_below is not None:
            below = self.confidence < self.unsure_below
            predicted = [
                UNSURE if unsure else name
                for name, unsure in zip(predicted, below, strict=True)
            ]
        return {
            "id": self.ids,
            **self.texts,
            "gold": ["" if i < 0 else self.labels[i] for i in self.gold],
            "predicted": predicted,
            **probability_columns(self.labels, self.probabilities),
        }

    @classmethod
    def of_columns(cls, columns: Columns) -> "Labels":
        """See Results."""
        labels, probabilities = read_probabilities(columns)
        places = {name: i for i, name in enumerate(labels)} | {"": -1}
        gold = np.array([places[name] for name in columns["gold"]])
        return cls(columns["id"], text_columns(columns), labels, gold, probabilities)

    def same_rows(self) -> Columns:
        """See Results."""
        return {**self.texts, "gold": [self.labels[i] for i in self.gold]}

    def row_sums(self, metric: str) -> RowSums:
        """See Results."""
        compute: Callable[..., RowSums] = getattr(comparison, metric)
        return compute(self.gold, self.predicted)

    def right_rows(self, metric: str) -> np.ndarray | None:
        """See Results."""
        return self.gold == self.predicted if metric == "accuracy" else None

    def sections(self) -> list[Section]:
        """See Results."""
        if not self.is_known:
            return [self._counts(), self._confidence()]
        right = self.gold == self.predicted
        return [
            class_section(self.gold, self.predicted, self.labels),
            confusion_section(self.gold, self.predicted, self.labels),
            confidence.calibration_section(self.confidence, right, self._fit()),
            confidence.coverage_section(self.confidence, right, self.unsure_below),
            self._mistakes(right),
        ]

    def _counts(self):
        counts = np.bincount(self.predicted, minlength=len(self.labels))
        rows = list(zip(self.labels, map(int, counts), strict=True))
        line = "The right labels are not known (or not of every row)."
        return Section("Predicted labels", [line], [Table(("label", "rows"), rows)])

    def _confidence(self):
        return confidence.confidence_section(self.confidence, self.unsure_below)

    def _fit(self):
        loss = calibration.log_loss(self.probabilities, self.gold)
        lines = [f"Negative log likelihood {loss:.4f} nats."]
        if self.temperature != 1.0:
            lines.append(
                f"The logits are divided by the temperature {self.temperature:.4f}, "
                "which was fitted on the development set (calibration.json)."
            )
        return lines

    def _mistakes(self, right):
        wrong = np.flatnonzero(~right)
        order = wrong[np.argsort(-self.confidence[wrong], kind="stable")][:MISTAKES]
        rows = [
            (
                self.ids[i],
                self.labels[self.gold[i]],
                self.labels[self.predicted[i]],
                float(self.confidence[i]),
                *(column[i] for column in self.texts.values()),
            )
            for i in order
        ]
        line = f"{len(wrong):,} of {len(right):,} rows are wrong"
        line += f"; the {len(rows)} most confident of them." if rows else "."
        header = ("id", "gold", "predicted", "probability", *self.texts)
        tables = [Table(header, rows)] if rows else []
        return Section("Most confident mistakes", [line], tables)


def probability_columns(labels: Sequence[str], probabilities: np.ndarray) -> Columns:
    """Returns a column of text for each label."""
    columns = probabilities.T.tolist()
    return {
        f"{PROBABILITY}{label}": list(map(shown, column))
        for label, column in zip(labels, columns, strict=True)
    }


def read_probabilities(columns: Columns) -> tuple[list[str], np.ndarray]:
    """Returns labels, and float [N, L], of what `probability_columns` made."""
    names = [name for name in columns if name.startswith(PROBABILITY)]
    found = np.array([columns[name] for name in names], dtype=float).T
    return [name.removeprefix(PROBABILITY) for name in names], found


def text_columns(columns: Columns) -> Columns:
    """Returns the columns that are a row's own texts: those before the right answer."""
    names = list(columns)
    end = next(i for i, name in enumerate(names) if name.startswith("gold"))
    return {name: columns[name] for name in names[1:end]}


def class_section(
    gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str]
) -> Section:
    """Tells precision, recall, F1 and support of each class.

    Args:
      gold: int [N], class ids; or int [N, L] of 0 and 1.
      predicted: as `gold`.
      labels: L names.
    """
    found = classification.per_class(gold, predicted, len(labels))
    names = ("precision", "recall", "f1")
    rows = [
        (label, *(float(found[n][i]) for n in names), int(found["support"][i]))
        for i, label in enumerate(labels)
    ]
    total = int(found["support"].sum())
    weights = found["support"] / max(total, 1)
    means = {
        "mean of the classes": [float(found[n].mean()) for n in names],
        "weighted by support": [float(found[n] @ weights) for n in names],
    }
    rows += [(name, *values, total) for name, values in means.items()]
    table = Table(("class", "precision", "recall", "F1", "support"), rows)
    lines = [] if gold.ndim > 1 else [f"Accuracy {np.mean(gold == predicted):.4f}."]
    return Section("Classes", lines, [table])


def confusion_section(
    gold: np.ndarray, predicted: np.ndarray, labels: Sequence[str], kind: str = "class"
) -> Section:
    """Tells which class was taken for which; of many classes, the most frequent ones.

    Args:
      gold: int [N], class ids.
      predicted: int [N].
      labels: L names.
      kind: what they are of.
    """
    counts = classification.confusions(gold, predicted, len(labels))
    lines = []
    chosen = np.arange(len(labels))
    if len(labels) > _CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        chosen = np.sort(np.argsort(-wrong, kind="stable")[:_CLASSES])
        lines = [f"The {_CLASSES} classes with most mistakes, of {len(labels):,}."]
    shown_counts = counts[np.ix_(chosen, chosen)]
    names = [labels[i] for i in chosen]
    numbers = range(1, len(names) + 1)
    rows = [
        (f"{number} {name}", *map(int, row))
        for number, name, row in zip(numbers, names, shown_counts, strict=True)
    ]
    header = (f"right {kind}", *map(str, numbers))
    caption = f"Rows: the right {kind}; columns: the predicted one."
    tables = [Table(header, rows, caption, drawn=True)]
    if len(names) > 12:  # which is too wide for a line of text
        tables = [_pairs(counts, labels)]
    caption = f"Confusion matrix: {len(gold):,} decisions on {len(labels)} classes"
    picture = drawing.matrix(shown_counts, names, caption, kind)
    return Section("Confusion matrix", lines, tables, [picture])


def _pairs(counts, labels):
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    rows = [(labels[a], labels[b], int(wrong[a, b])) for a, b in pairs if wrong[a, b]]
    return Table(("right", "predicted", "rows"), rows, "Most frequent confusions")
