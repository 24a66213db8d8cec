"""A user's tables: encoding, delimiter and columns by their signs, or by flags."""

import logging
import sys

import openpyxl
import pytest

from data_pipeline.readers import columns
from data_pipeline.readers.custom import CustomProcessor
from data_pipeline.readers.tables import Dialect, Tables
from errors import MissingExtra, UserError

ROWS = [("Größe paßt nicht", "Rückgabe"), ("50 €; „zu teuer“, sagt er", "Preis")]


def write(tmp_path, encoding, delimiter=",", rows=ROWS, name="a.csv"):
    lines = [("Text", "Klasse"), *rows]
    content = "".join(f'"{a}"{delimiter}{b}\r\n' for a, b in lines)
    (tmp_path / name).write_bytes(content.encode(encoding))
    return str(tmp_path / name)


def read(path, *names, tables=None):
    found = (tables or Tables()).rows(path, names or ("Text", "Klasse"))
    return [values for _, values in found]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_what_excel_and_others_write_is_read_and_told(
    tmp_path, caplog, encoding, delimiter
):
    path = write(tmp_path, encoding, delimiter)
    with caplog.at_level(logging.INFO, "absl"):
        assert read(path) == ROWS
    said = {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert f"{path}: read as {said}, " in caplog.text


def test_the_delimiter_is_the_one_that_most_rows_agree_on(tmp_path):
    rows = [("a; b", "x"), ("c; d; e", "y"), ("f", "x")]
    (tmp_path / "a.csv").write_text(
        "Text; mine,Klasse\n" + "".join(f"{a},{b}\n" for a, b in rows)
    )
    assert read(str(tmp_path / "a.csv"), "Text; mine", "Klasse") == rows
    (tmp_path / "one.csv").write_text("Text\nquite; alone\n")
    assert read(str(tmp_path / "one.csv"), "Text") == [("quite; alone",)]


def test_flags_say_otherwise_than_the_signs(tmp_path):
    path = write(tmp_path, "iso8859-2", ":", [("źle", "x")])
    assert read(path, tables=Tables(Dialect("iso8859-2", ":"))) == [("źle", "x")]
    path = write(tmp_path, "utf-8", ";", name="a.tsv")
    assert read(path, tables=Tables(Dialect(delimiter=";"))) == ROWS


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        (Dialect("utf-88"), "--encoding=utf-88: unknown"),
        (Dialect(delimiter=";;"), "--delimiter=';;': wanted one character"),
    ],
)
def test_flags_that_make_no_sense_are_named(dialect, message):
    with pytest.raises(UserError, match=message):
        Tables(dialect)


def test_damaged_utf8_is_not_taken_for_cp1252(tmp_path):
    path = write(tmp_path, "utf-8")
    data = (tmp_path / "a.csv").read_bytes()
    (tmp_path / "a.csv").write_bytes(data[:-6] + b"\xc3" + data[-6:])
    with pytest.raises(UserError, match=r"a\.csv, line 3: not UTF-8, byte 0xc3"):
        read(path)
    (tmp_path / "a.csv").write_bytes(b"Text,Klasse\n\x81,x\n")
    with pytest.raises(UserError, match=r"a\.csv, line 2: not cp1252, byte"):
        read(path)


def workbook(path, *rows, more=()):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name in more:
        book.create_sheet(name)
    book.save(path)
    return str(path)


def test_excels_files_are_read_as_text(tmp_path, caplog):
    rows = [("Text", "Klasse"), ("zu groß", 1), (), (12.5, 2), ("", None)]
    path = workbook(tmp_path / "a.xlsx", *rows, more=["Notes"])
    assert read(path) == [("zu groß", "1"), ("12.5", "2")]
    assert "sheet 'Sheet' is read, not Notes" in caplog.text
    reader = CustomProcessor(files={"train": path})
    assert [e.label for e in reader.get_train_examples("")] == ["1", "2"]


def test_faults_of_excels_files_are_named(tmp_path, monkeypatch):
    wide = workbook(tmp_path / "wide.xlsx", ("Text", "Klasse"), ("a", "b", "c"))
    with pytest.raises(UserError, match=r"wide\.xlsx, row 2: wanted 2 cells, got 3"):
        read(wide)
    empty = workbook(tmp_path / "empty.xlsx")
    with pytest.raises(UserError, match=r"empty\.xlsx: .* no header"):
        read(empty)
    (tmp_path / "no.xlsx").write_text("Text,Klasse")
    with pytest.raises(UserError, match=r"no\.xlsx: not a readable Excel file"):
        read(str(tmp_path / "no.xlsx"))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtra, match=r'openpyxl; pip install -e "\.\[excel\]"'):
        read(wide)


def guess(tmp_path, header, rows, *known, **options):
    lines = [header, *rows]
    text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
    (tmp_path / "a.tsv").write_text(text)
    known = known or (None, None)
    return columns.guess(Tables(), str(tmp_path / "a.tsv"), *known, **options)


def test_columns_are_found_by_their_names(tmp_path):
    rows = [(1, "a", "b", "c")] * 2
    assert guess(tmp_path, ("id", "Text", "Label", "by"), rows) == ("Text", "Label")
    assert guess(tmp_path, ("id", "text", "category", "label"), rows) == (
        *("text", "label"),
    )
    assert guess(tmp_path, ("id", "Beschreibung", "on", "Kategorie "), rows) == (
        *("Beschreibung", "Kategorie "),
    )


def many(i):
    return i, f"a rather long text, number {i}", "abc"[i % 3], f"{i}/3/2024"


def test_columns_are_found_by_what_is_in_them(tmp_path):
    header = ("no", "what", "which", "day")
    rows = [many(i) for i in range(16)]
    assert guess(tmp_path, header, rows) == ("what", "which")
    assert guess(tmp_path, header, rows, "day", None) == ("day", "which")
    unlabelled = guess(tmp_path, header, rows, labelled=False)
    assert unlabelled == ("what", None)


@pytest.mark.parametrize(
    ("header", "row", "flags"),
    [
        (("x", "y", "z"), lambda i: (many(i)[1], "ab"[i % 2], "cd"[i % 2]), "label"),
        (("x", "y", "z"), lambda i: (many(i)[1], many(i)[1], "ab"[i % 2]), "text_a"),
        (("x", "y"), lambda i: (i, f"{i}"), "text_a_column and --label"),
        (("text", "tag", "topic"), lambda i: (many(i)[1], i, i), "label"),
    ],
)
def test_where_there_is_doubt_the_columns_and_flags_are_listed(
    tmp_path, header, row, flags
):
    names = ", ".join(map(repr, header))
    message = rf"a\.tsv: cannot tell which column .* {names}: give --{flags}_column$"
    with pytest.raises(UserError, match=message):
        guess(tmp_path, header, [row(i) for i in range(16)])


def test_the_columns_that_training_found_are_those_of_other_files(tmp_path):
    train = tmp_path / "train.csv"
    train.write_text("Text,Klasse\n" + "a,x\nb,y\n")
    (tmp_path / "test.csv").write_text("label,Text\n1,c\n")
    reader = CustomProcessor(files={"train": str(train)})
    reader.get_train_examples("")
    assert reader.column_flags["text_a_column"] == "Text"
    (example,) = reader.get_test_examples(str(tmp_path))
    assert (example.text_a, example.label) == ("c", None)
