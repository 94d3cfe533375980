"""Answers of the network that a run's folder keeps: from which precision and device, and when they do not count."""

import contextlib
import logging
from collections.abc import Sequence

from gender_cls.data.csv_text import read_csv_text
from gender_cls.explain.final_explanations import PICTURES
from gender_cls.explain.sheets import sheet_file
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor

log = logging.getLogger(__name__)


def keep_answers_of_one_origin(run: Run, predictor: Predictor, wanted: Sequence[str], explained_images: int) -> None:
    """Remove answers and maps that new ones must not be mixed with; `status.json` says where they come from.

    Numbers of one run are compared with each other. Another precision can change a probability by 0.2, so its answers
    never count. Another device rounds differently: its answers count if none is missing.

    Args:
        wanted: names of the variants that are about to be asked for.
        explained_images: how many test images are about to be explained.
    """
    pictures = [file for name in PICTURES for file in (run.explanation_picture(name), sheet_file(run, name))]
    files = (run.variants, run.explained, run.maps, run.randomisation, *pictures, run.predictions)
    now, kept = {"precision": predictor.precision, "device": predictor.device}, run.answers_from
    if any(file.exists() for file in files):
        other = [key for key, value in now.items() if kept[key] not in (None, value)]
        if not other or (other == ["device"] and not _something_is_missing(run, wanted, explained_images)):
            return
        before, after = (", ".join(f"{key} {origin[key]}" for key in other) for origin in (kept, now))
        log.warning(
            f"The answers in {run.folder} were computed with {before}. All of them, and the maps, are computed anew "
            f"with {after}, so that no two of them differ by rounding alone."
        )
        for file in files:
            file.unlink(missing_ok=True)
    run.note(answers=now)


def _something_is_missing(run: Run, wanted: Sequence[str], explained_images: int) -> bool:
    """Whether the network is about to be asked. A damaged file does not count: who reads it names it."""
    with contextlib.suppress(OSError, ValueError):
        if wanted and not set(wanted) <= set(read_csv_text(run.variants).columns if run.variants.exists() else ()):
            return True
        tested = int((read_csv_text(run.predictions)["split"] == "test").sum())
        explained = read_csv_text(run.explained)["path"].nunique() if run.explained.exists() else 0
        return explained < min(explained_images, tested)
    return not run.predictions.exists()
