"""Drawings of reports, as SVG inside a page."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

import pictures
from pictures import BLUE, GREY, ORANGE
from reports.page import Drawing, cut

_LABEL = 18  # characters of a class's name
_POINTS = 5000  # of a scatter


def figure(drawing: Drawing, prefix: str) -> str:
    """Returns a drawing as an HTML figure.

    Args:
      drawing: what to draw.
      prefix: see pictures.svg.
    """
    with pictures.figure(*drawing.size) as made:
        drawing.draw(made.add_subplot())
        svg = pictures.svg(made, prefix)
    caption = html.escape(drawing.caption)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{caption}" ', 1)
    return f"<figure>{svg}</figure>"


def matrix(
    counts: np.ndarray, names: Sequence[str], caption: str, kind: str = "class"
) -> Drawing:
    """Draws how often which class was taken for which.

    Args:
      counts: int [L, L], a row for each right class.
      names: of the classes.
      caption: see Drawing.
      kind: what the names are of.
    """
    size = len(names)
    shown = [cut(name, _LABEL) for name in names]

    def draw(axes):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(size), shown)
        if max(map(len, shown)) > 4 and size > 2:
            slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(range(size), shown, **slant)
        axes.set_yticks(range(size), shown)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel(f"predicted {kind}")
        axes.set_ylabel(f"right {kind}")
        axes.set_title("colour: share of the row", fontsize=8, color=GREY, loc="left")
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if share[row, column] > 0.55 else "black"
                axes.text(
                    column,
                    row,
                    f"{count:,}",
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=9 if size <= 12 else 6,
                )

    side = 1.6 + max(0.42 * size, 1.9)
    return Drawing(caption, draw, (side + 0.7, side))


def reliability(found: Any, caption: str, of: str) -> Drawing:
    """Draws accuracy over confidence, and how many decisions there are of each.

    Args:
      found: a metrics.calibration.Reliability.
      caption: see Drawing.
      of: what the vertical axis is.
    """

    def draw(axes):
        width = np.diff(found.edges)
        share = found.counts / found.counts.sum()
        axes.bar(
            found.edges[:-1],
            share,
            width,
            align="edge",
            color="#c9d1d8",
            edgecolor="white",
            label="share of decisions",
        )
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", lw=1, label="calibrated")
        used = found.counts > 0
        axes.plot(
            found.confidence[used],
            found.accuracy[used],
            color=BLUE,
            marker="o",
            ms=4,
            label=of,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel=of)
        axes.legend(loc="upper left", frameon=False, fontsize=8)

    return Drawing(caption, draw)


def coverage(
    curve: np.ndarray, caption: str, of: str, chosen: tuple[float, float] | None = None
) -> Drawing:
    """Draws accuracy over the share of decisions that count.

    Args:
      curve: float [T, 2], see metrics.calibration.coverage.
      caption: see Drawing.
      of: what the vertical axis is.
      chosen: a point to mark: that of --unsure_below.
    """

    def draw(axes):
        shares, scores = _thinned(curve).T
        axes.plot(shares, scores, color=BLUE)
        if chosen:
            axes.plot(
                *chosen,
                color=ORANGE,
                marker="D",
                ms=6,
                linestyle="none",
                label="without the unsure",
            )
            axes.legend(loc="lower left", frameon=False, fontsize=8)
        # The first few decisions say nothing of the curve.
        low = scores[shares >= min(0.05, shares[-1])].min()
        axes.set(xlim=(0, 1), ylim=(max(0, low - 0.05), 1.01))
        axes.set(xlabel="coverage: share of rows that are answered", ylabel=of)
        axes.grid(color="#e3e7ea", lw=0.6)

    return Drawing(caption, draw)


def scatter(right: np.ndarray, predicted: np.ndarray, caption: str) -> Drawing:
    """Draws predicted over right scores; at most 5,000 evenly taken points."""

    def draw(axes):
        points = _thinned(np.stack([right, predicted], axis=1))
        axes.scatter(*points.T, s=9, alpha=0.45, color=BLUE, linewidths=0)
        ends = [min(right.min(), predicted.min()), max(right.max(), predicted.max())]
        axes.plot(ends, ends, color=GREY, linestyle="--", lw=1)
        axes.set(xlabel="right score", ylabel="predicted score")

    return Drawing(caption, draw)


def histogram(values: np.ndarray, caption: str, name: str) -> Drawing:
    """Draws how often which value occurs, and where 0 is."""

    def draw(axes):
        axes.hist(values, bins=30, color=BLUE, edgecolor="white", linewidth=0.4)
        axes.axvline(0, color=GREY, linestyle="--", lw=1)
        axes.set(xlabel=name, ylabel="rows")

    return Drawing(caption, draw)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    counts: Sequence[int],
    caption: str,
    of: str,
) -> Drawing:
    """Draws a value from 0 to 1 of each group, and how many rows it has."""
    shown = [f"{cut(n, _LABEL)} ({c:,})" for n, c in zip(names, counts, strict=True)]

    def draw(axes):
        places = np.arange(len(names))[::-1]
        axes.barh(places, values, color=BLUE, height=0.7)
        axes.set_yticks(places, shown)
        axes.set(xlim=(0, 1.12), xlabel=of)
        axes.set_xticks(np.arange(0, 1.01, 0.25))
        for place, value in zip(places, values, strict=True):
            axes.text(value + 0.015, place, f"{value:.2f}", va="center", fontsize=8)

    return Drawing(caption, draw, (4.6, 1.1 + 0.28 * len(names)))


def _thinned(points):
    """Takes at most _POINTS of rows, evenly, the first and the last among them."""
    if len(points) <= _POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, _POINTS).astype(int)]
