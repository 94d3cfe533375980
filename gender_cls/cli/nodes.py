"""Several machines that train one run: the first one does a command's work, the others start ranks when it does."""

import contextlib
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gender_cls.cli.command_line import CommandLine, is_basic
from gender_cls.config.train import Config
from gender_cls.runs.nodes import follows, meet
from gender_cls.runs.run import Run

Job = Callable[[Config], float]
Claim = Callable[[CommandLine, Config, DictConfig], Path]
Around = Callable[[CommandLine, Path], contextlib.AbstractContextManager[None]]


def claimed_once(claim: Claim) -> Claim:
    """The same for one of several machines: the others take the folder that the first one claimed."""

    @wraps(claim)
    def folder_of(command: CommandLine, config: Config, composed: DictConfig) -> Path:
        elsewhere = command.multirun and not is_basic(composed.hydra.launcher)
        meeting = None if elsewhere else meet(config.trainer.num_nodes, config.output_dir)
        if meeting is None:
            return claim(command, config, composed)
        if not meeting.node.leads:
            return meeting.leaders_folder()
        folder = claim(command, config, composed)
        meeting.lead(folder)
        return folder

    return folder_of


def shown_once(around: Around) -> Around:
    """The same for one of several machines: the others show nothing."""

    @wraps(around)
    def entered(command: CommandLine, folder: Path) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if follows() else around(command, folder)

    return entered


def done_once(job: Job) -> Job:
    """The same for one of several machines: the others help the first one to train, and end as it does."""

    @wraps(job)
    def part(config: Config) -> float:
        meeting = meet(config.trainer.num_nodes, config.output_dir)
        if meeting is None:
            return job(config)
        run = Run(Path(HydraConfig.get().runtime.output_dir))
        if meeting.node.leads:
            meeting.lead(run.folder)
            with meeting.leading(run.folder.name):
                return job(config)
        from gender_cls.training.launch import follow

        meeting.leaders_folder()
        follow(run, config, meeting)
        return float(run.status["best_validation"])

    return part
