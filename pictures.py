"""Pictures: matplotlib's figures (the extra `plot`), as files."""

import io
import os
from typing import Any

from atomic_files import atomic_path
from errors import MissingExtra

ENDINGS = (".png", ".pdf", ".svg")
# Okabe and Ito's colours, which those tell apart, too, who see fewer; without yellow,
# which is faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def figure(width: float, height: float) -> Any:
    """Makes a matplotlib Figure, whose parts find room by themselves.

    Args:
      width: inches.
      height: inches.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            'a picture needs the package matplotlib: pip install "word2bert[plot]"'
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def save(path: str, made: Any) -> None:
    """Writes a Figure; the file appears when it is complete.

    Args:
      path: ends in one of ENDINGS. The text of an .svg stays text, in the fonts of who
        looks at it, which may have scripts that matplotlib's own have not.
      made: by `figure`.
    """
    import matplotlib
    import tensorflow as tf

    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "word2bert"}):
        made.savefig(picture, format=os.path.splitext(path)[1][1:], dpi=100)
    with atomic_path(path) as aside, tf.io.gfile.GFile(aside, "wb") as file:
        file.write(picture.getvalue())
