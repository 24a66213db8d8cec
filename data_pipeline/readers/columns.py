"""Which columns of a user's table are text and label, where there is no doubt."""

import math
from collections.abc import Iterable, Sequence

from data_pipeline.readers.tables import Tables
from errors import UserError

# Headers as they are met, in lower case; the first of each is the plainest.
_TEXT = (
    *("text", "texts", "sentence", "review", "comment", "message", "body", "content"),
    *("document", "description", "tweet", "utterance", "ticket", "question", "query"),
    *("nachricht", "beschreibung", "kommentar", "anfrage", "texte", "texto", "testo"),
)
_LABEL = (
    *("label", "labels", "class", "category", "target", "tag", "intent", "topic"),
    *("sentiment", "polarity", "score", "rating", "stars", "klasse", "kategorie"),
    *("thema", "categorie", "catégorie", "categoria", "categoría", "etiqueta"),
)
_CLEARLY_LONGER = 2.0  # the texts' mean length over that of any other column


def guess(
    tables: Tables,
    path: str,
    text: str | None,
    label: str | None,
    others: Iterable[str] = (),
    labelled: bool = True,
) -> tuple[str, str | None]:
    """Finds the columns that are not given.

    By their names, else by what is in them: the label is the one column of few values,
    at most the square root of the number of rows; the text is by far the longest.

    Args:
      tables: reads the file.
      path: the file.
      text: the text's column, if it is known.
      label: the label's.
      others: columns that are something else.
      labelled: whether there must be a label; else its column may not be there.

    Returns:
      The two columns; None for a label that is not there.

    Raises:
      UserError: there is doubt; lists the columns and the flags.
    """
    header = tables.header(path)
    free = [name for name in header if name not in (text, label, *others)]
    found = {"text_a_column": text, "label_column": label}
    for flag, names in (("label_column", _LABEL), ("text_a_column", _TEXT)):
        if found[flag] is None:
            found[flag] = _by_name(free, names)
            free = [name for name in free if name != found[flag]]
    if found["label_column"] is None and labelled:
        found["label_column"] = _by_values(free, _rows(tables, path, free))
        free = [name for name in free if name != found["label_column"]]
    if found["text_a_column"] is None:
        found["text_a_column"] = _by_length(free, _rows(tables, path, free))
    doubt = [flag for flag, name in found.items() if name is None]
    if not labelled:
        doubt = [flag for flag in doubt if flag != "label_column"]
    if doubt:
        flags = " and ".join(f"--{flag}" for flag in doubt)
        raise UserError(
            f"{path}: cannot tell which column is meant, of "
            f"{', '.join(map(repr, header))}: give {flags}"
        )
    return found["text_a_column"], found["label_column"]


def _by_name(header: Sequence[str], names: Sequence[str]) -> str | None:
    """The one column with such a name; of several, the one with the plainest."""
    known = [name for name in header if name.strip().lower() in names]
    plain = [name for name in known if name.strip().lower() == names[0]]
    found = plain or known
    return found[0] if len(found) == 1 else None


def _rows(tables, path, columns):
    if not columns:
        return []
    return [values for _, values in tables.rows(path, columns)]


def _by_values(columns, rows):
    """The one column with few values, but more than one."""
    most = math.isqrt(len(rows))
    distinct = {
        name: len({str(row[i]).strip() for row in rows})
        for i, name in enumerate(columns)
    }
    found = [name for name, number in distinct.items() if 2 <= number <= most]
    return found[0] if len(found) == 1 else None


def _by_length(columns, rows):
    """The column whose texts are by far the longest."""
    if len(columns) == 1:
        return columns[0]
    lengths = {
        name: sum(len(str(row[i])) for row in rows) for i, name in enumerate(columns)
    }
    ranked = sorted(lengths, key=lengths.get, reverse=True)
    if len(ranked) < 2 or lengths[ranked[0]] < _CLEARLY_LONGER * lengths[ranked[1]]:
        return None
    return ranked[0]
