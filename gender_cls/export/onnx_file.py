"""An exported graph as one ONNX file."""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from gender_cls.errors import GenderClsError
from gender_cls.export.graph import ExportedGraph, quiet, reason
from gender_cls.models.exported import OUTPUTS, Metadata
from gender_cls.runs.files import write_atomically
from gender_cls.system.extras import import_extra

INPUT = "pixels"
OPSET = 20  # the first with GELU as one operation
MOST_BYTES = 2**31 - 1  # of a file, because protobuf holds no more


def write_onnx(graph: ExportedGraph, metadata: Metadata, file: Path) -> None:
    """Write the graph with its weights and metadata; the same graph gives the same bytes.

    Raises:
        GenderClsError: a library is not installed; the network cannot be exported, or not to ONNX.
    """
    onnx = import_extra("onnx", "Exporting to ONNX")
    import_extra("onnxscript", "Exporting to ONNX")
    if (size := sum(weight.nbytes for weight in graph.state_dict().values())) > MOST_BYTES:
        raise GenderClsError(
            f"{graph.title} has {size / 2**30:.1f} GiB of weights, and an ONNX file holds 2 GiB: use format=pt2."
        )
    content = _content(graph, metadata, onnx)
    onnx.checker.check_model(content)
    write_atomically(file, content)


def _content(graph: ExportedGraph, metadata: Metadata, onnx: ModuleType) -> bytes:
    options: dict[str, Any] = {"opset_version": OPSET, "input_names": [INPUT], "output_names": OUTPUTS}
    try:
        with quiet():
            exported = torch.onnx.export(
                graph.program, dynamo=True, dynamic_shapes=(graph.sizes(),), verbose=False, **options
            )
            assert exported is not None
            model = exported.model_proto
    except torch.onnx.errors.OnnxExporterError as error:
        raise GenderClsError(f"{graph.title} cannot be written as ONNX ({reason(error)}): use format=pt2.") from error
    _forget_sources(model)
    onnx.helper.set_model_props(model, metadata.to_texts())
    return model.SerializeToString(deterministic=True)


def _forget_sources(model: Any) -> None:
    """Remove what says where the files of this installation lie, and what only repeats the graph."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
