"""Puts the table of a run into README.md and README.zh.md, between two marks.

python -m lineage.readme --table=docs/lineage/table.csv
"""

import pathlib
from collections.abc import Mapping, Sequence

import startup

from absl import flags

from errors import UserError
from lineage import report, runner, tables
from lineage.code import ROOT

FLAGS = flags.FLAGS
TABLE = "docs/lineage/table.csv"
PAGES = ("README.md", "README.zh.md")
_START, _END = "<!-- lineage -->\n", "<!-- /lineage -->\n"


def with_table(page: str, rows: Sequence[Mapping], name: str) -> str:
    """The page with the table of these rows.

    Args:
      page: its text.
      rows: of contest.rows.
      name: the page's, for the message.

    Raises:
      UserError: the marks are not there, once each and in order.
    """
    before, start, rest = page.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end or _START in after or _END in before + after:
        raise UserError(
            f"{name}: wanted {_START.strip()} and {_END.strip()}, once each"
        )
    return f"{before}{start}\n{report.table(rows)}\n{end}{after}"


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_string("table", TABLE, "The table.csv of a run.")


def main(_) -> None:
    """Reads the table, writes the pages."""
    rows = tables.read(FLAGS.table)
    for name in PAGES:
        path = ROOT / name
        page = with_table(path.read_text(encoding="utf-8"), rows, name)
        runner.write(pathlib.Path(path), page)


if __name__ == "__main__":
    define_flags()
    startup.run(main)
