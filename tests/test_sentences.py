"""Lines to windows of pieces, and the errors of a text file."""

import numpy as np
import pytest

from data_pipeline.features import lines as sentences

CLS, SEP = 1, 2


class Letters:
    """A tokenizer of one id a letter."""

    vocab = {"[CLS]": CLS, "[SEP]": SEP}

    def ids(self, texts):
        flat = np.frombuffer("".join(texts).encode(), np.uint8).astype(np.int32)
        return flat, np.cumsum([0, *map(len, texts)])


def read(line, length, in_windows=False):
    layout = sentences.bert_layout(Letters())
    (found,) = sentences.to_sentences([line], Letters(), length, in_windows, layout)
    return found


def text(sentence, window=slice(None)):
    """Writes a sentence with < for [CLS] and > for [SEP]."""
    special = {CLS: "<", SEP: ">"}
    return "".join(special.get(i) or chr(i) for i in sentence.input_ids[window])


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("a b", ("a b", "")),
        ("a ||| b", ("a", "b")),
        ("a ||| b ||| c", ("a ||| b", "c")),
        ("a ||| ||| b", ("a |||", "b")),
        ("a|||b", ("a|||b", "")),
        ("||| b", ("||| b", "")),
        ("", ("", "")),
    ],
)
def test_a_pair_is_split_where_the_parent_splits_it(line, pair):
    assert sentences.split_pair(line) == pair


@pytest.mark.parametrize(
    ("line", "length", "expected", "segments", "dropped"),
    [
        ("abc", 9, "<abc>", "00000", 0),
        ("abcdefg", 5, "<abc>", "00000", 4),
        ("ab ||| xyz", 9, "<ab>xyz>", "00001111", 0),
        ("abcdef ||| xyz", 8, "<abc>xy>", "00000111", 4),
        ("ab ||| uvwxyz", 8, "<ab>uvw>", "00001111", 3),
        ("", 9, "<>", "00", 0),
    ],
)
def test_a_line_is_laid_out_and_cut_as_the_parent_does(
    line, length, expected, segments, dropped
):
    found = read(line, length)
    assert text(found) == expected
    assert "".join(map(str, found.segment_ids)) == segments
    assert found.dropped_tokens == dropped
    assert [c not in "<>" for c in expected] == found.content.tolist()
    (window,) = found.windows
    assert window.tolist() == list(range(len(expected)))


@pytest.mark.parametrize(
    ("line", "length", "windows", "dropped"),
    [
        ("abc", 5, ["<abc>"], 0),
        ("abcd", 5, ["<ab>", "<cd>"], 0),
        ("abcdefgh", 5, ["<abc>", "<def>", "<gh>"], 0),
        ("abcdef ||| xy", 8, ["<abc>xy>", "<def>xy>"], 0),
        ("ab ||| tuvwxyz", 8, ["<ab>tuv>", "<ab>wx>", "<ab>yz>"], 0),
        # The shorter text takes no more than half of a window.
        ("abcdef ||| uvwxyz", 8, ["<abc>uv>", "<def>uv>"], 4),
        ("abcde ||| uvwxyz", 8, ["<abc>uv>", "<abc>wx>", "<abc>yz>"], 2),
    ],
)
def test_windows_share_a_long_line_out_evenly(line, length, windows, dropped):
    found = read(line, length, in_windows=True)
    assert [text(found, window) for window in found.windows] == windows
    assert max(map(len, windows)) <= length
    assert found.dropped_tokens == dropped
    read_once = np.unique(np.concatenate(found.windows))
    assert read_once.tolist() == list(range(len(found.input_ids)))


def test_lines_end_at_line_feeds_and_are_stripped(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\tone \r\n\ntwo\u2028three\x0bfour\nend".encode())
    lines = list(sentences.read_lines(str(path)))
    assert lines == ["one", "", "two\u2028three\x0bfour", "end"]
    assert sentences.count_lines(str(path)) == 4


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_text_is_refused(tmp_path, content):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: the file is empty"):
        sentences.count_lines(str(path))


def test_bytes_that_are_not_utf_8_are_named_by_file_and_line(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"good\n\nbad \xe9\n")
    with pytest.raises(ValueError, match=f"{path}, line 3: not UTF-8, byte 0xe9 at"):
        sentences.count_lines(str(path))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        sentences.count_lines(str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="a folder"):
        sentences.count_lines(str(tmp_path))


def test_a_vocabulary_without_the_special_pieces_is_refused():
    tokenizer = Letters()
    tokenizer.vocab = {"[CLS]": CLS}
    with pytest.raises(ValueError, match=r"no \[SEP\]"):
        sentences.bert_layout(tokenizer)
