"""The schema of what comes after training: evaluating runs and comparing them. Imports no torch."""

from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.config.checks import (
    ACCELERATORS,
    AUTO,
    MOST_PROCESSES,
    MOST_THREADS,
    PRECISIONS,
    listed_values,
    paths_of,
    setting,
)
from gender_cls.config.data import DataConfig
from gender_cls.errors import require


class OperatingPointRule(Enum):
    balanced_accuracy = "balanced_accuracy"
    equal_recall = "equal_recall"


class Datasets(Enum):
    given = "given"
    all = "all"


class Adapt(Enum):
    batchnorm = "batchnorm"
    prior = "prior"


TARGET_ERROR: dict[str, Any] = {"above": 0, "below": 1}
EXPLAINED_IMAGES: dict[str, Any] = {"least": 0}
RESAMPLES: dict[str, Any] = {"least": 100, "most": 1_000_000}


@dataclass
class EvaluationConfig:
    """What is measured on the test split when training is over."""

    test: bool = True
    operating_point: OperatingPointRule = OperatingPointRule.balanced_accuracy
    target_error: float = setting(0.1, **TARGET_ERROR)
    shortcuts: bool = True
    stress: bool = False
    explained_images: int = setting(100, **EXPLAINED_IMAGES)
    resamples: int = setting(10_000, **RESAMPLES)


@dataclass
class FinishedRunConfig:
    """Settings of the commands that work on finished runs."""

    run: Any = setting(path="folder")
    data_root: str | None = setting(path="folder")
    threads: int | str = setting(AUTO, least=1, most=MOST_THREADS, auto=True)
    progress_bar: bool = True

    @property
    def folders(self) -> list[Path]:
        """`run`, which may be one folder or several, of runs or of sweeps."""
        return paths_of(self.run)

    @property
    def images_now(self) -> Path | None:
        """Where the run's own images lie now; None: where they were in training."""
        return None if self.data_root is None else Path(self.data_root)

    def check(self) -> None:
        require(bool(self.folders), "No run is named: give run=FOLDER, a run's folder or a sweep's.")


@dataclass
class ElsewhereConfig:
    """Which data other than its own a run is tested on."""

    datasets: Datasets = Datasets.given
    name: str | None = setting(names_folder=True)


@dataclass
class EvaluateConfig(FinishedRunConfig):
    """What is None stays as the run was trained with."""

    data: DataConfig = field(default_factory=DataConfig)
    elsewhere: ElsewhereConfig = field(default_factory=ElsewhereConfig)
    adapt: Any = setting(choices=tuple(one.value for one in Adapt))
    output_dir: str = setting("outputs", path="any")
    accelerator: str = setting(AUTO, choices=ACCELERATORS)
    operating_point: OperatingPointRule | None = None
    target_error: float | None = setting(**TARGET_ERROR)
    shortcuts: bool | None = None
    stress: bool | None = None
    explained_images: int | None = setting(**EXPLAINED_IMAGES)
    resamples: int | None = setting(**RESAMPLES)
    precision: str | None = setting(choices=PRECISIONS)
    num_workers: int | str = setting(AUTO, least=0, most=MOST_PROCESSES, auto=True)

    @property
    def elsewhere_asked(self) -> bool:
        """Whether runs are tested on other data than their own."""
        return self.data.named or self.elsewhere.datasets is Datasets.all

    @property
    def adaptations(self) -> list[Adapt]:
        """`adapt`, which may be one name, several or none."""
        return [Adapt(one) for one in listed_values(self.adapt)]

    def over(self, recorded: EvaluationConfig) -> EvaluationConfig:
        """The settings of a run's own evaluation, with those that were given here in their place."""
        given = {one.name: getattr(self, one.name, None) for one in fields(EvaluationConfig)}  # it has no `test`
        return replace(recorded, **{name: value for name, value in given.items() if value is not None})

    def elsewhere_over(self, recorded: EvaluationConfig) -> EvaluationConfig:
        """The same for other data, where shortcuts, stress and maps are made only if they are asked for here."""
        return self.over(replace(recorded, shortcuts=False, stress=False, explained_images=0))

    def check(self) -> None:
        super().check()
        if not self.data.named:
            if self.data.importer is not None:
                self.data.require_named()
            default = DataConfig(aliases=self.data.aliases)  # conf/data/folders.yaml adds some
            given = [
                one.name for one in fields(DataConfig) if getattr(self.data, one.name) != getattr(default, one.name)
            ]
            keys = ", ".join(f"data.{name}" for name in given)
            require(
                not given,
                f"{keys}: these settings are for tests on other data, and no data are named: add data.root=FOLDER or "
                "data.csv=FILE. A run's own data are read as in its training.",
            )
        if self.elsewhere_asked:
            self._check_elsewhere()
            return
        for key, value in (("adapt", self.adapt), ("elsewhere.name", self.elsewhere.name)):
            require(
                value is None,
                f"{key} is for tests on other data than the run's own: name them with data=... and data.root=FOLDER, "
                "or give elsewhere=all.",
            )

    def _check_elsewhere(self) -> None:
        every = self.elsewhere.datasets is Datasets.all
        require(
            not every or self.elsewhere.name is None,
            f"elsewhere.name={self.elsewhere.name} names one test, and elsewhere=all makes several: leave one out.",
        )
        for key, value in (("operating_point", self.operating_point), ("target_error", self.target_error)):
            require(
                value is None,
                f"{key} says what a run's own validation chooses, and tests on other data choose nothing: evaluate the "
                f"run with it first, without data=... and elsewhere=...",
            )


@dataclass
class CompareConfig:
    runs: Any = setting(path="file or folder")
    tags: list[str] = field(default_factory=list)
    name: str | None = setting(names_folder=True)
    output_dir: str = setting("outputs", path="any")
    data_root: str | None = setting(path="folder")
    resamples: int = setting(10_000, **RESAMPLES)
    thumbnails: int = setting(24, least=0, most=500)

    @property
    def folders(self) -> list[Path]:
        """The folders that `runs` names, of runs or with runs inside."""
        return [path for path in paths_of(self.runs) if not path.is_file()]

    @property
    def exported(self) -> list[Path]:
        """The exported models that `runs` names, each once."""
        return list(dict.fromkeys(path for path in paths_of(self.runs) if path.is_file()))

    def check(self) -> None:
        require(bool(self.runs), "No runs are named: give runs=SWEEP_FOLDER or runs=[FOLDER,FOLDER].")
