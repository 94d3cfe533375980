"""How long an image takes on the CPU: in torch, and in the libraries that run an exported file."""

import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gender_cls.evaluation.export_schema import Speed
from gender_cls.system.extras import import_extra
from gender_cls.system.progress import working
from gender_cls.system.quiet import Meanwhile, measuring_alone
from gender_cls.training.predictor import Predictor

Call = Callable[[NDArray[np.uint8]], object]
"""Pixels (B, H, W, 3) of the size of the input -> anything that follows from the logits."""

BATCH = 32
CALLS = {1: 5, BATCH: 1}  # in each turn, by the number of images
LEAST_TURNS = 3


def measure_speed(
    forms: Mapping[str, Call], pixels: NDArray[np.uint8], seconds: float, threads: int
) -> dict[str, Speed]:
    """Let all forms answer the same images in turn, so that other work on the machine slows all of them down.

    Args:
        forms: by title, which names the library and the type of numbers.
        pixels: (BATCH, H, W, 3).
        seconds: turns end after this time, but not before LEAST_TURNS.
        threads: of the CPU, that the forms were told to use.
    """
    times: dict[str, dict[int, list[float]]] = {title: {size: [] for size in CALLS} for title in forms}
    with working("Measuring the time per image"), measuring_alone():
        for call in forms.values():  # warm up
            for size in CALLS:
                call(pixels[:size])
        meanwhile, turn, end = Meanwhile(), 0, time.perf_counter() + seconds
        while turn < LEAST_TURNS or time.perf_counter() < end:
            for title, call in forms.items():
                for size, calls in CALLS.items():
                    for _ in range(calls):
                        began = time.perf_counter()
                        call(pixels[:size])
                        times[title][size].append(1000 * (time.perf_counter() - began) / size)
            turn += 1
        disturbed = meanwhile.disturbed()
    where = f"cpu, {threads} thread{'s' * (threads > 1)}"
    return {
        title: _speed(of_form[1], of_form[BATCH], disturbed, f"{where}, {title}") for title, of_form in times.items()
    }


def _speed(one: list[float], many: list[float], disturbed: str | None, device: str) -> Speed:
    return Speed(
        milliseconds_batch_1=min(one),
        milliseconds_batch_1_spread=[min(one), max(one)],
        milliseconds_batch_32=min(many),
        milliseconds_batch_32_spread=[min(many), max(many)],
        disturbed=disturbed,
        device=device,
    )


def in_torch(predictor: Predictor) -> Call:
    """The run's network in the predictor's precision, on the CPU."""
    classifier, mixed = predictor.device_classifier(), predictor.precision.endswith("-mixed")

    def call(pixels: NDArray[np.uint8]) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            return classifier(torch.from_numpy(pixels).permute(0, 3, 1, 2))

    return call


def in_openvino(file: Path, threads: int) -> Call | None:
    """An ONNX file in OpenVINO; None where that is not installed."""
    if find_spec("openvino") is None:
        return None
    openvino = import_extra("openvino", "Measuring the time per image")
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(file, "CPU", options)
    return lambda pixels: compiled(pixels)
