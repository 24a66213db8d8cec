"""What a flag's names and patterns stand for."""

import pytest

import paths
from errors import UserError


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


def refused(output, *sources, match):
    """Checks that an output of that name is refused, whichever way it is named."""
    with pytest.raises(UserError, match=match):
        paths.check_outputs({"out": [str(output)]}, {"in": list(map(str, sources))})


@pytest.fixture
def source(tmp_path):
    """A file, and a folder with a checkpoint."""
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "model" / "sub").mkdir(parents=True)
    for ending in (".index", ".data-00000-of-00001"):
        (tmp_path / "model" / f"b[1].ckpt{ending}").write_text("x")
    return tmp_path


def test_what_is_read_is_not_written_whatever_it_is_called(source, monkeypatch):
    monkeypatch.chdir(source)
    (source / "link").symlink_to("a.txt")
    (source / "hard").hardlink_to("a.txt")
    (source / "here").symlink_to(".")
    for name in ("a.txt", "./a.txt", "model/../a.txt", "link", "hard", "here/a.txt"):
        refused(name, "b", "a.txt", match="--out: .* is read as --in=a.txt")
        refused("a.txt", name, match="--out: a.txt is read as --in=")
    paths.check_outputs({"out": ["b.txt", "a.txt2"]}, {"in": ["a.txt", None]})
    (source / "dangling").symlink_to("new.txt")
    refused("new.txt", "dangling", match="is read as")


def test_a_folder_that_is_read_is_not_written_into(source):
    folder = source / "model"
    refused(folder, folder, match="model is read as")
    for name in ("new", "sub", "sub/new/deep", "../model/x"):
        refused(folder / name, folder, match="lies inside --in=.*model, which is read")
    (source / "other").symlink_to(folder)
    refused(source / "other" / "new", folder, match="lies inside")
    paths.check_outputs({"out": [f"{folder}2/new"]}, {"in": [str(folder)]})


def test_the_files_of_a_prefix_are_what_is_read(source):
    prefix = source / "model" / "b[1].ckpt"
    refused(f"{prefix}.index", prefix, match=r"is read as --in=.*b\[1\]\.ckpt")
    refused(f"{prefix}.data-00000-of-00001", prefix, match="is read as")
    others = [str(source / "model" / name) for name in ("new", "b1.ckpt.index")]
    others.append(f"{prefix}-7.index")
    paths.check_outputs({"out": others}, {"in": [str(prefix)]})


def test_no_output_is_written_twice(source, monkeypatch):
    monkeypatch.chdir(source)
    for names in (["n", "n"], ["n", "b", "./n"], ["a.txt", "model/../a.txt"]):
        with pytest.raises(UserError, match="--out: .* would be written twice"):
            paths.check_outputs({"out": names}, {"in": ["model"]})


def test_remote_paths_are_compared_as_they_are_written():
    refused("gs://b/a", "gs://b/a", match="is read as")
    refused("gs://b/a/v", "gs://b/a/", match="lies inside")
    paths.check_outputs({"out": ["gs://b/ab"]}, {"in": ["gs://b/a", "b/ab"]})
