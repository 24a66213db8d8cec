"""Pictures: matplotlib's figures (the extra `plot`) in one look, as files or in pages.

Equal data make equal bytes: nothing in a picture tells when it was made.
"""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from atomic_files import atomic_path
from errors import MissingExtra

ENDINGS = (".png", ".pdf", ".svg")
# Okabe and Ito's colours, which people of any colour vision tell apart; without yellow,
# which is faint on white.
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
AMBER, SKY, BLACK = "#e69f00", "#56b4e9", "#000000"
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY, BLACK)
GREY = "#6b7680"
_LOOK = {
    # Text stays text: small, searchable, and in the reader's fonts for any script.
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a $ would begin a formula
}
_UNDATED = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@contextlib.contextmanager
def figure(width: float, height: float) -> Iterator[Any]:
    """Gives a matplotlib Figure, whose parts find room by themselves.

    What is drawn and rendered inside the `with` has the project's look.

    Args:
      width: inches.
      height: inches.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            'a picture needs the package matplotlib: pip install "word2bert[plot]"'
        ) from error
    with matplotlib.rc_context(_LOOK):
        yield Figure(figsize=(width, height), layout="constrained")


def save(path: str, made: Any) -> None:
    """Writes a Figure; the file appears when it is complete.

    Args:
      path: ends in one of ENDINGS.
      made: by `figure`.
    """
    import tensorflow as tf

    content = _rendered(made, os.path.splitext(path)[1][1:], "word2bert")
    with atomic_path(path) as aside, tf.io.gfile.GFile(aside, "wb") as file:
        file.write(content)


def svg(made: Any, prefix: str) -> str:
    """Returns a Figure as an SVG element for a page.

    Args:
      made: by `figure`.
      prefix: see `element`.
    """
    return element(_rendered(made, "svg", prefix).decode(), prefix)


def element(text: str, prefix: str) -> str:
    """Makes an element for a page of the text of an .svg.

    Args:
      text: of a file by `save`.
      prefix: begins the names inside the element, which a page must not have twice.
    """
    return re.sub(r'(\bid="|"#|url\(#)', rf"\1{prefix}-", text[text.index("<svg") :])


def _rendered(made, kind, salt):
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}), warnings.catch_warnings():
        if kind == "svg":
            warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader has it
        made.savefig(file, format=kind, dpi=100, metadata=_UNDATED[kind])
    return file.getvalue()


def name_lines(
    axes: Any,
    ends: Sequence[tuple[float, float, str, str]],
    apart: float = 0.06,
) -> None:
    """Writes names at the right of lines, those that would touch set apart.

    Args:
      axes: on which the lines have been drawn.
      ends: of each line where it ends, across and up, its name and its colour.
      apart: how far names stand apart at least, in heights of the axes.
    """
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: (end[1], end[2]))
    wanted = [(up - low) / ((high - low) or 1.0) for _, up, _, _ in ends]
    for (across, up, name, colour), place in zip(
        ends, _set_apart(wanted, apart), strict=True
    ):
        axes.annotate(
            name,
            (across, up),
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.5,
                "relpos": (0, 0.5),
            },
        )


def _set_apart(places, apart):
    """Moves ascending places up until they stand apart, and down where 1 is passed."""
    moved = []
    for place in places:
        moved.append(max(place, moved[-1] + apart) if moved else place)
    top = 1.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], top)
        top = moved[i] - apart
    return moved
