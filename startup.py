"""What every script does first and last: quiet libraries, errors in one line.

Imported before everything else that is not Python's own, since it sees to TensorFlow
being loaded quietly (quiet_tensorflow.py); it loads nothing of it itself.
"""

import contextlib
import errno
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence

import quiet_tensorflow  # noqa: F401  (before anything loads TensorFlow)

from absl import app, flags

import command_line
from errors import UserError

USER_ERROR = 2  # exit status
# The shell's exit statuses of who is interrupted, and of who writes on to `head`.
INTERRUPTED, _NO_READER = 128 + signal.SIGINT, 128 + signal.SIGPIPE


def run(
    main: Callable[[Sequence[str]], None],
    check: command_line.Check = tuple,
    *,
    required: Sequence[str] = (),
    pipes: Collection[str] = (),
    words: Sequence[str] = (),
) -> None:
    """Runs a script: reads the flags, calls `main`, ends the process.

    A user's error ends with one message on stderr and exit status 2, an interrupt
    silently with status 130; any other exception keeps its traceback. Whoever stops
    reading what is printed, as `head` does, ends the process quietly; what a terminal
    cannot show is escaped.

    Args:
      main: takes the script's name in a list, and behind it `words`.
      check: as for command_line.parse_flags.
      required: names of flags that must be given.
      pipes: names of flags whose files are read once, from start to end.
      words: see command_line.parse_flags.
    """
    flags.DEFINE_bool("traceback", False, "Whether a user's error shows its traceback.")

    def parse(argv):
        if command_line.HELP.intersection(argv[1:]):
            print(command_line.help_text(sys.modules["__main__"].__doc__ or ""))
            sys.exit()
        with _ending_in_one_line():
            return command_line.parse_flags(
                argv, check, required=required, pipes=pipes, words=words
            )

    def guarded(argv):
        with _ending_in_one_line():
            main(argv)
            if sys.stdout:
                sys.stdout.flush()  # a full disk is told as any error is

    with printing():
        app.run(guarded, flags_parser=parse)


@contextlib.contextmanager
def _ending_in_one_line() -> Iterator[None]:
    """Ends the process on an error that is the user's, and on an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        message = users_error(error)
        if message is None or flags.FLAGS["traceback"].value:
            raise
        end(message)


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


def end(message: str) -> None:
    """Ends the process as a user's error does."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    sys.exit(USER_ERROR)


def users_error(error: Exception) -> str | None:
    """Returns what to tell of an error that the user can put right; None of a bug."""
    if isinstance(error, UserError | FloatingPointError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {error}".removesuffix(": ")
    if isinstance(error, OSError) and error.errno in _USERS_ERRNO:
        names = [str(n) for n in (error.filename, error.filename2) if n is not None]
        return ": ".join([" -> ".join(names), error.strerror]) if names else str(error)
    return _tensorflow_error(error)


_USERS_ERRNO = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.ELOOP,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
    errno.ENAMETOOLONG,
}
# What TensorFlow's operations put around the words of its file systems.
_DECORATION = re.compile(r"\{\{.*?\}\}\s*|\s*\[(Op:|\[).*", re.DOTALL)
_REMOTE = ("File system scheme", "HTTP request", "retry attempts failed")


def _tensorflow_error(error: Exception) -> str | None:
    """As `users_error`, of TensorFlow's own kinds: of files, and of memory."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    text = _DECORATION.sub("", error.message)
    path, _, reason = text.rpartition("; ")
    if reason in {os.strerror(number) for number in _USERS_ERRNO}:
        return f"{path}: {reason}"
    if isinstance(error, tensorflow.errors.ResourceExhaustedError):
        return f"out of memory: {text}"
    return text if any(words in text for words in _REMOTE) else None


def _end_quietly(kind, error, traceback) -> None:
    """An interrupt while libraries are still being loaded has no traceback either."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _end_quietly
