"""Smaller ONNX files: the network in float16 or int8; what comes before and after it stays as it was."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gender_cls.config.export import Smaller
from gender_cls.models.exported import OUTPUTS, Metadata
from gender_cls.runs.files import write_atomically
from gender_cls.system.extras import import_extra

CALIBRATION_IMAGES = 256
"""Training crops by which int8 chooses the range of each activation."""

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def write_smaller(kind: Smaller, file: Path, training_crops: Callable[[int], NDArray[np.uint8]], target: Path) -> None:
    """Write an exported ONNX file with smaller numbers; the same file and crops give the same bytes.

    Args:
        file: takes resized pixels.
        training_crops: gives so many of them, (N, H, W, 3); only int8 asks for them.
    """
    onnx = import_extra("onnx", f"Exporting in {kind.value}")
    model = onnx.load(file)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    small = _in_float16(model) if kind is Smaller.float16 else _in_int8(model, training_crops(CALIBRATION_IMAGES))
    texts |= replace(Metadata.from_texts(texts, file), weights=kind.value).to_texts()
    onnx.helper.set_model_props(small, texts)
    write_atomically(target, small.SerializeToString(deterministic=True))


def _outside_the_network(model: Any) -> list[str]:
    """The names of the nodes before the first weights and after the logits."""
    of_network: set[str] = set()  # names of values
    of_rule, outside = {OUTPUTS[0]}, []
    for node in model.graph.node:  # sorted: no node comes before one that it needs
        after = not of_rule.isdisjoint(node.input)
        inside = not after and (node.op_type in _WEIGHTED or not of_network.isdisjoint(node.input))
        (of_rule if after else of_network).update(node.output if after or inside else ())
        if not inside:
            outside.append(node.name)
    return outside


def _in_float16(model: Any) -> Any:
    float16 = import_extra("onnxruntime.transformers.float16", "Exporting in float16")
    onnx_model = import_extra("onnxruntime.transformers.onnx_model", "Exporting in float16")
    outside = _outside_the_network(model)
    small = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=outside)
    _pass_float32_on(small)
    onnx_model.OnnxModel(small).topological_sort(is_deterministic=True)
    return small


def _pass_float32_on(model: Any) -> None:
    """Between two nodes that stay in float32, the conversion rounds to float16: leave the rounding out."""
    types = import_extra("onnx", "Exporting in float16").TensorProto
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for node in casts.values():
        before = casts.get(node.input[0])
        if before is not None and (before.attribute[0].i, node.attribute[0].i) == (types.FLOAT16, types.FLOAT):
            node.op_type, node.input[0] = "Identity", before.input[0]
            del node.attribute[:]


def _in_int8(model: Any, pixels: NDArray[np.uint8]) -> Any:
    """Weights with a scale for each channel; activations with one from the values that the pixels give."""
    quantization = import_extra("onnxruntime.quantization", "Exporting in int8")
    onnx = import_extra("onnx", "Exporting in int8")
    name = model.graph.input[0].name

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]  # imported by name
        def __init__(self) -> None:
            self.batches = iter(np.array_split(pixels, max(1, len(pixels) // 16)))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {name: batch}

    with tempfile.TemporaryDirectory() as folder, _without_advice():
        target = Path(folder, "int8.onnx")
        quantization.quantize_static(
            model, target, Reader(), per_channel=True, nodes_to_exclude=_outside_the_network(model)
        )
        return onnx.load(target)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Without what the quantizer logs: to fold layers first, which torch's exporter has done."""
    root = logging.getLogger()

    def of_others(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root.addFilter(of_others)
    try:
        yield
    finally:
        root.removeFilter(of_others)
