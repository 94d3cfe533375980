"""An exported graph as one file of torch.export."""

from dataclasses import fields
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from gender_cls.export.graph import ExportedGraph
from gender_cls.models.exported import Metadata
from gender_cls.runs.files import write_atomically


def write_pt2(graph: ExportedGraph, metadata: Metadata, file: Path) -> None:
    """Write the graph with its weights and metadata; the same graph gives the same bytes. No pickle is in the file.

    Raises:
        GenderClsError: the network cannot be exported.
    """
    content = BytesIO()
    torch.export.save(graph.program, content, extra_files=metadata.to_texts())
    write_atomically(file, content.getvalue())


def read_pt2(file: Path) -> tuple[nn.Module, Metadata]:
    """The network in a file that `write_pt2` wrote, with the inputs and outputs of its ExportedGraph, and its metadata.

    Only for files that you trust: torch.export evaluates formulas that a file states.
    """
    texts = {one.name: "" for one in fields(Metadata)}  # an empty dict would stay empty
    with file.open("rb") as content:
        program = torch.export.load(content, extra_files=texts)
    return program.module(), Metadata.from_texts(texts, file)
