"""What is written aside appears whole, in order, or not at all."""

import os

import pytest

from atomic_files import atomic_path, is_aside


def test_a_file_appears_when_it_is_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("old", "new"):
        with atomic_path(str(path)) as aside:
            with open(aside, "w") as file:
                file.write(text)
            assert is_aside(aside)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]
    assert not is_aside(str(path))


@pytest.mark.parametrize("kind", ["file", "folder", "folder with a file"])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, kind):
    old = tmp_path / "old"
    old.write_text("old") if kind == "file" else old.mkdir()

    def write_and_stop():
        with atomic_path(str(old)) as aside:
            if kind != "file":
                os.mkdir(aside)
                aside += "/inside"
            if kind != "folder":
                open(aside, "w").close()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert list(tmp_path.iterdir()) == [old]
    assert old.is_dir() or old.read_text() == "old"


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_path(str(tmp_path / "out")) as aside:
        os.mkdir(aside)
        open(f"{aside}/inside", "w").close()
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["inside"]


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    path = str(tmp_path / "a")
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        for aside in (one, other):
            open(aside, "w").close()
    assert os.listdir(tmp_path) == ["a"]
