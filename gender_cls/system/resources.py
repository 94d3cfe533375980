"""Device, precision, threads and loader processes: what `auto` means on this machine, and why.

Imports torch only in functions that need it.
"""

import contextlib
import logging
import os
import warnings
from dataclasses import dataclass, field

from gender_cls.config.checks import AUTO
from gender_cls.errors import plural, require
from gender_cls.system.memory import kernel_file

_MOST_PER_CORE = 4  # training processes; each of them takes the memory of a whole training
_ISA_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


@dataclass(frozen=True)
class Resources:
    """What a command computes with; no value is `auto` any longer."""

    device: str  # cpu, cuda or mps
    precision: str  # one of Lightning's
    threads: int  # of the CPU, for one operation
    num_workers: int  # processes that prepare batches
    reasons: dict[str, str] = field(default_factory=dict)  # for each value that was chosen here
    devices: int = 1  # of this machine that train together, each in a process with so many threads and loader processes

    def __str__(self) -> str:
        chosen = {
            "precision": f"precision {self.precision}",
            "threads": f"{self.threads} thread{'s' * (self.threads > 1)}",
            "num_workers": f"{self.num_workers or 'no'} loader process{'es' * (self.num_workers != 1)}",
        }
        parts = [f"{what} ({self.reasons[key]})" if key in self.reasons else what for key, what in chosen.items()]
        why = f" ({self.reasons['device']})" if "device" in self.reasons else ""
        where = f" in {self.devices} processes, each with" if self.devices > 1 else ":"
        return f"Computes on {self.device}{why}{where} {'; '.join(parts)}."

    def apply(self) -> "Resources":
        """Set up torch in this process, and silence what Lightning says without helping users."""
        import torch

        silence_lightning()
        torch.set_num_threads(self.threads)
        if self.device == "cuda":
            # By default torch lets cuDNN round float32 to the 10 bits of TF32; in NVIDIA's containers cuBLAS does too.
            # Here float32 means float32, because maps are computed in it; bf16-mixed is faster than TF32 anyway.
            # These two change the newer `fp32_precision` with them; set alone, that one makes torch.export fail.
            torch.backends.cudnn.allow_tf32 = False
            torch.set_float32_matmul_precision("highest")
        return self


