"""A process's name in a file on a shared disk, which the process touches as long as it lives.

The locks of a file system end with their process. But some network drives have no locks, and those of others do not
reach from one machine to another. A name works on all of them: a process of the same machine is looked up, and one of
another machine is known by its heartbeat.
"""

import contextlib
import hashlib
import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gender_cls.system.processes import beginning_of, is_alive, machine

log = logging.getLogger(__name__)

BEAT = 10.0  # seconds from one touch to the next
SILENT = 120.0  # seconds without a touch after which a process counts as dead
WATCH = 2.5 * BEAT  # seconds without a touch, also as this process sees it, before another one takes over
POLL = 0.5  # seconds between two looks


class OccupiedError(Exception):
    """A living process has left its name; `host` is its machine, empty if it is this one."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


class _Seen(NamedTuple):
    """A name as it was found."""

    text: str
    touched: int  # nanoseconds, by the clock of the file system

    @property
    def process(self) -> dict[str, Any]:
        """`pid`, `began`, `host` and `machine`; empty while the name is being written."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.text)
            return found if isinstance(found, dict) else {}
        return {}

    @property
    def lives_here(self) -> bool | None:
        """Whether the process lives; None if it is not one of this machine."""
        found = self.process
        if found.get("machine") != machine():
            return None
        return is_alive(found["pid"]) and beginning_of(found["pid"]) == found["began"]


def at_work(owner: Path, pid: int | None = None) -> bool | None:
    """Whether the process that left its name in this file lives; None if there is no name.

    Args:
        pid: only a process with this number counts.
    """
    if (seen := _look(owner)) is None:
        return None
    if pid is not None and seen.process.get("pid", pid) != pid:
        return False
    lives = seen.lives_here
    return _age(owner, seen) <= SILENT if lives is None else lives


@contextlib.contextmanager
def signed(owner: Path, *, patient: bool = False, mode: int = 0o644) -> Iterator[None]:
    """Leave this process's name in a file, and touch it until the context ends; the name of a dead process is removed.

    A process of another machine counts as dead when it has not touched its name for SILENT seconds, by the clock of the
    file system, nor while this process watched the name, because clocks may differ. A process that was stopped for that
    long ends itself when it goes on and finds that another one has its place.

    Args:
        patient: wait for a living process as long as it takes.
        mode: permissions of the file.

    Raises:
        OccupiedError: a living process has left its name, and this one is not `patient`.
    """
    process = {"pid": os.getpid(), "host": socket.gethostname(), "machine": machine()}
    text = json.dumps({**process, "began": beginning_of(os.getpid())})
    while not _created(owner, text, mode):
        _await_end(owner, patient)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(owner, text, ended), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if (seen := _look(owner)) is not None and seen.text == text:
            owner.unlink(missing_ok=True)


def _await_end(owner: Path, patient: bool) -> None:
    """Return when the name is gone or could be removed, because its process has ended."""
    first, since, told = _look(owner), time.monotonic(), patient
    while first is not None and (seen := _look(owner)) is not None and seen.text == first.text:
        lives = seen.lives_here
        if not patient and (lives or seen.touched != first.touched):
            raise OccupiedError("" if lives else str(seen.process.get("host")))
        if lives or seen.touched != first.touched:
            first, since = seen, time.monotonic()
        watched = time.monotonic() - since
        if lives is False or watched >= SILENT or (watched >= WATCH and _age(owner, seen) > SILENT):
            _remove(owner, seen)
            return
        if not told:
            told = True
            log.info(
                f"{owner.parent} was in use on {seen.process.get('host', 'another machine')}, "
                f"{max(0, _age(owner, seen)):.0f} s ago: this process waits until it is clear whether that one lives, "
                f"{SILENT:.0f} s at most."
            )
        time.sleep(POLL)


def _remove(owner: Path, seen: _Seen) -> None:
    """Remove the name of a dead process; of several processes that want to, only one can remove this very name."""
    permit = owner.with_name(f"{owner.name}.{hashlib.blake2b(seen.text.encode(), digest_size=8).hexdigest()}")
    if _created(permit, ""):
        try:
            if _look(owner) == seen:
                owner.unlink(missing_ok=True)
        finally:
            permit.unlink(missing_ok=True)
    elif (left := _look(permit)) is not None and _age(permit, left) > SILENT:  # of a process that was killed here
        permit.unlink(missing_ok=True)


def _beat(owner: Path, text: str, ended: threading.Event) -> None:
    last = time.time()
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):  # the disk is away for a while, or for good: the work itself will find out
            seen = _look(owner)
            if seen is not None and seen.text != text:
                _leave(owner)
            elif seen is not None:
                os.utime(owner)
            elif owner.parent.is_dir():  # somebody removed it: a person now, or a process that has come and gone
                if time.time() - last > SILENT:
                    _leave(owner)
                _created(owner, text)
            last = time.time()


def _leave(owner: Path) -> None:
    """End this process at once: whatever it wrote now would be in another one's way."""
    sys.stderr.write(
        f"error: {owner.parent} belongs to another process now, because this one was stopped for more than "
        f"{SILENT:.0f} s: it ends here.\n"
    )
    sys.stderr.flush()
    os._exit(1)


def _created(owner: Path, text: str, mode: int = 0o644) -> bool:
    """Whether the file could be made; False if there is one."""
    try:
        descriptor = os.open(owner, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        owner.unlink(missing_ok=True)
        raise
    return True


def _look(owner: Path) -> _Seen | None:
    with contextlib.suppress(FileNotFoundError), owner.open(encoding="utf-8", errors="replace") as file:
        return _Seen(file.read(), os.fstat(file.fileno()).st_mtime_ns)  # a network drive is asked anew when it opens
    return None


def _age(owner: Path, seen: _Seen) -> float:
    """Seconds since the last touch, by the file system's clock, which need not be that of this machine."""
    try:
        with tempfile.TemporaryFile(dir=owner.parent) as file:
            now = os.fstat(file.fileno()).st_mtime_ns
    except OSError:  # this process may only read there
        now = time.time_ns()
    return (now - seen.touched) / 1e9
