"""Pipes: what reads once reads them, what reads more refuses, and `head` may leave."""

import os
import signal
import subprocess
import sys
import threading

import startup

import forks
import pytest
import scripts
import tiny
from tiny_corpus import write_corpus, write_vocab

import command_line
import streams
from errors import UserError

pytestmark = pytest.mark.long

ENCODING = {"PYTHONIOENCODING": "ascii"}


def script(text, shell='"$@"', **environment):
    """Runs a main of this text, as a shell's `$@`; no script of ours is so quick."""
    code = f"import startup\n\ndef main(_):\n  {text}\n\nstartup.run(main)"
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", code]
    return tiny.run(command, cwd=tiny.ROOT, env=os.environ | environment)


def piped(tmp_path, text):
    """Makes a named pipe, through which the text goes once."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_text, args=(text,), daemon=True).start()
    return path


def test_only_files_and_folders_are_no_streams(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("text")
    paths = (tmp_path / "pipe", tmp_path / "file", tmp_path, tmp_path / "none")
    found = [streams.is_stream(str(path)) for path in (*paths, "/dev/null", "gs://a")]
    assert found == [True, False, False, False, True, False]


def test_a_vocabulary_is_learnt_from_stdin(tmp_path):
    text = write_corpus(tmp_path / "text.txt", 30)
    made = []
    for name, source in (("file", text), ("pipe", "/dev/stdin")):
        command = [sys.executable, tiny.ROOT / "create_vocab.py"]
        command += [f"--input_file={source}", f"--output_file={tmp_path / name}"]
        with subprocess.Popen(["cat", text], stdout=subprocess.PIPE) as cat:
            done = forks.run([*command, "--vocab_size=60"], stdin=cat.stdout)
        assert done.returncode == 0, done.stderr
        made.append((tmp_path / name).read_text())
    assert made[0] == made[1]
    assert len(made[0].splitlines()) > 30


def test_records_are_made_from_a_pipe(tmp_path):
    text = write_corpus(tmp_path / "text.txt", 30)
    flags = [f"--vocab_file={write_vocab(tmp_path)}", "--num_workers=1"]
    made = []
    for name in ("file", "pipe"):
        with open(text) as file:
            source = piped(tmp_path, file.read()) if name == "pipe" else text
        output = tmp_path / f"{name}.tfrecord"
        scripts.run(
            "create_pretraining_data",
            f"--input_file={source}",
            f"--output_file={output}",
            *flags,
        )
        made.append(output.read_bytes())
    assert made[0] == made[1]


def test_what_reads_twice_has_a_copy_which_goes(tmp_path):
    with streams.kept(str(piped(tmp_path, "a\nb"))) as path:
        for _ in range(2):
            with streams.open_bytes(path) as file:
                assert file.read() == b"a\nb"
    assert not os.path.exists(path)
    with streams.kept(str(tmp_path / "file")) as path:
        assert path == str(tmp_path / "file")


def test_pipes_are_refused_where_one_pass_is_not_enough(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    module = scripts.load("create_vocab")
    flags = [f"--input_file={tmp_path}/pipe", f"--output_file={tmp_path}/pipe"]
    try:
        for pipes, other in (["input_file"], "output"), (["output_file"], "input"):
            message = f"--{other}_file=.*pipe is a pipe or a dev"
            with pytest.raises(UserError, match=message):
                command_line.parse_flags(["create_vocab", *flags], pipes=pipes)
        both = ["input_file", "output_file"]
        command_line.parse_flags(["create_vocab", *flags], pipes=both)
    finally:
        module.FLAGS.unparse_flags()


@pytest.mark.parametrize("length", [10, 10**6])
def test_head_ends_a_script_quietly(length):
    shell = '"$@" | true; echo "${PIPESTATUS[0]}"'
    done = script(f"import time; time.sleep(.5); print('y' * {length})", shell)
    assert done.stderr == ""
    assert done.stdout == f"{128 + signal.SIGPIPE}\n"


def test_another_pipe_that_breaks_is_a_fault():
    broken = "import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')"
    done = script(broken)
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


def test_what_a_terminal_cannot_show_is_escaped():
    done = script("print('na\\u00efve \\ud800')", **ENCODING)
    assert (done.returncode, done.stdout) == (0, "na\\xefve \\ud800\n")
    assert done.stderr == ""


def test_a_full_disk_under_stdout_is_told_in_a_line():
    done = script("print('y')", '"$@" > /dev/full')
    assert done.returncode == startup.USER_ERROR
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_without_a_stdout_a_script_runs():
    done = script("print('y')", '"$@" >&-')
    assert (done.returncode, done.stderr) == (0, "")
