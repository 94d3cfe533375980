"""A start that fails before its training begins leaves no folder: the reason is on the screen, and nothing is lost.

Folders stay where something may be of use: a checkpoint or a curve, the traceback of an unexpected error, a file that
the reason names, and whatever was interrupted or killed. Nothing is removed from a folder that held something before,
and nothing that a start does not write.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.errors import HydraException

from gender_cls.errors import GenderClsError, disk_sentence, first_few
from gender_cls.runs.files import read_json
from gender_cls.runs.locks import locked
from gender_cls.runs.run import COMMAND_FILE, TRIALS, WAS_THERE, Run
from gender_cls.system.logs import start_logging

_FILES = {
    COMMAND_FILE,
    *("status.json", "train.log", "data.json", "manifest.csv", "unreadable.csv", "multirun.yaml"),
    *("search.json", "search.csv", "search.html"),
    *(f"leaderboard.{suffix}" for suffix in ("csv", "html", "json", "md")),
}
_FOLDERS = (".hydra", ".submitit", "ranks")
_LOCKS = (".lock", ".leaderboard.")  # how their names begin


@contextlib.contextmanager
def removing_failed_start(folder: Path) -> Iterator[None]:
    """If the work inside fails before it has left anything of use in its folder, remove that."""
    new = is_new(folder)
    try:
        yield
    except Exception as error:  # it is raised again, whatever it is
        expected = isinstance(error, GenderClsError | HydraException) or disk_sentence(error) is not None
        if expected and new and not _names(str(error), folder) and not _began(Run(folder)):
            with contextlib.suppress(GenderClsError), locked(folder):  # another process may work there
                remove(folder)
        raise


def is_new(folder: Path) -> bool:
    """Whether the folder holds no more than the claim of a command."""
    return not folder.exists() or all(path.name == COMMAND_FILE or _is_lock(path) for path in folder.iterdir())


def remove(folder: Path) -> None:
    """Remove the locked folder of a failed start; all of it stays if somebody else has put something there.

    A folder that was there before the command becomes empty again.
    """
    start_logging()  # no longer into a file there
    paths = sorted(folder.rglob("*"), reverse=True)  # what a folder holds comes before the folder
    if not all(_written_by_a_start(path, folder) for path in paths):
        return
    with contextlib.suppress(OSError):  # what cannot be removed stays
        was_there = read_json(folder / COMMAND_FILE).get(WAS_THERE)
        for path in paths:
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        if not was_there:
            folder.rmdir()


def _written_by_a_start(path: Path, folder: Path) -> bool:
    if path.is_symlink():
        return False
    in_own_folder = any(part in _FOLDERS for part in path.relative_to(folder).parts[:-1])
    return path.is_dir() or in_own_folder or path.name in _FILES or _is_lock(path)


def _is_lock(path: Path) -> bool:
    return path.name.startswith(_LOCKS)


def why_none_began(folder: Path, total: int | None, error: Exception) -> str | None:
    """Why no job of a sweep that ended with this error has begun, in a sentence; None if one has, or may have.

    Args:
        total: how many jobs the sweep has; None if nobody knows.
    """
    runs = [Run(path) for pattern in ("*/", f"{TRIALS}/*/") for path in sorted(folder.glob(pattern))]
    runs = [run for run in runs if run.status_file.exists() or run.config_file.exists()]
    waiting = total is not None and len(runs) < total and any(folder.glob(".submitit/*"))
    if waiting or any(map(_began, runs)) or not all(_stopped_in_a_sentence(run) for run in runs):
        return None
    reasons = list(dict.fromkeys(str(run.status.get("error", error)) for run in runs)) or [str(error)]
    if any(_names(reason, folder) for reason in reasons):
        return None
    return _sentence(runs, reasons)


def _sentence(runs: Sequence[Run], reasons: Sequence[str]) -> str:
    if len(runs) < 2:
        return reasons[0]
    if len(reasons) == 1:
        return f"None of the {len(runs)} jobs could start: {reasons[0]}"
    each = [f"{run.folder.name}: {run.status.get('error')}" for run in runs]
    return f"None of the {len(runs)} jobs could start. {first_few(each, 12)}"


def _began(run: Run) -> bool:
    """Whether there is something to look at or to go on from: curves, a checkpoint, a page."""
    return any(any(run.folder.glob(files)) for files in ("events.out.tfevents.*", "checkpoints/*", "*.html"))


def _stopped_in_a_sentence(run: Run) -> bool:
    """Whether it has failed, and its traceback tells no more than its sentence."""
    last = (run.status.get("traceback") or "").rstrip().rpartition("\n")[2]
    return run.status.get("state", "failed") == "failed" and (last.startswith("gender_cls.errors.") or not run.status)


def _names(sentence: str, folder: Path) -> bool:
    return str(folder) in sentence or str(folder.resolve()) in sentence
