"""Rows of the user's tsv, csv and jsonl files; every error names file and line."""

import csv
import io
import logging
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

import json_files
from errors import MissingFile, UserError

# (line number from 1, the values of the wanted columns)
Row = tuple[int, tuple[object, ...]]


def read_text(path: str, encoding: str = "utf-8") -> str:
    """The whole of a file, without its byte order mark.

    Raises:
      MissingFile: there is no such file.
      UserError: it is empty, or not in that encoding; names line and byte.
    """
    if not tf.io.gfile.exists(path):
        raise MissingFile(f"{path}: no such file")
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        raise undecodable(path, data, error, encoding) from error
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    return text


def undecodable(
    path: str, data: bytes, error: UnicodeError, encoding: str
) -> UserError:
    """Says where a file's bytes are not of the encoding that they were read in."""
    if not isinstance(error, UnicodeDecodeError):  # a UTF-16 without its mark
        return UserError(f"{path}: {error}")
    line = data.count(b"\n", 0, error.start) + 1
    encoding = {"utf-8": "UTF-8"}.get(encoding, encoding)
    return UserError(
        f"{path}, line {line}: not {encoding}, byte 0x{data[error.start]:02x} at "
        f"offset {error.start} of the file ({error.reason})"
    )


def tsv_rows(
    path: str,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    header: Sequence[str] | None = None,
    skip_ragged: bool = False,
    encoding: str = "utf-8",
) -> Iterator[Row]:
    """Yields rows of a tab separated file, split at tabs and nowhere else.

    Quotes mean nothing: real files hold unbalanced ones.

    Args:
      path: the file.
      columns: names of the wanted columns.
      optional: columns whose values are None where the file has no such column.
      header: the columns' names, where the file does not begin with them.
      skip_ragged: leaves out rows of the wrong width and logs how many.
      encoding: of the file.

    Yields:
      (line number, values of `columns` and `optional`).

    Raises:
      UserError: a missing column or a row of the wrong width, and as `read_text`.
    """
    found = lines(path, encoding)
    first = 1
    if header is None:
        header, first = found[0].split("\t"), 2
    pick = picker(path, header, columns, optional)
    skipped = []
    for number, line in enumerate(found[first - 1 :], first):
        fields = line.split("\t")
        if len(fields) == len(header):
            yield number, pick(fields)
        elif skip_ragged:
            skipped.append(number)
        else:
            raise _ragged(path, number, header, fields)
    if skipped:
        logging.warning(
            "%s: left out %d lines that do not have %d fields, the first is line %d",
            path,
            len(skipped),
            len(header),
            skipped[0],
        )


def csv_rows(
    path: str,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> Iterator[Row]:
    """Yields rows of a comma separated file with a header; fields may be quoted.

    Args, Yields, Raises: as `tsv_rows`; the line is the one where the row begins, and
    `delimiter` what stands instead of commas.
    """
    reader = _csv_reader(path, encoding, delimiter)
    header, pick = None, None
    number = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}, line {number}: {error}") from error
        if fields is None:
            return
        if header is None:
            header, pick = fields, picker(path, fields, columns, optional)
        elif len(fields) == len(header):
            yield number, pick(fields)
        elif fields:  # a blank line, for which the csv module gives [], is no row
            raise _ragged(path, number, header, fields)
        number = reader.line_num + 1


def jsonl_rows(
    path: str,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Iterator[Row]:
    """Yields rows of a file with one JSON object a line.

    Args, Yields, Raises: as `tsv_rows`; a column is missing if any object lacks it.
    """
    for number, line in enumerate(lines(path, encoding), 1):
        content = json_files.parse(line, f"{path}, line {number}")
        if not isinstance(content, dict):
            raise UserError(
                f"{path}, line {number}: wanted a JSON object, got {line[:40]!r}"
            )
        for name in columns:
            if name not in content:
                raise UserError(
                    f"{path}, line {number}: no column {name!r}; "
                    f"found {sorted(content)}"
                )
        yield number, tuple(content.get(name) for name in (*columns, *optional))


READERS: dict[str, Callable[..., Iterator[Row]]] = {
    "tsv": tsv_rows,
    "csv": csv_rows,
    "jsonl": jsonl_rows,
}


def header(path: str, encoding: str = "utf-8", delimiter: str = ",") -> list[str]:
    """The names of a file's columns; of objects a line, those that the first one has.

    Raises:
      UserError: as `read_text`, or its first line is no header.
    """
    if path.endswith(".jsonl"):
        first = json_files.parse(lines(path, encoding)[0], f"{path}, line 1")
        return list(first) if isinstance(first, dict) else []
    if path.endswith(".csv") or delimiter != ",":
        try:
            return next(_csv_reader(path, encoding, delimiter))
        except csv.Error as error:
            raise UserError(f"{path}, line 1: {error}") from error
    return lines(path, encoding)[0].split("\t")


def _csv_reader(path, encoding, delimiter):
    text = io.StringIO(read_text(path, encoding), newline="")
    return csv.reader(text, delimiter=delimiter, strict=True)


def lines(path: str, encoding: str = "utf-8") -> list[str]:
    """Lines ended by LF or CRLF, without blank ones at the end of the file.

    Raises:
      UserError: as `read_text`.
    """
    found = [line.removesuffix("\r") for line in read_text(path, encoding).split("\n")]
    while not found[-1].strip():
        found.pop()
    return found


def picker(
    path: str, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> Callable[[Sequence[str]], tuple[str | None, ...]]:
    """Returns a function from a row's fields to the values of the wanted columns."""
    for name in columns:
        if name not in header:
            raise UserError(f"{path}: no column {name!r}; found {list(header)}")
    for name in (*columns, *optional):
        if list(header).count(name) > 1:
            raise UserError(f"{path}: column {name!r} occurs more than once")
    places = [
        header.index(name) if name in header else None for name in (*columns, *optional)
    ]
    return lambda fields: tuple(
        None if place is None else fields[place] for place in places
    )


def _ragged(
    path: str, number: int, header: Sequence[str], fields: Sequence[str]
) -> ValueError:
    return UserError(
        f"{path}, line {number}: wanted {len(header)} fields {list(header)}, "
        f"got {len(fields)}"
    )
