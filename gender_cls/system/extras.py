"""Libraries that only some commands need, and that are not installed with the package."""

import importlib
import os
import shlex
from importlib.metadata import PackageNotFoundError, requires
from types import ModuleType

from packaging.requirements import Requirement

from gender_cls.errors import GenderClsError

EXTRAS = {
    "onnx": "export", "onnxscript": "export", "onnxruntime": "export",
    "openvino": "openvino", "av": "video", "pyarrow": "parquet",
    "hydra_submitit_launcher": "slurm", "submitit": "slurm", "hydra_joblib_launcher": "joblib",
    "hydra_ray_launcher": "ray", "optuna": "search",
    "wandb": "wandb", "mlflow": "mlflow", "sqlalchemy": "mlflow", "alembic": "mlflow", "comet_ml": "comet",
}  # fmt: skip
"""Module -> the extra of pyproject.toml that brings it."""


def import_extra(module: str, purpose: str) -> ModuleType:
    """Import a module of an extra.

    Args:
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        GenderClsError: it is not installed; the sentence has the command that installs the extra.
    """
    top = module.partition(".")[0]
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would report its use to its makers
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != top:
            raise
        raise GenderClsError(f"{purpose} needs {top}, which is not installed: {install_command(EXTRAS[top])}") from None


def install_command(extra: str) -> str:
    """The command that installs what an extra holds."""
    try:
        declared = [Requirement(text) for text in requires("gender_cls") or []]
    except PackageNotFoundError:  # the package runs from a folder that was not installed
        declared = []
    wanted = [
        f"{one.name}{one.specifier}"
        for one in declared
        if one.marker is not None and one.marker.evaluate({"extra": extra}) and one.name != "gender_cls"
    ]
    names = wanted or [module for module, of_extra in EXTRAS.items() if of_extra == extra]
    return shlex.join(["pip", "install", *sorted(names)])
