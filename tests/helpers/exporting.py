"""Small classifiers with random weights to export, and their rule; the settings of exports that take little time."""

from typing import Any

import torch
from helpers.classifiers import settings
from torch import nn

from gender_cls.config.export import ExportConfig
from gender_cls.config.parsing import parse_config
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.runs.run import Run
from gender_cls.training.classifier import GenderClassifier

RULE = DecisionRule(temperature=1.7, threshold=0.45, band=(0.4, 0.55))
CUSTOM_CNN = {"library": "custom", "name": "custom_cnn", "options": {"widths": [4, 8]}}
ALL = {"format": ["onnx", "pt2"], "also": ["float16", "int8"]}


def config_of(run: Run, **settings: object) -> ExportConfig:
    least = {"run": str(run.folder), "output_dir": str(run.folder.parent), "seconds": 0, "threads": 1, "images": 6}
    return parse_config({**least, **settings}, ExportConfig)


def random_classifier(model: dict[str, Any] = CUSTOM_CNN, size: tuple[int, int] = (32, 16), **data: Any) -> Any:
    """A classifier in eval mode whose answers differ from image to image; always the same weights."""
    torch.manual_seed(0)
    sections = {"data": {"image_size": list(size), **data}, "trainer": {"channels_last": True}}
    made = GenderClassifier(settings(model={**model, "pretrained": False}, **sections))
    generator = torch.Generator().manual_seed(1)
    for name, value in made.network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(std=0.1, generator=generator)
        elif name.endswith(("running_var", "gamma")):
            value.uniform_(0.5, 1.5, generator=generator)
    for head in made.heads:  # else so small that every answer is alike
        nn.init.normal_(made.network.get_submodule(head).weight, std=0.5, generator=generator)
    return made.eval()
