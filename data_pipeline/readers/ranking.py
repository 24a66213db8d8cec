"""Questions with candidates, of which some are right: QNLI's, TREC-QA's, mt-dnn's.

QNLI and TREC-QA have a pair a row; rows of one question, wherever they stand, are put
together. The parent has a row a question: `uid label question candidate...`, with lists
of uids and labels between commas.
"""

import dataclasses
from collections.abc import Sequence

from data_pipeline.readers import text_files
from data_pipeline.readers.custom import CustomProcessor
from data_pipeline.readers.examples import DataProcessor, check_label, parse_score
from data_pipeline.readers.task_file import TaskEntry
from errors import UserError


@dataclasses.dataclass(frozen=True, slots=True)
class RankingExample:
    """A question.

    Attributes:
      guid: finds it in its file.
      text: the question's.
      candidates: their texts, one or more.
      right: which of them answer it; None where that is not known.
    """

    guid: str
    text: str
    candidates: tuple[str, ...]
    right: tuple[bool, ...] | None


class _Table:
    """A publisher's layout of a pair a row."""

    def __init__(self, question: str, candidate: str, labels: tuple[str, str]):
        """Takes the columns' names, and the labels of wrong and right candidates."""
        self.columns, self.labels = (question, candidate), labels

    def processor(self) -> CustomProcessor:
        """Returns what reads the rows."""
        question, candidate = self.columns
        return CustomProcessor(question, "label", candidate, labels=self.labels)


_TABLES = (
    _Table("qtext", "atext", ("0", "1")),  # TREC-QA (Wang et al. 2007)
    _Table("question", "sentence", ("not_entailment", "entailment")),  # QNLI
)


class RankingProcessor(DataProcessor):
    """Reads a ranking task; see task_file for the parent's form."""

    output_kind = "ranking"
    metrics = ("map", "mrr")
    main_metric = "map"

    def __init__(self, entry: TaskEntry):
        """Takes what the file of tasks says."""
        self._entry = entry
        if entry.metrics:
            self.metrics, self.main_metric = entry.metrics, entry.metrics[0]

    def get_labels(self) -> list[str]:
        """None: a candidate has a score."""
        return []

    def get_train_examples(self, data_dir: str) -> list[RankingExample]:
        """Reads the training set."""
        return self._read(data_dir, "train")

    def get_dev_examples(self, data_dir: str) -> list[RankingExample]:
        """Reads the set of every evaluation."""
        return self._read(data_dir, "dev")

    def get_test_examples(self, data_dir: str) -> list[RankingExample]:
        """Reads the set to predict, whose labels need not be known."""
        return self._read(data_dir, "test")

    def _read(self, data_dir, split):
        if self._entry.data_format:
            if split != "train":
                split = self._entry.main_split(split)
            return self._read_rows(self._entry.path(data_dir, split))
        return _read_table(data_dir, split)

    def _read_rows(self, path):
        found = []
        for line, text in enumerate(text_files.lines(path), 1):
            fields = text.split("\t")
            if len(fields) < 4:
                raise UserError(
                    f"{path}, line {line}: wanted uids, labels, a question and one or "
                    f"more candidates, got {len(fields)} fields"
                )
            _, labels, question, *candidates = fields
            right = None
            if labels:
                names = labels.split(",")
                if len(names) != len(candidates):
                    raise UserError(
                        f"{path}, line {line}: {len(names)} labels, but "
                        f"{len(candidates)} candidates"
                    )
                right = tuple(self._is_right(name, path, line) for name in names)
            guid = f"{path}:{line}"
            found.append(RankingExample(guid, question, tuple(candidates), right))
        return found

    def _is_right(self, label, path, line):
        """The first label, or 0, is that of the wrong ones."""
        labels = list(self._entry.labels)
        if labels:
            return labels.index(check_label(label, labels, path, line)) > 0
        return parse_score(label, path, line) > 0


def _read_table(data_dir: str, split: str) -> list[RankingExample]:
    """Reads a set of pairs and puts the rows of a question together."""
    # Where the file is, does not depend on its columns.
    path = _TABLES[0].processor().find(data_dir, split)
    header = text_files.header(path)
    table = next((t for t in _TABLES if set(t.columns) <= set(header)), None)
    if table is None:
        wanted = " or ".join(", ".join((*t.columns, "label")) for t in _TABLES)
        raise UserError(
            f"{path}: a ranking task has the columns {wanted}; found {header}"
        )
    processor = table.processor()
    read = {
        "train": processor.get_train_examples,
        "dev": processor.get_dev_examples,
        "test": processor.get_test_examples,
    }[split]
    questions: dict[str, list] = {}
    for pair in read(data_dir):
        questions.setdefault(pair.text_a, []).append(pair)
    return [_grouped(pairs, table.labels[1]) for pairs in questions.values()]


def _grouped(pairs, right):
    labels = [pair.label for pair in pairs]
    return RankingExample(
        pairs[0].guid,
        pairs[0].text_a,
        tuple(pair.text_b for pair in pairs),
        None if None in labels else tuple(label == right for label in labels),
    )


@dataclasses.dataclass(frozen=True)
class Counts:
    """Questions with which nothing can be compared.

    Attributes:
      questions: all of them.
      known: those whose answers are known.
      none_right: those without a right candidate.
      none_wrong: those without a wrong one.
    """

    questions: int
    known: int
    none_right: int
    none_wrong: int

    @property
    def comparable(self) -> int:
        """Questions with a right and a wrong candidate."""
        return self.known - self.none_right - self.none_wrong

    @classmethod
    def of(cls, examples: Sequence[RankingExample]) -> "Counts":
        """Counts; questions whose answers are not known are neither."""
        known = [example.right for example in examples if example.right is not None]
        return cls(
            len(examples),
            len(known),
            sum(not any(right) for right in known),
            sum(all(right) for right in known),
        )
