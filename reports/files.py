"""Writes predictions with their report, and finds tables to compare."""

import os
from collections.abc import Mapping

import tensorflow as tf
from absl import logging

from atomic_files import atomic_path
from errors import UserError
from reports import page
from reports.answers import Answers
from reports.label_sets import LabelSets
from reports.labels import Labels
from reports.page import Section, Table
from reports.results import Results, read_table, write_table
from reports.scores import Scores
from reports.tags import Tags

# The kinds of results; `read` tries them in this order.
KINDS: tuple[type[Results], ...] = (Labels, LabelSets, Scores, Tags, Answers)
TEST, DEV = "", "eval_"  # begin the names of the files


def names(split: str, set_name: str = "") -> tuple[str, str, str]:
    """Names the table, the text and the page of a set.

    Args:
      split: TEST or DEV.
      set_name: "" of the main set.
    """
    ending = f"_{set_name}" if set_name else ""
    table, report = (f"{split}{stem}{ending}" for stem in ("predictions", "report"))
    return f"{table}.tsv", f"{report}.txt", f"{report}.html"


def all_names() -> tuple[str, ...]:
    """Returns the names of all files of main sets."""
    return (*names(DEV), *names(TEST))


def write(
    folder: str,
    split: str,
    set_name: str,
    results: Results,
    facts: Mapping[str, str],
    scores: Mapping[str, float],
) -> None:
    """Writes a set's table and its report.

    An older report is removed first, so that it never stands beside newer predictions.

    Args:
      folder: where to.
      split: TEST or DEV.
      set_name: "" of the main set.
      results: what was predicted.
      facts: what else the report tells of the run, at its beginning.
      scores: of the task, where right answers are known.
    """
    paths = [os.path.join(folder, name) for name in names(split, set_name)]
    for path in paths[::-1]:
        if tf.io.gfile.exists(path):
            tf.io.gfile.remove(path)
    write_table(paths[0], results.columns())
    what = "development" if split == DEV else "test"
    title = f"Predictions of the {what} set" + (f" {set_name}" if set_name else "")
    sections = [_overview(facts, scores), *results.sections()]
    for path, made in zip(paths[1:], (page.as_text, page.as_html), strict=True):
        with atomic_path(path) as aside, tf.io.gfile.GFile(aside, "w") as file:
            file.write(made(title, sections))
    logging.info("predictions and report: %s", ", ".join(paths))


def _overview(facts, scores):
    lines = [f"{name}: {value}" for name, value in facts.items()]
    table = Table(("score", "value"), list(scores.items()), digits=4)
    return Section("Overview", lines, [table] if scores else [])


def read(path: str) -> Results:
    """Reads a table of predictions, of whatever kind.

    Raises:
      MissingFile: there is no such file.
      UserError: it is no table of predictions.
    """
    columns = read_table(path)
    for kind in KINDS:
        if kind.columns_of <= columns.keys():
            try:
                return kind.of_columns(columns)
            except (ValueError, KeyError) as error:
                raise UserError(f"{path}: no table of predictions: {error}") from None
    raise UserError(
        f"{path}: no table of predictions: its columns are {', '.join(columns)}"
    )
