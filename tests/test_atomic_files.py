"""What is written aside appears whole, in order, or not at all."""

import os
import signal
import subprocess
import sys
import tempfile

import forks
import pytest
import tiny

import atomic_files
import processes
from atomic_files import atomic_path, is_aside, temporary_folder

pytestmark = pytest.mark.long


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


def left_by_a_killed_process(path):
    """Kills a process while it writes `path`; returns what it left, and its name."""
    code = (
        "import os, signal, sys\n"
        "from atomic_files import atomic_path\n"
        "with atomic_path(sys.argv[1], ('.data', '.index')) as aside:\n"
        "    for suffix in ('.data', '.index', '.data.tempstate7'):\n"
        "        open(aside + suffix, 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = forks.run([sys.executable, "-c", code, path], cwd=tiny.ROOT)
    assert done.returncode == -signal.SIGKILL
    left = sorted(path.parent.iterdir())
    assert len(left) == 3
    assert all(is_aside(str(found)) for found in left)
    return left


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path):
    left = left_by_a_killed_process(tmp_path / "model[1]")
    mine = [str(path).replace(".writing-", "-old.writing-") for path in left]
    for path in mine:  # of another file
        open(path, "w").close()
    with atomic_path(str(tmp_path / "model[1]")) as aside:
        open(aside, "w").close()
    assert sorted(map(str, tmp_path.iterdir())) == sorted(
        [str(tmp_path / "model[1]"), *mine]
    )
    atomic_files.remove_left_behind(str(tmp_path))
    assert os.listdir(tmp_path) == ["model[1]"]


def test_what_a_running_process_or_another_machine_writes_stays(tmp_path, monkeypatch):
    left = left_by_a_killed_process(tmp_path / "a")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(processes, "machine", lambda: "0123abcd")
        atomic_files.remove_left_behind(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == left
    code = (
        "import sys\n"
        "from atomic_files import atomic_path, temporary_folder\n"
        "with atomic_path(sys.argv[1]) as aside, temporary_folder(sys.argv[2]):\n"
        "    open(aside, 'w').close()\n"
        "    print(flush=True)\n"
        "    sys.stdin.read()\n"
    )
    names = [str(tmp_path / "b"), str(tmp_path / "c")]
    with forks.start(
        [sys.executable, "-c", code, *names],
        cwd=tiny.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        running.stdout.readline()
        atomic_files.remove_left_behind(str(tmp_path))
        assert len(os.listdir(tmp_path)) == 2
        running.stdin.close()
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.parametrize("remote", [False, True])
def test_a_temporary_folder_is_gone_at_the_end(tmp_path, monkeypatch, remote):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    path = "gs://bucket/a" if remote else str(tmp_path / "new" / "a")
    with temporary_folder(path) as folder:
        assert is_aside(f"{folder}/inside")
        open(f"{folder}/inside", "w").close()
        parent = tmp_path / ("tmp" if remote else "new")
        assert os.path.dirname(folder) == str(parent)
    assert list(parent.iterdir()) == []
