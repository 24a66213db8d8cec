"""One process at a time writes into an output folder.

The lock is the operating system's, which goes with the process that holds it. Where
there is none, as on remote file systems, a file says who writes there.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

import processes
from errors import UserError

LOCK = ".lock"  # in the folder; says host, process and time
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def hold(folder: str) -> Iterator[None]:
    """Keeps all others from writing into a folder, which is made if it is missing.

    Raises:
      UserError: another process holds it; says which. Or it was removed, and so a
        file in it is missing.
    """
    tf.io.gfile.makedirs(folder)
    lock = _acquire(folder)
    _held.append(lock)
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        if lock.in_place():
            raise
        raise _gone(lock) from error
    finally:
        _held.remove(lock)
        lock.release()


def check_free(folder: str) -> None:
    """Refuses, as `hold` would, a folder that is there."""
    if tf.io.gfile.exists(os.path.join(folder, LOCK)):
        _acquire(folder).release()


def check_in_place(path: str) -> None:
    """Refuses to write `path` where a folder around it is no longer what we hold.

    Raises:
      UserError: the folder was removed, or another one has taken its place.
    """
    for lock in _held:
        inside = _absolute(path).startswith(os.path.join(lock.folder, ""))
        if inside and not lock.in_place():
            raise _gone(lock)


class _SystemLock:
    """A lock on an open file, which the file's removal does not free."""

    def __init__(self, folder: str):
        self.folder = _absolute(folder)
        self._path = os.path.join(folder, LOCK)
        self._file = self._locked(folder)
        while not self.in_place():  # its holder removed it before we had locked it
            os.close(self._file)
            self._file = self._locked(folder)
        if left := os.read(self._file, 4096):
            _log_takeover(folder, _parsed(left))
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, _own_text(), 0)

    def in_place(self) -> bool:
        """Whether the locked file is the one of that name."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Removes the file, unless it is another's, and with it the lock."""
        if self.in_place():
            os.remove(self._path)
        os.close(self._file)

    def _locked(self, folder):
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(file, "rb") as held:
                raise _in_use(folder, _parsed(held.read())) from None
        except OSError:
            os.close(file)
            raise
        return file


class _FileLock:
    """A file that says who holds the folder; stale when that process is gone."""

    def __init__(self, folder: str):
        self.folder = _absolute(folder)
        self._path = os.path.join(folder, LOCK)
        self._text = _own_text()
        if left := self._read():
            holder = _parsed(left)
            if holder.get("machine") != processes.machine() or (
                holder["pid"] != os.getpid() and processes.is_running(holder["pid"])
            ):
                raise _in_use(folder, holder, f"; if it is not, remove {self._path}")
            _log_takeover(folder, holder)
        with tf.io.gfile.GFile(self._path, "wb") as file:
            file.write(self._text)
        if not self.in_place():
            raise _in_use(folder, _parsed(self._read()))

    def in_place(self) -> bool:
        """Whether the file says that we hold it."""
        return self._read() == self._text

    def release(self) -> None:
        """Removes the file, unless it is another's."""
        if self.in_place():
            tf.io.gfile.remove(self._path)

    def _read(self):
        try:
            with tf.io.gfile.GFile(self._path, "rb") as file:
                return file.read()
        except tf.errors.NotFoundError:
            return b""


_held: list[_SystemLock | _FileLock] = []


def _acquire(folder):
    if "://" in folder:
        return _FileLock(folder)
    try:
        return _SystemLock(folder)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return _FileLock(folder)


def _absolute(path):
    return path if "://" in path else os.path.abspath(path)


def _own_text():
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    return json.dumps(holder | {"machine": processes.machine()}).encode() + b"\n"


def _parsed(text):
    """What a lock file says; nothing of one that is just being written."""
    try:
        found = json.loads(text)
        return found if isinstance(found["pid"], int) else {}
    except (ValueError, TypeError, KeyError):
        return {}


def _named(holder):
    if not holder:
        return "another process"
    return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"


def _in_use(folder, holder, advice=""):
    return UserError(
        f"--output_dir={folder} is being written to by {_named(holder)}: wait for it, "
        f"or give another folder{advice}"
    )


def _gone(lock):
    return UserError(
        f"{lock.folder} was removed or replaced while this process was writing there"
    )


def _log_takeover(folder, holder):
    logging.info("%s was left locked by %s, which is gone", folder, _named(holder))
