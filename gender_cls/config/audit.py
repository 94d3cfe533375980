"""The schema of `conf/audit.yaml`. Imports no torch."""

from dataclasses import dataclass, field
from pathlib import Path

from gender_cls.config.checks import check_name, check_seed
from gender_cls.config.data import DataConfig
from gender_cls.config.model import ModelConfig
from gender_cls.errors import require


@dataclass
class AuditSettings:
    """What the audit calls a finding, and how it looks for suspect labels."""

    min_height: int = 48
    dark: float = 40.0
    bright: float = 215.0
    blurred: float = 0.8
    min_aspect: float = 1.2
    max_aspect: float = 4.0
    suspects: bool = True
    folds: int = 5
    runs: list[str] = field(default_factory=list)
    thumbnails: int = 24

    def check(self) -> None:
        require(self.min_height >= 0, f"audit.min_height must be at least 0 pixels, not {self.min_height}.")
        for key in ("dark", "bright"):
            value = getattr(self, key)
            require(0 <= value <= 255, f"audit.{key} must lie between 0 and 255 (mean brightness), not {value}.")
        require(self.dark < self.bright, f"audit.dark={self.dark} must stay below audit.bright={self.bright}.")
        require(self.blurred >= 0, f"audit.blurred must be at least 0, not {self.blurred}.")
        require(
            0 < self.min_aspect < self.max_aspect,
            f"audit.min_aspect={self.min_aspect} must be above 0 and below audit.max_aspect={self.max_aspect} "
            "(height divided by width).",
        )
        require(self.folds >= 2, f"audit.folds must be at least 2, not {self.folds}.")
        for run in self.runs:
            require(Path(run).is_dir(), f"audit.runs names no run or sweep folder: {run}")
        require(0 <= self.thumbnails <= 500, f"audit.thumbnails must lie between 0 and 500, not {self.thumbnails}.")


@dataclass
class AuditConfig:
    """Everything that `gender_cls.audit` reads."""

    name: str | None = None
    output_dir: str = "outputs"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def check(self) -> None:
        check_name(self.name)
        check_seed("seed", self.seed)
        for section in (self.data, self.model, self.audit):
            section.check()
