"""The facts of each image -> which of them make it unfit, or odd enough to be looked at."""

from typing import get_args

import pandas as pd
from PIL import Image

from gender_cls.config.audit import AuditSettings
from gender_cls.data.image_files import Fault

FAULTS = {
    "unreadable": "cannot be read: missing, empty, no picture or damaged",
    "missing": "the file does not exist",
    "empty": "the file has no bytes",
    "no_picture": "the file is no picture of a format that is read",
    "damaged": "the header is fine, but the pixels are cut off or broken",
    "wrong_extension": "the file's contents are of another format than its name says",
    "animated": "more than one frame, of which only the first is used",
    "low": "lower than audit.min_height={min_height} pixels",
    "dark": "mean brightness below audit.dark={dark:g} of 255",
    "bright": "mean brightness above audit.bright={bright:g} of 255",
    "blurred": "sharpness below audit.blurred={blurred:g}",
    "odd_aspect": "height / width below audit.min_aspect={min_aspect:g} or above audit.max_aspect={max_aspect:g}",
}
"""Name of a fault -> what it means; the settings' values are for `describe_faults` to fill in."""


def describe_faults(settings: AuditSettings) -> dict[str, str]:
    """FAULTS with the values of the settings."""
    return {name: sentence.format_map(vars(settings)) for name, sentence in FAULTS.items()}


def picture_faults(table: pd.DataFrame, facts: pd.DataFrame, settings: AuditSettings) -> pd.DataFrame:
    """A boolean column for each of FAULTS, a row an image.

    Only of a readable image can more be said than why it is unreadable.

    Args:
        table: with the column path.
        facts: of the same rows, see `scan`.
        settings: the limits.
    """
    readable = facts["fault"] == ""
    height, width, brightness = facts["height"], facts["width"], facts["brightness"]
    return pd.DataFrame(
        {
            "unreadable": ~readable,
            **{fault: facts["fault"] == fault for fault in get_args(Fault)},
            "wrong_extension": readable & _wrong_extension(table["path"], facts["format"]),
            "animated": readable & (facts["frames"] > 1),
            "low": readable & (height < settings.min_height),
            "dark": readable & (brightness < settings.dark),
            "bright": readable & (brightness > settings.bright),
            "blurred": readable & (facts["sharpness"] < settings.blurred),
            "odd_aspect": readable & ((height < settings.min_aspect * width) | (height > settings.max_aspect * width)),
        }
    )


def _wrong_extension(paths: pd.Series, formats: pd.Series) -> pd.Series:
    """Where the suffix is one of another format; no suffix, or one that Pillow does not know, promises nothing."""
    promised = paths.str.extract(r"(\.[^./]+)$", expand=False).str.lower().map(Image.registered_extensions())
    # Pillow calls a JPEG MPO when cameras have put a second one, such as a preview, behind the first.
    return promised.notna() & (promised.replace("MPO", "JPEG") != formats.replace("MPO", "JPEG"))
