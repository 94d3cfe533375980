"""What a model costs to run: parameters, floating-point operations and time per image."""

import copy
import logging
import time
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gender_cls.errors import one_line

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

    Times are medians after a warm-up call, their spreads the fastest and the slowest call. Other work on the machine
    makes them longer. They do not include reading, resizing and moving the images. Training flags and random states are
    restored.

    Args:
        model: (B, 3, H, W) uint8 -> logits, on the device and of the dtype to be measured.
        network: the part of it whose parameters and FLOPs count.
        image_size: (height, width) in pixels.
        layout: of the images.
        precision: of the run. The mixed ones run under autocast, as in training; for the others, the dtype of the
            network's weights counts.

    Returns:
        The keys of `schema.Cost` that are known here: parameters, flops, milliseconds_batch_1, milliseconds_batch_32
        (per image; None if the batch does not fit into the device's memory), their spreads and device.
    """
    weight = next(network.parameters())
    device = weight.device
    if precision == "16-mixed" and device.type == "cpu":
        precision = "bf16-mixed"  # as Lightning does
    elif precision not in _HALVES:
        precision = _TYPES[weight.dtype]
    training = {module: module.training for module in model.modules()}

    def times(batch: int) -> dict[str, Any]:
        name = f"milliseconds_batch_{batch}"
        try:
            images = torch.randint(0, 256, (batch, 3, *image_size), dtype=torch.uint8, device=device)
            images = images.contiguous(memory_format=layout)
            seconds: list[float] = []
            while len(seconds) < LEAST_CALLS or (len(seconds) < CALLS and sum(seconds) < SECONDS):
                _wait(device)
                began = time.perf_counter()
                with torch.autocast(device.type, _HALVES.get(precision), enabled=precision in _HALVES):
                    model(images)
                _wait(device)
                seconds.append(time.perf_counter() - began)
        except torch.OutOfMemoryError:
            return {name: None, f"{name}_spread": None}
        per_image = [1000 * each / batch for each in seconds[1:]]
        return {name: median(per_image), f"{name}_spread": [min(per_image), max(per_image)]}

    try:
        for module in training:
            module.training = False
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode():
            return {
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "flops": count_flops(network, image_size, title),
                **times(1),
                **times(32),
                "device": f"{_device_name(device)}, {precision}",
            }
    finally:
        for module, flag in training.items():
            module.training = flag


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type


def _wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
