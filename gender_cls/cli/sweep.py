"""Sweeps that survive: each job in a process of its own, and one table at the end, whatever happened to the jobs."""

import contextlib
import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from gender_cls.cli.failed_starts import is_new, remove, why_none_began
from gender_cls.cli.leaderboard import job_runs, write_leaderboard
from gender_cls.config.parsing import by_dotted_key, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, plural
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run, image_cache
from gender_cls.system.logs import start_logging
from gender_cls.system.memory import count_oom_kills, keep_freed_memory
from gender_cls.system.processes import ChildProcess, end_with_parent, run_child
from gender_cls.system.progress import show_bars, working
from gender_cls.system.signals import stopping_child_on_signals
from gender_cls.system.terminal import console, print_on_any_terminal, shortest, show
from gender_cls.training.batch import halve_recorded_batch

if TYPE_CHECKING:
    from gender_cls.evaluation.schema import Metrics

log = logging.getLogger(__name__)

_KILLED_FOR_MEMORY = -1000  # not the number of a signal


def folder_override(swept: list[str], parent: str = "") -> str:
    """The override that names each job's folder by its number, its model and what else the sweep varies.

    Args:
        parent: the folder in the sweep's that holds them; empty for the sweep's own.
    """
    return f"hydra.sweep.subdir='{parent and parent + '/'}${{job_folder:{','.join(swept)}}}'"


def job_folder(*swept: str, _root_: DictConfig) -> str:
    """OmegaConf resolver: `0_mobilenetv2_lr-0.001`, without `=` and slashes, which some launchers cannot use."""
    hydra = _root_.hydra
    trial = OmegaConf.select(_root_, "search.trial")  # a resumed search starts some of its trials only
    parts = [str(hydra.job.num if trial is None else trial), str(hydra.runtime.choices["model"])]
    for key in (key for key in swept if key != "model"):
        value = _short(hydra.runtime.choices.get(key, OmegaConf.select(_root_, key)))
        parts.append(f"{key.rpartition('.')[2]}-{_in_names(value)[:LONGEST_VALUE]}")
    return _in_names("_".join(parts))[:LONGEST_NAME]


LONGEST_VALUE, LONGEST_NAME = 40, 120  # characters; the job's number tells apart what was cut off


def _in_names(text: str) -> str:
    """With hyphens in place of what some launchers and systems do not allow in names; a minus in front stays."""
    return "-".join(re.findall(r"[A-Za-z0-9._+-]+", text))


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def _short(value: object) -> str:
    """A value as it is written in an override, a number with four digits: the job's number tells equal names apart."""
    if isinstance(value, float):
        return min(repr(value), f"{value:.4g}", key=len)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_short, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Jobs:
    """What is known of all jobs while a sweep runs in this process."""

    total: int | None
    swept: list[str]

    def title(self, config: Config, run: Run, number: int) -> str:
        """`2 of 4: mobilenetv2, seed=1`."""
        place = f"{number + 1} of {self.total}" if self.total else f"Job {number + 1}"
        choices, values = run.choices, by_dotted_key(to_plain(config))
        varied = [f"{key}={_short(choices.get(key, values.get(key)))}" for key in self.swept if key != "model"]
        return f"{place}: {', '.join([choices.get('model', config.model.title), *varied])}"


_jobs = Jobs(total=None, swept=[])  # in the process of another launcher nothing is known


def announce_jobs(total: int | None, swept: list[str]) -> None:
    """Say how many jobs the next sweep of this process has, or None, and which keys vary: their titles tell both."""
    global _jobs
    _jobs = Jobs(total, swept)


def run_job(
    work: Callable[[Config, Run], None],
    config: Config,
    run: Run,
    *,
    number: int,
    title: str | None = None,
    ended: Callable[[Run], str] | None = None,
) -> None:
    """Do a job's work in a child process, which frees its memory at the end and may die without harm to other jobs.

    When the kernel kills the process because memory ran out, a new one goes on with half the batch, and so forth. The
    leaderboard is updated after each job. GenderClsError has the sentence in `status.json` if the work failed.

    Args:
        number: of the job, counted from 0.
        title: of the job; None: its number, its model and what varies.
        ended: called when the job has ended in any way, instead of the update; returns a line about a finished job.
    """
    if number:
        show("")
    log.info(title or _jobs.title(config, run, number), extra={"style": "bold"})
    if sys.platform == "linux":
        with working("Importing libraries"):
            from gender_cls.data.prepare import keep_prepared

        keep_prepared(config.data, image_cache(config.output_dir))  # once, for all jobs that are forked from here
    exit_code = _run_in_child(work, config, run)
    while exit_code == _KILLED_FOR_MEMORY and halve_recorded_batch(run):
        exit_code = _run_in_child(work, config, run)
    elsewhere = exit_code != 0 and run.state == "running"  # another process works in the folder, and tells how it ends
    if exit_code != 0 and run.state not in ("failed", "interrupted", "running"):
        run.note(state="failed", error=f"The process {_ending(exit_code)}.")
    line = (ended or _in_leaderboard)(run)
    if exit_code != 0:
        reason = f"another process works in {run.folder}: wait for it." if elsewhere else run.status["error"]
        error = f"{run.folder.name} failed: {reason}"
        log.error(error)
        raise GenderClsError(error)
    log.info(line)


