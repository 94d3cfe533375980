"""The schema of `trainer` in `conf/train.yaml`: how long, on what, and how precisely to compute. Imports no torch."""

from dataclasses import dataclass

from gender_cls.config.checks import ACCELERATORS, AUTO, PRECISIONS, require_choice, require_count
from gender_cls.errors import require


@dataclass
class TrainerConfig:
    """How long, on what, and how precisely to compute."""

    max_epochs: int = 20
    accumulate: int = 1
    accelerator: str = AUTO
    precision: str = AUTO
    threads: int | str = AUTO
    channels_last: bool = True
    compile: bool = False
    resume: bool = False
    progress_bar: bool = True

    def check(self) -> None:
        require(self.max_epochs >= 1, f"trainer.max_epochs must be at least 1, not {self.max_epochs}.")
        require(self.accumulate >= 1, f"trainer.accumulate must be at least 1, not {self.accumulate}.")
        require_choice("trainer.precision", self.precision, PRECISIONS)
        require_count("trainer.threads", self.threads, 1)
        require_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
