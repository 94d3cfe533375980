"""The schema of `conf/audit.yaml`: what counts as a finding, how suspect labels are found. Imports no torch."""

from dataclasses import dataclass, field

from gender_cls.config.checks import seed_setting, setting
from gender_cls.config.data import DataConfig
from gender_cls.config.model import ModelConfig
from gender_cls.errors import require


@dataclass
class AuditSettings:
    min_height: int = setting(48, least=0, unit="pixels")
    dark: float = setting(40.0, least=0, most=255, unit="(mean brightness)")
    bright: float = setting(215.0, least=0, most=255, unit="(mean brightness)")
    blurred: float = setting(0.8, least=0)
    min_aspect: float = setting(1.2, above=0, unit="(height divided by width)")
    max_aspect: float = 4.0
    suspects: bool = True
    folds: int = setting(5, least=2)
    runs: list[str] = setting(list, path="folder")
    thumbnails: int = setting(24, least=0, most=500)

    def check(self) -> None:
        require(self.dark < self.bright, f"audit.dark={self.dark} must be below audit.bright={self.bright}.")
        require(
            self.min_aspect < self.max_aspect,
            f"audit.min_aspect={self.min_aspect} must be below audit.max_aspect={self.max_aspect} "
            "(height divided by width).",
        )


@dataclass
class AuditConfig:
    name: str | None = setting(names_folder=True)
    output_dir: str = setting("outputs", path="any")
    seed: int = seed_setting()
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    audit: AuditSettings = field(default_factory=AuditSettings)

    def check(self) -> None:
        self.data.require_named()
