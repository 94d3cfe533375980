"""Answers of the network that the folder of a test keeps: of which origin, and when they do not count."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from gender_cls.data.csv_text import read_csv_text
from gender_cls.explain.final_explanations import PICTURES
from gender_cls.explain.sheets import sheet_file
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.training.predictor import Predictor

log = logging.getLogger(__name__)


def keep_answers_of_one_origin(
    folder: ResultFolder,
    predictor: Predictor,
    wanted: Sequence[str],
    explained_images: int,
    *,
    adapted: bool = False,
) -> None:
    """Remove answers and maps that new ones must not be mixed with; `status.json` says where they come from.

    Numbers of one test are compared with each other. Another precision can change a probability by 0.2, so its answers
    never count. Another device rounds differently: its answers count if none is missing.

    Args:
        wanted: names of the variants that are about to be asked for.
        explained_images: how many test images are about to be explained.
        adapted: whether answers of the adapted network are about to be asked for.
    """
    files = _kept_in(folder)
    now, kept = {"precision": predictor.precision, "device": predictor.device}, folder.answers_from
    if any(file.exists() for file in files):
        other = [key for key, value in now.items() if kept[key] not in (None, value)]
        if not other or (other == ["device"] and not _something_is_missing(folder, wanted, explained_images, adapted)):
            return
        before, after = (", ".join(f"{key} {origin[key]}" for key in other) for origin in (kept, now))
        log.warning(
            f"The answers in {folder.folder} were computed with {before}. All of them, and the maps, are computed anew "
            f"with {after}, so that no two of them differ by rounding alone."
        )
        forget_answers(folder)
    folder.note(answers=now)


def forget_answers(folder: ResultFolder) -> None:
    """Remove all answers of the network, and the maps."""
    for file in _kept_in(folder):
        file.unlink(missing_ok=True)


def forget_what_lacks_predictions(folder: ResultFolder) -> None:
    """Without `predictions.csv` nobody knows which images the other answers and the maps are of: remove them."""
    if not folder.predictions.exists():
        for file in _kept_in(folder):
            if file != folder.begun:  # names its images itself
                file.unlink(missing_ok=True)


def _kept_in(folder: ResultFolder) -> list[Path]:
    pictures = [file for name in PICTURES for file in (folder.explanation_picture(name), sheet_file(folder, name))]
    maps = [folder.explained, folder.maps, folder.randomisation, *pictures]
    return [folder.variants, folder.adapted, *maps, folder.begun, folder.predictions]


def _something_is_missing(folder: ResultFolder, wanted: Sequence[str], explained_images: int, adapted: bool) -> bool:
    """Whether the network is about to be asked. A damaged file does not count: who reads it names it."""
    if adapted and not folder.adapted.exists():
        return True
    with contextlib.suppress(OSError, ValueError):
        if wanted and not set(wanted) <= set(
            read_csv_text(folder.variants).columns if folder.variants.exists() else ()
        ):
            return True
        tested = int((read_csv_text(folder.predictions)["split"] == "test").sum())
        explained = read_csv_text(folder.explained)["path"].nunique() if folder.explained.exists() else 0
        return explained < min(explained_images, tested)
    return not folder.predictions.exists()
