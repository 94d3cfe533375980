"""What a model costs to run: parameters, floating-point operations and time an image."""

import copy
import logging
import time
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gender_cls.models.pretrained import one_line
from gender_cls.training.classifier import GenderClassifier

log = logging.getLogger(__name__)

SECONDS = 2.0
"""Spent at most on timing a batch size, unless two calls take longer."""

CALLS = 31
"""Made at most of a batch size, the warm-up included."""


def count_flops(classifier: GenderClassifier) -> int | None:
    """Floating-point operations of one image's forward pass; a multiplication and an addition count as two.

    Convolutions, matrix products and attention count; normalisation, activations and pooling do not. The pass runs on
    a copy without data (device `meta`), so it needs no memory, whatever the network's size. Fused attention and
    recurrent kernels, which on a CPU would not be counted, do not exist there.

    Returns:
        None, with a warning that says why, where the network cannot run without data.
    """
    height, width = classifier.image_size
    images = torch.empty(1, 3, height, width, dtype=classifier.mean.dtype, device="meta")
    try:
        network = _without_data(classifier.network)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(images)
    except RuntimeError as error:
        title = classifier.settings.model.title
        log.warning(f"The FLOPs of {title} are not counted, it does not run without data: {one_line(error)}")
        return None
    return counter.get_total_flops()


def measure_cost(classifier: GenderClassifier, precision: str) -> dict[str, Any]:
    """Parameters, FLOPs, and the time from uint8 pixels on the device to logits, in evaluation mode.

    Times are medians after a warm-up call; on a machine with other work they are too long and vary. Reading, resizing
    and moving the images is not in them. Training flags and random states are put back.

    Args:
        classifier: on the device and of the type to be measured.
        precision: of the run (`trainer.precision`). The mixed ones run under autocast, as they do in training; for the
            others the type of the classifier's weights is what counts, and what `device` says.

    Returns:
        The keys of `schema.Cost` that are known here: parameters, flops, milliseconds_batch_1, milliseconds_batch_32
        (an image; None where the batch does not fit into the device's memory) and device.
    """
    precision = _effective(precision, classifier)
    devices = [classifier.device] if classifier.device.type == "cuda" else []
    training = [(module, module.training) for module in classifier.modules()]
    try:
        for module, _ in training:
            module.training = False
        with torch.random.fork_rng(devices), torch.inference_mode():
            return {
                "parameters": sum(parameter.numel() for parameter in classifier.network.parameters()),
                "flops": count_flops(classifier),
                "milliseconds_batch_1": _milliseconds(classifier, 1, precision),
                "milliseconds_batch_32": _milliseconds(classifier, 32, precision),
                "device": f"{_device_name(classifier.device)}, {precision}",
            }
    finally:
        for module, flag in training:
            module.training = flag


def _without_data(network: nn.Module) -> nn.Module:
    """A copy on the device `meta`, in evaluation mode; no weight is copied on the way."""
    tensors: list[Any] = [*network.parameters(), *network.buffers()]
    shells = {id(tensor): tensor.detach().to("meta") for tensor in tensors}
    return copy.deepcopy(network, shells).eval()


def _milliseconds(classifier: GenderClassifier, batch: int, precision: str) -> float | None:
    """An image's share of a batch's time."""
    device = classifier.device
    mixed = precision.endswith("-mixed")
    try:
        images = torch.randint(0, 256, (batch, 3, *classifier.image_size), dtype=torch.uint8, device=device)
        images = images.contiguous(memory_format=classifier.layout)
        seconds: list[float] = []
        while len(seconds) < 2 or (len(seconds) < CALLS and sum(seconds) < SECONDS):
            _wait(device)
            began = time.perf_counter()
            with torch.autocast(device.type, _HALVES[precision] if mixed else None, enabled=mixed):
                classifier(images)
            _wait(device)
            seconds.append(time.perf_counter() - began)
    except torch.OutOfMemoryError:
        return None
    return 1000 * median(seconds[1:]) / batch


_HALVES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TYPES = {torch.float32: "32-true", torch.bfloat16: "bf16-true", torch.float16: "16-true", torch.float64: "64-true"}


def _effective(precision: str, classifier: GenderClassifier) -> str:
    if precision == "16-mixed" and classifier.device.type == "cpu":
        return "bf16-mixed"  # as Lightning does
    return precision if precision in _HALVES else _TYPES[classifier.mean.dtype]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type


def _wait(device: torch.device) -> None:
    """Until the device has done what it was asked to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
