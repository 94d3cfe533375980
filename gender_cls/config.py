"""The schema of `conf/`: every key with its type, unit and range. Imports no torch."""

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.errors import GenderClsError

CLASSES = ("FEMALE", "MALE")
"""Class names; the position is the index of the logit."""

SPLITS = ("train", "val", "test")

_package = Path(__file__).resolve().parent
CONFIG_FOLDER = next(folder for folder in (_package / "conf", _package.parent / "conf") if folder.is_dir())
"""Inside the package when installed from a wheel, beside it in a clone."""


class ResizeMode(Enum):
    stretch = "stretch"
    letterbox = "letterbox"
    crop = "crop"


class Balance(Enum):
    none = "none"
    loss = "loss"
    sampler = "sampler"


class OnCorrupt(Enum):
    stop = "stop"
    drop = "drop"


class Library(Enum):
    custom = "custom"
    timm = "timm"
    torchvision = "torchvision"


PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
VALIDATION_METRICS = ("balanced_accuracy", "accuracy", "auroc", "f1_FEMALE", "f1_MALE", "loss")


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise GenderClsError(sentence)


def _require_share(key: str, value: float) -> None:
    _require(0 <= value <= 1, f"{key} must lie between 0 and 1, not {value}.")


@dataclass
class DataConfig:
    """Where the crops are, how they are split and how they reach the model."""

    root: str | None = None
    csv: str | None = None
    pattern: str | None = None
    aliases: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in CLASSES})
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    folds: int | None = None
    fold: int = 0
    image_size: list[int] = field(default_factory=lambda: [256, 128])
    resize_mode: ResizeMode = ResizeMode.stretch
    batch_size: int = 32
    num_workers: int = 2
    limit: int | None = None
    balance: Balance = Balance.none
    on_corrupt: OnCorrupt = OnCorrupt.stop

    def check(self) -> None:
        _require(
            self.root is not None or self.csv is not None,
            "No data are named: give data.root=FOLDER (with MALE/ and FEMALE/ inside), data.csv=FILE or data=demo.",
        )
        _require(
            sorted(self.aliases) == sorted(CLASSES),
            f"data.aliases must have the keys {' and '.join(CLASSES)}, not {', '.join(self.aliases) or 'none'}.",
        )
        if self.pattern is not None:
            try:
                names = re.compile(self.pattern).groupindex
            except re.error as error:
                raise GenderClsError(f"data.pattern is no regular expression ({error}): {self.pattern}") from None
            _require(
                bool(names),
                f"data.pattern has no named group such as (?P<identity>...) or (?P<camera>...): {self.pattern}",
            )
        for key, fraction in (("val", self.val_fraction), ("test", self.test_fraction)):
            _require(0 < fraction < 1, f"data.{key}_fraction must lie between 0 and 1 (exclusive), not {fraction}.")
        _require(
            self.val_fraction + self.test_fraction < 1,
            f"data.val_fraction + data.test_fraction must stay below 1, not {self.val_fraction + self.test_fraction}.",
        )
        if self.folds is not None:
            _require(self.folds >= 3, f"data.folds must be at least 3 (train, val, test), not {self.folds}.")
            _require(
                0 <= self.fold < self.folds,
                f"data.fold must lie between 0 and data.folds - 1 = {self.folds - 1}, not {self.fold}.",
            )
        _require(
            len(self.image_size) == 2 and all(16 <= side <= 4096 for side in self.image_size),
            f"data.image_size must be [height,width] in pixels, each from 16 to 4096, not {list(self.image_size)}.",
        )
        _require(self.batch_size >= 1, f"data.batch_size must be at least 1, not {self.batch_size}.")
        _require(self.num_workers >= 0, f"data.num_workers must be at least 0, not {self.num_workers}.")
        if self.limit is not None:
            _require(self.limit >= 6, f"data.limit must be at least 6 images (3 splits, 2 labels), not {self.limit}.")


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
        _require(
            self.name is not None,
            f"model.name is not set: name any {self.library.value} model, for example model.name=resnet50.",
        )
        if self.weights is not None:
            _require(Path(self.weights).is_file(), f"model.weights names no file: {self.weights}")
        _require(0 <= self.dropout < 1, f"model.dropout must lie in [0, 1), not {self.dropout}.")

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
            _require_share(f"augment.{key}", getattr(self, key))
        for key in ("brightness", "contrast", "saturation", "zoom"):
            value = getattr(self, key)
            _require(0 <= value < 1, f"augment.{key} must lie in [0, 1), not {value}.")
        _require(
            0 <= self.rotate_degrees <= 180,
            f"augment.rotate_degrees must lie between 0 and 180, not {self.rotate_degrees}.",
        )
        _require(
            bool(self.affine) == bool(self.rotate_degrees or self.translate or self.zoom),
            "augment.affine is a probability and needs a range (augment.rotate_degrees, translate or zoom), and a "
            "range needs the probability.",
        )
        for key in ("rand_augment", "mixup", "cutmix"):
            value = getattr(self, key)
            _require(value >= 0, f"augment.{key} must be at least 0, not {value}.")


