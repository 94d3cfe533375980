"""Sweeps that survive: every job in a process of its own, and one table at the end, whatever happened to the jobs."""

import contextlib
import logging
import multiprocessing
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from gender_cls.config.evaluation import CompareConfig
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.files import locked
from gender_cls.runs.outputs import TENSORBOARD
from gender_cls.runs.run import Run
from gender_cls.system.memory import keep_freed_memory, killed_for_memory
from gender_cls.system.processes import end_with_parent
from gender_cls.training.batch import halve_recorded_batch

log = logging.getLogger(__name__)

RESAMPLES, THUMBNAILS = CompareConfig.resamples, CompareConfig.thumbnails

_KILLED_FOR_MEMORY = -1000  # no signal's number

# A forked job has torch and the rest imported already; elsewhere than on Linux forking a threaded process is not safe.
Process = multiprocessing.context.ForkProcess if sys.platform == "linux" else multiprocessing.context.SpawnProcess


def folder_override(swept: list[str]) -> str:
    """The override that names each job's folder by its number, its model and what else the sweep varies."""
    return f"hydra.sweep.subdir='${{job_folder:{','.join(swept)}}}'"


def job_folder(*swept: str, _root_: DictConfig) -> str:
    """OmegaConf resolver: `0_mobilenetv2_lr-0.001`. No `=` and no slash: every launcher and file system copes."""
    hydra = _root_.hydra
    parts = [str(hydra.job.num), str(hydra.runtime.choices["model"])]
    for key in swept:
        if key == "model":
            continue
        choice = hydra.runtime.choices.get(key)
        value = choice if choice is not None else OmegaConf.select(_root_, key)
        parts.append(f"{key.rpartition('.')[2]}-{value}")
    return "_".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-") for part in parts)[:120]


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def run_job(work: Callable[[Config, Run], None], config: Config, run: Run) -> None:
    """Do a job's work in a child process, so that its memory is freed and its death costs nobody else.

    Where the kernel ends the process because memory ran out, it goes on with half the batch, and so forth. The
    leaderboard is brought up to date after each job.

    Raises:
        GenderClsError: the work failed, with the sentence that stands in `status.json`.
    """
    if sys.platform == "linux":
        _get_ready(config)
    exit_code = _in_child(work, config, run)
    while exit_code == _KILLED_FOR_MEMORY and halve_recorded_batch(run):
        exit_code = _in_child(work, config, run)
    if exit_code != 0 and run.status.get("state") != "failed":
        run.note(state="failed", error=f"The process {_ending(exit_code)}.")
    _write_leaderboard(run.folder.parent)
    if exit_code != 0:
        error = f"{run.folder.name} failed: {run.status['error']}"
        log.error(error)
        raise GenderClsError(error)


def _in_child(work: Callable[[Config, Run], None], config: Config, run: Run) -> int:
    """How the process ended: its exit code, less than 0 for a signal, or _KILLED_FOR_MEMORY."""
    before = killed_for_memory()
    process = Process(target=_child, args=(work, config, run))
    process.start()
    try:
        process.join()
    except BaseException:  # Ctrl-C reaches the child too: let it write down what it has
        process.join(timeout=60)
        process.kill()
        raise
    exit_code = process.exitcode or 0
    return _KILLED_FOR_MEMORY if exit_code == -signal.SIGKILL and killed_for_memory() > before else exit_code


def _get_ready(config: Config) -> None:
    """Do once, for all the jobs that are forked from here, what each would have to do before its first step."""
    from gender_cls.data.prepare import keep_prepared
    from gender_cls.runs.outputs import image_cache

    keep_prepared(config.data, image_cache(config.output_dir))


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    if exit_code == _KILLED_FOR_MEMORY:
        return "was ended by the kernel for want of memory: set recipe.grad_checkpointing=true, or take smaller images"
    hint = ", probably for want of memory: lower data.batch_size" if exit_code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-exit_code).name}{hint}"


def _child(work: Callable[[Config, Run], None], config: Config, run: Run) -> None:
    end_with_parent()
    keep_freed_memory()  # where it was not forked from a process that does
    try:
        work(config, run)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:  # it stands in status.json, where the parent reads it
        sys.exit(1)


@contextlib.contextmanager
def ending_in_leaderboard(folder: Path) -> Iterator[None]:
    """Hold the sweep's folder, and print its leaderboard when the jobs inside have ended, one way or another.

    Raises:
        GenderClsError: another process works on this sweep, or jobs have failed.
    """
    failure: GenderClsError | None = None
    with locked(folder):
        try:
            yield
        except GenderClsError as error:  # a job's, said again below with the others
            failure = error
        finally:
            print(f"\n{_write_leaderboard(folder)}\nOpen {folder / 'leaderboard.html'}. Watch: {TENSORBOARD}")
    failed = [run.folder.name for run in _job_runs(folder) if run.status["state"] == "failed"]
    if failed:
        raise GenderClsError(
            f"{len(failed)} jobs of the sweep failed: {', '.join(failed)}; status.json in each says why."
        )
    if failure is not None:
        raise failure


def _write_leaderboard(folder: Path) -> str:
    from gender_cls.reports.comparison import write_comparison  # pandas and more, which --help can do without

    return write_comparison(folder, _job_runs(folder), name="leaderboard", resamples=RESAMPLES, thumbnails=THUMBNAILS)


def _job_runs(folder: Path) -> list[Run]:
    """In the order of their numbers."""
    runs = [Run(path.parent) for path in folder.glob("*/status.json")]
    return sorted(runs, key=lambda run: (int(run.folder.name.partition("_")[0]), run.folder.name))
