"""How much memory there is, how much this process used at most, and whether an error says that it was too little.

Imports torch only where a device is asked about.
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
_NEVER = -1
_MALLOC_TUNED = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")

# What torch, oneDNN, NumPy and the accelerators say, apart from torch.OutOfMemoryError and MemoryError.
_SAID = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 says 2**63 less a page


def available_memory() -> int | None:
    """Bytes that this process may still take before the kernel kills it; None where the system does not tell.

    What the kernel calls available, within the limits of the process's control groups (version 1 or 2), whose page
    cache counts as free.
    """
    lines = _numbers(Path("/proc/meminfo"))
    if "MemAvailable" not in lines:
        return None
    free = [lines["MemAvailable"] * 1024]
    for group in _control_groups():
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if limit is None or used is None or limit >= _UNLIMITED:
            continue
        stat = _numbers(group / "memory.stat")
        free.append(limit - used + stat.get("total_inactive_file", stat.get("inactive_file", 0)))
    return max(0, min(free))


def killed_for_memory() -> int:
    """How many processes the kernel has killed so far because memory ran out, here or in this control group."""
    counts = [_numbers(Path("/proc/vmstat")).get("oom_kill", 0)]
    for group in _control_groups():
        counts += [_numbers(group / name).get("oom_kill", 0) for name in ("memory.events", "memory.oom_control")]
    return sum(counts)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on an accelerator."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def release_memory() -> None:
    """Free what nothing holds any longer: cycles of Python objects, and what torch keeps of the GPU for later."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def restart_peak(device: str) -> None:
    """Count `peak_memory` from here on, where the system can (on Linux and on NVIDIA's GPUs)."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # elsewhere than on Linux, the peak is one since the process began
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int | None:
    """Bytes used at most since `restart_peak`; None where the system does not tell.

    On a GPU those of its tensors. Else those of the process, without the pages of files that it has mapped (libraries,
    the cache of decoded pixels), which the kernel takes back when it needs them; a forked process counts what it shares
    with its parent.
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
    """Bytes that this process holds now, counted as `peak_memory` does on a CPU."""
    status = _numbers(Path("/proc/self/status"))
    return status["RssAnon"] * 1024 if "RssAnon" in status else None


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed, large tensors too, instead of handing them back to the kernel.

    Otherwise each training step on a CPU faults the pages of its activations in anew. With one thread, channels last
    and float32, a step of 32 images is 1.3 to 2.1 times as fast (bench_defaults.py: custom CNN, ResNet50, MobileNetV2),
    for up to 22 % more memory at the peak. Neither a larger top pad nor torch's own huge pages (THP_MEM_ALLOC_ENABLE)
    gains more, and the latter takes up to a quarter more memory.

    Of no effect where the C library is another one, or where the environment tunes malloc already.
    """
    tuned = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in _MALLOC_TUNED)
    if tuned or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MALLOC_MMAP_MAX, 0)  # a threshold would not do: glibc takes none above 32 MiB
    libc.mallopt(_MALLOC_TRIM_THRESHOLD, _NEVER)


def _control_groups() -> list[Path]:
    """Folders of the groups that limit this process's memory, and of those above them."""
    folders: list[Path] = []
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = _CGROUPS / "memory" if controllers else _CGROUPS
        group = root / path.lstrip("/")
        folders += [root, *(folder for folder in (group, *group.parents) if root in folder.parents)]
    return list(dict.fromkeys(folders))


def _numbers(file: Path) -> dict[str, int]:
    """The lines `name: number unit` or `name number` of one of the kernel's files."""
    words = (line.replace(":", " ").split() for line in _text(file).splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
