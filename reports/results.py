"""What a model said of the rows of a set, beside what is right; its table as a file."""

import abc
import csv
import io
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

import numpy as np
import tensorflow as tf

from atomic_files import atomic_path
from errors import MissingFile, UserError
from metrics.comparison import RowSums
from reports.page import Section

Columns = dict[str, Sequence[str]]
Found = TypeVar("Found", bound="Results")
_BLOCK = 10_000  # rows written at once


class Results(abc.ABC):
    """Predictions of one kind.

    Attributes:
      columns_of: the names of columns by which a table is known to be of this kind.
      metrics: what two tables can be compared by; the first one is the default.
      lower_is_better: those of them of which less is better.
    """

    columns_of: ClassVar[frozenset[str]]
    metrics: ClassVar[tuple[str, ...]]
    lower_is_better: ClassVar[frozenset[str]] = frozenset()

    @property
    @abc.abstractmethod
    def is_known(self) -> bool:
        """Whether all right answers are known."""

    @abc.abstractmethod
    def columns(self) -> Columns:
        """Returns the table: name -> a value of each row."""

    @classmethod
    @abc.abstractmethod
    def of_columns(cls: type[Found], columns: Columns) -> Found:
        """Reads what `columns` returned, as far as comparing needs it.

        Raises:
          ValueError: a value is not what stands in its column.
        """

    @abc.abstractmethod
    def sections(self) -> list[Section]:
        """Returns what a report tells."""

    @abc.abstractmethod
    def row_sums(self, metric: str) -> RowSums:
        """Returns one of `metrics` as sums over rows; right answers are known."""

    def right_rows(self, metric: str) -> np.ndarray | None:
        """Tells which rows are right, bool [N], if the metric is the share of them."""
        del metric
        return None

    @abc.abstractmethod
    def same_rows(self) -> Columns:
        """Returns those columns that tables must share to be compared."""


def shown(number: float) -> str:
    """Writes a number with the digits that tell any float32 from all others."""
    return f"{number:.9g}"


def write_table(path: str, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes columns of text, tab-separated, with a header; no half file is ever seen.

    A value that holds a tab, a quote or the end of a line is quoted as in CSV files.

    Args:
      path: where to.
      columns: of equal length.
    """
    rows = itertools.chain([tuple(columns)], zip(*columns.values(), strict=True))
    with atomic_path(path) as aside, tf.io.gfile.GFile(aside, "w") as file:
        while block := list(itertools.islice(rows, _BLOCK)):
            file.write(_lines(block))


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    layout = {"delimiter": "\t", "lineterminator": "\n"}
    plain = csv.writer(text, **layout)
    quoting = csv.writer(text, quoting=csv.QUOTE_ALL, **layout)
    for row in rows:
        # Python quotes a lone CR since 3.13 only, and readers end a line there.
        writer = quoting if any("\r" in cell for cell in row) else plain
        writer.writerow(row)
    return text.getvalue()


def read_table(path: str) -> Columns:
    """Reads what `write_table` wrote.

    Raises:
      MissingFile: there is no such file.
      UserError: it is no such table; names the line.
    """
    if not tf.io.gfile.exists(path):
        raise MissingFile(f"{path}: no such file")
    csv.field_size_limit(sys.maxsize)
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read()
    try:
        text = io.StringIO(data.decode("utf-8"), newline="")
        reader = csv.reader(text, delimiter="\t", strict=True)
        header = next(reader, [])
        rows = []
        for row in reader:
            if len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, wanted "
                    f"{len(header)}: {', '.join(header)}"
                )
            rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no table of predictions: {error}") from None
    if not rows:
        raise UserError(f"{path}: no rows")
    return dict(zip(header, zip(*rows, strict=True), strict=True))
