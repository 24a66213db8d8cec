"""What there is to say of a model's tables of vectors; its files' `tables` says it."""

from typing import NamedTuple


class WordTable(NamedTuple):
    """Rows of a tensor, which may be written as word vectors.

    Attributes:
      tensor: its name.
      entries: which of the vocabulary's entries have the rows, in its order; there may
        be more rows behind them. None: rows go by their numbers.
      rows: which of the tensor's.
    """

    tensor: str
    entries: slice | None = slice(None)
    rows: slice = slice(None)
