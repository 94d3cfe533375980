"""The schema of `conf/`: every key with its type, unit and range. Imports no torch."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.config_checks import (
    ACCELERATORS,
    AUTO,
    PRECISIONS,
    check_name,
    check_seed,
    require_choice,
    require_count,
    require_share,
)
from gender_cls.data_config import DataConfig
from gender_cls.errors import require
from gender_cls.evaluation_config import EvaluationConfig
from gender_cls.explain_config import ExplainConfig

_package = Path(__file__).resolve().parent
CONFIG_FOLDER = next(folder for folder in (_package / "conf", _package.parent / "conf") if folder.is_dir())
"""Inside the package when installed from a wheel, beside it in a clone."""


class Library(Enum):
    custom = "custom"
    timm = "timm"
    torchvision = "torchvision"


VALIDATION_METRICS = ("balanced_accuracy", "accuracy", "auroc", "f1_FEMALE", "f1_MALE", "loss")


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


@dataclass
class AugmentConfig:
    """Random changes of a training crop. Probabilities are per image, 0 switches a change off."""

    flip: float = 0.0
    affine: float = 0.0
    rotate_degrees: float = 0.0
    translate: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    low_resolution: float = 0.0
    blur: float = 0.0
    jpeg: float = 0.0
    grey: float = 0.0
    rand_augment: int = 0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def check(self) -> None:
        for key in ("flip", "affine", "translate", "low_resolution", "blur", "jpeg", "grey", "erase"):
            require_share(f"augment.{key}", getattr(self, key))
        for key in ("brightness", "contrast", "saturation", "zoom"):
            value = getattr(self, key)
            require(0 <= value < 1, f"augment.{key} must lie in [0, 1), not {value}.")
        require(
            0 <= self.rotate_degrees <= 180,
            f"augment.rotate_degrees must lie between 0 and 180, not {self.rotate_degrees}.",
        )
        require(
            bool(self.affine) == bool(self.rotate_degrees or self.translate or self.zoom),
            "augment.affine is a probability and needs a range (augment.rotate_degrees, translate or zoom), and a "
            "range needs the probability.",
        )
        for key in ("rand_augment", "mixup", "cutmix"):
            value = getattr(self, key)
            require(value >= 0, f"augment.{key} must be at least 0, not {value}.")


@dataclass
class RecipeConfig:
    """What is trained when, how fast, and which validation metric chooses the checkpoint."""

    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    frozen_epochs: int | None = 0
    views: int = 1
    backbone_lr_factor: float = 1.0
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    gradient_clip: float | None = 1.0
    ema_decay: float | None = None
    grad_checkpointing: bool = False
    monitor: str = "balanced_accuracy"
    patience: int | None = None

    def check(self) -> None:
        require(self.lr > 0, f"recipe.lr must be above 0, not {self.lr}.")
        require(self.weight_decay >= 0, f"recipe.weight_decay must be at least 0, not {self.weight_decay}.")
        require(self.warmup_epochs >= 0, f"recipe.warmup_epochs must be at least 0, not {self.warmup_epochs}.")
        if self.frozen_epochs is not None:
            require(self.frozen_epochs >= 0, f"recipe.frozen_epochs must be at least 0, not {self.frozen_epochs}.")
        require(self.views >= 0, f"recipe.views must be at least 0, not {self.views}.")
        for key in ("backbone_lr_factor", "layer_decay"):
            value = getattr(self, key)
            require(0 < value <= 1, f"recipe.{key} must be above 0 and at most 1, not {value}.")
        require(
            0 <= self.label_smoothing < 1, f"recipe.label_smoothing must lie in [0, 1), not {self.label_smoothing}."
        )
        if self.gradient_clip is not None:
            require(self.gradient_clip > 0, f"recipe.gradient_clip must be above 0, not {self.gradient_clip}.")
        if self.ema_decay is not None:
            require(0 < self.ema_decay < 1, f"recipe.ema_decay must lie between 0 and 1, not {self.ema_decay}.")
        require(
            self.monitor in VALIDATION_METRICS,
            f"recipe.monitor must be a validation metric ({', '.join(VALIDATION_METRICS)}), not {self.monitor}.",
        )
        if self.patience is not None:
            require(self.patience >= 1, f"recipe.patience must be at least 1 epoch, not {self.patience}.")


@dataclass
class TrainerConfig:
    """How long, on what, and how precisely to compute."""

    max_epochs: int = 20
    accumulate: int = 1
    accelerator: str = AUTO
    precision: str = AUTO
    threads: int | str = AUTO
    channels_last: bool = True
    compile: bool = False
    resume: bool = False
    progress_bar: bool = True

    def check(self) -> None:
        require(self.max_epochs >= 1, f"trainer.max_epochs must be at least 1, not {self.max_epochs}.")
        require(self.accumulate >= 1, f"trainer.accumulate must be at least 1, not {self.accumulate}.")
        require_choice("trainer.precision", self.precision, PRECISIONS)
        require_count("trainer.threads", self.threads, 1)
        require_choice("trainer.accelerator", self.accelerator, ACCELERATORS)


@dataclass
class Config:
    """Everything that `gender_cls.train` reads."""

    name: str | None = None
    output_dir: str = "outputs"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def check(self) -> None:
        check_name(self.name)
        check_seed("seed", self.seed)
        sections = (self.data, self.model, self.augment, self.recipe, self.trainer, self.explain, self.evaluation)
        for section in sections:
            section.check()


@dataclass
class AuditSettings:
    """What the audit calls a finding, and how it looks for suspect labels."""

    min_height: int = 48
    dark: float = 40.0
    bright: float = 215.0
    blurred: float = 0.8
    min_aspect: float = 1.2
    max_aspect: float = 4.0
    suspects: bool = True
    folds: int = 5
    runs: list[str] = field(default_factory=list)
    thumbnails: int = 24

    def check(self) -> None:
        require(self.min_height >= 0, f"audit.min_height must be at least 0 pixels, not {self.min_height}.")
        for key in ("dark", "bright"):
            value = getattr(self, key)
            require(0 <= value <= 255, f"audit.{key} must lie between 0 and 255 (mean brightness), not {value}.")
        require(self.dark < self.bright, f"audit.dark={self.dark} must stay below audit.bright={self.bright}.")
        require(self.blurred >= 0, f"audit.blurred must be at least 0, not {self.blurred}.")
        require(
            0 < self.min_aspect < self.max_aspect,
            f"audit.min_aspect={self.min_aspect} must be above 0 and below audit.max_aspect={self.max_aspect} "
            "(height divided by width).",
        )
        require(self.folds >= 2, f"audit.folds must be at least 2, not {self.folds}.")
        for run in self.runs:
            require(Path(run).is_dir(), f"audit.runs names no run or sweep folder: {run}")
        require(0 <= self.thumbnails <= 500, f"audit.thumbnails must lie between 0 and 500, not {self.thumbnails}.")


@dataclass
class AuditConfig:
    """Everything that `gender_cls.audit` reads."""

    name: str | None = None
    output_dir: str = "outputs"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def check(self) -> None:
        check_name(self.name)
        check_seed("seed", self.seed)
        for section in (self.data, self.model, self.audit):
            section.check()


@dataclass
class DemoConfig:
    """Everything that `gender_cls.demo` reads."""

    folder: str = "outputs/demo_data"
    images: int = 600
    cue: bool = True
    seed: int = 0

    def check(self) -> None:
        require(self.images >= 48, f"images must be at least 48 (8 people), not {self.images}.")
        check_seed("seed", self.seed)
