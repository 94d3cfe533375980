"""The schema of `conf/model/`: which backbone, and where its weights come from. Imports no torch."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.errors import require


class Library(Enum):
    custom = "custom"
    timm = "timm"
    torchvision = "torchvision"


@dataclass
class ModelConfig:
    """Which backbone, and where its weights come from."""

    library: Library = Library.timm
    name: str | None = None
    pretrained: bool = True
    weights: str | None = None
    cam_layer: str | None = None
    dropout: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        require(
            self.name is not None,
            f"model.name is not set: name any {self.library.value} model, for example model.name=resnet50.",
        )
        if self.weights is not None:
            require(Path(self.weights).is_file(), f"model.weights names no file: {self.weights}")
        require(0 <= self.dropout < 1, f"model.dropout must lie in [0, 1), not {self.dropout}.")

    @property
    def title(self) -> str:
        """`library/name`, for tables."""
        return f"{self.library.value}/{self.name}"
