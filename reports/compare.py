"""Is one run better than another on the same rows? A sentence, with its uncertainty."""

import dataclasses
import os
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from errors import MissingFile, UserError
from metrics import comparison
from metrics.comparison import Difference
from reports import files
from reports.results import Results

SIGNIFICANT = 0.05  # the largest p of a difference that is called shown
_SEED_FOLDER = re.compile(r"seed_(\d+)/?")
_PERCENT = 100  # points of a score from 0 to 1


@dataclasses.dataclass(frozen=True)
class Side:
    """What is compared.

    Attributes:
      folder: of a run, or of the runs of several seeds.
      path: a table in it.
      runs: the predictions, one for each seed, of the same rows.
    """

    folder: str
    path: str
    runs: Sequence[Results]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of it, in points: hundredths of a score from 0 to 1.

    Attributes:
      metric: which score.
      values: the scores of A's runs, and of B's.
      difference: B - A.
      test: what `difference.p` is of.
      disagreements: rows that only A has right, and that only B has; None where several
        runs or another metric are compared.
      lower_is_better: whether less of the metric is better.
      unit: what a difference is called.
    """

    metric: str
    values: tuple[list[float], list[float]]
    difference: Difference
    test: str
    disagreements: tuple[int, int] | None
    lower_is_better: bool
    unit: str

    @property
    def is_shown(self) -> bool:
        """Whether the difference is more than chance: by p, and by the interval."""
        found = self.difference
        outside = found.low > 0 or found.high < 0
        return outside and found.p < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """The sentence."""
        found = self.difference
        value, low, high = found.value, found.low, found.high
        tail = f"p {_p(found.p)} ({self.test})"
        if not self.is_shown:
            return (
                f"No difference shown: B - A is {value:+.2f} {self.unit} "
                f"[{low:+.2f}, {high:+.2f}], {tail}."
            )
        better = "B" if (value > 0) != self.lower_is_better else "A"
        low, high = sorted((abs(low), abs(high)))
        return (
            f"{better} is better by {abs(value):.2f} {self.unit} "
            f"[{low:.2f}, {high:.2f}], {tail}."
        )


def _p(value):
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def open_sides(folders: Sequence[str], name: str | None = None) -> tuple[Side, Side]:
    """Reads the predictions of two runs, or of the runs of several seeds each.

    Args:
      folders: two output folders.
      name: the table to read, predictions.tsv or another set's; None: the first one of
        predictions.tsv and eval_predictions.tsv that both have with right answers.

    Raises:
      UserError: a folder has none, right answers are not known, or the tables are not
        of the same rows and the same kind of task.
    """
    if name:
        names = [name]
    else:
        names = [files.names(split)[0] for split in (files.TEST, files.DEV)]
    for candidate in names:
        sides = [_open(folder, candidate) for folder in folders]
        if all(sides) and all(run.is_known for side in sides for run in side.runs):
            break
    else:
        lacking = [f for f in folders if not any(_open(f, n) for n in names)]
        if lacking:
            raise MissingFile(f"{lacking[0]}: no {' and no '.join(names)}")
        raise UserError(
            f"{' and '.join(folders)}: no {' and no '.join(names)} that both have "
            "with right answers"
        )
    first = sides[0].runs[0]
    for side in sides:
        for run in side.runs:
            _check_same(sides[0].path, first, side.path, run)
    return tuple(sides)


def _open(folder, name):
    """Returns a folder's predictions; None where it has no such table."""
    paths = [os.path.join(folder, name)]
    if not tf.io.gfile.exists(paths[0]) and tf.io.gfile.isdir(folder):
        found = map(_SEED_FOLDER.fullmatch, tf.io.gfile.listdir(folder))
        seeds = sorted(int(match[1]) for match in found if match)
        paths = [os.path.join(folder, f"seed_{seed}", name) for seed in seeds]
    paths = [path for path in paths if tf.io.gfile.exists(path)]
    if not paths:
        return None
    return Side(folder, paths[0], [files.read(path) for path in paths])


def _check_same(path, first, other_path, other):
    where = f"{path} and {other_path} are not of the same rows"
    if type(first) is not type(other):
        kinds = (type(x).__name__.lower() for x in (first, other))
        raise UserError(f"{where}: they hold {' and '.join(kinds)}")
    sides = first.same_rows(), other.same_rows()
    if list(sides[0]) != list(sides[1]):
        columns = (", ".join(side) for side in sides)
        raise UserError(f"{where}: their columns are {' and '.join(columns)}")
    for name, column in sides[0].items():
        others = sides[1][name]
        if len(column) != len(others):
            raise UserError(f"{where}: {len(column):,} and {len(others):,} rows")
        for i, (a, b) in enumerate(zip(column, others, strict=True), 1):
            if a != b:
                raise UserError(
                    f"{where}: {name} of row {i} is {a[:60]!r} and {b[:60]!r}"
                )


def compare(
    sides: tuple[Side, Side],
    metric: str | None = None,
    *,
    seed: int = 0,
    samples: int = 10_000,
) -> Comparison:
    """Compares two sides.

    p is McNemar's where one run each is right or wrong on every row; else it is that of
    the bootstrap, see metrics.comparison.

    Args:
      sides: of `open_sides`.
      metric: one of those that such results have; None: the first one.
      seed: of the bootstrap.
      samples: resampled test sets.

    Raises:
      UserError: there is no such metric.
    """
    a, b = (list(side.runs) for side in sides)
    known = a[0].metrics
    metric = metric or known[0]
    if metric not in known:
        raise UserError(f"--metric={metric}: {sides[0].path} has {', '.join(known)}")
    if metric == "f1":
        _check_two_classes(sides)
    sums = [[run.row_sums(metric) for run in runs] for runs in (a, b)]
    unit, scale = ("points", _PERCENT) if metric != "mse" else ("of squared error", 1)
    found = comparison.bootstrap(*sums, seed=seed, samples=samples)
    test, counts = "bootstrap", None
    right = [run.right_rows(metric) for run in (a[0], b[0])]
    if len(a) == len(b) == 1 and right[0] is not None:
        test = "McNemar's exact test"
        found = dataclasses.replace(found, p=comparison.mcnemar(*right))
        only = (right[0] & ~right[1], right[1] & ~right[0])
        counts = tuple(int(np.sum(x)) for x in only)
    elif len(a) > 1 or len(b) > 1:
        test = "bootstrap over rows and seeds"
    ends = (found.value * scale, found.low * scale, found.high * scale)
    values = tuple([scale * run.value for run in runs] for runs in sums)
    lower = metric in a[0].lower_is_better
    difference = Difference(*ends, found.p)
    return Comparison(metric, values, difference, test, counts, lower, unit)


def _check_two_classes(sides):
    run = sides[0].runs[0]
    labels = getattr(run, "labels", ())
    if len(labels) > 2:
        raise UserError(
            f"--metric=f1: {sides[0].path} has {len(labels)} classes, of which none is "
            "the one that is sought: use macro_f1"
        )
