"""What a data set gives to a sentence (pair) classifier, before tokenization."""

import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from errors import UserError

Label = str | float | tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class InputExample:
    """One example.

    Attributes:
      guid: a name for it; where possible, what finds it in its file.
      text_a: the first, or only, text.
      text_b: the second text of a pair.
      label: a label's name; a number (regression); a tuple of names (multi-label);
        None where it is not known.
      language: what the texts are in; None where it is not told.
    """

    guid: str
    text_a: str
    text_b: str | None = None
    label: Label | None = None
    language: str | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True, slots=True)
class MultipleChoiceExample(InputExample):
    """A text, `text_a`, and the texts of which one goes with it.

    Attributes:
      endings: their texts, as many and in the same order as the labels.
    """

    endings: tuple[str, ...] = ()


class DataProcessor:
    """Reads a data set's folder.

    Attributes:
      output_kind: "single_label", "multi_label", "regression" or "multiple_choice",
        whose examples are MultipleChoiceExamples.
      symmetric: whether the order of a pair's texts means nothing.
      metrics: names of the task's metrics.
      main_metric: the one that chooses the best checkpoint.
    """

    output_kind: str = "single_label"
    symmetric: bool = False
    metrics: tuple[str, ...] = ("accuracy",)
    main_metric: str = "accuracy"

    def get_train_examples(self, data_dir: str) -> list[InputExample]:
        """The training set."""
        raise NotImplementedError()

    def get_dev_examples(self, data_dir: str) -> list[InputExample]:
        """The development set."""
        raise NotImplementedError()

    def get_test_examples(self, data_dir: str) -> list[InputExample]:
        """The set to predict; its labels may be None."""
        raise NotImplementedError()

    def get_labels(self) -> list[str]:
        """The labels' names in the order of their ids; [] for regression."""
        raise NotImplementedError()

    @classmethod
    def _read_tsv(cls, input_file: str, quotechar: str | None = None) -> list[list]:
        """Reads the lines of a tab-separated file, as the parent's helper does.

        Args:
          input_file: UTF-8.
          quotechar: what fields may be quoted by; None: nothing.

        Returns:
          The fields of each line.
        """
        with tf.io.gfile.GFile(input_file, "r") as file:
            return list(csv.reader(file, delimiter="\t", quotechar=quotechar))

    def extra_dev_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """Further development sets by name, such as MNLI's mismatched one."""
        del data_dir
        return {}

    def extra_test_sets(self, data_dir: str) -> dict[str, list[InputExample]]:
        """Further sets to predict, by name."""
        del data_dir
        return {}


def by_language(examples: Sequence[InputExample]) -> dict[str, list[InputExample]]:
    """Returns the examples of each language; {} where not all are told several."""
    found: dict[str, list[InputExample]] = {}
    for example in examples:
        if example.language is None:
            return {}
        found.setdefault(example.language, []).append(example)
    return {name: found[name] for name in sorted(found)} if len(found) > 1 else {}


def words(examples: Iterable[InputExample]) -> Iterator[str]:
    """Yields what white space separates in all texts of examples, endings too."""
    for example in examples:
        endings = getattr(example, "endings", ())
        for text in (example.text_a, example.text_b or "", *endings):
            yield from text.split()


def check_label(label: str, labels: list[str], path: str, line: int) -> str:
    """Returns a label that is one of the known ones.

    Raises:
      UserError: it is not; names file, line, the label and the known labels.
    """
    if label not in labels:
        raise UserError(
            f"{path}, line {line}: unknown label {label!r}; known: {labels}"
        )
    return label


def parse_score(text: object, path: str, line: int) -> float:
    """Returns a regression target.

    Raises:
      UserError: it is not a finite number; names file, line and what was found.
    """
    try:
        score = math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise UserError(f"{path}, line {line}: wanted a finite number, got {text!r}")
    return score


def drawn_rows(num_examples: int, number: int, seed: int) -> np.ndarray:
    """Draws rows of a data set without replacement.

    Args:
      num_examples: how many the data set has.
      number: how many are drawn, at most `num_examples`.
      seed: the same one draws the same rows; a larger `number` adds to a smaller one's.

    Returns:
      int64 [number], from 0, in the order in which they were drawn.
    """
    return np.random.default_rng(seed).permutation(num_examples)[:number]


def sample(examples: list, number: int | None, seed: int) -> list:
    """Draws examples, see `drawn_rows`; all, if there are fewer or no number is."""
    if not number or number >= len(examples):
        return examples
    return [examples[i] for i in drawn_rows(len(examples), number, seed)]
