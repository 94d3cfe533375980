"""The schema of what comes after training: evaluating runs and comparing them. Imports no torch."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.config.checks import (
    ACCELERATORS,
    AUTO,
    PRECISIONS,
    check_data_root,
    check_name,
    check_run,
    require_choice,
    require_count,
)
from gender_cls.errors import require


def _check_resamples(resamples: int) -> None:
    require(100 <= resamples <= 1_000_000, f"resamples must lie between 100 and 1,000,000, not {resamples:,}.")


class OperatingPointRule(Enum):
    balanced_accuracy = "balanced_accuracy"
    equal_recall = "equal_recall"


@dataclass
class EvaluationConfig:
    """What the test split is asked, once training is over."""

    operating_point: OperatingPointRule = OperatingPointRule.balanced_accuracy
    target_error: float = 0.1
    shortcuts: bool = True
    stress: bool = False
    explained_images: int = 100
    resamples: int = 10_000

    def check(self) -> None:
        require(0 < self.target_error < 1, f"target_error must lie between 0 and 1, not {self.target_error}.")
        require(self.explained_images >= 0, f"explained_images must be at least 0, not {self.explained_images}.")
        _check_resamples(self.resamples)


@dataclass
class EvaluateConfig(EvaluationConfig):
    """Everything that `gender_cls.evaluate` reads."""

    run: str | None = None
    data_root: str | None = None
    output_dir: str = "outputs"
    accelerator: str = AUTO
    precision: str | None = None
    threads: int | str = AUTO
    num_workers: int | str = AUTO
    progress_bar: bool = True

    def check(self) -> None:
        super().check()
        check_run(self.run)
        check_data_root(self.data_root)
        require_choice("accelerator", self.accelerator, ACCELERATORS)
        if self.precision is not None:
            require_choice("precision", self.precision, PRECISIONS)
        require_count("threads", self.threads, 1)
        require_count("num_workers", self.num_workers, 0)


@dataclass
class CompareConfig:
    """Everything that `gender_cls.compare` reads."""

    runs: Any = None
    name: str | None = None
    output_dir: str = "outputs"
    data_root: str | None = None
    resamples: int = 10_000
    thumbnails: int = 24

    @property
    def folders(self) -> list[Path]:
        """`runs`, which may be one folder or several."""
        return [Path(str(folder)) for folder in (self.runs if isinstance(self.runs, list) else [self.runs])]

    def check(self) -> None:
        check_name(self.name)
        require(bool(self.runs), "No runs are named: give runs=SWEEP_FOLDER or runs=[FOLDER,FOLDER].")
        for folder in self.folders:
            require(folder.is_dir(), f"runs names no folder: {folder}")
        check_data_root(self.data_root)
        _check_resamples(self.resamples)
        require(0 <= self.thumbnails <= 500, f"thumbnails must lie between 0 and 500, not {self.thumbnails}.")
