"""Tables are read as they are, and every fault is named by file and line."""

import logging

import pytest

from data_pipeline.readers import text_files


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def rows(path, *columns, **options):
    return list(text_files.READERS[path.rpartition(".")[2]](path, columns, **options))


def test_tsv_splits_at_tabs_and_leaves_quotes_alone(tmp_path):
    path = write(tmp_path, "a.tsv", 'x\ty\tz\n"one\t2" "\t3\n\t"\t\n')
    assert rows(path, "z", "x") == [(2, ("3", '"one')), (3, ("", ""))]


def test_byte_order_mark_windows_line_ends_and_last_blank_lines_are_no_text(tmp_path):
    path = write(tmp_path, "a.tsv", b"\xef\xbb\xbfx\ty\r\n1\t2\r\n\r\n\n")
    assert rows(path, "x", "y") == [(2, ("1", "2"))]


def test_only_line_feeds_end_lines(tmp_path):
    path = write(tmp_path, "a.tsv", "x\ty\nsome\u2028text\x0b\x85here\t2\n")
    assert rows(path, "x") == [(2, ("some\u2028text\x0b\x85here",))]


def test_given_header_makes_the_first_line_a_row(tmp_path):
    path = write(tmp_path, "a.tsv", "1\t2\n3\t4\n")
    assert rows(path, "b", header=("a", "b")) == [(1, ("2",)), (2, ("4",))]


def test_optional_columns_are_none_where_they_are_absent(tmp_path):
    for name, content in (
        ("a.tsv", "x\ty\n1\t2\n"),
        ("a.csv", "x,y\n1,2\n"),
        ("a.jsonl", '{"y": "2", "x": "1"}\n'),
    ):
        path = write(tmp_path, name, content)
        found = [values for _, values in rows(path, "x", optional=("label", "y"))]
        assert found == [("1", None, "2")]


def test_csv_fields_may_be_quoted_and_span_lines(tmp_path):
    path = write(tmp_path, "a.csv", 'x,y\n"a, ""b""\nc",2\n\nd,3\n')
    assert rows(path, "x", "y") == [(2, ('a, "b"\nc', "2")), (5, ("d", "3"))]


def test_jsonl_keeps_the_types_of_values(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"x": ["p", "q"], "n": 1.5}\n')
    assert rows(path, "x", "n") == [(1, (["p", "q"], 1.5))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "x\ty\n1\t2\n3\n", r"a\.tsv, line 3: wanted 2 fields .*got 1"),
        ("a.tsv", "x\ty\n1\t2\t3\n", r"line 2: wanted 2 fields .*got 3"),
        ("a.tsv", "x\ty\n\n1\t2\n", r"line 2: wanted 2 fields .*got 1"),
        ("a.csv", 'x,y\n"1\n2",3\n4\n', r"a\.csv, line 4: wanted 2 .*got 1"),
        ("a.csv", 'x,y\n1,2\n"3,4\n5,6\n', r"a\.csv, line 3: unexpected end"),
        ("a.tsv", "x\tz\n1\t2\n", r"a\.tsv: no column 'y'; found \['x', 'z'\]"),
        ("a.csv", "x,z\n1,2\n", r"a\.csv: no column 'y'; found \['x', 'z'\]"),
        ("a.tsv", "x\ty\ty\n1\t2\t3\n", r"column 'y' occurs more than once"),
        (
            "a.jsonl",
            '{"x":1,"y":2}\n{"x":3}\n',
            r"line 2: no column 'y'; found \['x'\]",
        ),
        ("a.jsonl", '{"x":1,"y":2}\n[1]\n', r"line 2: wanted a JSON object"),
        ("a.jsonl", '{"x":1,"y":2}\n{"x\n', r"a\.jsonl, line 2: not JSON"),
        ("a.tsv", "", r"a\.tsv: the file is empty"),
        ("a.csv", b"\xef\xbb\xbf\n \n", r"a\.csv: the file is empty"),
    ],
)
def test_fault_is_named_by_file_and_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        rows(write(tmp_path, name, content), "x", "y")


def test_undecodable_byte_is_named_by_line_and_offset(tmp_path):
    path = write(tmp_path, "a.tsv", b"x\ty\nab\t1\nc\xe9d\t2\n")
    with pytest.raises(ValueError, match=r"a\.tsv, line 3: .*0xe9 at offset 10 "):
        rows(path, "x")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tsv: no such file"):
        rows(str(tmp_path / "nowhere.tsv"), "x")


def test_skipped_ragged_rows_are_counted_in_the_log(tmp_path, caplog):
    path = write(tmp_path, "a.tsv", "x\ty\n1\t2\n3\n4\t5\n6\t7\t8\n")
    with caplog.at_level(logging.WARNING):
        assert rows(path, "x", skip_ragged=True) == [(2, ("1",)), (4, ("4",))]
    assert "left out 2 lines" in caplog.text
    assert "line 3" in caplog.text
