"""How much memory is free, how much this process used at most, and whether an error means that memory ran out.

Imports torch only in functions that ask about a device.
"""

import contextlib
import ctypes
import gc
import os
import platform
import sys
from pathlib import Path

GIBIBYTE = 1 << 30

_MALLOC_TRIM_THRESHOLD, _MALLOC_MMAP_MAX = -1, -4  # of glibc's malloc.h
_MALLOC_TUNED = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")

# In messages of torch, oneDNN, NumPy and accelerators, besides torch.OutOfMemoryError and MemoryError.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
_CGROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that this process may still take before the kernel kills it; None if the system does not tell.

    That is what the kernel calls available, within the limits of the process's control groups (version 1 or 2). The
    page cache of a group counts as free.
    """
    lines = _numbers(Path("/proc/meminfo"))
    if "MemAvailable" not in lines:
        return None
    free = [lines["MemAvailable"] * 1024]
    for group in _control_groups():
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < 1 << 60:  # version 1 gives almost 2**63 for no limit
            stat = _numbers(group / "memory.stat")
            free.append(limit - used + stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    return max(0, min(free))


def count_oom_kills() -> int:
    """How many processes the kernel has killed so far for lack of memory, on this machine or in this control group."""
    counts = [_numbers(Path("/proc/vmstat")).get("oom_kill", 0)]
    for group in _control_groups():
        counts += [_numbers(group / name).get("oom_kill", 0) for name in ("memory.events", "memory.oom_control")]
    return sum(counts)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on the CPU or on an accelerator."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def release_memory() -> None:
    """Free memory that is no longer used: cycles of Python objects, and GPU memory that torch keeps for later."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def restart_peak(device: str) -> None:
    """Let `peak_memory` count from now on; this works on Linux and on NVIDIA's GPUs."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # on other systems the peak counts from the start of the process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> int | None:
    """The largest number of bytes in use since `restart_peak`; None if the system does not tell.

    On a GPU these are the bytes of tensors. On a CPU they are those of the process, without mapped files (libraries,
    decoded pixels), whose pages the kernel can take back; a forked process counts what it shares with its parent.
    """
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    status = _numbers(Path("/proc/self/status"))
    if "VmHWM" in status:
        return 1024 * max(status["VmHWM"] - status.get("RssFile", 0), status.get("RssAnon", 0))
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes elsewhere


def resident_memory() -> int | None:
    """Bytes in use by this process now, counted as `peak_memory` does on a CPU; None if the system does not tell."""
    status = _numbers(Path("/proc/self/status"))
    return status["RssAnon"] * 1024 if "RssAnon" in status else None


def keep_freed_memory() -> None:
    """Let glibc's malloc keep freed memory, also of large tensors, instead of returning it to the kernel.

    Otherwise every training step on a CPU asks the kernel for the pages of its activations again, which takes a large
    part of the step (bench_defaults.py). The price is a higher peak. Without effect with another C library, or if the
    environment tunes malloc already.
    """
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in _MALLOC_TUNED)
    if tuned or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MALLOC_MMAP_MAX, 0)  # a high threshold does not do: glibc allows at most 32 MiB
    libc.mallopt(_MALLOC_TRIM_THRESHOLD, -1)  # never


def _control_groups() -> list[Path]:
    """Folders of the groups that limit this process's memory, and of their parents."""
    folders: list[Path] = []
    for line in kernel_file(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _CGROUPS / "memory" if controllers else _CGROUPS
        group = root / path.lstrip("/")
        folders += [root, *(folder for folder in (group, *group.parents) if root in folder.parents)]
    return list(dict.fromkeys(folders))


def _numbers(file: Path) -> dict[str, int]:
    """The lines `name: number unit` or `name number` of a file of the kernel."""
    words = (line.replace(":", " ").split() for line in kernel_file(file).splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}


def _number(file: Path) -> int | None:
    text = kernel_file(file)
    return int(text) if text.isdigit() else None


def kernel_file(file: Path | str) -> str:
    """The text of a file of the kernel, without white space around it; empty if there is none."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
