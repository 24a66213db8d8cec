"""Pictures of the lineage, each from a CSV file that lies beside it.

Three kinds of picture, by the columns of their rows:

    lines    panel, name, x, mean, low, high, released
    dots     panel, group, name, mean, low, high, released
    points   panel, group, name, x, y

`low` and `high` are the ends of an interval, or nothing; `released` marks weights that
were not trained here, which are drawn hollow. Names stand at their lines, not in a
legend. Each function writes NAME.csv, NAME.svg and NAME.png.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pictures
from lineage import tables
from lineage.tables import Row

_PANEL = 4.6, 3.4  # inches of a panel of lines
_NAME = 0.17  # inches of a name at its line
_DASHES = ("-", "--", ":")
_ROW = 0.32  # inches of a group of dots
_SQUARE = 1.9  # inches of a panel of points
_LINE = 0.45  # of a group's height, of a name above
_SPREAD = 0.5  # of a group's height, over which its dots are set apart


def lines(
    name: str,
    rows: Sequence[Row],
    folder: pathlib.Path,
    *,
    x: str,
    y: str,
    log: bool = False,
) -> pathlib.Path:
    """Draws lines with bands, a panel beside the other.

    Args:
      name: of the files.
      rows: see above; a line of one point is a marker with a whisker.
      folder: where the files are put.
      x: what the horizontal axis is.
      y: what the vertical axis is.
      log: whether the horizontal axis is logarithmic.

    Returns:
      The SVG.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    panels, names = _each(rows, "panel"), _each(rows, "name")

    def draw(figure):
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(grid, panels, strict=True):
            if log:
                axes.set_xscale("log")
            axes.set(xlabel=x, ylabel=y)
            axes.set_title(panel, loc="left", fontsize=10)
            axes.grid(alpha=0.3, lw=0.5)
            of_panel = [row for row in rows if row["panel"] == panel]
            _draw_lines(axes, of_panel, names, log, apart)

    height = max(_PANEL[1], 1 + _NAME * len(names))
    size, apart = (_PANEL[0] * len(panels), height), _NAME / (height - 0.8)
    return _made(name, rows, folder, size, draw)


