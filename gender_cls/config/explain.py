"""The schema of `conf/explain/` and `conf/explain.yaml`: which maps, of which class, how often. Imports no torch."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.config.checks import (
    ACCELERATORS,
    AUTO,
    check_data_root,
    check_name,
    check_run,
    require_choice,
    require_count,
)
from gender_cls.errors import require


class Method(Enum):
    """How a map is made; `explain/attribution.py` says what each means and where it comes from."""

    saliency = "saliency"
    smoothgrad = "smoothgrad"
    grad_cam = "grad_cam"
    integrated_gradients = "integrated_gradients"
    occlusion = "occlusion"

    @property
    def title(self) -> str:
        """As people write it."""
        special = {"smoothgrad": "SmoothGrad", "grad_cam": "Grad-CAM"}
        return special.get(self.value, self.value.replace("_", " "))

    @property
    def signed(self) -> bool:
        """Whether its maps tell evidence for the class (above 0) from evidence against it (below 0)."""
        return self in (Method.grad_cam, Method.integrated_gradients, Method.occlusion)


class ExplainedClass(Enum):
    """Whose logit is explained; `both` shows the true class beside the predicted one."""

    predicted = "predicted"
    true = "true"
    both = "both"

    @property
    def roles(self) -> tuple[str, ...]:
        """`predicted`, `true`, or both in this order."""
        return ("predicted", "true") if self is ExplainedClass.both else (self.value,)


@dataclass
class ExplainConfig:
    """Which maps: of a fixed probe set of validation images while the network learns, and of test images at the end."""

    enabled: bool = True
    methods: list[Method] = field(default_factory=lambda: [Method.saliency, Method.grad_cam])
    explained_class: ExplainedClass = ExplainedClass.predicted
    images: int = 8
    every_n_epochs: int = 1
    budget: float | None = None

    def check(self) -> None:
        check_methods("explain.methods", self.methods)
        require(1 <= self.images <= 64, f"explain.images must lie between 1 and 64, not {self.images}.")
        require(self.every_n_epochs >= 1, f"explain.every_n_epochs must be at least 1, not {self.every_n_epochs}.")
        if self.budget is not None:
            require(
                0 < self.budget <= 1,
                f"explain.budget is a share of the time of training, above 0 and at most 1, not {self.budget}.",
            )


@dataclass
class ExplainRunConfig:
    """Everything that `gender_cls.explain` reads."""

    run: str | None = None
    images: Any = None
    name: str | None = None
    limit: int | None = None
    methods: list[Method] | None = None
    explained_class: ExplainedClass | None = None
    faithfulness: bool = True
    data_root: str | None = None
    accelerator: str = AUTO
    threads: int | str = AUTO
    progress_bar: bool = True

    @property
    def image_paths(self) -> list[Path]:
        """`images`, which may be one file or folder, or several; empty for the test split."""
        several = self.images if isinstance(self.images, list) else [self.images]
        return [Path(str(path)).resolve() for path in several if path is not None]

    def check(self) -> None:
        check_run(self.run)
        for path in self.image_paths:
            require(path.exists(), f"images names no file or folder: {path}")
        check_name(self.name)
        require(
            self.name is None or bool(self.image_paths),
            f"name={self.name} is for images=...; the maps of the test split lie in the run's own folder.",
        )
        require(self.limit is None or self.limit >= 1, f"limit must be at least 1 image, not {self.limit}.")
        if self.methods is not None:
            check_methods("methods", self.methods)
        check_data_root(self.data_root)
        require_choice("accelerator", self.accelerator, ACCELERATORS)
        require_count("threads", self.threads, 1)


def check_methods(key: str, methods: list[Method]) -> None:
    """Raise unless there is at least one method, and none twice."""
    require(len(methods) > 0, f"{key} is empty: name at least one of {', '.join(method.value for method in Method)}.")
    require(len(set(methods)) == len(methods), f"{key} names a method twice.")
