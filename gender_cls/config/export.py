"""The schema of `conf/export.yaml`: into which files a finished run is exported. Imports no torch."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from gender_cls.config.checks import listed_values, setting
from gender_cls.config.evaluation import FinishedRunConfig
from gender_cls.errors import require


class Format(Enum):
    onnx = "onnx"
    pt2 = "pt2"


class Smaller(Enum):
    float16 = "float16"
    int8 = "int8"


@dataclass
class ExportConfig(FinishedRunConfig):
    """Settings of `export`."""

    format: Any = setting("onnx", choices=tuple(one.value for one in Format))
    also: Any = setting(choices=tuple(one.value for one in Smaller))
    images: int = setting(512, least=1, unit="validation image")
    seconds: float = setting(20.0, least=0, unit="s")
    output_dir: str = setting("outputs", path="any")

    @property
    def formats(self) -> list[Format]:
        """`format`, one or several."""
        return [one for one in Format if one.value in listed_values(self.format)]

    @property
    def smaller(self) -> list[Smaller]:
        """`also`, one, several or none."""
        return [one for one in Smaller if one.value in listed_values(self.also)]

    def check(self) -> None:
        super().check()
        require(bool(self.formats), "format names nothing to write: give format=onnx, pt2, or onnx,pt2.")
        require(
            not self.smaller or Format.onnx in self.formats,
            f"also={','.join(one.value for one in self.smaller)} makes smaller ONNX files: add format=onnx.",
        )
