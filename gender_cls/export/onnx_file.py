"""An exported graph as one ONNX file."""

import warnings
from pathlib import Path
from typing import Any

import torch

from gender_cls.errors import GenderClsError
from gender_cls.export.graph import ExportedGraph
from gender_cls.models.exported import OUTPUTS, Metadata
from gender_cls.runs.files import write_atomically
from gender_cls.system.extras import import_extra

OPSET = 20
INPUT = "pixels"
MOST_BYTES = 2**31 - 1
"""Of a file; protobuf, the format of ONNX files, takes no more."""


def write_onnx(graph: ExportedGraph, metadata: Metadata, file: Path) -> None:
    """Write the graph with its weights and metadata; the same graph gives the same bytes.

    Raises:
        GenderClsError: a library is not installed, or the network does not fit into an ONNX file.
    """
    onnx = import_extra("onnx", "Exporting to ONNX")
    import_extra("onnxscript", "Exporting to ONNX")
    size = sum(tensor.nbytes for tensor in graph.state_dict().values())
    if size > MOST_BYTES:
        raise GenderClsError(
            f"{graph.title} has {size / 2**30:.1f} GiB of weights, and an ONNX file holds 2 GiB: use format=pt2."
        )
    program = graph.program()
    with warnings.catch_warnings(action="ignore"):
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=list(OUTPUTS), verbose=False
        )
    assert exported is not None
    model = exported.model_proto
    _clean(model)
    onnx.helper.set_model_props(model, metadata.to_texts())
    onnx.checker.check_model(model)
    write_atomically(file, model.SerializeToString(deterministic=True))


def _clean(model: Any) -> None:
    """Take out what says where files of this installation lie, and the lengths of tensors inside the graph."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]
