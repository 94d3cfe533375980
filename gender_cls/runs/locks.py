"""Locks: one process at a time works in a folder, and readers see whether one does; also on a shared disk."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gender_cls.errors import GenderClsError
from gender_cls.runs import heartbeat
from gender_cls.runs.heartbeat import OccupiedError, at_work, signed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # `has_record_locks` asks for it

_PATIENCE = 0.5  # seconds; `in_use` holds the lock of a folder for a moment
_LOCK_ERRORS = (OSError, NotImplementedError)  # the second: of a disk without locks and hard links
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(folder: Path, way_out: str = "wait for it") -> Iterator[None]:
    """Lock a folder for this process, or raise GenderClsError; the lock ends with the process, also when killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(folder / ".lock"))
        except OccupiedError as occupied:
            where = f" on {occupied.host}" if occupied.host else ""
            raise GenderClsError(f"{folder} is in use by another process{where}: {way_out}.") from None
        yield


@contextlib.contextmanager
def held(lock: Path, *, patient: bool = False, mode: int = 0o644) -> Iterator[None]:
    """Hold a lock, which is two: the file system's, and a name with a heartbeat where that one is missing or local.

    Args:
        lock: a file; the name is next to it, and its own name ends in `.owner`.
        patient: wait for another process as long as it takes.
        mode: permissions of both files.

    Raises:
        OccupiedError: another process holds it, and this one is not `patient`.
        OSError: the file cannot be made.
    """
    by_system = FileLock(lock, mode=mode)
    with contextlib.ExitStack() as stack:
        try:
            if patient:
                lock.touch(mode)  # raises an error where no file can be made; FileLock would try again without end
                by_system.acquire(poll_interval=heartbeat.POLL)
            else:
                by_system.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 10)
            stack.callback(by_system.release)
        except Timeout:
            raise OccupiedError("") from None
        except _LOCK_ERRORS as error:
            if not lacks_locks(error):
                raise
        stack.enter_context(signed(_owner(lock), patient=patient, mode=mode))
        yield


def in_use(folder: Path, pid: int | None = None) -> bool:
    """Whether a process works in this folder.

    Args:
        pid: only a process with this number counts.
    """
    return is_held(folder / ".lock", pid)


def is_held(lock: Path, pid: int | None = None) -> bool:
    """Whether a process holds this lock."""
    if (works := at_work(_owner(lock), pid)) is not None:
        return works
    if not lock.exists():
        return False
    try:  # a process of an earlier version leaves no name
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except _LOCK_ERRORS as error:
        return not lacks_locks(error)


def has_record_locks(descriptor: int) -> bool:
    """Whether the file system of an open file has the locks that SQLite uses."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # another process holds one, or there are none
        return not lacks_locks(error)
    return True


def lacks_locks(error: Exception) -> bool:
    """Whether this error of a lock says that the file system has no locks."""
    return isinstance(error, NotImplementedError) or getattr(error, "errno", None) in _NO_LOCKS


def _owner(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.owner")
