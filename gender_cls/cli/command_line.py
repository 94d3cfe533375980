"""From a command line to checked configurations: every job's, before the first job starts."""

import contextlib
import re
from argparse import ArgumentError
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gender_cls.config.checks import absolute
from gender_cls.config.local_defaults import LocalDefaults, read_local_defaults
from gender_cls.config.parsing import CONFIG_FOLDER, Schema, parse_config
from gender_cls.errors import GenderClsError, first_few, require

HYDRA_VERSION_BASE = "1.3"

PRESETS = "experiment"
"""The group of whole settings for one purpose, `conf/experiment/`."""


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
    shows_help: bool = False
    shows_config: bool = False  # as YAML
    resolves: bool = False  # shows what `${...}` stands for
    config_name: str | None = None  # a file there, to begin with instead of the command's own
    lists: Collection[str] = ()  # keys whose values between commas are a list
    from_files: list[str] = field(default_factory=list)  # further sweeps, of `hydra.sweeper.params` in a file


def read_command_line(
    arguments: list[str], lists: Collection[str] = (), always_lists: Collection[str] = ()
) -> CommandLine:
    """Parse arguments; a value outside Hydra's grammar (a regular expression, a path with spaces) counts as text.

    Args:
        lists: keys whose values between commas are a list, as if they stood in brackets; of others they are a sweep.
        always_lists: those of them of which a single value is a list too.
    """
    arguments = [_as_text_if_needed(_as_list(_chosen(argument), lists, always_lists)) for argument in arguments]
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known = parser.parse_intermixed_args(arguments)
    except ArgumentError as error:
        raise GenderClsError(f"{error}: --hydra-help lists the flags.") from None
    flags = [argument for argument in arguments if argument not in known.overrides]
    for override in known.overrides:
        key, found, _ = override.partition("=")
        require(bool(key.strip("+~ ")) or not found, f"'{override}' names no key: write key=value.")
    require(
        known.config_path is None, "--config-path would replace conf/: --config-dir adds a folder of your own to it."
    )
    config_dir = None if known.config_dir is None else absolute(known.config_dir)
    if config_dir is not None:
        require(Path(config_dir).is_dir(), f"--config-dir names no folder: {config_dir}")
        flags += ["--config-dir", config_dir]  # repeated with its absolute path: the last one counts
    parsed = OverridesParser.create().parse_overrides(known.overrides)
    return CommandLine(
        arguments=[*flags, *known.overrides],
        overrides=known.overrides,
        multirun=known.multirun or "hydra.mode=MULTIRUN" in known.overrides,
        shows_only=any([known.help, known.hydra_help, known.cfg, known.info, known.shell_completion]),
        swept=_swept(parsed),
        config_dir=config_dir,
        local=read_local_defaults(),
        shows_help=known.help,
        shows_config=known.cfg == "job" and known.package is None,
        resolves=known.resolve,
        config_name=known.config_name,
        lists=lists,
    )


def _chosen(argument: str) -> str:
    """`experiment=NAME` for `+experiment=NAME`, as it is written where no preset is the default."""
    return argument[1:] if argument.startswith(f"+{PRESETS}=") else argument


def _swept(overrides: list[Override]) -> list[str]:
    """The keys that have several values; of a key's overrides, the last one counts."""
    last = {override.get_key_element(): override for override in overrides}
    return [override.key_or_group for override in last.values() if override.is_sweep_override()]


def _as_list(argument: str, lists: Collection[str], always_lists: Collection[str]) -> str:
    key, _, values = argument.partition("=")
    several = "," in values or (key in always_lists and values not in ("", "null"))
    if key not in lists or not several or values[0] in "[\"'":
        return argument
    return _as_text(f"{key}=", values) if Path(values).expanduser().exists() else f"{key}=[{values}]"


def as_override(key: str, value: str) -> str:
    """The override that gives a key this value, in quotes where Hydra needs them."""
    return _as_text_if_needed(f"{key}={value}")


