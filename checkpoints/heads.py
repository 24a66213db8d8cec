"""A head from a file: outputs of one name keep their weights, wherever they stand."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from checkpoints.loading import Rows
from checkpoints.mapping import Checkpoint, CheckpointError, Outputs, find_reason

_LABELS_SHOWN = 10
# Outputs that are told apart by their place only, if there is more than one.
_NAMELESS = ("regression", "multiple_choice", "ranking")
_NO_NAME = re.compile(r"LABEL_\d+")  # Hugging Face's, of labels that nobody named


@dataclasses.dataclass(frozen=True)
class Head:
    """The variables of a head, and what they decide.

    Attributes:
      pattern: regular expression over their names.
      axes: regular expression over the names of those with a value for each output ->
        which axes the outputs lie along.
      shapes: name -> shape of the model's variables.
      outputs: what they decide.
    """

    pattern: str
    axes: Mapping[str, Sequence[int]]
    shapes: Mapping[str, Sequence[int]]
    outputs: Outputs

    def stored(self, checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
        """Returns the tensors of a file that are of such a head: name -> axes."""
        return {
            name: tuple(find_reason(self.axes, name) or ())
            for name in checkpoint.shapes
            if re.fullmatch(self.pattern, name)
        }


@dataclasses.dataclass(frozen=True)
class Fit:
    """How the variables of a head are filled.

    Attributes:
      line: what becomes of the head, for the log; "" where it is as in the file.
      new: regular expression over names of variables -> reason.
      unused: regular expression over names in the file -> reason.
      rows: name -> where the variable's outputs are in the file.
    """

    line: str
    new: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, Rows] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_several(cls, fits: Mapping[str, "Fit"], own: Sequence[str], all_: str):
        """Puts the fits of several heads together.

        Args:
          fits: name of a head -> its fit.
          own: regular expressions over the names of their variables.
          all_: regular expression over those of all heads that a file may have.
        """
        others = {rf"(?!({'|'.join(own)})$){all_}": "the head of another task"}
        return cls(
            "\n".join(f"{name}: {fit.line}" for name, fit in fits.items() if fit.line),
            {key: value for fit in fits.values() for key, value in fit.new.items()},
            {k: v for fit in fits.values() for k, v in fit.unused.items()} | others,
            {key: value for fit in fits.values() for key, value in fit.rows.items()},
        )


def fit_new(checkpoint: Checkpoint, head: Head) -> Fit:
    """Fits a file's head to one that is to be trained.

    Args:
      checkpoint: the file.
      head: the model's.

    Returns:
      The fit: outputs of the file's are taken by their name. A head of another kind is
      new, and so is one without a common name. Where the file does not say what its
      outputs are, they are taken in order, if they are as many.

    Raises:
      CheckpointError: the file's head has not as many outputs as names, or a name
        twice.
    """
    stored, pattern = head.stored(checkpoint), head.pattern
    found, wanted = checkpoint.outputs, head.outputs
    if not stored:
        return Fit("new", {pattern: "the head of this task"})
    if found is None:
        return _fit_unnamed(checkpoint, head)
    if found.kind != wanted.kind:
        return _fresh(pattern, f"the file's is of another kind, {found.kind}")
    if not stored.keys() & head.shapes.keys():
        return _fresh(pattern, "the file's is of another form")
    # Parts that this head has not: a CRF, where tags are now chosen one by one.
    unused = {
        re.escape(name): "a part that this head has not"
        for name in set(stored) - set(head.shapes)
    }
    new = {pattern: "a part that the file's head has not"}
    if wanted.kind in _NAMELESS:
        return Fit(f"kept, a {wanted.kind}", new, unused)
    source = _source(checkpoint, stored, wanted.labels)
    kept = [label for label, row in zip(wanted.labels, source, strict=True) if row >= 0]
    if not kept:
        theirs, ours = _show(found.labels), _show(wanted.labels)
        return _fresh(pattern, f"none of the file's labels ({theirs}) is one of {ours}")
    line = f"{len(kept)} of {len(source)} labels kept ({_show(kept)})"
    added = [label for label in wanted.labels if label not in kept]
    if added:
        line += f", new: {_show(added)}"
    left = [label for label in found.labels if label not in kept]
    if left:
        line += f", left out: {_show(left)}"
    return Fit(line, new, unused, _rows(stored, source))


def fit_trained(checkpoint: Checkpoint, head: Head) -> Fit:
    """Fits a file's head to one that is used as it is; arguments as of `fit_new`.

    Raises:
      CheckpointError: the names that the file has for its outputs are others.
    """
    found, wanted = checkpoint.outputs, head.outputs
    named = found and found.labels and wanted.kind not in _NAMELESS
    if not named or found.labels == wanted.labels:
        return Fit("")
    if all(map(_NO_NAME.fullmatch, found.labels)):
        return Fit(
            f"the file names none of its labels: taken for {_show(wanted.labels)}, in "
            "this order"
        )
    if sorted(found.labels) != sorted(wanted.labels):
        raise CheckpointError(
            f"{checkpoint.path}: the model tells {_show(found.labels)} apart, but the "
            f"labels of the data are {_show(wanted.labels)}: it has to be trained on "
            "them first, with --do_train"
        )
    stored = head.stored(checkpoint)
    source = _source(checkpoint, stored, wanted.labels)
    line = f"labels in the order of the data: {_show(wanted.labels)}"
    return Fit(line, rows=_rows(stored, source))


def _fresh(pattern: str, reason: str) -> Fit:
    return Fit(f"new: {reason}", {pattern: reason}, {pattern: reason})


def _fit_unnamed(checkpoint, head):
    """Takes outputs in order; what they are is not known."""
    fits = all(
        tuple(head.shapes.get(name, ())) == checkpoint.shapes[name]
        for name in head.stored(checkpoint)
    )
    if not fits:
        return _fresh(head.pattern, "the file's, of unknown labels, has another size")
    new = {head.pattern: "a part that the file's head has not"}
    return Fit("kept in the file's order: it does not say of which labels it is", new)


def _source(checkpoint, stored, labels):
    """Returns which of the file's outputs each label is, int64 [labels]; -1 = none."""
    found = checkpoint.outputs.labels
    for name, axes in stored.items():
        shape = checkpoint.shapes[name]
        if any(shape[axis : axis + 1] != (len(found),) for axis in axes):
            raise CheckpointError(
                f"{checkpoint.path}: {name} is {list(shape)}, but there are "
                f"{len(found)} labels beside it: {_show(found)}"
            )
    places = {label: i for i, label in enumerate(found)}
    if len(places) < len(found):
        twice = next(label for label in found if found.count(label) > 1)
        raise CheckpointError(
            f"{checkpoint.path}: the label {twice!r} stands beside it more than once"
        )
    return np.array([places.get(label, -1) for label in labels], np.int64)


def _rows(stored, source):
    """Returns the rows of all that has a value for each output."""
    reason = "labels that the file has not"
    return {name: Rows(source, reason, axes) for name, axes in stored.items() if axes}


def _show(labels: Collection[str]) -> str:
    shown = ", ".join(list(labels)[:_LABELS_SHOWN])
    more = len(labels) - _LABELS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
