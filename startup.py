"""What every script does first and last: quiet libraries, errors in one line.

Imported before everything else that is not Python's own, since TensorFlow reads its
log level when it is loaded.
"""

import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence

from absl import app, flags

import streams
from errors import UserError

# TensorFlow and XLA greet with a dozen lines a process; what a user sets stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

USER_ERROR = 2  # exit status
_NO_READER = 128 + signal.SIGPIPE  # the shell's exit status of who writes on to `head`
_PATHS = ("_file", "_dir", "_path", "_checkpoint")  # end the names of flags for paths


def run(
    main: Callable[[Sequence[str]], None],
    required: Sequence[str] = (),
    pipes: Collection[str] = (),
) -> None:
    """Runs a script: reads the flags, calls `main`, ends the process.

    A user's error ends with one message on stderr and exit status 2; any other
    exception keeps its traceback. Whoever stops reading what is printed, as `head`
    does, ends the process quietly; what a terminal cannot show is escaped.

    Args:
      main: takes the words of the command line that are no flags.
      required: names of flags that must be given.
      pipes: names of flags whose files are read once, from start to end.
    """
    flags.DEFINE_bool("traceback", False, "Whether a user's error shows its traceback.")
    flags.mark_flags_as_required(list(required))

    def guarded(argv):
        try:
            check_pipes(pipes)
            main(argv)
            if sys.stdout:
                sys.stdout.flush()  # a full disk is told as any error is
        except Exception as error:
            if flags.FLAGS.traceback or not is_users(error):
                raise
            end(str(error))

    with printing():
        app.run(guarded)


def check_pipes(allowed: Collection[str]) -> None:
    """Refuses pipes and devices for files that are read or written in another way.

    Raises:
      UserError: a flag that is not allowed has one.
    """
    for name in flags.FLAGS:
        values = flags.FLAGS[name].value
        if name in allowed or not name.endswith(_PATHS) or not values:
            continue
        for value in [values] if isinstance(values, str) else values:
            if streams.is_stream(value):
                raise UserError(
                    f"--{name}={value} is a pipe or a device; wanted a file, which can "
                    "be read more than once"
                )


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Makes stdout fit for any terminal, and for a reader that goes away."""
    if sys.stdout is None:  # closed by who started the process
        yield
        return
    if sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except BrokenPipeError:
        poll = select.poll()
        poll.register(sys.stdout, 0)
        if not any(event & select.POLLERR for _, event in poll.poll(0)):
            raise  # another pipe
        sys.exit(_NO_READER)
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # It was told where it was met first. What is left in the buffer goes
            # nowhere, or Python would try once more at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_users(error: Exception) -> bool:
    """Tells whether the user can put an error right."""
    if isinstance(error, OSError):
        return isinstance(error, UserError) or error.errno in _USERS_ERRNO
    return isinstance(error, UserError | FloatingPointError)


def end(message: str) -> None:
    """Ends the process as a user's error does."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    sys.exit(USER_ERROR)


_USERS_ERRNO = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOSPC,
    errno.EROFS,
    errno.ENAMETOOLONG,
}
