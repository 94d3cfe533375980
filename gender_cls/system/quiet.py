"""Measuring times: one process of a machine at a time, and what other processes computed meanwhile."""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 300.0  # seconds to wait for others; then this process measures next to them
POLL = 0.05  # seconds
BUSY_CPUS = 0.2  # CPUs that other processes may use before times are marked
BUSY_SHARE = 0.05  # the same as a share of all CPUs, if that is more
_NAME = "\0gender_cls measures"  # no file: it is known to all users of the machine, and ends with the process


@contextlib.contextmanager
def measuring_alone() -> Iterator[None]:
    """Wait until no other process of this machine measures; then no other one does until the context ends.

    Only on Linux. A container with a network of its own does not see the others.
    """
    with contextlib.ExitStack() as stack:
        if sys.platform == "linux":
            holder = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            end = time.monotonic() + PATIENCE
            while not _taken(holder) and time.monotonic() < end:
                time.sleep(POLL)
        yield


def _taken(holder: socket.socket) -> bool:
    try:
        holder.bind(_NAME)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


class Meanwhile:
    """Tells what other processes have computed on this process's CPUs since it was made."""

    def __init__(self) -> None:
        self._start = self._now()

    def busy(self) -> float | None:
        """How many CPUs they kept busy, on average; None if the system does not tell."""
        (seconds, busy, own), (seconds_before, busy_before, own_before) = self._now(), self._start
        if busy is None or busy_before is None or seconds <= seconds_before:
            return None
        return max(0.0, (busy - busy_before) - (own - own_before)) / (seconds - seconds_before)

    @staticmethod
    def _now() -> tuple[float, float | None, float]:
        return time.monotonic(), _busy_seconds(), time.process_time()

    def disturbed(self) -> str | None:
        """What they computed, in words; None if it was too little to matter, or unknown."""
        busy, cpus = self.busy(), len(_cpus())
        if busy is None or busy < max(BUSY_CPUS, BUSY_SHARE * cpus):
            return None
        return f"other processes kept {busy:.1f} of {cpus} CPU{'s' * (cpus > 1)} busy"


def _cpus() -> set[int]:
    """The CPUs that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _busy_seconds() -> float | None:
    """What all processes have computed on this process's CPUs since the machine started; None if unknown."""
    names = {f"cpu{number}" for number in _cpus()}
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
        ticks = [[int(cell) for cell in line[1:9]] for line in lines if line and line[0] in names]
        # user, nice, system; idle and waiting for disks are left out; interrupts; stolen by other virtual machines
        return sum(sum(one[:3] + one[5:8]) for one in ticks) / os.sysconf("SC_CLK_TCK") if ticks else None
    return None


def others_on_gpu(uuid: str) -> str | None:
    """Which processes besides this one are on a GPU, in words; None if there is none, or the driver does not tell."""
    query = ["nvidia-smi", "--query-compute-apps=gpu_uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    others = sum(uuid in line for line in listed.splitlines()) - 1
    return f"{others} other process{'es' * (others > 1)} used the GPU" if others > 0 else None
