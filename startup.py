"""What every script does first and last: quiet libraries, errors in one line.

Imported before everything else that is not Python's own, since TensorFlow reads its
log level when it is loaded.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags

from errors import UserError

# TensorFlow and XLA greet with a dozen lines a process; what a user sets stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

USER_ERROR = 2  # exit status


def run(main: Callable[[Sequence[str]], None], required: Sequence[str] = ()) -> None:
    """Runs a script: reads the flags, calls `main`, ends the process.

    A user's error ends with one message on stderr and exit status 2; any other
    exception keeps its traceback.

    Args:
      main: takes the words of the command line that are no flags.
      required: names of flags that must be given.
    """
    flags.DEFINE_bool("traceback", False, "Whether a user's error shows its traceback.")
    flags.mark_flags_as_required(list(required))

    def guarded(argv):
        try:
            main(argv)
        except Exception as error:
            if flags.FLAGS.traceback or not is_users(error):
                raise
            end(str(error))

    app.run(guarded)


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