def _as_text_if_needed(argument: str) -> str:
    assignment = re.fullmatch(r"(\+{0,2}[\w./@-]+=)(.+)", argument, re.DOTALL)
    if assignment is None or argument.startswith("-"):
        return argument
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return _as_text(*assignment.groups())
    return argument


def _as_text(beginning: str, value: str) -> str:
    doubled = re.sub(r"(\\+)(?='|$)", r"\1\1", value)  # Hydra reads a backslash as such unless a quote follows
    return "{}'{}'".format(beginning, doubled.replace("'", r"\'"))


def check_jobs(command: CommandLine, config_name: str, schema: type[Schema]) -> list[tuple[Schema, DictConfig]]:
    """The checked configuration of every job, with the composed one that it was made from (Hydra's node included).

    A sweeper other than Hydra's own chooses values as it runs: then there is one job, without the swept keys.
    """
    command.local.of(config_name, command.overrides).store()
    config_name = command.config_name or config_name
    with hydra_with(command.config_dir) as loader:
        _check_groups(command, loader)
        overrides = _jobs_of(command, loader)
        composed = [compose(config_name, overrides[0], return_hydra_config=True)]
        if (fuller := with_sweep_of_files(command, composed[0])).from_files and PRESETS not in command.swept:
            overrides = _jobs_of(fuller, loader)
            composed = [compose(config_name, overrides[0], return_hydra_config=True)]
        command = fuller
        _check_sweep(command, composed[0], loader)
        composed += [compose(config_name, job, return_hydra_config=True) for job in overrides[1:]]
    sweeps = [job.hydra.runtime.choices[PRESETS] for job in composed if PRESETS in command.swept and _params(job.hydra)]
    require(not sweeps, f"{PRESETS}={''.join(sweeps[:1])} is a sweep itself, not a job of another one: start it alone.")
    return [(_checked(job, schema, command, each), job) for job, each in zip(composed, overrides, strict=True)]


def compose_first_job(command: CommandLine, config_name: str) -> DictConfig:
    """The first job's configuration, unchecked, with Hydra's node."""
    command.local.of(config_name, command.overrides).store()
    with hydra_with(command.config_dir) as loader:
        overrides = _jobs_of(command, loader)[0]
        return compose(command.config_name or config_name, overrides, return_hydra_config=True)


