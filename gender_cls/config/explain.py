"""The schema of `conf/explain/` and `conf/explain.yaml`: which maps, of which class, how often. Imports no torch."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.config.checks import ACCELERATORS, AUTO, paths_of, setting
from gender_cls.config.evaluation import FinishedRunConfig
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
        """Its name in text."""
        special = {"smoothgrad": "SmoothGrad", "grad_cam": "Grad-CAM"}
        return special.get(self.value, self.value.replace("_", " "))

    @property
    def signed(self) -> bool:
        """Whether its maps tell evidence for the class (above 0) from evidence against it (below 0)."""
        return self in (Method.grad_cam, Method.integrated_gradients, Method.occlusion)


class ExplainedClass(Enum):
    """Which class is explained; `both` shows the true class next to the predicted one."""

    predicted = "predicted"
    true = "true"
    both = "both"

    @property
    def roles(self) -> tuple[str, ...]:
        """`predicted`, `true`, or both in this order."""
        return ("predicted", "true") if self is ExplainedClass.both else (self.value,)


@dataclass
class ExplainConfig:
    """Which maps: of a fixed probe set of validation images during training, and of test images at the end."""

    enabled: bool = True
    methods: list[Method] = setting(lambda: [Method.saliency, Method.grad_cam])
    explained_class: ExplainedClass = ExplainedClass.predicted
    images: int = setting(8, least=1, most=64)
    every_n_epochs: int = setting(1, least=1)
    budget: float | None = setting(above=0, most=1, unit="(a share of the training time)")

    def check(self) -> None:
        _check_methods("explain.methods", self.methods)


@dataclass
class ExplainRunConfig(FinishedRunConfig):
    images: Any = setting(path="file or folder", keep_link=True)
    name: str | None = setting(names_folder=True)
    limit: int | None = setting(least=1, unit="image")
    methods: list[Method] | None = None
    explained_class: ExplainedClass | None = None
    faithfulness: bool = True
    accelerator: str = setting(AUTO, choices=ACCELERATORS)

    @property
    def image_paths(self) -> list[Path]:
        """`images`, which may be one file or folder, or several; empty for the test split.

        A link keeps its own name, which may be that of a label; the folders above are real, as those of a run's data.
        """
        paths = paths_of(self.images)
        return [path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve() for path in paths]

    def check(self) -> None:
        super().check()
        require(
            self.name is None or bool(self.image_paths),
            f"name={self.name} is for images=...; the maps of the test split lie in the run's own folder.",
        )
        if self.methods is not None:
            _check_methods("methods", self.methods)


def _check_methods(key: str, methods: list[Method]) -> None:
    require(len(methods) > 0, f"{key} is empty: name at least one of {', '.join(method.value for method in Method)}.")
    require(len(set(methods)) == len(methods), f"{key} names a method twice.")
