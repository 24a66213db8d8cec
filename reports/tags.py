"""A tag for every word: entities in any scheme, or plain labels."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from metrics import comparison, tagging
from metrics.comparison import RowSums
from reports import drawing
from reports.labels import MISTAKES, class_section, confusion_section
from reports.page import Section, Table
from reports.results import Columns, Results

_OUTCOMES = {
    "type": "right words, wrong type",
    "boundary": "right type, wrong first or last word",
    "both": "a word in common, type and boundary wrong",
    "missed": "no found entity has a word of it",
    tagging.SPURIOUS: "found where there is no entity (or one too many)",
}


@dataclasses.dataclass(frozen=True)
class Tags(Results):
    """Predicted tags.

    Attributes:
      words: of all sentences.
      lines: the line of the file that each word stands on.
      gold: the right tags; None where they are not known.
      predicted: the predicted ones, in the same scheme.
      offsets: int [N + 1]; sentence i has the words offsets[i]:offsets[i + 1].
      plain: whether the tags are labels of words, and there are no entities.
    """

    columns_of = frozenset({"word", "gold_tag", "predicted_tag"})

    words: Sequence[str]
    lines: Sequence[int]
    gold: Sequence[str] | None
    predicted: Sequence[str]
    offsets: np.ndarray
    plain: bool

    @property
    def metrics(self) -> tuple[str, ...]:
        """See Results."""
        return ("accuracy",) if self.plain else ("f1", "accuracy")

    @property
    def is_known(self) -> bool:
        """See Results."""
        return self.gold is not None

    def columns(self) -> Columns:
        """See Results; a row is a word."""
        sentences = np.repeat(np.arange(1, len(self.offsets)), np.diff(self.offsets))
        return {
            "sentence": list(map(str, sentences)),
            "line": list(map(str, self.lines)),
            "word": self.words,
            "gold_tag": self.gold if self.is_known else [""] * len(self.words),
            "predicted_tag": self.predicted,
        }

    @classmethod
    def of_columns(cls, columns: Columns) -> "Tags":
        """See Results."""
        sentences = np.array(columns["sentence"], dtype=int)
        offsets = np.flatnonzero(np.append(1, np.diff(sentences)))
        known = columns["gold_tag"] if all(columns["gold_tag"]) else None
        tags = {*(known or ()), *columns["predicted_tag"]}
        return cls(
            columns["word"],
            list(map(int, columns["line"])),
            known,
            columns["predicted_tag"],
            np.append(offsets, len(sentences)),
            plain=not all(_is_of_scheme(tag) for tag in tags),
        )

    def same_rows(self) -> Columns:
        """See Results."""
        columns = self.columns()
        return {name: columns[name] for name in ("sentence", "word", "gold_tag")}

    def row_sums(self, metric: str) -> RowSums:
        """See Results; the rows are sentences, whose words hang together."""
        if metric == "accuracy":
            right = np.array(self.gold) == np.array(self.predicted)
            sums = np.add.reduceat(right, self.offsets[:-1])
            rows = np.stack([sums, np.diff(self.offsets)], axis=1).astype(float)
            return RowSums(rows, lambda sums: sums[..., 0] / sums[..., 1])
        pairs = zip(*map(tagging.find_entities, self._sides()), strict=True)
        return comparison.set_f1(
            [(len({*a} & {*b}), len(a) + len(b)) for a, b in pairs]
        )

    def _sides(self):
        return [
            [tags[a:b] for a, b in zip(self.offsets, self.offsets[1:], strict=False)]
            for tags in (list(self.gold), list(self.predicted))
        ]

    def sections(self) -> list[Section]:
        """See Results."""
        if not self.is_known:
            counts = collections.Counter(self.predicted)
            rows = [(tag, counts[tag]) for tag in sorted(counts)]
            line = "The right tags are not known."
            return [Section("Predicted tags", [line], [Table(("tag", "words"), rows)])]
        if self.plain:
            return [*self._plain_sections(), self._words()]
        gold, found = map(tagging.find_entities, self._sides())
        outcomes = [
            (row, outcome)
            for row, sides in enumerate(zip(gold, found, strict=True))
            for outcome in tagging.entity_outcomes(*sides)
        ]
        return [
            self._types([outcome for _, outcome in outcomes]),
            self._outcomes([outcome for _, outcome in outcomes]),
            self._mistakes(outcomes),
            self._words(),
        ]

    def _plain_sections(self):
        names, ids = np.unique([self.gold, self.predicted], return_inverse=True)
        sides = ids.reshape(2, -1)
        return [
            class_section(*sides, names.tolist()),
            confusion_section(*sides, names.tolist(), "tag"),
        ]

    def _types(self, outcomes):
        by_type = tagging.outcome_counts(outcomes)
        found = collections.Counter(x[2][0] for x in outcomes if x[2])
        rows, f1s = [], []
        for kind, counts in by_type.items():
            right, given = counts["right"], found[kind]
            wanted = counts.total() - counts[tagging.SPURIOUS]
            f1s.append(2 * right / (wanted + given))
            precision, recall = right / max(given, 1), right / max(wanted, 1)
            rows.append((kind, precision, recall, f1s[-1], wanted, given))
        header = ("type", "precision", "recall", "F1", "right entities", "found")
        line = "An entity counts where its type, first and last word are right."
        drawings = []
        if rows:
            names, supports = [row[0] for row in rows], [row[4] for row in rows]
            drawings = [drawing.bars(names, f1s, supports, "F1 by type", "F1")]
        return Section("Types", [line], [Table(header, rows)], drawings)

    def _outcomes(self, outcomes):
        by_type = tagging.outcome_counts(outcomes)
        names = (*tagging.OUTCOMES, tagging.SPURIOUS)
        rows = [(kind, *(counts[n] for n in names)) for kind, counts in by_type.items()]
        rows.append(
            ("all", *(sum(counts[n] for counts in by_type.values()) for n in names))
        )
        lines = [f"{name}: {meaning}." for name, meaning in _OUTCOMES.items()]
        confused = collections.Counter(
            (wanted[0], found[0])
            for outcome, wanted, found in outcomes
            if outcome in ("type", "both")
        )
        tables = [Table(("type", *names), rows, "What became of the entities")]
        pairs = [(*pair, count) for pair, count in confused.most_common(MISTAKES)]
        if pairs:
            header = ("right type", "found type", "entities")
            tables.append(Table(header, pairs, "Types taken for each other"))
        return Section("Boundary and type errors", lines, tables)

    def _mistakes(self, outcomes):
        wrong = [(row, o) for row, o in outcomes if o[0] != "right"]
        # Evenly from the whole text.
        places = np.linspace(0, len(wrong) - 1, min(len(wrong), MISTAKES)).astype(int)
        rows = []
        for place in places:
            row, (outcome, wanted, found) = wrong[place]
            start = int(self.offsets[row])
            rows.append(
                (
                    self.lines[start + (wanted or found)[1]],
                    outcome,
                    self._shown(start, wanted),
                    self._shown(start, found),
                    " ".join(self.words[start : self.offsets[row + 1]]),
                )
            )
        line = f"{len(wrong):,} mistakes"
        line += f", {len(rows)} of them, evenly from the whole text." if rows else "."
        header = ("line", "error", "right", "found", "sentence")
        tables = [Table(header, rows)] if rows else []
        return Section("Mistakes", [line], tables)

    def _shown(self, start, entity):
        if entity is None:
            return ""
        kind, first, last = entity
        return f"{' '.join(self.words[start + first : start + last + 1])} ({kind})"

    def _words(self):
        triples = zip(self.words, self.gold, self.predicted, strict=True)
        wrong = collections.Counter(t for t in triples if t[1] != t[2])
        rows = [(*triple, count) for triple, count in wrong.most_common(MISTAKES)]
        table = Table(("word", "right tag", "predicted tag", "times"), rows)
        line = f"{wrong.total():,} of {len(self.words):,} words have a wrong tag."
        return Section("Words most often wrong", [line], [table] if rows else [])


def _is_of_scheme(tag):
    return tag == "O" or tag[1:2] in ("", "-") and tag[:1] in "BIESMLU"
