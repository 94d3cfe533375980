"""Which folders a command works in: a new one, an unfinished one that it continues, or those of finished runs."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence, Sized
from datetime import datetime
from pathlib import Path

from gender_cls.cli.command_line import CommandLine
from gender_cls.config.launcher import LAUNCHER
from gender_cls.errors import GenderClsError, disk_sentence, error_sentence, noting_failure
from gender_cls.runs.files import read_json
from gender_cls.runs.run import COMMAND_FILE, Run

log = logging.getLogger(__name__)

RESUME = "trainer.resume="


def claim_folder(command: CommandLine, output_dir: str, kind: str, name: str | None, suffix: str = "") -> Path:
    """Make the folder that a command works in; two commands never share one, so a taken name is a GenderClsError.

    Args:
        kind: the folder inside `output_dir`: runs, sweeps, audits or comparisons.
        name: of the new folder; when None, date and time, so that names sort, and `suffix`.
    """
    parent = Path(output_dir) / kind
    claim = {
        "overrides": _without_resume(command.overrides),
        "multirun": command.multirun,
        "directory": str(Path.cwd()),
    }
    text = json.dumps(claim, indent=2) + "\n"
    base = name or datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + suffix
    folder, count = parent / base, 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while not _claimed(folder, text):
            if name is not None:
                way_out = f"continue what is there with {RESUME}true" if kind in ("runs", "sweeps") else "remove it"
                raise GenderClsError(f"{folder} exists already: choose another name, or {way_out}.")
            count += 1
            folder = parent / f"{base}_{count}"
    except OSError as error:
        known = disk_sentence(error)  # says itself what cannot be used
        reason = f": {known}" if known else f" cannot be used: {error_sentence(error)}"
        raise GenderClsError(f"output_dir={output_dir}{reason}") from None
    return folder


def _claimed(folder: Path, text: str) -> bool:
    """Whether the folder was new or empty and is now ours; of two commands only one can create the file."""
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        return False
    try:
        with (folder / COMMAND_FILE).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError:  # a full disk: the folder stays free for another attempt
        (folder / COMMAND_FILE).unlink(missing_ok=True)
        raise
    return True


def folder_to_resume(command: CommandLine, output_dir: str, kind: str, name: str | None) -> Path | None:
    """The folder called `name`, or the newest unfinished one that the same command made; None if there is none.

    A scheduler can thus use one command line for the first start and for all later ones.
    """
    parent = Path(output_dir) / kind
    if name is not None:
        begun = parent / name
        return begun if begun.is_dir() and any((begun / file).exists() for file in (COMMAND_FILE, ".hydra")) else None
    wanted = _what_to_do(command.overrides)
    for folder in sorted(parent.glob("*/"), reverse=True):
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
