"""Whether the packages of the chosen loggers are installed: told before any work, without importing Lightning."""

from importlib.util import find_spec

from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.system.extras import EXTRAS, install_command

PACKAGES = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow", "CometLogger": "comet_ml"}
"""Lightning's loggers -> the module that each needs."""


def check_loggers(config: Config) -> None:
    """Raise GenderClsError if the package of one of Lightning's loggers is missing."""
    for name, content in config.loggers.items():
        target = str(content.get("_target_")) if isinstance(content, dict) else ""
        module = PACKAGES.get(target.rpartition(".")[2])
        if module is not None and "lightning" in target and find_spec(module) is None:
            raise GenderClsError(
                f"loggers.{name} needs {module}, which is not installed: {install_command(EXTRAS[module])}"
            )
