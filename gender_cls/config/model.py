"""The schema of `conf/model/`: which backbone, and where its weights come from. Imports no torch."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gender_cls.config.checks import setting
from gender_cls.errors import require


class Library(Enum):
    custom = "custom"
    timm = "timm"
    torchvision = "torchvision"


@dataclass
class ModelConfig:
    library: Library = Library.timm
    name: str | None = None
    pretrained: bool = True
    weights: str | None = setting(path="file or folder", keep_link=True)  # in a hub's cache only links have suffixes
    cam_layer: str | None = None
    dropout: float = setting(0.0, least=0, below=1)
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        require(
            self.name is not None,
            f"model.name is not set: name any {self.library.value} model, for example model.name=resnet50.",
        )

    @property
    def has_published_weights(self) -> bool:
        """Whether its library may have weights for it; the custom CNN starts from random ones."""
        return self.library is not Library.custom

    @property
    def downloads(self) -> bool:
        """Whether it begins with published weights, which a cache has or the network."""
        return self.pretrained and self.weights is None and self.has_published_weights

    @property
    def title(self) -> str:
        """`library/name`, for tables."""
        return f"{self.library.value}/{self.name}"
