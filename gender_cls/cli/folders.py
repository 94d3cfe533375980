"""Which folders a command works in: a new one, an unfinished one that it continues, or those of finished runs."""

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gender_cls.cli.command_line import CommandLine
from gender_cls.errors import GenderClsError
from gender_cls.runs.files import locked, read_json
from gender_cls.runs.run import Run, find_runs

COMMAND_FILE = "command.json"
RESUME = "trainer.resume="


def claim_folder(command: CommandLine, output_dir: str, kind: str, name: str | None, suffix: str = "") -> Path:
    """Make the folder that a command works in; two commands never share one, so a taken name is a GenderClsError.

    Args:
        kind: the folder inside `output_dir`: runs, sweeps, audits or comparisons.
        name: of the new folder; when None, date and time, so that names sort, and `suffix`.
    """
    parent = _parent(output_dir, kind)
    claim = {
        "overrides": _without_resume(command.overrides),
        "multirun": command.multirun,
        "directory": str(Path.cwd()),
    }
    text = json.dumps(claim, indent=2) + "\n"
    if name is not None:
        if not _claimed(parent / name, text):
            way_out = f"continue what is there with {RESUME}true" if kind in ("runs", "sweeps") else "remove it"
            raise GenderClsError(f"{parent / name} exists already: choose another name, or {way_out}.")
        return parent / name
    base = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + suffix
    count = 1
    while not _claimed(folder := parent / (base if count == 1 else f"{base}_{count}"), text):
        count += 1
    return folder


def _parent(output_dir: str, kind: str) -> Path:
    parent = Path(output_dir) / kind
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenderClsError(f"output_dir={output_dir} cannot be used: {error}.") from None
    return parent


def _claimed(folder: Path, text: str) -> bool:
    """Whether the folder was new or empty and is now ours; of two commands only one can create the file."""
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        return False
    with contextlib.suppress(FileExistsError), (folder / COMMAND_FILE).open("x", encoding="utf-8") as file:
        file.write(text)
        return True
    return False


def folder_to_resume(command: CommandLine, output_dir: str, kind: str, name: str | None) -> Path:
    """The folder called `name`, or the newest unfinished one that the same command made; GenderClsError if none."""
    parent = _parent(output_dir, kind)
    if name is not None:
        if not (parent / name / COMMAND_FILE).is_file():
            raise GenderClsError(f"There is nothing to resume in {parent / name}: leave out {RESUME}true to start.")
        return parent / name
    wanted = _without_resume(command.overrides)
    for folder in sorted(parent.glob("*/"), reverse=True):
        finished = not command.multirun and Run(folder).finished  # a sweep has no status of its own
        if not finished and read_json(folder / COMMAND_FILE).get("overrides") == wanted:
            return folder
    raise GenderClsError(
        f"There is nothing to resume under {parent}: none of its unfinished folders was made by this same command. "
        "Name one with name=..., or leave out trainer.resume=true to start."
    )


def _without_resume(overrides: list[str]) -> list[str]:
    return [override for override in overrides if not override.startswith(RESUME)]


def fitted_runs(folder: str) -> Iterator[Run]:
    """The runs in the folder of a run or a sweep, one after the other; each is locked until the next.

    Runs of a sweep whose training has not ended are left out, with a message; a single run is yielded in any state.
    GenderClsError: there is no run, or another process works on one.
    """
    for run in (runs := find_runs([Path(folder)])):
        if len(runs) > 1 and not run.status.get("fitted"):
            print(f"\n{run.folder.name} has not been trained to its end and is left out.")
            continue
        with locked(run.folder):
            yield run