def choose_resources(
    accelerator: str,
    precision: str,
    threads: int | str,
    num_workers: int | str,
    *,
    pixels_at_hand: bool,
    devices: int | str = 1,
) -> Resources:
    """Replace each `auto` by what suits this machine.

    Args:
        pixels_at_hand: whether images are decoded already.
        devices: how many train together; they share the cores.
    """
    device = _device(accelerator)
    devices = _count_devices(device, devices)
    cores = max(1, usable_cores() // devices)
    reasons: dict[str, str] = {}
    if accelerator == AUTO and device == "cpu" and _has_apple_gpu():
        reasons["device"] = "Apple's GPU is not tested; accelerator=mps tries it"
    if precision == AUTO:
        precision, reasons["precision"] = _precision(device)
    if threads == AUTO:
        threads, reasons["threads"] = _threads(cores)
    if num_workers == AUTO:
        num_workers, reasons["num_workers"] = _workers(device, pixels_at_hand, cores)
    return Resources(device, precision, int(threads), int(num_workers), reasons, devices)


def silence_lightning() -> None:
    """Silence Lightning messages that do not help users, for the rest of the process."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`srun` command is available.*",
        ".*`broadcast_buffers` is deprecated.*",  # torch 2.14
        ".*LeafSpec.* is deprecated.*",  # Lightning 2.6 on torch 2.15
    ):
        warnings.filterwarnings("ignore", message)


def reading_processes(num_workers: int | str) -> int:
    """How many processes decode images for the first time, when nothing else is computed."""
    return min(usable_cores(), 16) if num_workers == AUTO else int(num_workers)


def usable_cores() -> int:
    """How many cores (not hyperthreads) this process may use, by its affinity and the quota of its container."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = {kernel_file(topology.format(cpu)) or str(cpu) for cpu in allowed}
    return max(1, min(len(siblings), _quota()))


def _quota() -> int:
    """The quota of the container in CPUs."""
    quota, _, period = kernel_file("/sys/fs/cgroup/cpu.max").partition(" ")
    if not period:  # control groups of version 1
        quota, period = (kernel_file(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us") for name in ("quota", "period"))
    with contextlib.suppress(ValueError):
        if int(quota) > 0:
            return max(1, round(int(quota) / int(period)))
    return 1 << 16


def multiplies_bf16() -> bool:
    """Whether the CPU has instructions for products of bfloat16 (AVX512-BF16, AMX); without them it is slow.

    ARM's instructions do not count: training with them has not been measured. Neither do instructions that oneDNN is
    told not to use.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _ISA_WITHOUT_BF16:
        return False
    flags = next((line for line in kernel_file("/proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def _device(accelerator: str) -> str:
    if accelerator == "cpu":
        return "cpu"
    import torch

    if accelerator in (AUTO, "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if accelerator in ("gpu", "mps") and _has_apple_gpu():
        return "mps"
    require(
        accelerator == AUTO,
        f"accelerator={accelerator}: torch finds no such device on this machine. Take auto or cpu, or install a torch "
        "that fits the device and its driver.",
    )
    return "cpu"


def _count_devices(device: str, devices: int | str) -> int:
    """How many devices of this kind are meant by `trainer.devices`; GenderClsError if there are fewer."""
    if devices == 1 or device == "cpu":
        number, cores = 1 if devices == AUTO else int(devices), usable_cores()
        require(
            number <= _MOST_PER_CORE * cores,
            f"trainer.devices={number}: on a CPU these are processes, and this machine has {plural(cores, 'core')}. "
            f"Take {_MOST_PER_CORE * cores} or fewer.",
        )
        return number
    there = 1
    if device == "cuda":
        import torch

        there = torch.cuda.device_count()
    number = there if devices == AUTO else int(devices)
    require(
        number <= there,
        f"trainer.devices={number}: this machine has {plural(there, f'{device} device')}. "
        f"Take {there} or fewer, or auto for all."
        + (" trainer.accelerator=cpu trains in several processes." if device == "mps" else ""),
    )
    return number


def _has_apple_gpu() -> bool:
    import torch

    return torch.backends.mps.is_available()


def _precision(device: str) -> tuple[str, str]:
    import torch

    if device == "cuda":
        if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "the GPU multiplies bf16 itself"
        return "32-true", "the GPU does not multiply bf16; 16-mixed may be faster"
    if device != "cpu":
        return "32-true", "the safe choice there"
    if not multiplies_bf16():
        return "32-true", "the processor does not multiply bf16 itself"
    if not torch.backends.mkldnn.is_available():
        return "32-true", "this torch lacks oneDNN, which would multiply bf16"
    return "bf16-mixed", "the processor multiplies bf16 itself"


def _threads(cores: int) -> tuple[int, str]:
    with contextlib.suppress(KeyError, ValueError):
        outermost = os.environ["OMP_NUM_THREADS"].partition(",")[0]  # the other values are for nested parallel regions
        return max(1, int(outermost)), "OMP_NUM_THREADS"
    return cores, "one per core"


def _workers(device: str, pixels_at_hand: bool, cores: int) -> tuple[int, str]:
    """How many processes prepare batches during training, and why.

    On a GPU the cores have nothing else to do. On a CPU, training an image takes many times as long as augmenting it:
    workers get the same share of the cores, because more of them would slow training down. With few cores, a worker
    gains no more than handing over its batches costs; with many, training would wait for a single worker.
    """
    if device != "cpu":
        return max(1, min(cores - 1, 8)), "the cores have nothing else to do"
    if cores < 4:
        return 0, "the cores are busy with training"
    share, most = (8, 4) if pixels_at_hand else (4, 8)
    return max(1, min(cores // share, most)), f"one for every {share} cores" if cores >= share else "next to training"
