"""The schema of the group `launcher`, which says where the jobs of a sweep run. Imports no torch.

The section belongs to the machines and changes no result: no run records it. Each launcher has keys of its own.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from gender_cls.config.checks import MOST_PROCESSES, check_config, setting
from gender_cls.errors import require

LAUNCHER = "launcher"
"""The section of a composed configuration that holds the keys."""


@dataclass
class LauncherConfig:
    """`launcher=here`: no key."""


@dataclass
class JoblibConfig(LauncherConfig):
    jobs_at_once: int = setting(2, least=1, most=MOST_PROCESSES)


@dataclass
class RayConfig(LauncherConfig):
    address: str | None = None
    cpus: float = setting(1, above=0)
    gpus: float = setting(0, least=0)


@dataclass
class SlurmLocalConfig(LauncherConfig):
    minutes: int = setting(10080, least=2, unit="minutes")
    gpus: int = setting(1, least=0)


@dataclass
class SlurmConfig(LauncherConfig):
    partition: str | None = None
    account: str | None = None
    constraint: str | None = None
    minutes: int = setting(240, least=2, unit="minutes")
    nodes: int = setting(1, least=1)
    gpus: int = setting(1, least=0)
    cpus: int | None = setting(least=1)
    memory_gigabytes: int | None = setting(least=1)
    jobs_at_once: int = setting(16, least=1)
    grace_seconds: int = setting(120, least=30, unit="seconds")
    requeues: int = setting(10, least=0)
    setup: list[str] = field(default_factory=list)

    def check(self) -> None:
        require(
            self.grace_seconds < 60 * self.minutes,
            f"launcher.grace_seconds={self.grace_seconds} is no shorter than launcher.minutes={self.minutes}: it is "
            "how long before the time limit a job is told to stop.",
        )


LAUNCHERS = {
    "here": LauncherConfig, "joblib": JoblibConfig, "ray": RayConfig, "slurm_local": SlurmLocalConfig,
    "slurm": SlurmConfig,
}  # fmt: skip
"""File in conf/launcher -> its schema."""

for _name, _schema in LAUNCHERS.items():
    ConfigStore.instance().store(name=f"launcher_{_name}_schema", node=_schema)


def launcher_config(composed: DictConfig) -> LauncherConfig:
    """The section of a composed configuration as the checked dataclass of its launcher."""
    section = composed[LAUNCHER]
    values = {LAUNCHER: OmegaConf.to_container(section, resolve=True)}
    # Hydra lets `+launcher.x=1` add a key that nobody reads; merging into the schema refuses it.
    config: Any = OmegaConf.to_object(OmegaConf.merge({LAUNCHER: OmegaConf.get_type(section)}, values).launcher)
    check_config(config, f"{LAUNCHER}.")
    return config


def launchers_with(key: str) -> list[str]:
    """`launcher=slurm` for each launcher that has the key."""
    return [f"{LAUNCHER}={name}" for name, schema in LAUNCHERS.items() if key in schema.__dataclass_fields__]
