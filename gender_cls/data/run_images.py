"""The images of a finished run: with the pixels that they had in training, or an error."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from gender_cls.config.data import SPLITS, DataConfig, PixelCache
from gender_cls.data.cache.database import CacheError
from gender_cls.data.columns import MANIFEST_COLUMNS
from gender_cls.data.csv_text import read_csv_text
from gender_cls.data.image_store import HASH_BYTES, ChangedImageError, ImageStore, Scanned
from gender_cls.data.scan import Scan, scan
from gender_cls.errors import GenderClsError, count, first_few, one_line, plural, require
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)


def recorded_rows(run: Run) -> pd.DataFrame:
    """The rows of a run's `manifest.csv`; columns that an earlier version did not write are empty.

    Raises:
        GenderClsError: it is missing or damaged.
    """
    try:
        rows = read_csv_text(run.manifest)
    except FileNotFoundError:
        raise GenderClsError(f"{run.manifest} is missing: restore it, or train the run again.") from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise GenderClsError(f"{run.manifest} cannot be read ({one_line(error)}): restore it.") from None
    lacking = [column for column in (*MANIFEST_COLUMNS, "pixels", "perceptual_hash") if column not in rows]
    required = {"path", "label", "split"}.intersection(lacking)
    require(not required, f"{run.manifest} has no column '{', '.join(sorted(required))}': restore it.")
    _require_whole(run, rows)
    return rows.assign(**dict.fromkeys(lacking, ""))


def _require_whole(run: Run, rows: pd.DataFrame) -> None:
    """Raise GenderClsError if the manifest lost rows: what the run was trained on would be taken for unseen."""
    for split, of_split in run.data.items():
        if split in SPLITS and isinstance(of_split, dict) and "images" in of_split:
            found, then = int((rows["split"] == split).sum()), of_split["images"]
            require(
                found == then,
                f"{run.manifest} has {plural(found, 'row')} of {split}, and {then} in training: restore it.",
            )


def with_measurements(rows: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """The rows with the columns `native_height`, `brightness` and `sharpness`, from the facts of the same rows."""
    brightness, sharpness = facts["brightness"].round(1), facts["sharpness"].round(3)
    return rows.assign(native_height=facts["height"], brightness=brightness, sharpness=sharpness)


def scan_for_answers(rows: pd.DataFrame, root: Path, cache: Path, data: DataConfig) -> Scan:
    """`scan` for a finished run: if pixels cannot be kept any more, images are decoded each time.

    Args:
        rows: with `path`, and with `pixels` as they were in training; earlier versions did not record them.

    Raises:
        ChangedImageError: images have other pixels now.
    """
    paths = rows["path"].tolist()
    try:
        found = scan(paths, root, cache, data)
    except CacheError as error:
        log.warning(f"Images are decoded each time they are needed: {error}")
        found = scan(paths, root, cache, replace(data, cache=PixelCache.none))
    require_same_pixels(
        rows, found.facts["pixels"], f" below {root}", "Restore them, or name their folder (data_root)."
    )
    return found


def require_same_pixels(rows: pd.DataFrame, now: pd.Series, where: str, way_out: str) -> None:
    """Raise ChangedImageError if images that can be read have other pixels than their rows say.

    Args:
        rows: with `path`, and `pixels` if they are known.
        now: their pixels today, see `Scan`; empty for an image that cannot be read.
    """
    if "pixels" not in rows:  # written by an earlier version
        return
    changed = [
        path
        for path, one, other in zip(rows["path"], rows["pixels"], now, strict=True)
        if one != other != "" and len(one) == 2 * HASH_BYTES  # earlier versions kept a user's column of that name
    ]
    if changed:
        pillow = (
            " (Another version of Pillow may decode all images in another way.)" if len(changed) == len(rows) else ""
        )
        raise ChangedImageError(
            f"The pixels of {count(len(changed))} of {plural(len(rows), 'image')}{where} have changed since this run "
            f"was trained: {first_few(changed)}. {way_out}{pillow}"
        )


def decoded_when_needed(rows: pd.DataFrame, root: Path, cache: Path, data: DataConfig) -> ImageStore:
    """Images of a finished run: when the first one is asked for, all existing files of `rows` are scanned.

    Args:
        rows: see `scan_for_answers`, whose errors come then.
    """

    def known() -> Scanned | None:
        existing = rows[[(root / path).is_file() for path in rows["path"]]]
        return scan_for_answers(existing, root, cache, data).images.scanned

    return ImageStore(root, known)
