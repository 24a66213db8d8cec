"""The tables that a user has: what wrote them is told by well-known signs.

A csv of a German Excel is separated by `;` and encoded in cp1252, one of an English
Excel by `,`; "Unicode text" is UTF-16. What is guessed is said in one line.
"""

import codecs
import csv
import dataclasses
import functools
import io
import itertools
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import logging

from data_pipeline.readers import text_files
from data_pipeline.readers.text_files import Row
from errors import MissingExtra, MissingFile, UserError

ENDINGS = (*text_files.READERS, "xlsx")
_DELIMITERS = ",;\t|"
_LOOKED_AT = 1000  # rows, of which the delimiter is told
_MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How tables are written.

    Attributes:
      encoding: one that Python knows; None: each file tells.
      delimiter: what stands between two fields; None: each file tells, and a .tsv has
        tabs.
    """

    encoding: str | None = None
    delimiter: str | None = None


class Tables:
    """Reads tables with a header, each as its ending and its signs say."""

    def __init__(self, dialect: Dialect = Dialect()):
        """Keeps what is known of all of them.

        Raises:
          UserError: no such encoding, or a delimiter that is no single character.
        """
        try:
            codecs.lookup(dialect.encoding or "utf-8")
        except LookupError:
            raise UserError(
                f"--encoding={dialect.encoding}: unknown; wanted one as utf-8 or cp1252"
            ) from None
        delimiter = dialect.delimiter
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise UserError(
                f"--delimiter={delimiter!r}: wanted one character, or tab for a tab"
            )
        self._given = dialect
        self._told = functools.cache(self._told)

    def header(self, path: str) -> list[str]:
        """Returns the names of a table's columns.

        Raises:
          UserError: see text_files.header.
        """
        if _ending(path) == "xlsx":
            return next(_sheet(path))[1]
        return text_files.header(path, **self._told(path))

    def rows(
        self, path: str, columns: Sequence[str], optional: Sequence[str] = ()
    ) -> Iterator[Row]:
        """Yields (line or row from 1, values of `columns` and `optional`).

        Args:
          path: its ending is one of ENDINGS.
          columns: names of the wanted columns.
          optional: columns whose values are None where the table has no such column.

        Raises:
          UserError: see text_files.tsv_rows.
        """
        ending, told = _ending(path), self._told(path)
        if ending == "xlsx":
            return _sheet_rows(path, columns, optional)
        if ending == "tsv" and "delimiter" in told:
            ending = "csv"
        return text_files.READERS[ending](path, columns, optional, **told)

    def _told(self, path):
        """Returns the arguments that text_files' readers need for a file."""
        if _ending(path) == "xlsx":
            return {}
        encoding = self._given.encoding or guess_encoding(path)
        told = {"encoding": encoding}
        delimiter = self._given.delimiter
        if _ending(path) == "csv":
            text = text_files.read_text(path, encoding)
            told["delimiter"] = delimiter or guess_delimiter(text)
        elif _ending(path) == "tsv" and delimiter:
            told["delimiter"] = delimiter
        logging.info("%s: read as %s", path, _spoken(told))
        return told


def guess_encoding(path: str) -> str:
    """Tells an encoding: by its mark, by being valid UTF-8, else it is cp1252.

    Raises:
      MissingFile: there is no such file.
      UserError: it is neither, or UTF-8 that was damaged: other text has hardly ever
        letters that are valid there.
    """
    if not tf.io.gfile.exists(path):
        raise MissingFile(f"{path}: no such file")
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        if not data[: error.start].isascii():
            raise text_files.undecodable(path, data, error, "utf-8") from error
    try:
        data.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError as error:
        raise text_files.undecodable(path, data, error, "cp1252") from error


def guess_delimiter(text: str) -> str:
    """Tells what separates fields: the most rows have as many as the header has.

    Quoted fields count as one, whatever they hold.
    """
    fits = {delimiter: _fit(text, delimiter) for delimiter in _DELIMITERS}
    return max(fits, key=fits.get)  # the first of several: a comma


def _fit(text, delimiter):
    """Which share of the rows has as many fields as the header, and how many."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header, *rows = itertools.islice(reader, _LOOKED_AT)
    except csv.Error:
        return 0.0, 0
    if len(header) < 2:
        return 0.0, 0
    fits = [len(row) == len(header) for row in rows if row]
    return sum(fits) / max(1, len(fits)), len(header)


def _spoken(told):
    names = {"\t": "tabs", ",": "commas", ";": "semicolons"}
    fields = told.get("delimiter")
    between = f", {names.get(fields, repr(fields))} between fields" if fields else ""
    return told["encoding"] + between


def _ending(path):
    return path.rpartition(".")[2].lower()


def _sheet_rows(path, columns, optional):
    """Yields rows as text_files' readers do."""
    rows = _sheet(path)
    _, header = next(rows)
    pick = text_files.picker(path, header, columns, optional)
    for number, cells in rows:
        if any(cells):
            yield number, pick(cells)


def _sheet(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (row from 1, texts of its cells) of a workbook's first sheet.

    Every row has as many cells as the header has names.
    """
    try:
        import openpyxl
    except ImportError:
        raise MissingExtra(
            f"{path}: reading Excel's files needs openpyxl; pip install -e "
            '".[excel]", or save the sheet as csv'
        ) from None
    if not tf.io.gfile.exists(path):
        raise MissingFile(f"{path}: no such file")
    with tf.io.gfile.GFile(path, "rb") as file:
        data = io.BytesIO(file.read())
    try:
        book = openpyxl.load_workbook(data, read_only=True, data_only=True)
        name, *others = book.sheetnames
        rows = list(book[name].iter_rows(values_only=True))
    except Exception as error:  # zipfile's, XML's, openpyxl's own: it is a broken file
        raise UserError(f"{path}: not a readable Excel file: {error}") from None
    if others:
        logging.warning("%s: sheet %r is read, not %s", path, name, ", ".join(others))
    width = _width(rows[0]) if rows else 0
    if not width:
        raise UserError(f"{path}: the sheet {name!r} has no header in its first row")
    for number, cells in enumerate(rows, 1):
        if _width(cells) > width:
            raise UserError(
                f"{path}, row {number}: wanted {width} cells, got {_width(cells)}"
            )
        texts = ["" if cell is None else str(cell) for cell in cells[:width]]
        yield number, texts + [""] * (width - len(texts))


def _width(cells):
    """How many cells there are up to the last one that holds something."""
    return max((i for i, cell in enumerate(cells, 1) if cell is not None), default=0)
