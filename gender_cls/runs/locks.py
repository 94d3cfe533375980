"""The lock of a folder: one process at a time works there, and readers see whether one does."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gender_cls.errors import GenderClsError
from gender_cls.system.processes import beginning_of, is_alive

_PATIENCE = 0.5  # seconds; `in_use` holds the lock of a folder for a moment
LOCK_ERRORS = (OSError, NotImplementedError)  # the second from systems that have no locks at all
"""What a lock of `filelock` may raise."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, or raise GenderClsError; the lock ends with the process, also when killed.

    Where the file system has no locks, a file names the process instead. Readers on the same machine can then find out
    whether that process lives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    with contextlib.ExitStack() as stack:
        try:
            lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 10)
            stack.callback(lock.release)
        except Timeout:
            raise _in_use_error(folder) from None
        except LOCK_ERRORS as error:
            if not lacks_locks(error):
                raise
            stack.enter_context(_locked_by_name(folder))
        yield


def _in_use_error(folder: Path) -> GenderClsError:
    return GenderClsError(f"{folder} is in use by another process: wait for it or choose another name.")


def in_use(folder: Path) -> bool:
    """Whether a process works in this folder; True where that cannot be found out."""
    if (owner := _owner(folder)).exists():
        return _lives(owner) is not False
    lock = FileLock(folder / ".lock")
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
    except LOCK_ERRORS as error:
        return not lacks_locks(error)  # without locks, a working process would have left its name


def lacks_locks(error: Exception) -> bool:
    """Whether this error of a lock says that the file system has no locks."""
    return isinstance(error, NotImplementedError) or getattr(error, "errno", None) in _NO_LOCKS


def _owner(folder: Path) -> Path:
    return folder / ".lock.owner"


@contextlib.contextmanager
def _locked_by_name(folder: Path) -> Iterator[None]:
    owner = _owner(folder)
    name = {"pid": os.getpid(), "host": socket.gethostname(), "began": beginning_of(os.getpid())}
    while True:
        try:
            with owner.open("x") as file:
                file.write(json.dumps(name))
            break
        except FileExistsError:
            if (lives := _lives(owner)) is None:
                raise GenderClsError(
                    f"{owner} says that a process of another machine works in this folder, and this file system has "
                    "no locks: if that process has ended, remove the file."
                ) from None
            if lives:
                raise _in_use_error(folder) from None
            owner.unlink(missing_ok=True)
    try:
        yield
    finally:
        owner.unlink(missing_ok=True)


def _lives(owner: Path) -> bool | None:
    """Whether the process that left its name lives; None if it is another machine's."""
    try:
        name = json.loads(owner.read_text(encoding="utf-8"))
        if name["host"] != socket.gethostname():
            return None
        return is_alive(name["pid"]) and beginning_of(name["pid"]) == name["began"]
    except (ValueError, TypeError, KeyError, FileNotFoundError):  # cut off, or just removed
        return False
