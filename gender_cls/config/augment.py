"""The schema of `conf/augment/`: random changes of training crops. Imports no torch."""

from dataclasses import dataclass

from gender_cls.config.checks import require_share
from gender_cls.errors import require


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
