"""The weights that jobs begin with: found in a folder, or downloaded, or refused, before anything else is done."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig

from gender_cls.cli.command_line import CommandLine, is_basic
from gender_cls.cli.folders import folder_to_resume, place_of
from gender_cls.config.audit import AuditConfig
from gender_cls.config.launcher import LAUNCHER
from gender_cls.config.model import ModelConfig
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, error_sentence
from gender_cls.models.weights_files import NoFileError, find_weights, no_file, require_whole
from gender_cls.runs.nodes import find_node
from gender_cls.runs.run import Run
from gender_cls.system.logs import start_logging
from gender_cls.system.processes import ChildProcess, end_with_parent, run_child
from gender_cls.system.progress import show_bars, working
from gender_cls.system.signals import stopping_child_on_signals
from gender_cls.system.terminal import print_on_any_terminal

log = logging.getLogger(__name__)

AnyConfig = TypeVar("AnyConfig", Config, AuditConfig)


def with_weights_file(config: AnyConfig) -> AnyConfig:
    """The configuration with the file that `model.weights=FOLDER` has for its model; GenderClsError if it has none."""
    folder, model = config.model.weights, _with_file(config.model)
    if folder is not None and model.weights is None:
        log.info(f"model.weights={folder} has no file for {model.title}, which starts from random weights.")
    return replace(config, model=model)


def _with_file(model: ModelConfig) -> ModelConfig:
    if model.weights is None or not Path(model.weights).is_dir():
        return model
    file = find_weights(Path(model.weights), model)
    return replace(model, weights=None if file is None else str(file))


def have_weights(config: Config, run: Run) -> None:
    """Check the file that a run begins with, or download it; a run that goes on from a checkpoint needs none.

    Raises:
        GenderClsError: there is no such file, it is damaged, or it cannot be downloaded.
    """
    if run.has_weights:
        return
    if config.model.weights is not None:
        require_whole(Path(config.model.weights))
        log.info(f"Weights: {config.model.weights}.")
    elif config.model.downloads:
        with working("Importing torch and other libraries"):
            from gender_cls.models.published_weights import fetch_weights

        fetch_weights([config.model])


def have_all_weights(command: CommandLine, jobs: Sequence[tuple[Config, DictConfig]]) -> None:
    """Check the files that the jobs of a sweep begin with, or download them, before the first job starts.

    Jobs that have begun already need none. Of several machines that train together, the first one does it.

    Raises:
        GenderClsError: it names all models whose weights cannot be had, and why.
    """
    config, composed = jobs[0]
    node = find_node(config.trainer.num_nodes) if is_basic(composed.hydra.launcher) else None
    if not command.multirun or (node is not None and not node.leads):
        return
    problems: dict[str, None] = {}
    without_file: dict[str, dict[str, ModelConfig]] = {}
    models: dict[str, ModelConfig] = {}
    users: dict[str, dict[str, None]] = {}
    for config in _beginning(command, jobs):
        if config.model.weights is not None and not Path(config.model.weights).is_dir():
            users.setdefault(config.model.weights, {})[config.model.title] = None
        try:
            model = _with_file(config.model)
            if model.weights is not None:
                require_whole(Path(model.weights))
            elif model.downloads:
                models[model.title] = model
        except NoFileError:
            without_file.setdefault(str(config.model.weights), {})[config.model.title] = config.model
        except GenderClsError as error:
            problems[str(error)] = None
    problems |= {str(no_file(Path(folder), [*those.values()])): None for folder, those in without_file.items()}
    problems |= {_one_file(file, [*titles]): None for file, titles in users.items() if len(titles) > 1}
    if problems:
        raise GenderClsError(" ".join(problems))
    if models:
        choice = str(composed.hydra.runtime.choices.get(LAUNCHER))
        launcher = choice if choice in ("slurm", "ray") else None
        _fetch_in_child([*models.values()], launcher, config.trainer.progress_bar)


def _one_file(file: str, titles: Sequence[str]) -> str:
    """Why one file cannot serve a sweep of several models, and what can."""
    return (
        f"model.weights={file} is one file, but the sweep has several models ({', '.join(titles)}): put a file, or a "
        f"link to one, for each pretrained model into a folder, named after the model, and give model.weights=FOLDER."
    )


def _beginning(command: CommandLine, jobs: Sequence[tuple[Config, DictConfig]]) -> Iterator[Config]:
    """The configurations of jobs that have not begun."""
    config, composed = jobs[0]
    sweep = folder_to_resume(command, place_of(command, composed)) if config.trainer.resume else None
    for number, (config, _) in enumerate(jobs):
        begun = [] if sweep is None or config.search.enabled else [*sweep.glob(f"{number}_*/")]
        if not any(Run(folder).has_weights for folder in begun):
            yield config


def _fetch_in_child(models: Sequence[ModelConfig], launcher: str | None, bars: bool) -> None:
    """Fetch weights in a child process: this one shall not import torch, nor have the threads of a network client.

    Args:
        launcher: one that runs the jobs on other machines, or None.
        bars: whether lines may move.
    """
    receiver, sender = Pipe(duplex=False)
    exit_code = run_child(ChildProcess(target=_fetch, args=(models, launcher, bars, sender), name="weights"))
    sender.close()
    problem: str | None = None
    with contextlib.suppress(EOFError):  # it had nothing to tell
        problem = receiver.recv()
    if problem is not None:
        raise GenderClsError(problem)
    if exit_code:
        raise GenderClsError(f"The process that fetches pretrained weights ended with exit code {exit_code}.")


def _fetch(models: Sequence[ModelConfig], launcher: str | None, bars: bool, sender: Connection) -> None:
    try:
        with stopping_child_on_signals():
            end_with_parent()
            print_on_any_terminal()
            start_logging()
            show_bars(bars)
            with working("Importing torch and other libraries"):
                from gender_cls.models.published_weights import fetch_weights

            files = fetch_weights(models)
            if launcher is not None:
                folders = " and ".join(sorted({str(folder) for folder in map(_cache_of, files.values())}))
                log.info(
                    f"launcher={launcher}: the jobs read the pretrained weights from {folders}, which must be on a "
                    "disk that all machines share (HF_HOME and TORCH_HOME choose other folders)."
                )
    except KeyboardInterrupt as stop:
        sys.exit(128 + getattr(stop, "signal", 2))
    except Exception as error:  # the parent process tells it, whatever it is
        sender.send(error_sentence(error))
        sys.exit(1)


def _cache_of(file: Path) -> Path:
    """The folder with the caches of all models: of the hub, which has three more for each file, or of torch."""
    return file.parents[3] if file.parents[1].name == "snapshots" else file.parent
