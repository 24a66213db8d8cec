"""Variables from a checkpoint: every one filled or listed as new, with the reason."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from checkpoints.mapping import Checkpoint, find_reason, raise_problems
from modeling.layers import base

_NAMES_SHOWN = 4  # of the tensors that share a reason; an optimizer leaves hundreds


@dataclasses.dataclass(frozen=True)
class Rows:
    """Which row of a table in the file each row of a variable is.

    Attributes:
      source: int [rows of the variable], a row of the file; -1 = it has none, and the
        variable's own initial value stays.
      reason: why there are rows of which the file has none.
      axes: which axes of the table the rows are counted along.
      mean: whether rows that the file has not are the mean of all that it has, instead.
    """

    source: np.ndarray
    reason: str
    axes: tuple[int, ...] = (0,)
    mean: bool = False

    def shape(self, found: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that `fill` makes of the file's."""
        return tuple(
            len(self.source) if axis in self.axes else size
            for axis, size in enumerate(found)
        )

    def fill(self, table: np.ndarray, value: np.ndarray) -> None:
        """Puts the file's value into a variable's."""
        known = np.flatnonzero(self.source >= 0)
        if self.mean:
            table[self.source < 0] = value.mean(axis=0)
        to, there = (
            np.ix_(
                *(
                    rows if axis in self.axes else np.arange(size)
                    for axis, size in enumerate(table.shape)
                )
            )
            for rows in (known, self.source[known])
        )
        table[to] = value[there]

    def added(self, name: str) -> dict[str, str]:
        """Returns the rows that the file has not, as `name[from:to]` -> reason."""
        return dict.fromkeys(_runs(name, self.source < 0), self.reason)

    def dropped(self, name: str, num_rows: int) -> dict[str, str]:
        """Returns which of the file's `num_rows` rows are not used."""
        unused = ~np.isin(np.arange(num_rows), self.source)
        return dict.fromkeys(_runs(name, unused), "the model has no such rows")


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What `initialize` did.

    Attributes:
      loaded: names of the variables that were filled.
      new: variable, or its added rows as `name[from:to]` -> reason.
      ignored: tensor in the file, or rows of it that have no place -> reason.
    """

    loaded: tuple[str, ...]
    new: dict[str, str]
    ignored: dict[str, str]


def initialize(
    variables: Mapping[str, Any],
    checkpoint: Checkpoint,
    *,
    new: Mapping[str, str],
    unused: Mapping[str, str],
    resize_vocab: bool | None = False,
    rows: Mapping[str, Rows] = types.MappingProxyType({}),
) -> LoadReport:
    """Fills `variables`; nothing is assigned unless all of it fits.

    Args:
      variables: our name -> Keras or tf variable (mirrored ones too).
      checkpoint: what to read from, one tensor at a time.
      new: regular expression over names of variables that the file need not have
        -> reason. One that the file has is loaded all the same.
      unused: regular expression over names in the file that are never read -> reason.
      resize_vocab: whether a model with more vocabulary rows than the file keeps its
        own initial values in the rows that the file lacks; None where it cannot be
        asked to, so that no message says it could.
      rows: name -> where the variable's rows are in the file, if not one for one.

    Returns:
      What was loaded, is new, was ignored; also logged.

    Raises:
      CheckpointError: variables without a tensor, tensors without a variable, wrong
        shapes; one message names them all.
    """
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    in_file, ignored = _split_unused(checkpoint, unused)
    problems = [
        f"extra: {name} {list(in_file[name])} is in the file only"
        for name in sorted(set(in_file) - set(shapes))
    ]
    if resize_vocab:
        rows = {**_added_at_the_end(shapes, checkpoint), **rows}
    loaded, fresh = [], {}
    for name, shape in shapes.items():
        found, reason = in_file.get(name), find_reason(new, name)
        if found and name in rows:
            fresh |= rows[name].added(name)
            ignored |= rows[name].dropped(name, found[rows[name].axes[0]])
            found = rows[name].shape(found)
        if found is None and reason is None:
            problems.append(f"missing: {name} {list(shape)} is in the model only")
        elif found is None:
            fresh[name] = reason
        elif found == shape:
            loaded.append(name)
        else:
            problems.append(
                f"wrong shape: {name} is {list(found)} in the file, "
                f"{list(shape)} in the model"
                + _hint(name, found, shape, checkpoint, resize_vocab is not None)
            )
    raise_problems(problems, checkpoint.path)
    for name in loaded:
        _assign(variables[name], checkpoint.read(name), rows.get(name))
    report = LoadReport(tuple(loaded), fresh, ignored)
    _log(report, checkpoint)
    return report


def _split_unused(
    checkpoint: Checkpoint, unused: Mapping[str, str]
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Returns the shapes of what is to be read, and the reasons for all the rest."""
    offered, ignored = {}, dict(checkpoint.ignored)
    for name, shape in {**checkpoint.shapes, **checkpoint.unknown}.items():
        reason = find_reason(unused, name)
        if reason is None:
            offered[name] = shape
        else:
            ignored[name] = reason
    return offered, ignored


def _added_at_the_end(
    shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint
) -> dict[str, Rows]:
    """Rows of the vocabulary tensors that are longer in the model than in the file."""
    rows = {}
    for name in checkpoint.vocab_tensors & set(shapes):
        old, shape = checkpoint.shapes.get(name, ()), shapes[name]
        if shape[1:] == old[1:] and shape[0] > old[0]:
            source = np.arange(shape[0])
            source[old[0] :] = -1
            rows[name] = Rows(source, "rows added by resize_vocab")
    return rows


def _runs(name: str, mask: np.ndarray) -> list[str]:
    """Names each run of rows where bool [rows] `mask` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return [f"{name}[{start}:{stop}]" for start, stop in edges.reshape(-1, 2)]


def _hint(
    name: str,
    found: tuple[int, ...],
    shape: tuple[int, ...],
    checkpoint: Checkpoint,
    can_resize: bool,
) -> str:
    """Explains the wrong shape that a vocabulary of another size causes."""
    if name not in checkpoint.vocab_tensors or found[1:] != shape[1:]:
        return "; do --bert_config_file and --init_checkpoint belong together?"
    text = (
        f"; the vocabularies have {found[0]} and {shape[0]} entries: --vocab_file, "
        "--bert_config_file and --init_checkpoint must belong together"
    )
    if found[0] < shape[0] and can_resize:
        text += "; if entries were added at the end, resize_vocab gives them new rows"
    return text


def _assign(variable: Any, value: np.ndarray, rows: Rows | None) -> None:
    if rows is not None:
        base.draw([variable])
        table = np.array(tf.convert_to_tensor(variable))
        rows.fill(table, value)
        value = table
    variable.assign(value)


def _log(report: LoadReport, checkpoint: Checkpoint) -> None:
    logging.info(
        "%s (%s): %d variables loaded, %d new, %d tensors ignored",
        checkpoint.path,
        checkpoint.format,
        len(report.loaded),
        len(report.new),
        len(report.ignored),
    )
    for title, reasons in (("new", report.new), ("ignored", report.ignored)):
        names: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            names.setdefault(reason, []).append(name)
        for reason, found in names.items():
            shown = ", ".join(found[:_NAMES_SHOWN])
            more = len(found) - _NAMES_SHOWN
            shown += f" and {more} more" if more > 0 else ""
            logging.info("  %s: %s (%s)", title, shown, reason)
