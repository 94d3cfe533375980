"""Processes: whether one lives, how child processes start, and how they end with their parent."""

import contextlib
import multiprocessing.context
import os
import signal
import socket
import sys
import threading
import time
import warnings
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path
from types import FrameType
from typing import Any

from gender_cls.system.signals import FROM_SCHEDULERS, STOPS, Stopped, handling, holding_stops

# A forked process has what its parent has imported and prepared. Forking a process with threads is safe on Linux only.
ChildProcess = multiprocessing.context.ForkProcess if sys.platform == "linux" else multiprocessing.context.SpawnProcess


def is_alive(pid: int) -> bool:
    """Whether this machine has a process with this number that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        pass
    return _statistics(pid)[:1] not in (["Z"], ["X"])  # it has ended, but its parent has not asked how


def beginning_of(pid: int) -> str | None:
    """When a process began, as the kernel states it; None if unknown. Numbers of ended processes are used again."""
    found = _statistics(pid)
    return found[19] if found else None


def _statistics(pid: int) -> list[str]:
    """What the kernel says about a process, from its state on; empty if unknown."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []


def machine() -> str:
    """Names where the numbers of processes mean the same: host, its last start, and the container's own numbers."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def end_with_parent() -> None:
    """End this child process when its parent has ended, for whatever reason.

    Otherwise the child of a killed process would go on working, and the run could not be resumed.
    """
    parent = parent_process()
    assert parent is not None

    def wait_for_parent() -> None:
        if parent.sentinel is not None:
            wait([parent.sentinel])
        else:  # joblib started this process
            while os.getppid() == parent.pid:
                time.sleep(1)
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


def run_child(process: BaseProcess) -> int:
    """Start a process that works in `stopping_child_on_signals`, wait for its end, and return its exit code.

    The signals of schedulers are passed on to it, because it may have work to keep. Then they end this process too,
    also if the child alone got one: by the handler from before, as that of submitit, which queues the job again, or by
    Stopped. An exit code below 0 is the signal that killed the child.
    """
    asked: list[int] = []

    def pass_on(number: int, _: FrameType | None = None) -> None:
        if number not in asked:
            asked.append(number)
        if process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    with handling(FROM_SCHEDULERS, pass_on):
        with holding_stops():
            process.start()
        for number in asked:  # before it had started
            pass_on(number)
        try:
            process.join()
        except BaseException:  # the child must write its status; Ctrl-C reaches it by itself, SIGHUP may not
            process.terminate()
            process.join(timeout=60)
            process.kill()
            raise
    exit_code = process.exitcode or 0
    asked = asked or [number for number in STOPS if exit_code in (128 + number, -number)]
    for number in asked:
        handler = signal.getsignal(number)
        if callable(handler):
            handler(number, None)
    if asked:
        raise Stopped(asked[0])
    return exit_code


def end_only_by_parent(_: int = 0) -> None:
    """In a data loader's process that started in `holding_stops`: leave the signals of schedulers to the parent.

    It ends when the parent says so. A scheduler may send them to all processes, and a training whose data loader has
    died cannot end its step.
    """
    for number in FROM_SCHEDULERS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    held = set()
    if hasattr(signal, "sigwaitinfo"):  # the only way to learn who has sent a signal
        held = {signal.SIGTERM}
        threading.Thread(target=_end_when_parent_asks, daemon=True).start()
    if hasattr(signal, "pthread_sigmask"):  # a POSIX system
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(STOPS) - held)


def _end_when_parent_asks() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def fork_context() -> BaseContext | None:
    """The context that forks a DataLoader's workers from this process; None for the system's default.

    The default from Python 3.14 on imports everything again in each worker, which takes seconds. A forked process must
    not use a GPU, nor a lock that a thread held; workers that only read and change pixels do neither.
    """
    return _Forking() if sys.platform == "linux" else None


if sys.platform == "linux":
    from multiprocessing.context import ForkContext, ForkProcess

    class _QuietProcess(ForkProcess):
        @staticmethod
        def _Popen(process_obj: Any) -> Any:
            with warnings.catch_warnings():  # Python 3.12 and later warn when there are threads; torch always has some
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                return ForkProcess._Popen(process_obj)

    class _Forking(ForkContext):
        Process = _QuietProcess
