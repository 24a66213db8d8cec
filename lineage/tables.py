"""Tables of rows as CSV: what a picture is drawn from lies beside it."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence

from errors import UserError
from lineage import runner

Value = str | int | float | bool | None
Row = Mapping[str, Value]


def write(path: str | pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes rows of the same columns; the file appears when it is complete.

    Numbers are written so that the same ones are read back.

    Raises:
      ValueError: no row, or rows of different columns.
    """
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise ValueError(f"{path}: wanted rows of the same columns")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_written(value) for value in row.values()] for row in rows)
    runner.write(pathlib.Path(path), text.getvalue())


def _written(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(float(value)) if isinstance(value, float) else str(value)


def read(path: str | pathlib.Path) -> list[dict[str, Value]]:
    """Reads rows; what looks like a number is one.

    Raises:
      UserError: no header, or a row of another length.
    """
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    if not header:
        raise UserError(f"{path}: no header; wanted a table as CSV")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(row)} values; wanted {len(header)}"
            )
    return [dict(zip(header, map(_read, row), strict=True)) for row in rows]


def _read(text: str) -> Value:
    if text in ("", "yes", "no"):
        return {"": None, "yes": True, "no": False}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
