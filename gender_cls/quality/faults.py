"""Faults of image files: what makes an image unusable, or unusual enough to be looked at."""

from typing import get_args

import pandas as pd
from PIL import Image

from gender_cls.config.audit import AuditSettings
from gender_cls.data.image_files import Fault

FAULTS = {
    "unreadable": "cannot be read: missing, empty, not an image or damaged",
    "missing": "the file does not exist",
    "empty": "the file has no bytes",
    "no_picture": "the file is not an image of a supported format",
    "damaged": "the header is fine, but the pixels are cut off or broken",
    "too_large": "more pixels than data.max_megapixels",
    "wrong_extension": "the contents of the file have another format than its name says",
    "animated": "more than one frame, of which only the first is used",
    "transparent": "transparent in places, which are shown as grey",
    "low": "lower than audit.min_height={min_height} pixels",
    "dark": "mean brightness below audit.dark={dark:g} of 255",
    "bright": "mean brightness above audit.bright={bright:g} of 255",
    "blurred": "sharpness below audit.blurred={blurred:g}",
    "odd_aspect": "height / width below audit.min_aspect={min_aspect:g} or above audit.max_aspect={max_aspect:g}",
}
"""Name of a fault -> what it means; `describe_faults` fills in the values of the settings."""


def describe_faults(settings: AuditSettings) -> dict[str, str]:
    """FAULTS with the values of the settings."""
    return {name: sentence.format_map(vars(settings)) for name, sentence in FAULTS.items()}


def find_faults(table: pd.DataFrame, facts: pd.DataFrame, settings: AuditSettings) -> pd.DataFrame:
    """One row per image, with a boolean column for each of FAULTS; an unreadable image has no other faults.

    Args:
        table: with the column path.
        facts: of the same rows, from `scan`.
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
            "transparent": readable & (facts["transparency"] > 0),
            "low": readable & (height < settings.min_height),
            "dark": readable & (brightness < settings.dark),
            "bright": readable & (brightness > settings.bright),
            "blurred": readable & (facts["sharpness"] < settings.blurred),
            "odd_aspect": readable & ((height < settings.min_aspect * width) | (height > settings.max_aspect * width)),
        }
    )


def _wrong_extension(paths: pd.Series, formats: pd.Series) -> pd.Series:
    """Where the suffix belongs to another format; a suffix that is missing or unknown to Pillow is not wrong."""
    promised = paths.str.extract(r"(\.[^./]+)$", expand=False).str.lower().map(Image.registered_extensions())
    # Pillow calls a JPEG file MPO if the camera has added a second image, such as a preview.
    same = {"MPO": "JPEG", "DIB": "BMP"}
    return promised.notna() & (promised.replace(same) != formats.replace(same))
