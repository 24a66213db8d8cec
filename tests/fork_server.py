"""A process that has loaded TensorFlow, and forks itself for each program to run.

To load TensorFlow takes a core 4 seconds, to fork a process that has loaded it some
hundredths. It is only loaded here: its threads, which no fork would take along, start
with the first thing that it computes, in the program. Nothing of this project is
loaded, and the program has no function below it, as in a process of its own.

Usage: fork_server.py SOCKET, a file where requests come in; `forks` starts it.
"""

import json
import os
import runpy
import signal
import socket
import sys
import types

import keras  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401
import tensorflow_text  # noqa: F401


def next_program(requests):
    """Waits for requests; returns each in a process of its own.

    Returns:
      what `forks.start` sent, and the files that are to be numbers 0, 1 and 2.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who ends is forgotten
    while True:
        data, files, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not data:  # who sends them has ended
            os._exit(0)
        if not os.fork():
            break
        for file in files:
            os.close(file)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, answers = files
    program = os.fork()
    if not program:
        os.close(answers)
        return json.loads(data), streams
    for file in streams:
        os.close(file)
    os.write(answers, b"%d" % program)
    _, status = os.waitpid(program, 0)
    os.write(answers, b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(program, streams):
    """Gives this process the program's files, folder, environment and arguments."""
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(program["cwd"])
    os.environ.clear()
    os.environ.update(program["env"])
    sys.argv = program["argv"]
    sys.path[0] = "" if sys.argv[0] == "-c" else os.path.dirname(sys.argv[0])


def run(code):
    """Runs code as the main module."""
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(code, vars(main))


program, streams = next_program(socket.socket(fileno=int(sys.argv[1])))
become(program, streams)
run(program["code"])
if sys.argv[0] != "-c":
    runpy.run_path(sys.argv[0], run_name="__main__")
