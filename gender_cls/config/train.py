"""The schema of `conf/train.yaml`, with the sections that training alone has. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any

from gender_cls.config.checks import seed_setting, setting
from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.explain import ExplainConfig
from gender_cls.config.model import ModelConfig
from gender_cls.config.optimizers import DEFAULT, check_optimizer_name, check_optimizer_options
from gender_cls.config.search import SearchConfig
from gender_cls.config.trainer import TrainerConfig, debugging
from gender_cls.errors import require

VALIDATION_METRICS = ("balanced_accuracy", "accuracy", "auroc", "f1_FEMALE", "f1_MALE", "loss")

OPEN_GROUPS = ("callbacks", "loggers")
"""Groups of which a training takes any number of files."""


@dataclass
class AugmentConfig:
    """Random changes of a training crop. Probabilities are per image; 0 switches a change off."""

    flip: float = setting(0.0, least=0, most=1)
    affine: float = setting(0.0, least=0, most=1)
    rotate_degrees: float = setting(0.0, least=0, most=180)
    translate: float = setting(0.0, least=0, most=1)
    zoom: float = setting(0.0, least=0, below=1)
    brightness: float = setting(0.0, least=0, below=1)
    contrast: float = setting(0.0, least=0, below=1)
    saturation: float = setting(0.0, least=0, below=1)
    low_resolution: float = setting(0.0, least=0, most=1)
    blur: float = setting(0.0, least=0, most=1)
    jpeg: float = setting(0.0, least=0, most=1)
    grey: float = setting(0.0, least=0, most=1)
    rand_augment: int = setting(0, least=0)
    erase: float = setting(0.0, least=0, most=1)
    mixup: float = setting(0.0, least=0)
    cutmix: float = setting(0.0, least=0)

    def check(self) -> None:
        require(
            bool(self.affine) == bool(self.rotate_degrees or self.translate or self.zoom),
            "augment.affine is a probability and needs a range (augment.rotate_degrees, translate or zoom), and a "
            "range needs the probability.",
        )


@dataclass
class RecipeConfig:
    """What is trained when, how fast, and which validation metric chooses the checkpoint."""

    lr: float = setting(1e-3, above=0)
    weight_decay: float = setting(0.05, least=0)
    optimizer: str = DEFAULT
    momentum: float | None = setting(least=0, below=1)
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    warmup_epochs: float = setting(1.0, least=0)
    frozen_epochs: int | None = setting(0, least=0)
    views: int = setting(1, least=0)
    backbone_lr_factor: float = setting(1.0, above=0, most=1)
    layer_decay: float = setting(1.0, above=0, most=1)
    label_smoothing: float = setting(0.0, least=0, below=1)
    gradient_clip: float | None = setting(1.0, above=0)
    ema_decay: float | None = setting(above=0, below=1)
    grad_checkpointing: bool = False
    monitor: str = setting("balanced_accuracy", choices=VALIDATION_METRICS)
    patience: int | None = setting(least=1, unit="epoch")

    def check(self) -> None:
        check_optimizer_name(self.optimizer)
        check_optimizer_options(self.optimizer_options)


@dataclass
class Config:
    name: str | None = setting(names_folder=True)
    output_dir: str = setting("outputs", path="any")
    seed: int = seed_setting()
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    loggers: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        self.data.require_named()
        require(
            all(isinstance(tag, str) for tag in self.tags), f"tags must be words, such as [first,cctv]: {self.tags}."
        )
        for group in OPEN_GROUPS:
            for name, content in getattr(self, group).items():
                named = isinstance(content, dict) and isinstance(content.get("_target_"), str)
                key = f"{group}.{name}"
                require(named, f"{key} names no class: write {key}._target_=package.module.Class with its arguments.")
        seen = debugging(vars(self.trainer))
        require(
            seen is None or not self.search.enabled, f"A search compares scores, and {seen} makes none: leave it out."
        )
