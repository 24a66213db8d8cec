"""Processes of Python that need not load TensorFlow: forks of one that has.

For programs that are killed, or read and write as processes do. What is not about the
process runs in that of the tests, see `scripts`. Python that a shell starts, and what
is said while TensorFlow is loaded, are `subprocess`'s.
"""

import contextlib
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import compiling

_SERVER = pathlib.Path(__file__).with_name("fork_server.py")
_USE = f"""
import sys
sys.path.append({str(_SERVER.parent)!r})
import compiling
compiling.use(False, {{}})
"""


class Process:
    """A running program: what these tests use of subprocess.Popen, in its words.

    Attributes:
      pid: int.
      stdin: what it reads, in bytes; None unless asked for.
      stdout: what it writes, in bytes; None unless asked for.
      returncode: int, minus the signal that it died of; None while it runs.
    """

    def __init__(self, answers, stdin, stdout):
        """Takes where the server tells the process's number, and then its status."""
        self._answers, self.stdin, self.stdout = answers, stdin, stdout
        self.pid, self.returncode = int(answers.recv(20)), None

    def poll(self):
        """Returns the status, or None while it runs."""
        try:
            return self.wait(0)
        except BlockingIOError:
            return None

    def wait(self, timeout=None):
        """Waits for the end, at most so many seconds; returns the status."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            self.returncode = int(self._answers.recv(20))
            self._answers.close()
        return self.returncode

    def send_signal(self, number):
        """Sends a signal to a process that may have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in (self.stdin, self.stdout):
            if file:
                file.close()
        self.wait()


@functools.cache
def _server():
    """Starts the server, which ends with this process."""
    requests, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its_end:
        command = [sys.executable, str(_SERVER), str(its_end.fileno())]
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # as `startup` has it
        subprocess.Popen(command, pass_fds=[its_end.fileno()], env=quiet)
    return requests


def start(
    command, *, cwd=None, env=None, before="", stdin=None, stdout=None, stderr=None
):
    """Starts a program.

    Args:
      command: the words of `python program ...` or `python -c code ...`, from
        sys.executable on.
      cwd: path of its folder; ours by default.
      env: its environment; ours by default.
      before: code that a script's process runs before the script.
      stdin: a file, or its number; None = ours; subprocess.PIPE = Process.stdin.
      stdout: as stdin.
      stderr: as stdin, but no pipe.

    Returns:
      Process.
    """
    executable, *argv = map(str, command)
    assert executable == sys.executable
    if argv[0] == "-c":
        before = argv.pop(1)
    elif not compiling.COMPILED:
        before = _USE.format(compiling.WHOLE_STEPS) + before
    program = {
        "argv": argv,
        "code": before,
        "cwd": str(cwd or os.getcwd()),
        "env": dict(os.environ if env is None else env),
    }
    theirs = [0 if stdin is None else stdin, 1 if stdout is None else stdout]
    theirs.append(2 if stderr is None else stderr)
    ours = [None, None]
    if stdin == subprocess.PIPE:
        theirs[0], ours[0] = os.pipe()
    if stdout == subprocess.PIPE:
        ours[1], theirs[1] = os.pipe()
    answers, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    numbers = [f if isinstance(f, int) else f.fileno() for f in (*theirs, its_end)]
    socket.send_fds(_server(), [json.dumps(program).encode()], numbers)
    its_end.close()
    for file, pipe in zip(theirs, (stdin, stdout), strict=False):
        if pipe == subprocess.PIPE:
            os.close(file)
    writer, reader = ours
    return Process(
        answers,
        stdin=writer and os.fdopen(writer, "wb", buffering=0),
        stdout=reader and os.fdopen(reader, "rb", buffering=0),
    )


def run(command, *, input="", **kwargs):
    """Runs a program to its end.

    Args:
      command: as that of `start`.
      input: text that it reads.
      **kwargs: as those of `start`.

    Returns:
      subprocess.CompletedProcess, of text.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        files[0].write(input)
        files[0].seek(0)
        names = ("stdin", "stdout", "stderr")
        kwargs = dict(zip(names, files, strict=True)) | kwargs
        status = start(command, **kwargs).wait()
        written = []
        for file in files[1:]:
            file.seek(0)
            written.append(file.read())
    return subprocess.CompletedProcess(command, status, *written)
