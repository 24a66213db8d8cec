"""What was expected of the main table before any run, beside what came out."""

from collections.abc import Iterator, Sequence
from typing import Any

from lineage import tables
from lineage.code import ROOT
from lineage.tables import Row

# Task, column and name are those of the table; low and high are ends, in percent.
FILE = ROOT / "configs/lineage/expected.csv"
INSIDE, BELOW, ABOVE = "as expected", "below", "above"


def compared(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yields the expectations that a table has a score for.

    Args:
      rows: of contest.rows.
    """
    scores = {_cell(row): row["score"] for row in rows if row["score"] is not None}
    for expected in tables.read(FILE):
        if _cell(expected) in scores:
            score = scores[_cell(expected)]
            yield expected | {"score": score, "verdict": _verdict(expected, score)}


def _cell(row: Row) -> tuple:
    return row["task"], row["column"], row["name"]


def _verdict(expected: Row, score: float) -> str:
    if score < expected["low"]:
        return BELOW
    return ABOVE if score > expected["high"] else INSIDE