@dataclass
class RecipeConfig:
    """What is trained when, how fast, and which validation metric chooses the checkpoint."""

    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    frozen_epochs: int | None = 0
    backbone_lr_factor: float = 1.0
    layer_decay: float = 1.0
    label_smoothing: float = 0.0
    gradient_clip: float | None = 1.0
    ema_decay: float | None = None
    monitor: str = "balanced_accuracy"
    patience: int | None = None

    def check(self) -> None:
        _require(self.lr > 0, f"recipe.lr must be above 0, not {self.lr}.")
        _require(self.weight_decay >= 0, f"recipe.weight_decay must be at least 0, not {self.weight_decay}.")
        _require(self.warmup_epochs >= 0, f"recipe.warmup_epochs must be at least 0, not {self.warmup_epochs}.")
        if self.frozen_epochs is not None:
            _require(self.frozen_epochs >= 0, f"recipe.frozen_epochs must be at least 0, not {self.frozen_epochs}.")
        for key in ("backbone_lr_factor", "layer_decay"):
            value = getattr(self, key)
            _require(0 < value <= 1, f"recipe.{key} must be above 0 and at most 1, not {value}.")
        _require(
            0 <= self.label_smoothing < 1, f"recipe.label_smoothing must lie in [0, 1), not {self.label_smoothing}."
        )
        if self.gradient_clip is not None:
            _require(self.gradient_clip > 0, f"recipe.gradient_clip must be above 0, not {self.gradient_clip}.")
        if self.ema_decay is not None:
            _require(0 < self.ema_decay < 1, f"recipe.ema_decay must lie between 0 and 1, not {self.ema_decay}.")
        _require(
            self.monitor in VALIDATION_METRICS,
            f"recipe.monitor must be a validation metric ({', '.join(VALIDATION_METRICS)}), not {self.monitor}.",
        )
        if self.patience is not None:
            _require(self.patience >= 1, f"recipe.patience must be at least 1 epoch, not {self.patience}.")


@dataclass
class TrainerConfig:
    """How long, on what, and how precisely to compute."""

    max_epochs: int = 20
    precision: str = "32-true"
    accelerator: str = "auto"
    compile: bool = False
    resume: bool = False
    progress_bar: bool = True

    def check(self) -> None:
        _require(self.max_epochs >= 1, f"trainer.max_epochs must be at least 1, not {self.max_epochs}.")
        for key, choices in (("precision", PRECISIONS), ("accelerator", ACCELERATORS)):
            value = getattr(self, key)
            _require(value in choices, f"trainer.{key} must be one of {', '.join(choices)}, not {value}.")


@dataclass
class ExplainConfig:
    """Saliency and Grad-CAM of a fixed probe set of validation images."""

    enabled: bool = True
    images: int = 8
    every_n_epochs: int = 1

    def check(self) -> None:
        _require(1 <= self.images <= 64, f"explain.images must lie between 1 and 64, not {self.images}.")
        _require(self.every_n_epochs >= 1, f"explain.every_n_epochs must be at least 1, not {self.every_n_epochs}.")


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

    def check(self) -> None:
        _require(0 <= self.seed < 2**32, f"seed must lie between 0 and 2**32 - 1, not {self.seed}.")
        if self.name is not None:
            _require(
                re.fullmatch(r"[\w.+-]+", self.name) is not None,
                f"name becomes a folder: letters, digits and _ . + - only, not '{self.name}'.",
            )
        for section in (self.data, self.model, self.augment, self.recipe, self.trainer, self.explain):
            section.check()


@dataclass
class DemoConfig:
    """Everything that `gender_cls.demo` reads."""

    folder: str = "outputs/demo_data"
    images: int = 600
    cue: bool = True
    seed: int = 0

    def check(self) -> None:
        _require(self.images >= 48, f"images must be at least 48 (8 people), not {self.images}.")
        _require(0 <= self.seed < 2**32, f"seed must lie between 0 and 2**32 - 1, not {self.seed}.")
