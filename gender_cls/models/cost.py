"""What a model costs to run: parameters, floating-point operations and time per image."""

import copy
import logging
import time
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gender_cls.errors import one_line
from gender_cls.system.quiet import Meanwhile, measuring_alone, others_on_gpu

log = logging.getLogger(__name__)

SECONDS = 2.0  # timing a batch size stops after this time, but not before LEAST_CALLS
LEAST_CALLS = 4  # three without the warm-up call, because fewer have no spread
CALLS = 31  # or after this many calls, the warm-up call included
_HALVES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TYPES = {torch.float32: "32-true", torch.bfloat16: "bf16-true", torch.float16: "16-true", torch.float64: "64-true"}


def count_flops(network: nn.Module, image_size: tuple[int, int], title: str) -> int | None:
    """Count the floating-point operations of one image's forward pass; a multiply-add counts as two.

    Convolutions, matrix products and attention count; normalisation, activations and pooling do not. The pass runs on
    a copy without data (device `meta`): it needs no memory, and attention and recurrent layers avoid their fused
    kernels, which the counter misses on a CPU.

    Args:
        network: (B, 3, H, W) normalised floats -> logits.
        image_size: (height, width) in pixels.

    Returns:
        None, with a warning that says why, if the network cannot run without data.
    """
    tensors: list[Any] = [*network.parameters(), *network.buffers()]
    shells = {id(tensor): tensor.detach().to("meta") for tensor in tensors}
    try:
        shell = copy.deepcopy(network, shells).eval()  # copies no weight on the way
        images = torch.empty(1, 3, *image_size, dtype=tensors[0].dtype, device="meta")
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shell(images)
    except RuntimeError as error:
        log.warning(f"The FLOPs of {title} are not counted because it does not run without data: {one_line(error)}")
        return None
    return counter.get_total_flops()


def measure_cost(
    model: nn.Module,
    network: nn.Module,
    image_size: tuple[int, int],
    *,
    layout: torch.memory_format,
    precision: str,
    title: str,
) -> dict[str, Any]:
    """Measure parameters, FLOPs, and the time from uint8 pixels on the device to logits, in evaluation mode.

    A time is that of the fastest call after a warm-up call, because whatever else a machine does makes calls longer.
    Two measurements never run at once on a machine. If other processes compute meanwhile on the CPU that is measured,
    the time is the least CPU time that the calling thread took for a call: it does not count waiting for them.
    Spreads reach from that time to the longest of a call. Reading, resizing and moving the images are not included.
    Training flags and random states are restored.

    Args:
        model: (B, 3, H, W) uint8 -> logits, on the device and of the dtype to be measured.
        network: the part of it whose parameters and FLOPs count.
        image_size: (height, width) in pixels.
        layout: of the images.
        precision: of the run. The mixed ones run under autocast, as in training; for the others, the dtype of the
            network's weights counts.

    Returns:
        The keys of `schema.Cost` that are known here: parameters, flops, milliseconds_batch_1, milliseconds_batch_32
        (per image; None if the batch does not fit into the device's memory), their spreads, disturbed and device.
    """
    weight = next(network.parameters())
    device = weight.device
    precision = _precision_on(device, precision) if precision in _HALVES else _TYPES[weight.dtype]
    training = {module: module.training for module in model.modules()}

    def calls(batch: int) -> list[tuple[float, float]] | None:
        """Seconds, and seconds of the CPU, of each call; None without enough memory."""
        try:
            images = torch.randint(0, 256, (batch, 3, *image_size), dtype=torch.uint8, device=device)
            images = images.contiguous(memory_format=layout)
            taken: list[tuple[float, float]] = []
            while len(taken) < LEAST_CALLS or (len(taken) < CALLS and sum(wall for wall, _ in taken) < SECONDS):
                _wait(device)
                began, on_cpu = time.perf_counter(), time.thread_time()
                with torch.autocast(device.type, _HALVES.get(precision), enabled=precision in _HALVES):
                    model(images)
                _wait(device)
                taken.append((time.perf_counter() - began, time.thread_time() - on_cpu))
        except torch.OutOfMemoryError:
            return None
        return taken[1:]

    try:
        for module in training:
            module.training = False
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode():
            flops = count_flops(network, image_size, title)
            with measuring_alone():
                meanwhile = Meanwhile()
                taken = {batch: calls(batch) for batch in (1, 32)}
                disturbed = meanwhile.disturbed()
    finally:
        for module, flag in training.items():
            module.training = flag
    without_waiting = disturbed is not None and device.type == "cpu"
    if device.type == "cuda" and (others := others_on_gpu(str(torch.cuda.get_device_properties(device).uuid))):
        disturbed = others if disturbed is None else f"{others}, {disturbed}"
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "flops": flops,
        **_times(1, taken[1], without_waiting),
        **_times(32, taken[32], without_waiting),
        "disturbed": disturbed,
        "device": measured_on(device, precision),
    }


def measured_on(device: torch.device, precision: str) -> str:
    """Where and how a cost is measured: `cpu, 2 threads, 32-true`."""
    return f"{_device_name(device)}, {_precision_on(device, precision)}"


def _precision_on(device: torch.device, precision: str) -> str:
    """What Lightning makes of a precision there."""
    return "bf16-mixed" if precision == "16-mixed" and device.type == "cpu" else precision


def _times(batch: int, taken: list[tuple[float, float]] | None, without_waiting: bool) -> dict[str, Any]:
    """The time per image and its spread, in milliseconds, from seconds and CPU seconds of calls."""
    name = f"milliseconds_batch_{batch}"
    if taken is None:
        return {name: None, f"{name}_spread": None}
    times = [1000 * (on_cpu if without_waiting else wall) / batch for wall, on_cpu in taken]
    return {name: min(times), f"{name}_spread": [min(times), max(times)]}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type


def _wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
