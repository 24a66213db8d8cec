"""Sections of tables and drawings, as plain text and as one HTML page."""

import dataclasses
import html
import importlib.util
import io
from collections.abc import Callable, Sequence
from typing import Any

import pictures

Cell = str | int | float
_WIDTH = 100  # characters of a line of text
_LONGEST = 300  # characters of a cell
_MISSING = (
    'Drawings need the package matplotlib: pip install "word2bert[plot]". The tables '
    "are complete without it."
)
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  color: #1b1f24; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid #d5dae0; }
nav { margin: .8rem 0 0; } nav a { margin-right: 1.1rem; color: #0b5a94; }
p { margin: .5rem 0; max-width: 48rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; }
caption { caption-side: top; text-align: left; font-weight: 600; padding: .2rem 0; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #8a949e; }
th, td { padding: .25rem .7rem; vertical-align: top; overflow-wrap: anywhere; }
tbody tr:nth-child(even) { background: #f3f5f7; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  overflow-wrap: normal; }
.name { white-space: nowrap; overflow-wrap: normal; }
figure { margin: .8rem 0; } figure svg { max-width: 100%; height: auto; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.figures svg text {
  font-family: system-ui, "Segoe UI", "Noto Sans", sans-serif !important; }
summary { cursor: pointer; color: #0b5a94; }
""".strip()


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells under names.

    Attributes:
      header: the names of the columns.
      rows: floats are shown with `digits` digits, None as nothing.
      caption: what the rows are.
      digits: after the point.
      drawn: whether a drawing shows the same, so that the page can fold it away.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell | None]]
    caption: str = ""
    digits: int = 3
    drawn: bool = False

    def cells(self) -> list[list[str]]:
        """Returns the rows as text."""
        return [[self._shown(cell) for cell in row] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Tells which columns hold numbers alone."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return [
            all(cell is None or isinstance(cell, int | float) for cell in column)
            for column in columns
        ]

    def _shown(self, cell):
        if cell is None:
            return ""
        if isinstance(cell, float):
            return f"{cell:.{self.digits}f}"
        if isinstance(cell, int):
            return f"{cell:,}"
        return cut(cell)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A drawing, made when it is shown.

    Attributes:
      caption: what it shows, for who does not see it.
      draw: called with matplotlib's axes.
      size: width and height in inches.
    """

    caption: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (4.6, 3.8)


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
      title: its heading.
      lines: paragraphs.
      tables: below them.
      drawings: between both, on the page alone.
      svgs: pictures that there are, behind the drawings.
    """

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    svgs: Sequence[str] = ()


def cut(text: str, longest: int = _LONGEST) -> str:
    """Puts a text on one line, and cuts a long one."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def as_text(title: str, sections: Sequence[Section]) -> str:
    """Returns a report as plain text, at most 100 characters wide."""
    from rich.console import Console

    file = io.StringIO()
    console = Console(
        file=file,
        width=_WIDTH,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=False,
    )
    console.print(title, end="\n\n")
    for section in sections:
        console.print(section.title)
        console.print("-" * len(section.title))
        for line in section.lines:
            console.print(line)
        for table in section.tables:
            console.print()
            if table.caption:
                console.print(table.caption)
            console.print(_text_table(table))
        console.print()
    lines = (line.rstrip() for line in file.getvalue().splitlines())
    return "\n".join(lines).rstrip() + "\n"


def _text_table(table):
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, numeric in zip(table.header, table.numeric(), strict=True):
        justify = "right" if numeric else "left"
        made.add_column(Text(name), justify=justify, no_wrap=numeric, overflow="fold")
    for row in table.cells():
        made.add_row(*map(Text, row))
    return made


def as_html(title: str, sections: Sequence[Section]) -> str:
    """Returns a report as one page, which reads nothing from elsewhere."""
    from reports import drawing

    has_drawings = any(section.drawings for section in sections)
    draws = bool(importlib.util.find_spec("matplotlib"))
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    if has_drawings and not draws:
        parts.append(f"<p>{html.escape(_MISSING)}</p>")
    links = (
        f'<a href="#s{i}">{html.escape(s.title)}</a>' for i, s in _numbered(sections)
    )
    parts.append(f"<nav>{' '.join(links)}</nav>")
    for i, section in _numbered(sections):
        parts.append(f'<section id="s{i}"><h2>{html.escape(section.title)}</h2>')
        parts += (f"<p>{html.escape(line)}</p>" for line in section.lines)
        if section.drawings and draws:
            figures = (
                drawing.figure(d, f"s{i}d{k}") for k, d in enumerate(section.drawings)
            )
            parts.append(f'<div class="figures">{"".join(figures)}</div>')
        for k, svg in enumerate(section.svgs):
            parts.append(f"<figure>{pictures.element(svg, f's{i}p{k}')}</figure>")
        parts += (_html_table(table, folded=draws) for table in section.tables)
        parts.append("</section>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _numbered(sections):
    return list(enumerate(sections, 1))


def _html_table(table, folded):
    classes = _classes(table)

    def row(cells, tag):
        return (
            "<tr>"
            + "".join(
                f"<{tag}{style}>{html.escape(cell)}</{tag}>"
                for cell, style in zip(cells, classes, strict=True)
            )
            + "</tr>"
        )

    caption = html.escape(table.caption)
    folds = folded and table.drawn
    shown = f"<caption>{caption}</caption>" if caption and not folds else ""
    body = "\n".join(row(cells, "td") for cells in table.cells())
    made = (
        f'<div class="wide"><table>{shown}<thead>{row(table.header, "th")}</thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )
    if not folds:
        return made
    return f"<details><summary>{caption or 'As a table'}</summary>{made}</details>"


def _classes(table):
    """Columns of numbers stand to the right; short names are not broken."""
    cells = table.cells()
    classes = []
    for i, numeric in enumerate(table.numeric()):
        short = all(len(row[i]) <= 24 for row in cells)
        name = "number" if numeric else "name" if short else ""
        classes.append(f' class="{name}"' if name else "")
    return classes
