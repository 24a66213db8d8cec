"""Files of tasks that are learnt together, as namisan/mt-dnn writes them: YAML.

A task is its name and some keys. One of the parent's own form says its `data_format`;
its rows are in `<name>_train.tsv`, `<name>_dev.tsv` ...:

    sick:
      data_format: PremiseAndOneHypothesis
      task_type: Classification
      labels: [CONTRADICTION, NEUTRAL, ENTAILMENT]
      metric_meta: [ACC]
      enable_san: true

One of run_classifier.py's has a folder, `data_dir`, in the layout of its publishers,
and may say what is to be done otherwise. So may a ranking task, of QNLI or of TREC-QA:

    mrpc: {data_dir: MRPC, dropout_p: 0.05}
    qnli: {data_dir: QNLI, task_type: Ranking}

One of the user's own has a folder of tables, and names their columns:

    tickets: {data_dir: tickets, text_a_column: text, label_column: queue}
"""

import dataclasses
import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import yaml
from absl import logging

from data_pipeline.readers import text_files
from errors import UserError

SINGLE, PAIR, CANDIDATES = (
    "PremiseOnly",
    "PremiseAndOneHypothesis",
    "PremiseAndMultiHypothesis",
)
FORMATS = (SINGLE, PAIR, CANDIDATES)
CLASSIFICATION, REGRESSION, RANKING = "Classification", "Regression", "Ranking"

_LOSSES = {
    CLASSIFICATION: "CeCriterion",
    REGRESSION: "MseCriterion",
    RANKING: "RankCeCriterion",
}
# The parent's names of metrics -> ours, which may be given as well.
_METRICS = {
    "ACC": "accuracy",
    "F1": "f1",
    "F1MAC": "macro_f1",
    "F1MIC": "micro_f1",
    "MCC": "matthews_correlation",
    "Pearson": "pearson",
    "Spearman": "spearman",
    "MAP": "map",
    "MRR": "mrr",
}
_OF_TYPE = {
    CLASSIFICATION: ("accuracy", "f1", "macro_f1", "micro_f1", "matthews_correlation"),
    REGRESSION: ("pearson", "spearman", "mse"),
    RANKING: ("map", "mrr"),
}
_DEFAULT_METRICS = {
    CLASSIFICATION: ("accuracy",),
    REGRESSION: ("pearson", "spearman"),
    RANKING: ("map", "mrr"),
}
# Keys of all of the parent's files, which do nothing there, either, unless a flag asks
# for what is not done here -> what that is.
_NOT_DONE = {"kd_loss": "distillation", "adv_loss": "adversarial training"}
_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class TaskEntry:
    """What a file says of a task.

    Attributes:
      name: the task's; files, scores and variables go by it.
      source: file and name, for messages.
      task_type: "Classification", "Regression" or "Ranking"; None: as the task that
        run_classifier.py has by this name.
      data_format: one of the parent's three; None: the files are as their publishers'.
      data_dir: the folder of its files inside that of all; "" where it is the same.
      labels: in the order of their ids; () where they are not given.
      metrics: names of ours; () where they are not given. The first is the main one.
      dropout_p: before the head.
      san: whether the head is a stochastic answer network.
      splits: endings of the files' names in the parent's form.
      text_a_column: of the user's own tables; None: the task has none.
      text_b_column: of a pair's second texts; None: texts are alone.
      label_column: of the labels.
    """

    name: str
    source: str
    task_type: str | None = None
    data_format: str | None = None
    data_dir: str = ""
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    dropout_p: float = 0.1
    san: bool = False
    splits: tuple[str, ...] = ("train", "dev", "test")
    text_a_column: str | None = None
    text_b_column: str | None = None
    label_column: str | None = None

    def splits_of(self, kind: str) -> list[str]:
        """Returns the names of the sets of a kind, "dev" or "test"."""
        return [name for name in self.splits if name.endswith(kind)]

    def main_split(self, kind: str) -> str:
        """Returns the first of `splits_of`.

        Raises:
          UserError: there is none.
        """
        found = self.splits_of(kind)
        if not found:
            raise UserError(
                f"{self.source}: split_names has no name that ends in {kind}"
            )
        return found[0]

    def path(self, data_dir: str, split: str) -> str:
        """Returns the file of a set in the parent's form."""
        return os.path.join(data_dir, f"{self.name}_{split}.tsv")


