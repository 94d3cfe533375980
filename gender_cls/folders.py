"""Which folder a command works in: a new one, or the unfinished one that it continues."""

import json
from datetime import datetime
from pathlib import Path

from gender_cls.command import CommandLine
from gender_cls.config import Config
from gender_cls.errors import GenderClsError
from gender_cls.run import Run, read_json

COMMAND_FILE = "command.json"
RESUME = "trainer.resume="


def claim_folder(command: CommandLine, config: Config, model: str) -> Path:
    """Make the folder of a run or a sweep, or find the one to resume.

    Names begin with date and time, so they sort. Two commands never share a folder.

    Args:
        command: the command line.
        config: of its first job.
        model: the choice of the group `model`, for the name of a run.

    Raises:
        GenderClsError: the name is taken, or there is nothing to resume.
    """
    parent = Path(config.output_dir).expanduser().resolve() / ("sweeps" if command.multirun else "runs")
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenderClsError(f"output_dir={config.output_dir} cannot be used: {error}.") from None
    if config.trainer.resume:
        return _resumable(parent, command, config)
    claim = json.dumps(
        {
            "overrides": _without_resume(command.overrides),
            "multirun": command.multirun,
            "directory": str(Path.cwd()),
        },
        indent=2,
    )
    if config.name is not None:
        folder = parent / config.name
        if not _claimed(folder, claim):
            raise GenderClsError(
                f"{folder} exists already: choose another name, or continue what is there with trainer.resume=true."
            )
        return folder
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    base = stamp if command.multirun else f"{stamp}_{model}"
    count = 1
    while not _claimed(folder := parent / (base if count == 1 else f"{base}_{count}"), claim):
        count += 1
    return folder


def _claimed(folder: Path, claim: str) -> bool:
    """Whether the folder was new or empty and is ours now; of two commands only one can create the file."""
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        return False
    try:
        with (folder / COMMAND_FILE).open("x") as file:
            file.write(claim + "\n")
    except FileExistsError:
        return False
    return True


def _resumable(parent: Path, command: CommandLine, config: Config) -> Path:
    if config.name is not None:
        folder = parent / config.name
        if not (folder / COMMAND_FILE).is_file():
            raise GenderClsError(f"There is nothing to resume in {folder}: leave out trainer.resume=true to start.")
        return folder
    wanted = _without_resume(command.overrides)
    for folder in sorted(parent.glob("*/"), reverse=True):
        finished = not command.multirun and Run(folder).finished  # of a sweep, the jobs say
        if not finished and read_json(folder / COMMAND_FILE).get("overrides") == wanted:
            return folder
    raise GenderClsError(
        f"There is nothing to resume under {parent}: none of its unfinished folders was made by this same command. "
        "Name one with name=..., or leave out trainer.resume=true to start."
    )


def _without_resume(overrides: list[str]) -> list[str]:
    return [override for override in overrides if not override.startswith(RESUME)]
