"""Which folders a command works in: a new one, an unfinished one that it continues, or those of finished runs."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gender_cls.cli.command_line import CommandLine, as_override
from gender_cls.config.checks import absolute
from gender_cls.config.launcher import LAUNCHER
from gender_cls.config.parsing import CONFIG_FOLDER, written_values
from gender_cls.errors import (
    GenderClsError,
    disk_sentence,
    error_sentence,
    has_odd_letters,
    noting_failure,
    one_line,
    require,
    visible,
)
from gender_cls.runs.files import read_json
from gender_cls.runs.run import COMMAND_FILE, WAS_THERE, Run

log = logging.getLogger(__name__)

RESUME = "trainer.resume="

HERE, NAMED = ".", "/${name}"
"""`hydra.run.dir` in conf/ of a command that makes no folder by it, and the end of it in the others'."""


def check_hydra_keys(command: CommandLine, config_name: str, jobs: Sequence[DictConfig]) -> None:
    """Raise GenderClsError if Hydra's keys, from the command line or a file, ask for folders that are not made here.

    Args:
        config_name: of the command.
        jobs: the composed configuration of each job, with Hydra's node.
    """
    own = written_values(CONFIG_FOLDER / f"{config_name}.yaml")["hydra"]["run"]["dir"]
    typed = [override.partition("=")[0] for override in command.overrides]
    other = "hydra.run.dir" if command.multirun else "hydra.sweep.dir"
    what = "is the folder of a single run, and this is a sweep" if command.multirun else "is the folder of a sweep"
    require(other not in typed, f"{other} {what}: write {_key(command)}.")
    for job in jobs:
        hydra: Any = OmegaConf.to_container(job.hydra, resolve=False)
        place, subdir = hydra["run"]["dir"], hydra["sweep"]["subdir"]
        require(
            own != HERE or place == HERE,
            f"hydra.run.dir={place} is not for this command, which writes where its other keys say: leave it out.",
        )
        require(
            not command.multirun or subdir == "${hydra.job.num}",
            f"hydra.sweep.subdir={subdir}: jobs have folders of fixed names (number, model and what varies), by which "
            "they are found again: leave it out.",
        )
        require(
            not hydra["output_subdir"],
            f"hydra.output_subdir={hydra['output_subdir']}: the command keeps the configuration itself, in .hydra/: "
            "leave it out.",
        )
        require(
            not hydra["job"]["chdir"],
            "hydra.job.chdir=true would change what relative paths mean, and nothing here needs it: leave it out.",
        )


@dataclass(frozen=True)
class Place:
    """Where a command's folder lies or is to be made."""

    parent: Path
    name: str | None  # None: one of date and time
    chosen_by: str  # the key that a user can change, with its value


def place_of(command: CommandLine, composed: DictConfig) -> Place:
    """Where `hydra.run.dir`, or `hydra.sweep.dir` of a sweep, puts the folder; in `conf/`: `output_dir` and `name`.

    Args:
        composed: the configuration of the first job, with Hydra's node.

    Raises:
        GenderClsError: the key cannot be computed, or `name` is something else.
    """
    key, written, name = _key(command), _written(command, composed), composed.name
    before = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(composed)  # for `${hydra:runtime.choices.model}`
        value = str(OmegaConf.select(composed, key))
    except Exception as error:  # of OmegaConf, or of any resolver
        raise GenderClsError(
            f"{key}={written} cannot be computed ({one_line(str(error).splitlines()[0])}): name the folder."
        ) from None
    finally:
        HydraConfig.instance().cfg = before
    require(value.strip() != "" and not has_odd_letters(value), f"{key}={visible(value)} names no folder.")
    folder = Path(absolute(value))
    if written.endswith(NAMED):
        made = f"{absolute(composed.output_dir)}/"
        return Place(folder.parent, name, f"output_dir={made[:-1]}" if value.startswith(made) else f"{key}={value}")
    require(
        name is not None or "${name}" not in written,
        f"{key}={written} takes the name, and there is none: add name=... to the command.",
    )
    require(
        name in (None, folder.name) or "${name}" in written,
        f"name={name} and {key}={written} both name the folder: leave out one of them.",
    )
    require(
        not Path(absolute(composed.output_dir)).is_relative_to(folder),
        f"{key}={value} holds output_dir={composed.output_dir}, where other runs and the cache lie: name a folder "
        "of its own.",
    )
    return Place(folder.parent, folder.name, f"{key}={value}")


