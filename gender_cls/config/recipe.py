"""The schema of `conf/recipe/`: what is trained when, and how fast. Imports no torch."""

from dataclasses import dataclass

from gender_cls.errors import require

VALIDATION_METRICS = ("balanced_accuracy", "accuracy", "auroc", "f1_FEMALE", "f1_MALE", "loss")


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
