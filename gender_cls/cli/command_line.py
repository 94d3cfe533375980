"""From a command line to checked configurations: every job's, before the first job starts."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gender_cls.config.checks import absolute
from gender_cls.config.local_defaults import LocalDefaults, read_local_defaults
from gender_cls.config.parsing import CONFIG_FOLDER, Schema, parse_config
from gender_cls.errors import GenderClsError, require

HYDRA_VERSION_BASE = "1.3"

_SET_BY_COMMAND = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.job.chdir")


@dataclass(frozen=True)
class CommandLine:
    """A command line that has been read."""

    arguments: list[str]  # for Hydra: flags, then overrides
    overrides: list[str]
    multirun: bool
    shows_only: bool  # help or the like, which starts nothing
    swept: list[str]  # keys with several values, in order
    config_dir: str | None  # a folder of the user's own configuration files
    local: LocalDefaults  # what the user's own file and the environment say


def read_command_line(arguments: list[str], lists: Collection[str] = ()) -> CommandLine:
    """Parse arguments; a value outside Hydra's grammar (a regular expression, a path with spaces) counts as text.

    Args:
        lists: keys whose values between commas are a list, as if they stood in brackets; of others they are a sweep.
    """
    arguments = [_as_text_if_needed(_as_list(argument, lists)) for argument in arguments]
    known = get_args_parser().parse_intermixed_args(arguments)
    flags = [argument for argument in arguments if argument not in known.overrides]
    for override in known.overrides:
        key, found, _ = override.partition("=")
        require(bool(key.strip("+~ ")) or not found, f"'{override}' names no key: write key=value.")
        require(
            key.strip("+~ ") not in _SET_BY_COMMAND,
            f"{key} is set by the command itself: choose the folder with output_dir and name; paths are absolute.",
        )
    config_dir = None if known.config_dir is None else absolute(known.config_dir)
    if config_dir is not None:
        require(Path(config_dir).is_dir(), f"--config-dir names no folder: {config_dir}")
        flags += ["--config-dir", config_dir]  # repeated with its absolute path: the last one counts
    parsed = OverridesParser.create().parse_overrides(known.overrides)
    multirun = known.multirun or "hydra.mode=MULTIRUN" in known.overrides
    swept = [override.key_or_group for override in parsed if override.is_sweep_override()]
    if swept and not multirun:
        raise GenderClsError(f"{swept[0]} has several values: add -m to sweep over them.")
    return CommandLine(
        arguments=[*flags, *known.overrides],
        overrides=known.overrides,
        multirun=multirun,
        shows_only=any([known.help, known.hydra_help, known.cfg, known.info, known.shell_completion]),
        swept=swept,
        config_dir=config_dir,
        local=read_local_defaults(),
    )


def _as_list(argument: str, lists: Collection[str]) -> str:
    key, _, values = argument.partition("=")
    return f"{key}=[{values}]" if key in lists and "," in values and not values.startswith("[") else argument


def _as_text_if_needed(argument: str) -> str:
    assignment = re.fullmatch(r"(\+{0,2}[\w./@-]+=)(.+)", argument, re.DOTALL)
    if assignment is None or argument.startswith("-"):
        return argument
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        key, value = assignment.groups()
        doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", value)  # Hydra reads a backslash as such unless a quote follows
        return "{}'{}'".format(key, doubled.replace("'", r"\'"))
    return argument


def check_jobs(command: CommandLine, config_name: str, schema: type[Schema]) -> list[tuple[Schema, DictConfig]]:
    """The checked configuration of every job, with the composed one that it was made from (Hydra's node included).

    A sweeper other than Hydra's own chooses values as it runs: then there is one job, without the swept keys.
    """
    command.local.of(config_name, command.overrides).store()
    own = [f"hydra.searchpath=['file://{command.config_dir}']"] if command.config_dir else []
    with initialize_config_dir(str(CONFIG_FOLDER), version_base=HYDRA_VERSION_BASE):
        jobs = [compose(config_name, own + overrides, return_hydra_config=True) for overrides in _of_each_job(command)]
    return [
        (parse_config(OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"]), schema), job)
        for job in jobs
    ]


def count_jobs(command: CommandLine) -> int | None:
    """How many jobs a sweep has; None if its sweeper chooses values as it runs."""
    parsed = OverridesParser.create().parse_overrides(command.overrides)
    given = all(override.is_discrete_sweep() for override in parsed if override.is_sweep_override())
    return len(_of_each_job(command)) if given and command.swept else None


def _of_each_job(command: CommandLine) -> list[list[str]]:
    parsed = OverridesParser.create().parse_overrides(command.overrides)
    sweeps = [override for override in parsed if override.is_sweep_override()]
    fixed = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    if not all(override.is_discrete_sweep() for override in sweeps):
        return [fixed]
    [points] = BasicSweeper.split_arguments(sweeps, max_batch_size=None)
    return [[*fixed, *map(str, point)] for point in points]