def _checked(job: DictConfig, schema: type[Schema], command: CommandLine, overrides: list[str]) -> Schema:
    """The checked configuration of one job; in a sweep an error names the values that are the job's own."""
    try:
        return parse_config(OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"]), schema)
    except GenderClsError as error:
        own = [one for one in overrides if one.partition("=")[0].lstrip("+") in command.swept]
        unsaid = [one for one in own if not str(error).startswith(f"{one.partition('=')[0]} ")]
        if not unsaid:
            raise
        raise GenderClsError(f"{first_few(unsaid, 9)}: {error}") from None


@contextlib.contextmanager
def hydra_with(config_dir: str | None) -> Iterator[ConfigLoader]:
    """Let Hydra compose from `conf/` and this folder, as it does for the command itself; returns what finds files."""
    with initialize_config_dir(str(CONFIG_FOLDER), version_base=HYDRA_VERSION_BASE):  # ends as it was before
        if config_dir is not None:
            places = create_config_search_path(str(CONFIG_FOLDER))
            places.prepend("command-line", f"file://{config_dir}", SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("app", places)
        yield GlobalHydra.instance().config_loader()


def with_sweep_of_files(command: CommandLine, composed: DictConfig) -> CommandLine:
    """The command line with the sweep that files ask for, such as a preset; an override on the command line wins.

    They ask with `hydra.mode: MULTIRUN`, and say in `hydra.sweeper.params` over what.

    Args:
        composed: the configuration of the first job, with Hydra's node.
    """
    if composed.hydra.mode is not RunMode.MULTIRUN and not command.multirun:
        return command
    typed = [override.partition("=")[0] for override in command.overrides]
    from_files = [f"{key}={values}" for key, values in _params(composed.hydra).items() if key not in typed]
    parsed = OverridesParser.create().parse_overrides([*from_files, *command.overrides])
    flags = [] if command.multirun else ["--multirun"]
    arguments = [*flags, *command.arguments]
    return replace(command, arguments=arguments, multirun=True, from_files=from_files, swept=_swept(parsed))


def _params(hydra: DictConfig) -> Mapping[str, object]:
    """What Hydra's own sweeper sweeps over because files say so; other sweepers keep something else there."""
    return (is_basic(hydra.sweeper) and hydra.sweeper.params) or {}


def is_basic(plugin: DictConfig) -> bool:
    """Whether it is Hydra's own sweeper or launcher, which try given values and run jobs here, one by one."""
    return "basic" in plugin["_target_"]


def _check_groups(command: CommandLine, loader: ConfigLoader) -> None:
    """Raise GenderClsError for a group with a list of files, which Hydra would mix, or with none."""
    for override in _parsed(command, loader):
        key, written, value = override.key_or_group, override.input_line, override.value()
        if override.is_delete() or key in command.lists or not (files := loader.get_group_options(key)):
            continue
        require(
            not isinstance(value, list),
            f"{written} would mix these files into one: write {key}=A,B and add -m to sweep over them, or name one.",
        )
        require(value is not None, f"{written} chooses none of {first_few(files, 99)}: leave it out, or name one.")


def _check_sweep(command: CommandLine, composed: DictConfig, loader: ConfigLoader) -> None:
    """Raise GenderClsError for several values that cannot be swept over here."""
    several = [override for override in _parsed(command, loader) if override.is_sweep_override()]
    if several and not command.multirun:
        raise GenderClsError(f"{several[0].key_or_group} has several values: add -m to sweep over them.")
    require(not command.multirun or composed.hydra.mode is not RunMode.RUN, "hydra.mode=RUN is no sweep: leave out -m.")
    for override in several:
        key, written, value = override.key_or_group, override.input_line, override.value()
        require(
            key not in ("name", "output_dir") and not key.startswith("hydra"),
            f"{key} has several values, and a sweep has one folder and one way to start: give {key} one value.",
        )
        if isinstance(value, Glob):
            files = loader.get_group_options(key)
            require(bool(files), f"{written} chooses files of a group, and {key} is none: list its values.")
            require(any(override.sweep_iterator()), f"{written} matches none of {first_few(files, 99)}.")
        elif override.is_discrete_sweep():
            require(
                not getattr(value, "shuffle", False),
                f"{written} has another order at each start, so that a sweep could not be resumed: leave out shuffle.",
            )
        else:
            require(
                not is_basic(composed.hydra.sweeper),
                f"{written} names no values, only their range: list them ({key}=A,B), or let search=optuna choose.",
            )


def count_jobs(command: CommandLine) -> int | None:
    """How many jobs a sweep has; None if its sweeper chooses values as it runs."""
    with hydra_with(command.config_dir) as loader:
        given = all(one.is_discrete_sweep() for one in _parsed(command, loader) if one.is_sweep_override())
        return len(_jobs_of(command, loader)) if given and command.swept else None


def _parsed(command: CommandLine, loader: ConfigLoader) -> list[Override]:
    return OverridesParser.create(loader).parse_overrides([*command.from_files, *command.overrides])


def _jobs_of(command: CommandLine, loader: ConfigLoader) -> list[list[str]]:
    """The overrides of each job."""
    parsed = _parsed(command, loader)
    sweeps = [override for override in parsed if override.is_sweep_override()]
    if not sweeps or not all(override.is_discrete_sweep() for override in sweeps):
        return [[str(override.input_line) for override in parsed if override not in sweeps]]
    [jobs] = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(job) for job in jobs] or [[]]
