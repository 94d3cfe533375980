"""The schema of `conf/predict.yaml`: which images a finished model answers, and how. Imports no torch."""

import glob
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from gender_cls.config.checks import ACCELERATORS, AUTO, MOST_PROCESSES, PRECISIONS, absolute, listed_values, setting
from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import RESAMPLES, FinishedRunConfig
from gender_cls.errors import first_few, require

STANDARD_INPUT = "-"
"""Stands for one path per line on standard input."""


class TableFormat(Enum):
    csv = "csv"
    parquet = "parquet"
    jsonl = "jsonl"


class Tta(Enum):
    none = "none"
    flip = "flip"


class OnUnreadable(Enum):
    list = "list"
    stop = "stop"


@dataclass
class PredictConfig(FinishedRunConfig):
    """Settings of `predict`; `run` may also be an exported `.onnx` file."""

    run: Any = setting(path="file or folder")
    images: Any = None
    data: DataConfig = field(default_factory=DataConfig)
    boxes: str | None = setting(path="file")
    stride: int = setting(1, least=1, unit="frame")
    first_frame: int = setting(1, least=0, most=1)
    name: str | None = setting(names_folder=True)
    format: TableFormat = TableFormat.csv
    overlay: bool = False
    tta: Tta = Tta.none
    on_corrupt: OnUnreadable = OnUnreadable.list
    resamples: int | None = setting(**RESAMPLES)
    output_dir: str = setting("outputs", path="any")
    accelerator: str = setting(AUTO, choices=ACCELERATORS)
    precision: str | None = setting(choices=PRECISIONS)
    num_workers: int | str = setting(AUTO, least=0, most=MOST_PROCESSES, auto=True)

    @property
    def image_names(self) -> list[str]:
        """`images`, one or several: absolute paths of files and folders, absolute patterns, or STANDARD_INPUT."""
        names = [str(one) for one in listed_values(self.images)]
        return [name if name == STANDARD_INPUT else absolute(name, keep_link=True, key="images") for name in names]

    @property
    def exported(self) -> list[Path]:
        """The exported models that `run` names."""
        return [path for path in self.folders if path.is_file()]

    def check(self) -> None:
        super().check()
        for file in self.exported:
            require(file.suffix == ".onnx", f"run={file} is neither the folder of a run nor an exported .onnx file.")
        require(
            not self.exported or len(self.folders) == 1,
            f"run names the exported model {first_few(self.exported)} and more: it answers alone; name runs to have "
            "several answer together.",
        )
        names = self.image_names
        if self.data.importer is not None:
            self.data.require_named()
        require(
            bool(names) != self.data.named,
            "Name the images: images=FILE, FOLDER, 'a/*.jpg', TABLE.csv or -; or a dataset with data=... and "
            "data.root=FOLDER; not both.",
        )
        empty = any(str(one).strip() == "" for one in listed_values(self.images))
        require(not empty, "images is empty: name files, folders, a pattern in quotes, a table, or -.")
        for name in names:
            there = name == STANDARD_INPUT or Path(name).exists() or any(glob.iglob(name, recursive=True))
            require(there, f"images names no file or folder: {name}")
        require(names.count(STANDARD_INPUT) < 2, "images names - twice: standard input can be read once.")
        require(
            not self.exported or self.tta is Tta.none,
            "tta=flip chooses a temperature and a threshold of its own, and those of an exported model are part of it: "
            "name the run instead.",
        )
