"""The schema of `conf/demo.yaml`. Imports no torch."""

from dataclasses import dataclass

from gender_cls.config.checks import seed_setting, setting


@dataclass
class DemoConfig:
    """Everything that `gender_cls.demo` reads."""

    folder: str = setting("outputs/demo_data", path="any")
    images: int = setting(600, least=48, unit="(8 people)")
    cue: bool = True
    seed: int = seed_setting()
