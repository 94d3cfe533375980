"""What all commands do: read the command line, check it, let Hydra run, and end an error in one sentence."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial, wraps
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig

from gender_cls.cli.command_line import (
    HYDRA_VERSION_BASE,
    CommandLine,
    check_jobs,
    is_basic,
    read_command_line,
    with_sweep_of_files,
)
from gender_cls.cli.commands import version_line
from gender_cls.cli.folders import check_hydra_keys, folder_overrides
from gender_cls.cli.help import commented_config, help_text, terminal_style
from gender_cls.cli.last_sentence import last_sentence
from gender_cls.cli.launchers import check_launcher, serve_joblib
from gender_cls.cli.mistyped import naming_the_right_key, refuse_other_forms
from gender_cls.cli.slurm_jobs import queued_again_when_preempted
from gender_cls.config.checks import list_keys, one_or_several
from gender_cls.config.parsing import CONFIG_FOLDER, Schema, parse_config
from gender_cls.errors import GenderClsError, disk_error
from gender_cls.system.logs import start_logging
from gender_cls.system.memory import keep_freed_memory
from gender_cls.system.operating_system import prepare_operating_system
from gender_cls.system.progress import show_bars
from gender_cls.system.signals import stop_behind, stopping_on_signals
from gender_cls.system.terminal import print_on_any_terminal, wrapped

log = logging.getLogger(__name__)


def run_command(
    task: Callable[[Schema], object],
    config_name: str,
    schema: type[Schema],
    *,
    when_interrupted: str,
    instead_of_sweep: str | None = None,
    lists: Collection[str] = (),
    before: Callable[[CommandLine, list[tuple[Schema, DictConfig]]], None] | None = None,
    claim: Callable[[CommandLine, Schema, DictConfig], Path] | None = None,
    sweeps: Callable[[CommandLine, Schema, Path], Iterable[list[str]]] | None = None,
    around: Callable[[CommandLine, Path], contextlib.AbstractContextManager[None]] | None = None,
) -> None:
    """Do a command's work as the command line says, and exit with a sentence and a code when that fails.

    Args:
        task: takes the checked configuration of a job; in a sweep it is called for each job.
        config_name: the file in `conf/`, without its suffix.
        when_interrupted: what a user can do after Ctrl-C.
        instead_of_sweep: what a user can do instead of `-m`; None where sweeps are allowed.
        lists: keys whose values between commas are a list instead of a sweep.
        before: called with the checked and composed configurations of all jobs, before any folder is made.
        claim: makes or finds the folder to work in, from the first job's checked and composed configuration. The
            folder's name is passed on as `name`.
        sweeps: the further overrides of each sweep that the command makes in that folder, one after the other; None
            where there is one at most.
        around: entered with that folder before the work.
    """
    print_on_any_terminal()
    if "--version" in sys.argv[1:]:
        print(version_line())
        return
    with _ending_in_sentence(when_interrupted, schema) as origins:
        prepare_operating_system()
        keep_freed_memory()
        start_logging()
        refuse_other_forms(sys.argv[1:], config_name)
        command = read_command_line(sys.argv[1:], {*lists, *one_or_several(schema)}, list_keys(schema))
        local = command.local.of(config_name, command.overrides)
        origins.append(partial(local.origin, overrides=command.overrides))
        if command.shows_only:
            local.store()
            with naming_the_right_key(command.overrides, config_name, command.config_dir):
                if command.shows_help:
                    print(help_text(command, config_name, **terminal_style()))
                elif command.shows_config:
                    print(commented_config(command, config_name, resolve=command.resolves))
                else:
                    _run_hydra(task, config_name, schema, command.arguments)
            return
        if command.multirun and instead_of_sweep is not None:
            raise GenderClsError(f"{instead_of_sweep}: leave out -m.")
        with naming_the_right_key(command.overrides, config_name, command.config_dir):
            jobs = check_jobs(command, config_name, schema)
        command = with_sweep_of_files(command, jobs[0][1])
        if command.multirun and instead_of_sweep is not None:
            raise GenderClsError(f"{instead_of_sweep}: leave out hydra.mode.")
        arguments = list(command.arguments)
        check_hydra_keys(command, config_name, [composed for _, composed in jobs])
        launcher = check_launcher(command, [composed for _, composed in jobs])
        if local.described:
            log.info(local.described)
        if before is not None:
            before(command, jobs)
        with contextlib.ExitStack() as stack:
            stages: Iterable[list[str]] = [[]]
            if claim is not None:
                folder = claim(command, *jobs[0])
                arguments += folder_overrides(command, jobs[0][1], folder)
                if sweeps is not None and command.multirun:
                    stages = sweeps(command, jobs[0][0], folder)
                if around is not None:
                    stack.enter_context(around(command, folder))
                if launcher is not None:
                    from gender_cls.cli.jobs_elsewhere import following_jobs

                    stack.enter_context(following_jobs(folder, launcher))
            for overrides in stages:
                _run_hydra(task, config_name, schema, [*arguments, *overrides])


def _run_hydra(task: Callable[[Schema], object], config_name: str, schema: type[Schema], arguments: list[str]) -> None:
    """Hand over to Hydra; exceptions are raised again, because Hydra would print half a traceback."""
    failures: list[Exception] = []

    @wraps(task)
    def job(composed: DictConfig) -> object:
        serve_joblib(composed)
        start_logging()  # again, because Hydra closes the handlers that it finds
        try:
            config = parse_config(composed, schema)
            show_bars(getattr(getattr(config, "trainer", config), "progress_bar", True))
            with queued_again_when_preempted():
                return task(config)
        except Exception as error:  # it is raised again below, or after Hydra
            hydra = HydraConfig.get()
            basic = is_basic(hydra.launcher) and is_basic(hydra.sweeper)
            if hydra.mode is RunMode.MULTIRUN and not basic:  # other launchers and sweepers ask whether a job failed
                raise
            failures.append(error)  # Hydra would print a line of its own about it
            return None

    JobReturn.return_value = property(_value_of, vars(JobReturn)["return_value"].fset)  # type: ignore[assignment]
    sys.argv[1:] = arguments
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    hydra.main(config_path=str(CONFIG_FOLDER), config_name=config_name, version_base=HYDRA_VERSION_BASE)(job)()
    if failures:
        raise failures[0]


def _value_of(job: JobReturn) -> object:
    """What `JobReturn.return_value` gives, without the line that Hydra prints there about a job that failed."""
    if job.status is JobStatus.COMPLETED:
        return job._return_value
    raise job._return_value


@contextlib.contextmanager
def _ending_in_sentence(when_interrupted: str, schema: type) -> Iterator[list[Callable[[str], str]]]:
    """Print an error to stderr in one line and exit with code 1.

    `HYDRA_FULL_ERROR=1` shows the traceback; `status.json` in the run's folder holds it too. Functions in the list add
    to the sentence.
    """
    additions: list[Callable[[str], str]] = []
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        with stopping_on_signals(), _quiet_on_a_full_disk():
            yield additions
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (KeyboardInterrupt, Exception) as error:
        if (stop := stop_behind(error)) is not None:
            number = getattr(stop, "signal", signal.SIGINT)
            what = "Interrupted." if number == signal.SIGINT else f"Ended by {signal.Signals(number).name}."
            sys.stderr.write(f"{what} {when_interrupted}\n")
            sys.exit(128 + number)
        if wants_traceback:
            raise
        sentence = f"error: {last_sentence(error, schema)}"
        sentence += "".join(add(sentence) for add in additions)
        if disk_error(error) is not None:
            sentence += f" {when_interrupted}"
        sys.exit(wrapped(sentence) if sys.stderr.isatty() else sentence)


@contextlib.contextmanager
def _quiet_on_a_full_disk() -> Iterator[None]:
    """Print no traceback of a full disk from log files and from the thread that writes TensorBoard's events.

    The next event that cannot be written raises the error in the main thread.
    """
    show = threading.excepthook

    def show_others(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is None or disk_error(failed.exc_value) is None:
            show(failed)

    raises = logging.raiseExceptions
    threading.excepthook, logging.raiseExceptions = show_others, False
    try:
        yield
    finally:
        threading.excepthook, logging.raiseExceptions = show, raises
