"""From a command line to checked configurations, and from an error to one sentence.

Hydra composes and launches. Here every job's configuration is checked before the first starts, and what goes wrong is
said without a traceback.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from pathlib import Path

from hydra import compose, initialize_config_dir, main
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gender_cls.config.parsing import CONFIG_FOLDER, Schema, config_sentence, parse_config
from gender_cls.errors import GenderClsError, error_sentence
from gender_cls.runs.files import locked
from gender_cls.runs.outputs import find_runs
from gender_cls.runs.run import Run
from gender_cls.system.memory import keep_freed_memory

HYDRA_VERSION_BASE = "1.3"
SHOWS_ONLY = ("help", "hydra_help", "cfg", "info", "shell_completion")


@dataclass(frozen=True)
class CommandLine:
    """A command line that has been read.

    Attributes:
        arguments: as Hydra reads them: flags, then overrides.
        overrides: those of them that are overrides.
        multirun: whether it is a sweep.
        shows_only: whether it asks for help or the like, and starts nothing.
        swept: keys with several values, in order.
        config_dir: a folder of the user's own configuration files (`--config-dir`).
    """

    arguments: list[str]
    overrides: list[str]
    multirun: bool
    shows_only: bool
    swept: list[str]
    config_dir: str | None


def read_command_line(arguments: list[str]) -> CommandLine:
    """Parse arguments; a value outside Hydra's grammar (a regular expression, a path with spaces) counts as text."""
    arguments = [_as_text_if_needed(argument) for argument in arguments]
    known = get_args_parser().parse_intermixed_args(arguments)
    flags = [argument for argument in arguments if argument not in known.overrides]
    parsed = OverridesParser.create().parse_overrides(known.overrides)
    multirun = known.multirun or "hydra.mode=MULTIRUN" in known.overrides
    swept = [override.key_or_group for override in parsed if override.is_sweep_override()]
    if swept and not multirun:
        raise GenderClsError(f"{swept[0]} has several values: add -m to sweep over them.")
    shows_only = any(getattr(known, flag) for flag in SHOWS_ONLY)
    return CommandLine([*flags, *known.overrides], known.overrides, multirun, shows_only, swept, known.config_dir)


def _as_text_if_needed(argument: str) -> str:
    assignment = re.fullmatch(r"(\+{0,2}[\w./@-]+=)(.+)", argument, re.DOTALL)
    if assignment is None or argument.startswith("-"):
        return argument
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        key, value = assignment.groups()
        doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", value)  # a backslash counts before a quotation mark only
        return "{}'{}'".format(key, doubled.replace("'", r"\'"))
    return argument


def check_jobs(command: CommandLine, config_name: str, schema: type[Schema]) -> list[tuple[Schema, DictConfig]]:
    """The configuration of every job, checked, with the composed one (Hydra's node included) it was made from.

    A sweeper other than Hydra's own chooses values as it goes: then there is one job, without the swept keys.
    """
    own = [f"hydra.searchpath=[file://{Path(command.config_dir).resolve()}]"] if command.config_dir else []
    with initialize_config_dir(str(CONFIG_FOLDER), version_base=HYDRA_VERSION_BASE):
        jobs = [compose(config_name, own + overrides, return_hydra_config=True) for overrides in _expanded(command)]
    return [(parse_config(_without_hydra(job), schema), job) for job in jobs]


def _expanded(command: CommandLine) -> list[list[str]]:
    """The overrides of each job."""
    parsed = OverridesParser.create().parse_overrides(command.overrides)
    sweeps = [override for override in parsed if override.is_sweep_override()]
    fixed = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    if not all(override.is_discrete_sweep() for override in sweeps):
        return [fixed]
    [points] = BasicSweeper.split_arguments(sweeps, max_batch_size=None)
    return [[*fixed, *map(str, point)] for point in points]


def _without_hydra(composed: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def run_hydra(task: Callable[[DictConfig], object], config_name: str, arguments: list[str]) -> None:
    """Hand over to Hydra. Exceptions come back as they are, instead of being printed with half a traceback."""
    failures: list[Exception] = []

    @wraps(task)
    def job(composed: DictConfig) -> object:
        try:
            return task(composed)
        except Exception as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:  # Hydra and its sweepers go on with the next job
                raise
            failures.append(error)
            return None

    sys.argv[1:] = arguments
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    main(config_path=str(CONFIG_FOLDER), config_name=config_name, version_base=HYDRA_VERSION_BASE)(job)()
    if failures:
        raise failures[0]


def fitted_runs(folder: str) -> Iterator[Run]:
    """The runs in a run's or a sweep's folder, one after the other, each held for this process meanwhile.

    A sweep's runs that have not been trained to their end are passed over, and said so; of a single run the work itself
    must tell.

    Raises:
        GenderClsError: there is no run, or another process holds one.
    """
    runs = find_runs([Path(folder)])
    for run in runs:
        if len(runs) > 1 and not run.status.get("fitted"):
            print(f"\n{run.folder.name} has not been trained to its end and is passed over.")
            continue
        with locked(run.folder):
            yield run


RESUMES = "The same command with trainer.resume=true goes on from here."


def exit_with_sentence(command: Callable[[], None], *, when_interrupted: str = RESUMES) -> None:
    """Run a command; an error goes to stderr in one line, and the exit code is 1.

    `HYDRA_FULL_ERROR=1` shows the traceback, which `status.json` in the run's folder has as well.
    """
    keep_freed_memory()
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write(f"Interrupted. {when_interrupted}\n")
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (GenderClsError, HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        sys.exit(f"error: {sentence(error)}")
    except Exception as error:
        if wants_traceback:
            raise
        sys.exit(f"error: {error_sentence(error)} (unforeseen; HYDRA_FULL_ERROR=1 shows the traceback)")


def sentence(error: Exception) -> str:
    """What went wrong, in one line, with the available choices where they are known."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        options = list(error.options)
        close = get_close_matches(choice, options, n=2)
        hint = f"did you mean {' or '.join(close)}? There are" if close else "there are"
        return f"There is no {group}={choice}; {hint} {', '.join(options)}."
    if missing := re.match(r"In '(\w+)/(\w+)': Could not override '(\w+)'", str(error)):
        group, choice, other = missing.groups()
        return f"{group}={choice} goes with a {other}, which this command does not have: choose another {group}."
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is no override: write key=value, and quote a value with special characters."
    if isinstance(error.__cause__, OmegaConfBaseException):
        return config_sentence(error.__cause__)
    if isinstance(error, OmegaConfBaseException):
        return config_sentence(error)
    return " ".join(str(error).split())
