"""The schema of `conf/demo.yaml`. Imports no torch."""

from dataclasses import dataclass

from gender_cls.config.checks import check_seed
from gender_cls.errors import require


@dataclass
class DemoConfig:
    """Everything that `gender_cls.demo.__main__` reads."""

    folder: str = "outputs/demo_data"
    images: int = 600
    cue: bool = True
    seed: int = 0

    def check(self) -> None:
        require(self.images >= 48, f"images must be at least 48 (8 people), not {self.images}.")
        check_seed("seed", self.seed)