def check_named(entry: TaskEntry, task_type: str) -> None:
    """Refuses what a task of run_classifier.py has not.

    Args:
      entry: the task.
      task_type: what it is.

    Raises:
      UserError: the entry says otherwise.
    """
    if entry.task_type not in (None, task_type):
        raise UserError(
            f"{entry.source}: task_type is {entry.task_type}, but the task is of "
            f"{task_type}"
        )
    _check_type(dataclasses.replace(entry, task_type=task_type), {})


def read(path: str) -> list[TaskEntry]:
    """Reads a file of tasks.

    Args:
      path: YAML; JSON is YAML, too.

    Returns:
      The tasks, in the file's order.

    Raises:
      UserError: the file is missing, no YAML, or not of tasks; a task or a key stands
        in it twice; a key is unknown, or has a value that is not one of its own.
    """
    text = text_files.read_text(path)
    try:
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}, line {mark.line + 1}" if mark else path
        raise UserError(f"{place}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no YAML: {error}") from error
    except RecursionError:
        raise UserError(f"{path}: nested more deeply than tasks are") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: wanted tasks by their names, got {content!r}")
    return [_entry(path, name, values) for name, values in content.items()]


class _Loader(yaml.SafeLoader):
    """Reads YAML as text has it, and refuses a key that stands somewhere twice.

    Of two, YAML's own rules take the last one and say nothing. And `no` is text: it
    may be a label.
    """

    def construct_mapping(self, node, deep=False):
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is no word", key.start_mark
                )
            name = self.construct_object(key)
            if name in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name} is there twice", key.start_mark
                )
            keys.add(name)
        return super().construct_mapping(node, deep)


# Of plain words only what cannot be taken for a label is more than text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in resolvers if "bool" not in tag]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("true|false|True|False"), list("tfTF")
)


def _entry(path: str, name: object, values: object) -> TaskEntry:
    source = f"{path}: {name}"
    name = str(name)
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{source}: a task's name has letters, digits, - and _ only: it is part "
            "of the names of files and variables"
        )
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UserError(f"{source}: wanted keys and their values, got {values!r}")
    for key, what in _NOT_DONE.items():
        if key in values:
            logging.info("%s: %s is of %s, which is not done here", source, key, what)
    read = {key: value for key, value in values.items() if key not in _NOT_DONE}
    unknown = sorted(str(key) for key in read.keys() - _KEYS.keys())
    if unknown:
        raise UserError(
            f"{source}: unknown key {', '.join(unknown)}; known: {', '.join(_KEYS)}"
        )
    found = {key: _KEYS[key](source, key, value) for key, value in read.items()}
    entry = TaskEntry(
        name,
        source,
        found.get("task_type"),
        found.get("data_format"),
        found.get("data_dir", "" if "data_format" in found else name),
        found.get("labels", ()),
        found.get("metric_meta", ()),
        found.get("dropout_p", TaskEntry.dropout_p),
        found.get("enable_san", False),
        found.get("split_names", TaskEntry.splits),
        **{key: found[key] for key in _COLUMNS if key in found},
    )
    if entry.data_format:
        return _checked_format(entry, found)
    if any(key in found for key in _COLUMNS):
        return _checked_table(entry, found)
    why = "of a task with a data_format; without one, its files are as its publishers'"
    _refuse(entry, found, ("labels", "n_class", "split_names"), why)
    _check_type(entry, found)
    return entry


def _refuse(entry, found, keys, why):
    """Raises UserError for keys that are there."""
    for key in keys:
        if key in found:
            raise UserError(f"{entry.source}: {key} is {why}")


def _checked_table(entry, found):
    """Completes a task of the user's own tables."""
    entry = dataclasses.replace(entry, task_type=entry.task_type or CLASSIFICATION)
    if entry.task_type == RANKING:
        raise UserError(f"{entry.source}: a {RANKING} has no columns with names")
    for key in ("text_a_column", "label_column"):
        if key not in found:
            raise UserError(f"{entry.source}: {key} is missing")
    _refuse(entry, found, ("n_class", "split_names"), "of a task with a data_format")
    if entry.task_type == REGRESSION and entry.labels:
        raise UserError(f"{entry.source}: a regression has no labels")
    _check_type(entry, found)
    return entry


