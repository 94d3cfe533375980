"""How much memory there is, and what an error says about it."""

import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from gender_cls.system import memory
from gender_cls.system.memory import (
    available_memory,
    count_oom_kills,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory,
    resident_memory,
    restart_peak,
)

GIB = 2**30
MEMINFO = "MemTotal: 25165824 kB\nMemAvailable: 8388608 kB\n"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The kernel's files, by path."""
    files: dict[str, str] = {}
    monkeypatch.setattr(memory, "kernel_file", lambda file: files.get(str(file), "").strip())
    return files


def test_what_is_free_is_what_the_kernel_calls_available(kernel: dict[str, str]) -> None:
    assert available_memory() is None, "not on this system"
    kernel["/proc/meminfo"] = MEMINFO
    assert available_memory() == 8 * GIB


def test_a_control_group_limits_it(kernel: dict[str, str]) -> None:
    """Version 2: no limit of its own; above it 4 GiB, of which 3 are used, 2 of them by the page cache."""
    box = "/sys/fs/cgroup/box/"
    kernel |= {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": "0::/box/job\n"}
    kernel |= {f"{box}job/memory.max": "max\n", f"{box}job/memory.current": str(3 * GIB)}
    kernel |= {f"{box}memory.max": f"{4 * GIB}\n", f"{box}memory.current": f"{3 * GIB}\n"}
    kernel[f"{box}memory.stat"] = f"anon 5\ninactive_file {2 * GIB}\n"
    assert available_memory() == 3 * GIB
    kernel[f"{box}memory.current"] = f"{7 * GIB}\n"
    assert available_memory() == 0


def test_a_control_group_of_version_1_limits_it(kernel: dict[str, str]) -> None:
    root, box = "/sys/fs/cgroup/memory/", "/sys/fs/cgroup/memory/box/"
    kernel |= {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": "5:devices:/x\n4:memory:/box\n0::/\n"}
    kernel |= {f"{root}memory.limit_in_bytes": "9223372036854771712\n", f"{root}memory.usage_in_bytes": "1\n"}
    assert available_memory() == 8 * GIB
    kernel |= {f"{box}memory.limit_in_bytes": str(2 * GIB), f"{box}memory.usage_in_bytes": str(GIB)}
    kernel[f"{box}memory.stat"] = "inactive_file 1\ntotal_inactive_file 1024\n"
    assert available_memory() == GIB + 1024


def test_the_kernels_own_kills_are_counted(kernel: dict[str, str]) -> None:
    assert count_oom_kills() == 0
    kernel["/proc/vmstat"] = "nr_free_pages 1\noom_kill 3\n"
    assert count_oom_kills() == 3
    kernel["/proc/self/cgroup"] = "0::/box\n"
    kernel["/sys/fs/cgroup/box/memory.events"] = "oom 9\noom_kill 2\n"
    assert count_oom_kills() == 5


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_are_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_what_torch_says_on_the_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be restarted here")
def test_the_peak_is_of_tensors_since_it_was_restarted(tmp_path: Path) -> None:
    """Neither what was freed before nor a mapped file counts."""
    file = tmp_path / "pixels"
    file.write_bytes(bytes(64 << 20))
    before = torch.ones(128 << 20, dtype=torch.uint8)
    del before
    restart_peak("cpu")
    held = resident_memory()
    pixels = torch.from_file(str(file), shared=True, size=64 << 20, dtype=torch.uint8)
    assert pixels.max() == 0
    tensor = torch.ones(32 << 20, dtype=torch.uint8)
    del tensor
    assert held is not None
    assert (peak_memory("cpu") or 0) - held == pytest.approx(32 << 20, abs=8 << 20)
    assert 50e6 < held < 50e9, "bytes of a process that holds torch"


def test_on_a_gpu_the_peak_is_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    assert peak_memory("cuda") == 7


def test_elsewhere_the_peak_is_of_the_process(kernel: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert 50e6 < (peak_memory("cpu") or 0) < 50e9
    monkeypatch.setitem(memory.sys.modules, "resource", None)
    assert peak_memory("cpu") is None


def test_memory_of_cycles_is_released() -> None:
    cycle: dict[str, Any] = {"tensor": torch.ones(3)}
    cycle["itself"] = cycle
    tensor = weakref.ref(cycle["tensor"])
    del cycle
    memory.release_memory()
    assert tensor() is None


FAULTS = """
import resource, sys
from gender_cls.system.memory import keep_freed_memory
{call}
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def fill():
    block = libc.malloc(200 << 20)
    ctypes.memset(block, 1, 200 << 20)
    libc.free(block)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
assert "torch" not in sys.modules
"""


def faults(call: str = "keep_freed_memory()", **environment: str) -> int:
    """Pages that the kernel hands out again for 200 MiB, which the process has just allocated and freed."""
    line = [sys.executable, "-c", FAULTS.format(call=call)]
    return int(subprocess.check_output(line, env={**os.environ, **environment}))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_kept_unless_the_user_tunes_malloc() -> None:
    pages = (200 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert faults("") > pages / 2, "glibc hands it back"
    assert faults() < pages / 100
    assert faults(MALLOC_MMAP_THRESHOLD_="1000000") > pages / 2
    assert faults(GLIBC_TUNABLES="glibc.malloc.mmap_threshold=1000000") > pages / 2


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", Mock(side_effect=AssertionError))
    keep_freed_memory()
