"""The schema of `conf/train.yaml`: every section with its keys, types, units and ranges. Imports no torch."""

from dataclasses import dataclass, field

from gender_cls.config.augment import AugmentConfig
from gender_cls.config.checks import check_name, check_seed
from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.explain import ExplainConfig
from gender_cls.config.model import ModelConfig
from gender_cls.config.recipe import RecipeConfig
from gender_cls.config.trainer import TrainerConfig


@dataclass
class Config:
    """Everything that `gender_cls.train` reads."""

    name: str | None = None
    output_dir: str = "outputs"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    explain: ExplainConfig = field(default_factory=ExplainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def check(self) -> None:
        check_name(self.name)
        check_seed("seed", self.seed)
        sections = (self.data, self.model, self.augment, self.recipe, self.trainer, self.explain, self.evaluation)
        for section in sections:
            section.check()