def _checked_format(entry, found):
    """Completes a task in the parent's form."""
    _refuse(entry, found, _COLUMNS, "of tables; a data_format's columns have no names")
    kind = entry.task_type
    if kind is None:
        raise UserError(f"{entry.source}: task_type is missing")
    if (kind == RANKING) != (entry.data_format == CANDIDATES):
        raise UserError(
            f"{entry.source}: data_format is {entry.data_format} and task_type {kind}; "
            f"{RANKING}, and nothing else, has {CANDIDATES}"
        )
    number = found.get("n_class")
    if kind == CLASSIFICATION:
        if not entry.labels and not number:
            raise UserError(f"{entry.source}: wanted labels, or their number, n_class")
        labels = entry.labels or tuple(map(str, range(number)))
        if number and number != len(labels):
            raise UserError(
                f"{entry.source}: n_class is {number}, but there are {len(labels)} "
                f"labels: {', '.join(labels)}"
            )
        if len(labels) < 2:
            raise UserError(f"{entry.source}: {len(labels)} label; wanted 2 or more")
        entry = dataclasses.replace(entry, labels=labels)
    elif kind == REGRESSION and (entry.labels or number not in (None, 1)):
        raise UserError(f"{entry.source}: a regression has no labels, and n_class 1")
    if "train" not in entry.splits:
        raise UserError(
            f"{entry.source}: split_names is {', '.join(entry.splits)}; wanted train, "
            "and names that end in dev and in test"
        )
    _check_type(entry, found)
    return dataclasses.replace(entry, metrics=entry.metrics or _DEFAULT_METRICS[kind])


def _check_type(entry, found):
    """Refuses what another type of task has."""
    kind = entry.task_type
    if kind:
        for name in entry.metrics:
            if name not in _OF_TYPE[kind]:
                raise UserError(
                    f"{entry.source}: metric_meta has {name}, which no {kind} has; "
                    f"wanted {', '.join(_OF_TYPE[kind])}"
                )
        loss = found.get("loss", _LOSSES[kind])
        if loss != _LOSSES[kind]:
            raise UserError(
                f"{entry.source}: loss is {loss}; that of {kind} is {_LOSSES[kind]}"
            )
    is_other = kind in (REGRESSION, RANKING) or entry.data_format == SINGLE
    if entry.san and is_other:
        raise UserError(
            f"{entry.source}: enable_san is for the classification of pairs: it "
            "compares two texts, and answers by a vote"
        )


def _text(source: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise UserError(f"{source}: {key} is {value!r}; wanted a text")
    return value


def _one_of(known: Collection[str]):
    def read(source: str, key: str, value: object) -> str:
        if value not in known:
            raise UserError(
                f"{source}: {key} is {value!r}; wanted one of {', '.join(known)}"
            )
        return value

    return read


def _number(source: str, key: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise UserError(f"{source}: {key} is {value!r}; wanted a number from 1 on")
    return value


def _rate(source: str, key: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise UserError(f"{source}: {key} is {value!r}; wanted from 0 to below 1")
    return float(value)


def _flag(source: str, key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{source}: {key} is {value!r}; wanted true or false")
    return value


def _names(source: str, key: str, value: object) -> tuple[str, ...]:
    """A list of texts; whole numbers, which labels may be, are texts too."""
    items = value if isinstance(value, list) else [None]
    if not items or any(type(item) not in (str, int) for item in items):
        raise UserError(f"{source}: {key} is {value!r}; wanted a list of names")
    names = tuple(map(str, items))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{source}: {key} has {twice} more than once")
    return names


def _metrics(source: str, key: str, value: object) -> tuple[str, ...]:
    names = _names(source, key, value)
    known = {**_METRICS, **{name: name for of in _OF_TYPE.values() for name in of}}
    for name in names:
        if name not in known:
            raise UserError(
                f"{source}: {key} has {name}; wanted some of {', '.join(known)}"
            )
    return tuple(known[name] for name in names)


_KEYS: Mapping[str, Any] = {
    "data_format": _one_of(FORMATS),
    "task_type": _one_of((CLASSIFICATION, REGRESSION, RANKING)),
    "n_class": _number,
    "labels": _names,
    "metric_meta": _metrics,
    "loss": _one_of(tuple(_LOSSES.values())),
    "dropout_p": _rate,
    "enable_san": _flag,
    "split_names": _names,
    "data_dir": _text,
    "text_a_column": _text,
    "text_b_column": _text,
    "label_column": _text,
}
_COLUMNS = [key for key in _KEYS if key.endswith("_column")]
