"""Where in its training an engine is."""

from typing import NamedTuple


class Step(NamedTuple):
    """One pass over a block of a text.

    Attributes:
      number: from 0, over all times that the text is read.
      start: the share of all work that is done before, in [0, 1).
      end: the share that is done after it.
      ends_text: whether the block is the text's last one.
    """

    number: int
    start: float
    end: float
    ends_text: bool
