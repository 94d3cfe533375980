"""The table of a sweep's runs, which jobs on many machines may ask for at the same time."""

from pathlib import Path
from typing import TYPE_CHECKING

from gender_cls.config.evaluation import CompareConfig
from gender_cls.runs.files import UNFINISHED
from gender_cls.runs.heartbeat import OccupiedError
from gender_cls.runs.locks import held
from gender_cls.runs.run import Run
from gender_cls.system.progress import working

if TYPE_CHECKING:
    from gender_cls.evaluation.comparison.compare_json import Comparison

NAME = "leaderboard"  # of its files


def write_leaderboard(folder: Path, *, patient: bool = False) -> "Comparison | None":
    """Compare the runs of a sweep that have finished, and write the result next to them.

    One process at a time writes. The others leave a request and go on with their own work; the one that writes then
    does it once more, so that the last state of every run is in the table.

    Args:
        patient: wait for the process that writes, and write after it.

    Returns:
        None if another process writes; never if `patient`.
    """
    request, comparison = folder / f".{NAME}.request", None
    request.touch()
    while request.exists() or (patient and comparison is None):
        try:
            with held(folder / f".{NAME}.lock", patient=patient):
                request.unlink(missing_ok=True)  # before the runs are read: a later request is about a later state
                for unfinished in folder.glob(f".{NAME}*{UNFINISHED}"):  # by a process that was killed
                    unfinished.unlink(missing_ok=True)
                comparison = _written(folder)
        except OccupiedError:
            break
    return comparison


def _written(folder: Path) -> "Comparison":
    with working("Writing the leaderboard"):
        from gender_cls.reports.comparison import write_comparison  # imports pandas, which --help does not need

        default = CompareConfig
        return write_comparison(
            folder, job_runs(folder), name=NAME, resamples=default.resamples, thumbnails=default.thumbnails
        )


def job_runs(folder: Path) -> list[Run]:
    """The runs of a sweep, in the order of their numbers."""
    runs = [Run(path.parent) for path in folder.glob("*/status.json")]
    return sorted(runs, key=lambda run: (int(run.folder.name.partition("_")[0]), run.folder.name))
