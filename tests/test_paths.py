"""What a flag's names and patterns stand for."""

import pytest

import paths


def test_globs_and_commas_give_the_files_in_order(tmp_path):
    for name in ("b1", "a2", "b0", "c"):
        (tmp_path / name).write_text("x")
    found = paths.find_files([f"{tmp_path}/b*", f"{tmp_path}/a2"], "input_file")
    assert [path[-2:] for path in found] == ["b0", "b1", "a2"]
    with pytest.raises(FileNotFoundError, match=r"--f: no file matches '.*nothing\*'"):
        paths.find_files([f"{tmp_path}/a2", f"{tmp_path}/nothing*"], "f")


@pytest.mark.parametrize("name", ["lr[1e-4]", "run?", "a*b", "{x}", "[]]", "a\\b"])
def test_a_name_that_exists_is_itself_whatever_its_characters(tmp_path, name):
    (tmp_path / "run1").write_text("x")
    (tmp_path / "lr1").write_text("x")
    (tmp_path / name).mkdir()
    (tmp_path / name / "f").write_text("x")
    assert paths.find_files([str(tmp_path / name / "f")], "f") == [
        str(tmp_path / name / "f")
    ]
    pattern = f"{paths.glob_escape(str(tmp_path / name))}/*"
    assert paths.find_files([pattern], "f") == [str(tmp_path / name / "f")]


def test_unfinished_files_match_no_pattern(tmp_path):
    for name in ("in.tfrecord", "in.tfrecord.writing-0123abcd"):
        (tmp_path / name).write_text("x")
    found = paths.find_files([f"{tmp_path}/in.tfrecord*"], "f")
    assert found == [f"{tmp_path}/in.tfrecord"]
