"""The rows of namisan/mt-dnn's tasks: `uid label premise [hypothesis]`, by tabs."""

from collections.abc import Sequence

from data_pipeline.readers import custom, glue, task_file, text_files
from data_pipeline.readers.examples import (
    DataProcessor,
    InputExample,
    check_label,
    parse_score,
)
from data_pipeline.readers.ranking import RankingProcessor
from data_pipeline.readers.task_file import TaskEntry
from errors import UserError

# Types of tasks in such a file -> kinds of outputs.
_KINDS = {task_file.CLASSIFICATION: "single_label", task_file.REGRESSION: "regression"}


class RowProcessor(DataProcessor):
    """Reads `<name>_<split>.tsv` of one or two texts; see task_file.

    Of `split_names`, the first that ends in dev is the set of every evaluation, and the
    first that ends in test the one that is predicted; the others come at the end.
    """

    def __init__(self, entry: TaskEntry):
        """Takes what the file of tasks says."""
        self._entry = entry
        self.output_kind = _KINDS[entry.task_type]
        self.metrics, self.main_metric = entry.metrics, entry.metrics[0]
        self._trained: tuple[str, set] | None = None  # the training set, its labels

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the training set."""
        examples = self._read(data_dir, "train")
        path = self._entry.path(data_dir, "train")
        self._trained = path, {example.label for example in examples}
        return examples

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the set of every evaluation."""
        return self._read(data_dir, self._entry.main_split("dev"))

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the set to predict; its labels are read where the file has them."""
        return self._read(data_dir, self._entry.main_split("test"))

    def extra_dev_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """Reads the other sets to score, by their names."""
        return self._others(data_dir, "dev")

    def extra_test_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """Reads the other sets to predict, by their names."""
        return self._others(data_dir, "test")

    def get_labels(self) -> list[str]:
        """The labels in the order of their ids."""
        return list(self._entry.labels)

    def _others(self, data_dir, kind):
        others = self._entry.splits_of(kind)[1:]
        return {name: self._read(data_dir, name) for name in others}

    def _read(self, data_dir, split):
        path = self._entry.path(data_dir, split)
        columns = ["uid", "label", "premise"]
        if self._entry.data_format == task_file.PAIR:
            columns.append("hypothesis")
        examples = []
        for line, values in text_files.tsv_rows(path, columns, header=columns):
            uid, label, *texts = values
            found = None
            if label or not split.endswith("test"):
                found = self._label(label, path, line)
            examples.append(InputExample(f"{split}-{uid}", *texts, label=found))
        return examples

    def _label(self, label, path, line):
        if self.output_kind == "regression":
            return parse_score(label, path, line)
        label = check_label(label, self.get_labels(), path, line)
        if self._trained and label not in self._trained[1]:
            raise UserError(
                f"{path}, line {line}: label {label!r}, which no row of "
                f"{self._trained[0]} has: it cannot be learnt"
            )
        return label


def processor(entry: TaskEntry, labels: Sequence[str] = ()) -> DataProcessor:
    """Returns what reads the files of a task.

    Args:
      entry: the task.
      labels: those that a model was trained on; () for a new one. A task of tables has
        them if the entry gives none.

    Raises:
      UserError: it has no data_format, and run_classifier.py has none of its name; or
        it is of another type than the file of tasks says.
    """
    if entry.task_type == task_file.RANKING:
        return RankingProcessor(entry)
    if entry.data_format:
        return RowProcessor(entry)
    if entry.text_a_column:
        return custom.CustomProcessor(
            entry.text_a_column,
            entry.label_column,
            entry.text_b_column,
            _KINDS[entry.task_type],
            entry.labels or labels or None,
        )
    if entry.name.lower() not in glue.PROCESSORS:
        raise UserError(
            f"{entry.source}: no task of run_classifier.py has this name; known: "
            f"{', '.join(sorted(glue.PROCESSORS))}. One of your own needs "
            "text_a_column and label_column, or a data_format: "
            + ", ".join(task_file.FORMATS)
        )
    found = glue.PROCESSORS[entry.name.lower()]()
    kinds = {v: k for k, v in _KINDS.items()}
    task_file.check_named(entry, kinds[found.output_kind])
    return found
