"""Whether the chosen launcher can start the jobs, found out before any work, and what is missing if it cannot."""

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from multiprocessing import parent_process

from omegaconf import DictConfig, OmegaConf

from gender_cls.cli.command_line import CommandLine
from gender_cls.config.launcher import LAUNCHER, JoblibConfig, LauncherConfig, RayConfig, SlurmConfig, launcher_config
from gender_cls.errors import require
from gender_cls.system.extras import EXTRAS, install_command
from gender_cls.system.processes import end_with_parent

PLUGINS = {
    "submitit_slurm": "hydra_submitit_launcher", "submitit_local": "hydra_submitit_launcher",
    "joblib": "hydra_joblib_launcher", "ray": "hydra_ray_launcher",
}  # fmt: skip
"""Hydra's own name of a launcher -> the module that brings it."""


def check_launcher(command: CommandLine, jobs: Sequence[DictConfig]) -> LauncherConfig | None:
    """The launcher of jobs, by their composed configurations, if it runs them in processes of its own; else None.

    Raises:
        GenderClsError: it cannot start the jobs as they ask, or something that it needs is missing.
    """
    if LAUNCHER not in jobs[0]:  # of a command without sweeps
        return None
    first, *others = map(launcher_config, jobs)
    if type(first) is LauncherConfig:
        return None
    choice = jobs[0].hydra.runtime.choices[LAUNCHER]
    require(command.multirun, f"launcher={choice} starts the jobs of a sweep: add -m, for a single job too.")
    require(
        all(one == first for one in others),
        f"launcher={choice} asks for the same machines for all jobs of a sweep, so no key of launcher may vary: start "
        "a sweep for each, or set launcher.gpus and launcher.nodes to the most that a job needs.",
    )
    if isinstance(first, SlurmConfig | RayConfig):
        require(
            jobs[0].trainer.accelerator != "cpu" or not first.gpus,
            f"launcher.gpus={first.gpus:g} asks for GPUs that trainer.accelerator=cpu does not use: add "
            "launcher.gpus=0.",
        )
    if isinstance(first, SlurmConfig):
        missing = [program for program in ("sbatch", "srun", "scontrol", "squeue") if shutil.which(program) is None]
        require(
            not missing,
            f"launcher={choice} needs Slurm's {' and '.join(missing)}, not found on this machine: start the command "
            "on a login node of the cluster, or take launcher=joblib or launcher=slurm_local here.",
        )
    return first


def serve_joblib(job: DictConfig) -> None:
    """If this process is one of joblib's, let it print nothing, as they share the terminal, and end with the command.

    Its run's log has it all. After a kill of the command it would work on, and the same command could not resume.
    """
    if LAUNCHER in job and OmegaConf.get_type(job, LAUNCHER) is JoblibConfig:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if parent_process() is not None:  # one job at a time runs in the command's own
            end_with_parent()


def missing_plugin(name: str) -> str:
    """What to install for a launcher, by Hydra's name; empty if it is installed, or if no extra brings it."""
    if (module := PLUGINS.get(name)) is None or find_spec(f"hydra_plugins.{module}") is not None:
        return ""
    return f"This launcher needs {module}, which is not installed: {install_command(EXTRAS[module])}"
