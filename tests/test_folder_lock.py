"""Two processes never write into one folder; what a dead one left is no hindrance."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys

import forks
import pytest
import tiny

import folder_lock
import processes
from atomic_files import atomic_path
from errors import UserError

HOLDER = """
import os, signal, sys
import folder_lock
with folder_lock.hold(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(folder):
    """Another process that holds a folder until its input ends."""
    with forks.start(
        [sys.executable, "-c", HOLDER, folder],
        cwd=tiny.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"\n"
        yield process


def held(folder):
    """Holds a folder for a moment."""
    with folder_lock.hold(str(folder)):
        assert sorted(os.listdir(folder)) == [folder_lock.LOCK]


def without_locks(monkeypatch):
    def flock(file, operation):
        del file, operation
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_another_process_is_kept_out_and_told_by_whom(tmp_path):
    folder = tmp_path / "out"
    with holder(folder) as process:
        wanted = f"--output_dir={folder} is being written to by process {process.pid} "
        for use in (folder_lock.hold(str(folder)).__enter__, folder_lock.check_free):
            with pytest.raises(UserError, match=f"{re.escape(wanted)}on .*, since 20"):
                use(*[str(folder)] * (use is folder_lock.check_free))
        (tmp_path / "same").symlink_to(folder)
        with pytest.raises(UserError, match="is being written to"):
            held(tmp_path / "same")
        process.stdin.close()
        process.wait()
    assert os.listdir(folder) == []
    held(folder)
    assert os.listdir(folder) == []


@pytest.mark.parametrize("locks", [True, False])
def test_the_lock_of_a_killed_process_is_taken_over(
    tmp_path, monkeypatch, caplog, locks
):
    caplog.set_level("INFO", logger="absl")
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not locks:
            without_locks(monkeypatch)
        held(tmp_path)
    assert f"left locked by process {process.pid} on " in caplog.text
    assert os.listdir(tmp_path) == []


def test_without_locks_a_file_keeps_others_out(tmp_path, monkeypatch):
    with holder(tmp_path) as process:
        without_locks(monkeypatch)
        with pytest.raises(UserError, match=f"process {process.pid} .*if it is not, r"):
            held(tmp_path)
        process.kill()
        process.wait()
        # Of another machine nobody knows whether it is alive.
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(processes, "machine", lambda: "0123abcd")
            with pytest.raises(UserError, match=f"process {process.pid} .*remove "):
                held(tmp_path)
    held(tmp_path)
    (tmp_path / folder_lock.LOCK).write_text("half a li")
    with pytest.raises(UserError, match=r"by another process: .*remove .*/\.lock"):
        held(tmp_path)


def test_one_process_does_not_hold_a_folder_twice(tmp_path):
    with folder_lock.hold(str(tmp_path)), folder_lock.hold(str(tmp_path / "seed_1")):
        with pytest.raises(UserError, match=f"by process {os.getpid()} "):
            held(tmp_path)
        assert os.listdir(tmp_path / "seed_1") == [folder_lock.LOCK]
    assert os.listdir(tmp_path) == ["seed_1"]


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("again", [None, "empty", "locked"])
def test_nothing_is_written_where_the_folder_was_removed(
    tmp_path, monkeypatch, locks, again
):
    if not locks:
        without_locks(monkeypatch)
    folder = tmp_path / "out"
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder_lock.hold(str(folder)))
        with atomic_path(str(folder / "best" / "a")) as aside:
            open(aside, "w").close()
        shutil.rmtree(folder)
        if again:
            folder.mkdir()
        if again == "locked":
            process = stack.enter_context(holder(folder))
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError, match=f"{folder} was removed or replaced"):
            stack.enter_context(atomic_path(str(folder / "best" / "a")))
        assert sorted(tmp_path.rglob("*")) == before
        for other in (tmp_path / "outer", tmp_path / "b"):
            with atomic_path(str(other)) as aside:
                open(aside, "w").close()
        if again == "locked":  # its lock is not ours to free
            assert process.poll() is None
            process.stdin.close()
            assert process.wait() == 0
    assert folder.exists() == bool(again)


def test_a_file_that_is_missing_with_its_folder_is_told_so(tmp_path):
    folder = tmp_path / "out"

    def write(whole):
        with folder_lock.hold(str(folder)), atomic_path(str(folder / "a")) as aside:
            if whole:
                open(aside, "w").close()
            else:
                shutil.rmtree(folder)
            open(tmp_path / "missing").close()

    with pytest.raises(UserError, match="removed or replaced"):
        write(whole=False)
    assert not folder.exists()
    with pytest.raises(FileNotFoundError, match="missing"):
        write(whole=True)