def _draw_lines(axes, rows, names, log, apart):
    ends = []
    places = sorted({row["x"] for row in rows})
    for number, name in enumerate(names):
        line = sorted((r for r in rows if r["name"] == name), key=lambda row: row["x"])
        if not line:
            continue
        style = _style(number, line[0]["released"])
        means = [row["mean"] for row in line]
        xs = [row["x"] for row in line]
        axes.plot(xs, means, _DASHES[number // len(pictures.COLOURS)], lw=1.5, **style)
        band = [row for row in line if row["low"] is not None]
        if len(band) > 1:
            axes.fill_between(
                [row["x"] for row in band],
                [row["low"] for row in band],
                [row["high"] for row in band],
                color=style["color"],
                alpha=0.12,
                lw=0,
            )
        elif band:
            _whisker(axes.vlines, band[0]["x"], band[0], style["color"])
        ends.append((xs[-1], means[-1], name, style["color"]))
    axes.set_xticks(places, [f"{place:,g}" for place in places])
    if log:
        axes.minorticks_off()
    pictures.name_lines(axes, ends, apart)


def dots(
    name: str,
    rows: Sequence[Row],
    folder: pathlib.Path,
    *,
    x: str,
    guess: Mapping[str, float] | None = None,
) -> pathlib.Path:
    """Draws dots with whiskers, a row for each group, the first one above.

    Args:
      name: of the files.
      rows: see above.
      folder: where the files are put.
      x: what the horizontal axis is.
      guess: what guessing would reach, by panel; a line there.

    Returns:
      The SVG.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    panels, names = _each(rows, "panel"), _each(rows, "name")
    groups = _each(rows, "group")

    def draw(figure):
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, panel in zip(grid, panels, strict=True):
            _draw_dots(axes, [r for r in rows if r["panel"] == panel], groups, names)
            axes.set_title(panel, loc="left", fontsize=10)
            axes.set_xlabel(x)
            if panel in (guess or {}):
                axes.axvline(guess[panel], color=pictures.GREY, lw=1, linestyle="--")
                axes.annotate(
                    "guess",
                    (guess[panel], len(groups) - 0.45),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=8,
                    color=pictures.GREY,
                )
        grid[0].set_yticks(range(len(groups)), groups)
        grid[0].set_ylim(len(groups) - 0.3, -_LINE * (len(names) + 1))

    size = 1.6 + 3.2 * len(panels), 1.0 + _ROW * (len(groups) + _LINE * len(names))
    return _made(name, rows, folder, size, draw)


def _draw_dots(axes, rows, groups, names):
    axes.grid(axis="x", alpha=0.3, lw=0.5)
    named = set()
    for row in rows:
        number = names.index(row["name"])
        shift = _SPREAD * ((number + 0.5) / len(names) - 0.5)
        place = groups.index(row["group"]) + shift
        style = _style(number, row["released"])
        axes.plot(row["mean"], place, linestyle="none", **style)
        if row["low"] is not None:
            _whisker(axes.hlines, place, row, style["color"])
        if row["name"] not in named:  # at its first dot, above those of others
            named.add(row["name"])
            above = row["mean"], -_LINE * (len(names) - number)
            look = {"color": style["color"], "fontsize": 8, "ha": "center"}
            axes.annotate(row["name"], above, **look, annotation_clip=False)


def points(name: str, rows: Sequence[Row], folder: pathlib.Path) -> pathlib.Path:
    """Draws points in a plane, a column for each panel, a row for each group.

    Args:
      name: of the files.
      rows: see above; at most two names a group, which stand at its left.
      folder: where the files are put.

    Returns:
      The SVG.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    panels, groups = _each(rows, "panel"), _each(rows, "group")

    def draw(figure):
        grid = figure.subplots(len(groups), len(panels), squeeze=False)
        for line, group in zip(grid, groups, strict=True):
            of_group = [row for row in rows if row["group"] == group]
            for axes, panel in zip(line, panels, strict=True):
                square = [row for row in of_group if row["panel"] == panel]
                _draw_points(axes, square, _each(of_group, "name"))
                if group == groups[0]:
                    axes.set_title(panel, fontsize=9)
            _name_points(line[0], group, _each(of_group, "name"))

    size = 1.2 + _SQUARE * len(panels), 0.3 + _SQUARE * len(groups)
    return _made(name, rows, folder, size, draw)


def _draw_points(axes, rows, names):
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#c9d1d8")
    for number, name in enumerate(names):
        found = [(row["x"], row["y"]) for row in rows if row["name"] == name]
        colour, marker = pictures.COLOURS[number], "o^"[number % 2]
        axes.scatter(*zip(*found, strict=True), s=12, color=colour, marker=marker,
                     alpha=0.6, linewidths=0)  # fmt: skip


def _name_points(axes, group, names):
    texts = [(group, pictures.BLACK, "bold")]
    texts += [
        (f"{'●▲'[i % 2]} {name}", pictures.COLOURS[i], "normal")
        for i, name in enumerate(names)
    ]
    for i, (text, colour, weight) in enumerate(texts):
        axes.annotate(
            text,
            (0, 0.95),
            xycoords="axes fraction",
            xytext=(-6, -12 * i),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
            color=colour,
            weight=weight,
        )


def _style(number: int, released: Any) -> dict[str, Any]:
    colour = pictures.COLOURS[number % len(pictures.COLOURS)]
    hollow = {"markerfacecolor": "white", "markeredgewidth": 1.3} if released else {}
    return {"color": colour, "marker": "o", "ms": 5, "zorder": 3} | hollow


def _whisker(draw, place, row, colour):
    draw(place, row["low"], row["high"], color=colour, lw=1.3)


def _each(rows: Sequence[Row], column: str) -> list[str]:
    """The different values of a column, in the order in which they first come."""
    return list(dict.fromkeys(row[column] for row in rows))


def _made(
    name: str,
    rows: Sequence[Row],
    folder: pathlib.Path,
    size: tuple[float, float],
    draw: Callable[[Any], None],
) -> pathlib.Path:
    """Writes the table and both pictures."""
    tables.write(folder / f"{name}.csv", rows)
    svg = folder / f"{name}.svg"
    with pictures.figure(*size) as figure:
        draw(figure)
        for path in (svg, svg.with_suffix(".png")):
            pictures.save(str(path), figure)
    return svg
