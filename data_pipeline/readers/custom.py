"""The user's own data set: train, dev and test as tsv, csv or jsonl files."""

import csv
import io
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf
from absl import logging

from data_pipeline.readers import columns
from data_pipeline.readers.examples import (
    DataProcessor,
    InputExample,
    Label,
    MultipleChoiceExample,
    by_language,
    check_label,
    parse_score,
)
from data_pipeline.readers.tables import ENDINGS, Tables
from errors import MissingFile, UserError

_METRICS = {
    "single_label": ("accuracy", "macro_f1"),
    "multi_label": ("micro_f1", "macro_f1", "exact_match"),
    "regression": ("pearson", "spearman", "mse"),
    "multiple_choice": ("accuracy",),
}
LABEL_KINDS = tuple(_METRICS)


class CustomProcessor(DataProcessor):
    """Reads `train`, `dev` and `test` with the endings .tsv, .csv, .jsonl or .xlsx.

    tsv is split at tabs only; csv may quote; jsonl has an object a line. The others
    begin with a header. A guid is `<file>:<line>`.
    """

    def __init__(
        self,
        text_a_column: str | None = None,
        label_column: str | None = None,
        text_b_column: str | None = None,
        label_kind: str = "single_label",
        labels: Sequence[str] | None = None,
        label_separator: str = "|",
        files: Mapping[str, str] | None = None,
        ending_columns: Sequence[str] = (),
        symmetric: bool = False,
        language_column: str | None = None,
        tables: Tables | None = None,
    ):
        """Describes the data set.

        Args:
          text_a_column: column of the first, or only, text; None: the first file that
            is read tells, see columns.guess.
          label_column: column of the label, as well; test files may do without it.
          text_b_column: column of the second text of a pair.
          label_kind: one of LABEL_KINDS. Of "multiple_choice" a label is the right
            ending: the name of its column, or its number from 1.
          labels: the labels in the order of their ids; None takes those of the
            training set, sorted.
          label_separator: stands between an example's labels, if it has several;
            jsonl may have a list instead.
          files: "train", "dev" or "test" -> path, instead of looking in the folder.
          ending_columns: columns of the texts to choose from, for multiple choice.
          symmetric: whether the order of a pair's texts means nothing.
          language_column: column of what the texts are in; None: it is not told.
          tables: reads the files; None: as their signs say.

        Raises:
          UserError: an argument is not one of the above.
        """
        if label_kind not in _METRICS:
            raise UserError(
                f"label_kind must be one of {sorted(_METRICS)}, got {label_kind!r}"
            )
        if label_kind == "regression" and labels:
            raise UserError(f"a regression has no labels, got {list(labels)}")
        if labels is not None and len(set(labels)) < len(labels):
            raise UserError(f"labels occur more than once in {list(labels)}")
        if (label_kind == "multiple_choice") != (len(ending_columns) > 1):
            raise UserError(
                f"label_kind is {label_kind!r} with ending columns "
                f"{list(ending_columns)}; multiple_choice wants two or more, else none"
            )
        if text_b_column and ending_columns:
            raise UserError(
                f"text_b_column is {text_b_column!r} with ending columns "
                f"{list(ending_columns)}; wanted one of the two"
            )
        if symmetric and not text_b_column:
            raise UserError("symmetric is of pairs of texts: it wants a text_b_column")
        if ending_columns:
            labels = ending_columns
        unknown = set(files or {}) - {"train", "dev", "test"}
        if unknown:
            raise UserError(f"files has {sorted(unknown)}; wanted train, dev, test")
        self.output_kind = label_kind
        self.symmetric = symmetric
        self.metrics = _METRICS[label_kind]
        self.main_metric = self.metrics[0]
        second = ending_columns or ([text_b_column] if text_b_column else [])
        self._second_columns = second
        self._text_a_column = text_a_column
        self._language_column = language_column
        self._label_column = label_column
        self._labels = list(labels) if labels is not None else None
        self._separator = label_separator
        self._files = dict(files or {})
        self._tables = tables or Tables()
        self._padded: list[tuple[int, str]] = []  # of the last file: line, label

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the training set and, unless they were given, its labels."""
        path = self.find(data_dir, "train")
        examples = self._read(path, labelled=True)
        if self._labels is None and self.output_kind != "regression":
            self._labels = self._discover(examples, path)
        return examples

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the development set; its labels must be known ones."""
        self._need_labels(data_dir)
        return self._read(self.find(data_dir, "dev"), labelled=True)

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """Reads the test set, with its labels if it has that column."""
        self._need_labels(data_dir)
        return self._read(self.find(data_dir, "test"), labelled=False)

    def get_labels(self) -> list[str]:
        """The labels as given or, after reading, as found in the training set.

        Raises:
          UserError: they were not given and nothing was read yet.
        """
        if self.output_kind == "regression":
            return []
        if self._labels is None:
            raise UserError("labels were not given: read a set first to find them")
        return list(self._labels)

    def extra_dev_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """The development set's examples of each language, if there are several."""
        if self._language_column is None:
            return {}
        return by_language(self.get_dev_examples(data_dir))

    def extra_test_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """The test set's, as well."""
        if self._language_column is None:
            return {}
        return by_language(self.get_test_examples(data_dir))

    def _need_labels(self, data_dir: str) -> None:
        if self._labels is None and self.output_kind != "regression":
            self.get_train_examples(data_dir)

    def find(self, data_dir: str, split: str) -> str:
        """The one file of a split.

        Raises:
          UserError: there is none, or more than one.
        """
        if split in self._files:
            return self._files[split]
        if data_dir is None:
            raise MissingFile(f"--{split}_file is not given, and no --data_dir")
        names = [f"{split}.{ending}" for ending in ENDINGS]
        paths = [os.path.join(data_dir, name) for name in names]
        found = [path for path in paths if tf.io.gfile.exists(path)]
        if not found:
            raise MissingFile(f"{data_dir}: none of {', '.join(names)}")
        if len(found) > 1:
            raise UserError(f"{', '.join(found)}: only one of them may be there")
        return found[0]

    def _read(self, path: str, labelled: bool) -> list[InputExample]:
        if path.rpartition(".")[2].lower() not in ENDINGS:
            raise UserError(f"{path}: the name must end in one of {', '.join(ENDINGS)}")
        self._find_columns(path, labelled)
        optional = [] if labelled else [self._label_column]
        told = [self._language_column] if self._language_column else []
        wanted = [*told, self._text_a_column, *self._second_columns]
        wanted += [self._label_column] if labelled else []
        examples = []
        self._padded = []
        for line, values in self._tables.rows(path, wanted, optional):
            *texts, value = values
            for name, text in zip(wanted, texts, strict=False):
                if not isinstance(text, str):
                    raise UserError(
                        f"{path}, line {line}: column {name!r} must be text, "
                        f"got {text!r}"
                    )
            language = texts.pop(0).strip() if told else None
            if language == "":
                raise UserError(f"{path}, line {line}: the language is missing")
            label = None
            if labelled or not _is_blank(value):
                label = self._label(value, path, line)
            guid = f"{path}:{line}"
            if self.output_kind == "multiple_choice":
                text, *endings = texts
                found = MultipleChoiceExample(
                    guid, text, None, label, tuple(endings), language=language
                )
            else:
                found = InputExample(guid, *texts, label=label, language=language)
            examples.append(found)
        if not examples:
            raise UserError(f"{path}: a header but no rows")
        if self._padded:
            logging.warning(
                "%s: %d labels have blanks around them, which do not count: line %d "
                "has %r",
                path,
                len(self._padded),
                *self._padded[0],
            )
        return examples

    @property
    def column_flags(self) -> dict[str, str | None]:
        """The columns as given or found: flag -> name."""
        second = self.output_kind != "multiple_choice" and self._second_columns
        return {
            "text_a_column": self._text_a_column,
            "text_b_column": second[0] if second else None,
            "label_column": self._label_column,
            "language_column": self._language_column,
        }

    def csv_text(self, examples: Sequence[InputExample]) -> str:
        """Returns examples as the text of a csv that this processor reads.

        Raises:
          UserError: a label holds what stands between several.
        """
        header = [self._text_a_column, *self._second_columns, self._label_column]
        header += [self._language_column] if self._language_column else []
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        for example in examples:
            endings = getattr(example, "endings", ())
            second = [] if example.text_b is None else [example.text_b]
            told = [example.language] if self._language_column else []
            texts = [example.text_a, *second, *endings]
            writer.writerow([*texts, self._cell(example.label), *told])
        return text.getvalue()

    def _cell(self, label):
        """A label as it stands in a table."""
        if not isinstance(label, tuple):
            return label
        found = next((name for name in label if self._separator in name), None)
        if found is not None:
            raise UserError(
                f"label {found!r} holds {self._separator!r}, which stands between "
                "several labels in a csv: a split of such data cannot be written"
            )
        return self._separator.join(label)

    def _find_columns(self, path, labelled):
        """Sets those that were not given."""
        known = self._text_a_column, self._label_column
        if None not in known:
            return
        others = [*self._second_columns, self._language_column]
        found = columns.guess(self._tables, path, *known, others, labelled)
        self._text_a_column, self._label_column = found
        if found != known:
            logging.info(
                "%s: the text is column %r, the label column %r; --text_a_column and "
                "--label_column name others",
                path,
                *found,
            )

    def _label(self, value: object, path: str, line: int) -> Label:
        """Checks one label cell."""
        if self.output_kind == "regression":
            return parse_score(value, path, line)
        if self.output_kind == "multi_label":
            if not isinstance(value, list):
                value = [] if _is_blank(value) else str(value).split(self._separator)
            names = [self._label_name(item, path, line) for item in value]
        else:
            names = [self._label_name(value, path, line)]
            if self.output_kind == "multiple_choice" and names[0] not in self._labels:
                numbers = {str(i): name for i, name in enumerate(self._labels, 1)}
                names = [numbers.get(names[0], names[0])]
        if self._labels is not None:
            for name in names:
                check_label(name, self._labels, path, line)
        return tuple(names) if self.output_kind == "multi_label" else names[0]

    def _label_name(self, value: object, path: str, line: int) -> str:
        """A label as text, without the blanks around it.

        Whole numbers and text are labels, an empty cell is not.
        """
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UserError(f"{path}, line {line}: wanted a label, got {value!r}")
        if _is_blank(value):
            raise UserError(f"{path}, line {line}: the label is missing")
        name = str(value)
        if name != name.strip():
            self._padded.append((line, name))
        return name.strip()

    def _discover(self, examples: list[InputExample], path: str) -> list[str]:
        """The labels that the training set uses, sorted."""
        if self.output_kind == "multi_label":
            labels = sorted({name for e in examples for name in e.label})
        else:
            labels = sorted({e.label for e in examples})
        if len(labels) < (1 if self.output_kind == "multi_label" else 2):
            raise UserError(
                f"{path}: column {self._label_column!r} has only the labels {labels}; "
                "there is nothing to learn"
            )
        return labels


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
