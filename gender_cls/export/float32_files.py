"""The files with float32 weights, each compared with the run's network as soon as it is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gender_cls.config.export import Format
from gender_cls.data.input_form import InputForm
from gender_cls.evaluation.export_schema import Check, ResizeCheck
from gender_cls.export.graph import ExportedGraph
from gender_cls.export.metadata import metadata_of
from gender_cls.export.onnx_file import write_onnx
from gender_cls.export.parity import Ask, check_batches, check_crops, check_resize, eager_logits
from gender_cls.export.pt2_file import read_pt2, write_pt2
from gender_cls.export.resize import resize
from gender_cls.export.source import Source
from gender_cls.export.validation_crops import ValidationCrops, resized
from gender_cls.models.onnx_model import OnnxModel, Outputs
from gender_cls.system.progress import working

WRITERS = {Format.onnx: write_onnx, Format.pt2: write_pt2}


class Written(NamedTuple):
    """Files that agree with the run's network."""

    resized: dict[str, Ask]  # by name; they take resized pixels
    checks: list[Check]
    resize: ResizeCheck


def write_and_check(source: Source, formats: Sequence[Format], crops: ValidationCrops, folder: Path) -> Written:
    """Write the resized and the native form in each format.

    Raises:
        GenderClsError: a file cannot be written, or answers differently from the network.
    """
    classifier, rule, form = source.classifier, source.rule, InputForm.of(source.config.data)
    files: dict[str, Ask] = {}
    checks: list[Check] = []

    graph, pixels = ExportedGraph(classifier, rule, native=False), nhwc(crops.images)
    expected = eager_logits(classifier, crops.images)
    for kind in formats:
        file = _write(source, graph, kind, folder / f"model.{kind.value}")
        files[file.name] = ask = opened(file, source.threads)
        with working(f"Comparing {file.name} with the network"):
            checks += check_batches(file.name, ask, pixels, expected, rule, crops.names)

    graph = ExportedGraph(classifier, rule, native=True)
    names, natives = [name for name, _ in crops.native], [nhwc(crop) for _, crop in crops.native]
    with torch.inference_mode():
        in_graph = torch.cat([resize(torch.from_numpy(crop), form) for crop in natives])
    as_the_run = [resized(crop, form) for _, crop in crops.native]
    of_resize = check_resize([*nhwc(in_graph)], as_the_run, [crop.shape[:2] for crop in natives], names)
    # Of the pixels of the graph: with a few that differ, as on some processors, the logits would differ too.
    expected = eager_logits(classifier, in_graph)
    for kind in formats:
        file = _write(source, graph, kind, folder / f"model_native.{kind.value}")
        with working(f"Comparing {file.name} with the network"):
            ask = opened(file, source.threads)
            checks.append(check_crops(file.name, ask, natives, expected, rule, names))
    return Written(files, checks, of_resize)


def _write(source: Source, graph: ExportedGraph, kind: Format, file: Path) -> Path:
    metadata = metadata_of(source.run, source.classifier, source.rule, native=graph.native)
    with working(f"Writing {file.name}"):
        WRITERS[kind](graph, metadata, file)
    return file


def opened(file: Path, threads: int) -> Ask:
    """A function that asks an exported file."""
    if file.suffix == f".{Format.onnx.value}":
        return OnnxModel(file, threads).outputs
    network, _ = read_pt2(file)

    def ask(pixels: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            return Outputs(*(output.numpy() for output in network(torch.from_numpy(pixels))))

    return ask


def nhwc(images: torch.Tensor) -> NDArray[np.uint8]:
    """Images (..., 3, H, W) -> (..., H, W, 3), contiguous."""
    return np.ascontiguousarray(images.movedim(-3, -1).numpy())
