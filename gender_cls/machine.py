"""What this machine is, and what to compute with on it: chosen by rule, said in a sentence, overridden by a key.

Imports torch only where a GPU is asked for.
"""

import contextlib
import ctypes
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from gender_cls.config_checks import AUTO

_MALLOC_TRIM_THRESHOLD, _MALLOC_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_NEVER = -1
_LARGEST_MMAP_THRESHOLDS = 1 << 30, 32 << 20  # glibc before 2.35 takes no more than the second


@dataclass(frozen=True)
class Resources:
    """What a command computes with, once every `auto` is chosen.

    Attributes:
        device: cpu, cuda or mps.
        precision: one of Lightning's.
        threads: of the CPU, for one operation.
        num_workers: processes that prepare batches.
        reasons: why, a few words for each that was chosen here.
    """

    device: str
    precision: str
    threads: int
    num_workers: int
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line for the terminal."""
        return f"Computes on {self.device}: {'; '.join(self.reasons)}." if self.reasons else ""

    def take(self) -> "Resources":
        """Let torch use these threads in this process."""
        import torch

        torch.set_num_threads(self.threads)
        if self.device == "cuda":
            # torch lets cuDNN round float32 to TF32's 10 bits. Here float32 means float32: maps are computed in it, and
            # whoever wants speed has bf16-mixed, which is quicker still.
            torch.backends.cudnn.allow_tf32 = False
        return self


def choose_resources(
    accelerator: str, precision: str, threads: int | str, num_workers: int | str, *, pixels_at_hand: bool
) -> Resources:
    """What stands for `auto` on this machine.

    Args:
        accelerator: as in `conf/train.yaml`, like the others.
        pixels_at_hand: whether decoded pixels are kept, so that a batch costs little to prepare.
    """
    device = _device(accelerator)
    reasons: list[str] = []
    if precision == AUTO:
        precision, why = _precision(device)
        reasons.append(f"precision {precision} ({why})")
    if threads == AUTO:
        threads, why = _threads()
        reasons.append(f"{threads} thread{'s' * (threads > 1)} ({why})")
    if num_workers == AUTO:
        num_workers, why = _workers(device, pixels_at_hand)
        reasons.append(f"{num_workers or 'no'} loader processes ({why})")
    return Resources(device, precision, int(threads), int(num_workers), tuple(reasons))


def reading_processes(num_workers: int | str) -> int:
    """Processes that decode images for the first time, before anything else is computed."""
    return min(usable_cores(), 16) if num_workers == AUTO else int(num_workers)


def usable_cores() -> int:
    """Cores, not hyperthreads, that this process may use: of its affinity, within the quota of its container."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = {_read(topology.format(cpu)) or str(cpu) for cpu in allowed}
    return max(1, min(len(siblings), _quota()))


def _quota() -> int:
    """CPUs that the container's share of time amounts to."""
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if not period:
        quota, period = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    with contextlib.suppress(ValueError):
        if int(quota) > 0:
            return max(1, round(int(quota) / int(period)))
    return 1 << 16


def multiplies_bf16() -> bool:
    """Whether the CPU has instructions for products of bfloat16 (AVX512-BF16, AMX); else they are slow."""
    flags = set(_read("/proc/cpuinfo").split())
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def _device(accelerator: str) -> str:
    if accelerator == "cpu":
        return "cpu"
    import torch

    if accelerator in (AUTO, "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if accelerator in (AUTO, "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    return {"cuda": "cuda", "mps": "mps"}.get(accelerator, "cpu")  # Lightning says that it is not there


def _precision(device: str) -> tuple[str, str]:
    if device == "cuda":
        import torch

        if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "the GPU multiplies bf16 itself"
        return "32-true", "the GPU does not multiply bf16; 16-mixed may be faster"
    if device == "cpu" and multiplies_bf16():
        return "bf16-mixed", "the processor multiplies bf16 itself"
    return "32-true", "the processor does not multiply bf16 itself" if device == "cpu" else "the safe choice there"


def _threads() -> tuple[int, str]:
    with contextlib.suppress(KeyError, ValueError):
        return max(1, int(os.environ["OMP_NUM_THREADS"])), "OMP_NUM_THREADS"
    return usable_cores(), "one a core"


def _workers(device: str, pixels_at_hand: bool) -> tuple[int, str]:
    cores = usable_cores()
    if device == "cpu" and (pixels_at_hand or cores <= 2):
        return 0, "the cores are busy with training" if not pixels_at_hand else "decoded pixels are at hand"
    return max(1, min(cores - 1, 8)), "beside the training one"


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed instead of handing every large tensor back to the kernel.

    Otherwise each step of a training on the CPU faults the pages of its activations in anew, which costs up to half of
    its time. Without effect where the C library is another one.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    any(libc.mallopt(_MALLOC_MMAP_THRESHOLD, size) for size in _LARGEST_MMAP_THRESHOLDS)
    libc.mallopt(_MALLOC_TRIM_THRESHOLD, _NEVER)


def _read(file: str) -> str:
    """The text of one of the kernel's files, empty where there is none."""
    try:
        return Path(file).read_text().strip()
    except OSError:
        return ""
