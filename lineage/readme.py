"""Puts the table of a run into README.md and README.zh.md, between two marks.

python -m lineage.readme --table=docs/lineage/table.csv
"""

from collections.abc import Mapping, Sequence

import startup

from absl import flags

from errors import UserError
from lineage import report, runner, tables
from lineage.code import ROOT

FLAGS = flags.FLAGS
TABLE = "docs/lineage/table.csv"
PAGES = "README.md", "README.zh.md"
_START, _END = "<!-- lineage -->\n", "<!-- /lineage -->\n"


def with_table(page: str, rows: Sequence[Mapping]) -> str:
    """The page's text with the table of these rows.

    Raises:
      UserError: the marks are not there, once each and in order.
    """
    before, start, rest = page.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end or _START in after or _END in before + after:
        raise UserError(f"wanted {_START.strip()}, then {_END.strip()}, once each")
    return f"{before}{start}\n{report.table(rows)}\n{end}{after}"


def define_flags() -> None:
    """What the command line says."""
    flags.DEFINE_string("table", TABLE, "The table.csv of a run.")


def main(_) -> None:
    """Reads the table, writes the pages."""
    rows = tables.read(FLAGS.table)
    for name in PAGES:
        path = ROOT / name
        runner.write(path, with_table(path.read_text(encoding="utf-8"), rows))


if __name__ == "__main__":
    define_flags()
    startup.run(main)
