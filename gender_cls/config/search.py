"""The schema of `conf/search/`: how settings are searched for, and how many of them are tested. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any

from gender_cls.config.checks import seed_setting, setting

SAMPLERS = ("tpe", "random")


@dataclass
class SearchConfig:
    """A search over settings; `trial` and `finalist` are set by the command for each of its jobs."""

    enabled: bool = False
    sampler: str = setting("tpe", choices=SAMPLERS)
    trials: int = setting(30, least=1, most=10_000)
    seed: int = seed_setting()
    prune: bool = True
    best: int = setting(3, least=1)
    seeds: int = setting(3, least=1)
    space: dict[str, Any] = field(default_factory=dict)
    trial: int | None = setting(least=0)
    finalist: int | None = setting(least=1)