def folder_overrides(command: CommandLine, composed: DictConfig, folder: Path) -> list[str]:
    """The overrides that let Hydra work in the folder that was claimed."""
    written = _written(command, composed)
    named = [f"name={folder.name}"] if written == HERE or written.endswith(NAMED) else []
    return named if written == HERE else [*named, as_override(_key(command), str(folder))]


def _key(command: CommandLine) -> str:
    return "hydra.sweep.dir" if command.multirun else "hydra.run.dir"


def _written(command: CommandLine, composed: DictConfig) -> str:
    node = composed.hydra.sweep if command.multirun else composed.hydra.run
    return str(OmegaConf.to_container(node, resolve=False)["dir"])  # type: ignore[index, call-overload]


def claim_folder(command: CommandLine, place: Place, suffix: str = "", way_out: str = "remove it") -> Path:
    """Make the folder that a command works in; two commands never share one, so a taken name is a GenderClsError.

    Args:
        place: if it has no name, the folder gets date and time, so that names sort, and `suffix`.
        way_out: what a user can do, except choose another name, where there is such a folder already.
    """
    claim: dict[str, object] = {
        "overrides": _without_resume(command.overrides),
        "multirun": command.multirun,
        "directory": str(Path.cwd()),
    }
    base = place.name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + suffix
    folder, count = place.parent / base, 1
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        while not _claimed(folder, claim):
            if place.name is not None:
                raise GenderClsError(f"{folder} exists already: choose another name, or {way_out}.")
            count += 1
            folder = place.parent / f"{base}_{count}"
    except OSError as error:
        known = disk_sentence(error)  # says itself what cannot be used
        reason = f": {known}" if known else f" cannot be used: {error_sentence(error)}"
        raise GenderClsError(f"{place.chosen_by}{reason}") from None
    return folder


def _claimed(folder: Path, claim: dict[str, object]) -> bool:
    """Whether the folder was new or empty and is now ours; of two commands only one can create the file."""
    was_there = folder.exists()
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        return False
    try:
        with (folder / COMMAND_FILE).open("x", encoding="utf-8") as file:
            file.write(json.dumps({**claim, WAS_THERE: was_there}, indent=2) + "\n")
    except FileExistsError:
        return False
    except FileNotFoundError:  # another command's start has failed, and it removed the folder just now
        return _claimed(folder, claim)
    except OSError:  # a full disk: the folder stays free for another attempt
        (folder / COMMAND_FILE).unlink(missing_ok=True)
        raise
    return True


def folder_to_resume(command: CommandLine, place: Place) -> Path | None:
    """The folder of that name, or without one the newest unfinished one of the same command; None if there is none.

    A scheduler can thus use one command line for the first start and for all later ones.
    """
    if place.name is not None:
        begun = place.parent / place.name
        known = (begun / COMMAND_FILE).exists() or "state" in Run(begun).status  # a sweep's job has the second only
        return begun if known else None
    wanted = _what_to_do(command.overrides)
    for folder in sorted(place.parent.glob("*/"), reverse=True):
        try:
            finished = not command.multirun and Run(folder).finished  # a sweep has no status of its own
            if not finished and _what_to_do(read_json(folder / COMMAND_FILE).get("overrides", [])) == wanted:
                return folder
        except GenderClsError as error:
            log.warning(f"{folder} is skipped: {error}")
    return None


def _without_resume(overrides: list[str]) -> list[str]:
    return [override for override in overrides if not override.startswith(RESUME)]


def _what_to_do(overrides: list[str]) -> list[str]:
    """Without how to start it: the launcher may change when the same command is repeated to resume."""
    beginnings = (f"{LAUNCHER}=", f"{LAUNCHER}.")
    return [override for override in _without_resume(overrides) if not override.startswith(beginnings)]


def in_turn(runs: Sequence[Run]) -> Iterator[Run]:
    """One run after the other; of several, a line says which it is."""
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            log.info(f"{number} of {len(runs)}: {run.folder.name}")
        yield run


def failing_alone(several: Sized, failed: dict[str, str], name: str) -> contextlib.AbstractContextManager[None]:
    """One of several: if it fails, the reason is logged and noted in `failed`, and the others go on."""
    return noting_failure(failed, name) if len(several) > 1 else contextlib.nullcontext()
