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

import numpy as np

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
_APART = 0.06  # of the axes' height, between two names


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
      prefix: begins the names inside the SVG, which a page must not have twice.
    """
    text = _rendered(made, "svg", prefix).decode()
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
    axes: Any, ends: Sequence[tuple[float, str, str]], right: float | None = None
) -> None:
    """Writes names at the right of lines, those that would touch set apart.

    Args:
      axes: on which the lines have been drawn.
      ends: of each line the height at which it ends, its name and its colour.
      right: where names begin; default: the end of the axes.
    """
    low, high = axes.get_ylim()
    height, least = (high - low) or 1.0, -np.inf
    for value, name, colour in sorted(ends):
        least = max((value - low) / height, least + _APART)
        axes.annotate(
            name,
            (axes.get_xlim()[1] if right is None else right, low + least * height),
            xytext=(4, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="center",
            annotation_clip=False,
        )
    axes.set_ylim(low, high)