def _in_leaderboard(run: Run) -> str:
    """Update the leaderboard."""
    write_leaderboard(run.folder.parent)
    return end_of(run) if run.finished else ""


def end_of(run: Run) -> str:
    """A finished job in a line: `0_custom_cnn, 35 s: bal. acc. 0.812 on validation, 0.790 [0.730, 0.840] on test`."""
    from gender_cls.pages.on_screen import score_on_screen, validation_on_screen

    score = score_on_screen(cast("Metrics", run.metrics)) if run.tested else validation_on_screen(run)
    return f"{run.folder.name}, {run.status['seconds']:.0f} s: {score}"


def _run_in_child(work: Callable[[Config, Run], None], config: Config, run: Run) -> int:
    """Returns the exit code of the process: below 0 for a signal, or _KILLED_FOR_MEMORY."""
    before = count_oom_kills()
    exit_code = run_child(ChildProcess(target=_child, args=(work, config, run)))
    if exit_code:
        console().show_cursor()  # a killed process may have hidden it
    return _KILLED_FOR_MEMORY if exit_code == -signal.SIGKILL and count_oom_kills() > before else exit_code


def _child(work: Callable[[Config, Run], None], config: Config, run: Run) -> None:
    try:
        with stopping_child_on_signals():
            end_with_parent()
            # A spawned process inherits none of these settings.
            keep_freed_memory()
            print_on_any_terminal()
            start_logging(run.log)
            show_bars(config.trainer.progress_bar)
            work(config, run)
    except KeyboardInterrupt as stop:
        sys.exit(128 + getattr(stop, "signal", signal.SIGINT))
    except Exception:  # the parent reads it in status.json
        sys.exit(1)


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    if exit_code == _KILLED_FOR_MEMORY:
        return "was killed by the kernel (out of memory): set recipe.grad_checkpointing=true, or take smaller images"
    hint = ", probably because memory ran out: lower data.batch_size" if exit_code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-exit_code).name}{hint}"


@contextlib.contextmanager
def ending_in_leaderboard(folder: Path, total: int | None, swept: list[str]) -> Iterator[None]:
    """Lock the sweep's folder, and show its leaderboard when the jobs have ended; GenderClsError if some failed.

    A sweep of which no job could start leaves no folder, and its error says why.

    Args:
        total: how many jobs there are; None if nobody knows.
        swept: the keys that vary.
    """
    announce_jobs(total, swept)
    new = is_new(folder)
    failure: GenderClsError | None = None
    with locked(folder):
        try:
            yield
        except Exception as error:  # an unexpected one is raised again
            if new and (reason := why_none_began(folder, total, error)) is not None:
                remove(folder)
                raise GenderClsError(reason) from None
            _show_leaderboard(folder)
            if not isinstance(error, GenderClsError):
                raise
            failure = error  # of a job: the sentence below names it and the others
        except BaseException:  # such as Ctrl-C: what has ended is shown all the same
            _show_leaderboard(folder)
            raise
        else:
            _show_leaderboard(folder)
    if failed := [run.folder.name for run in job_runs(folder) if run.state in ("failed", "killed")]:
        raise GenderClsError(
            f"{plural(len(failed), 'job')} of the sweep failed: {', '.join(failed)}; status.json in each says why."
        )
    if failure is not None:
        raise failure


def _show_leaderboard(folder: Path) -> None:
    comparison = write_leaderboard(folder, patient=True)
    assert comparison is not None, "it waits for other processes that write it"
    from gender_cls.pages.on_screen import comparison_on_screen

    page = folder / "leaderboard.html"
    show("", *comparison_on_screen(comparison, page.name), f"\nOpen {shortest(page)}")
