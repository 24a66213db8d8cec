"""TFRecord files are whole or absent, and cached by what shaped them."""

import json
import os

import pytest
import tensorflow as tf

from data_pipeline import tfrecord
from errors import UserError


def read(path):
    return [r.numpy() for r in tf.data.TFRecordDataset(str(path))]


def failing_records():
    yield b"first"
    raise RuntimeError("broken half way")


def test_records_come_back_in_order(tmp_path):
    path = str(tmp_path / "new" / "a.tfrecord")
    assert tfrecord.write(path, [b"one", b"", b"three"]) == 3
    assert read(path) == [b"one", b"", b"three"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    tfrecord.write(path, [b"old"])
    with pytest.raises(RuntimeError, match="half way"):
        tfrecord.write(path, failing_records())
    assert read(path) == [b"old"]
    assert os.listdir(tmp_path) == ["a.tfrecord"]


@pytest.mark.parametrize("chunk", [1, 5, 17, 1 << 20])
def test_count_is_right_wherever_chunks_end(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(tfrecord, "_CHUNK_BYTES", chunk)
    paths = [str(tmp_path / name) for name in "ab"]
    tfrecord.write(paths[0], [b"x" * n for n in (0, 3, 40, 1, 7)])
    tfrecord.write(paths[1], [b"y", b"zz"])
    assert tfrecord.count(paths) == 7
    assert tfrecord.count(paths, limit=6) == 6
    assert tfrecord.count(paths, limit=60) == 7


def test_an_identity_tells_files_by_name_size_and_both_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord, "_END_BYTES", 4)
    contents = (
        b"abcd..wxyz",
        b"abcd...wxyz",
        b"Abcd..wxyz",
        b"abcd..wxyZ",
        b"abc",
        b"",
    )
    found = []
    for number, content in enumerate((*contents, contents[0])):
        path = tmp_path / str(number) / "a"
        path.parent.mkdir()
        path.write_bytes(content)
        found.append(tfrecord.identity(str(path)))
    assert len(set(found)) == len(contents)
    assert found[-1] == found[0]  # in another folder
    assert found[0].startswith("a, 10 bytes, ")
    assert tfrecord.identity(str(path.rename(path.parent / "b"))) != found[0]


@pytest.mark.parametrize("missing", [1, 4, 20, 28])
def test_cut_file_is_named_when_counting(tmp_path, missing):
    path = tmp_path / "cut.tfrecord"
    tfrecord.write(str(path), [b"abc", b"x" * 10])
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ValueError, match=r"cut\.tfrecord.*cut short"):
        tfrecord.count([str(path)])


def test_text_file_is_not_taken_for_records(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are words, not records\n")
    with pytest.raises(ValueError, match=r"notes\.txt.*not a TFRecord"):
        tfrecord.count([str(path)])


def test_cache_builds_once_for_a_key_and_again_for_another(tmp_path):
    built = []

    def build_with(name):
        def build():
            built.append(name)
            return [name.encode()] * 2, {"truncated": len(built)}

        return build

    prefix = str(tmp_path / "train")
    first = tfrecord.cached(prefix, {"length": 7, "files": ["x"]}, build_with("a"))
    again = tfrecord.cached(prefix, {"files": ["x"], "length": 7}, build_with("b"))
    other = tfrecord.cached(prefix, {"length": 8, "files": ["x"]}, build_with("c"))
    assert built == ["a", "c"]
    assert first == again
    assert (first.num_records, first.info) == (2, {"truncated": 1})
    assert other.path != first.path
    assert read(again.path) == [b"a", b"a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("num_records"), "num_records is None, wanted"),
        (lambda content: content.update(num_records="2"), "num_records is '2', wanted"),
        (lambda content: content.update(num_records=-1), "num_records is -1, wanted"),
        (lambda content: content.update(num_records=9), "is 9, but .* holds 1"),
        (lambda content: content.update(num_records=0), "is 0, but .* holds more"),
        (lambda content: content.update(info=[1]), r"info is \[1\], wanted an object"),
        (lambda content: content.update(key={}), "its key is another file's"),
        (lambda content: content["info"].clear(), "info's truncated is None, wanted"),
        (
            lambda content: content["info"].update(truncated=True),
            "truncated is True, w",
        ),
    ],
)
def test_a_damaged_description_is_named(tmp_path, change, message):
    def cached():
        build = lambda: ([b"a"], {"truncated": 1})  # noqa: E731
        return tfrecord.cached(str(tmp_path / "train"), {"lengths": (7,)}, build)

    assert cached().counted("truncated") == 1
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=f"{path}: .*{message}.*remove it and {tmp_path}"
    ):
        cached().counted("truncated")


def test_info_filled_while_records_are_generated_is_kept(tmp_path):
    info = {}

    def records():
        yield b"r"
        info["seen"] = 5

    made = tfrecord.cached(str(tmp_path / "x"), {}, lambda: (records(), info))
    assert made.info == {"seen": 5}


def test_failed_build_leaves_no_cache(tmp_path):
    with pytest.raises(RuntimeError, match="half way"):
        tfrecord.cached(str(tmp_path / "x"), {}, lambda: (failing_records(), {}))
    assert os.listdir(tmp_path) == []


def test_cache_without_its_description_is_an_error(tmp_path):
    made = tfrecord.cached(str(tmp_path / "x"), {}, lambda: ([b"r"], {}))
    os.remove(made.path + ".json")
    with pytest.raises(ValueError, match=r"lacks its description .*\.json"):
        tfrecord.cached(str(tmp_path / "x"), {}, lambda: ([b"r"], {}))


def test_fingerprint_follows_contents_not_names(tmp_path):
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        (tmp_path / name).write_text(text)
    a, b, c = (tfrecord.fingerprint(str(tmp_path / name)) for name in "abc")
    assert a == b != c
