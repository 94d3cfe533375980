"""The columns of a manifest: their names, the values that they may have, and values that stand for nothing."""

import logging
import unicodedata
from collections.abc import Collection, Iterable

import pandas as pd

from gender_cls.config.data import CLASSES, SPLITS, UNKNOWN, DataConfig
from gender_cls.data.text_table import BLANKS
from gender_cls.errors import first_few, plural

log = logging.getLogger(__name__)

MANIFEST_COLUMNS = ("path", "label", "identity", "camera", "source", "split")
CUE_BOX = ("cue_left", "cue_top", "cue_right", "cue_bottom")
"""Where what tells the label lies in an image (`cue_boxes.py`)."""

USED_COLUMNS = ("frame", "sequence", "reviewed_label", *CUE_BOX)
"""Further columns that mean something if a table or `data.pattern` has them."""

SPLIT_ALIASES = {
    **{"training": "train", "trainval": "train", "valid": "val", "validation": "val"},
    **{split: split for split in SPLITS},
}


def splits_next_to_trainval(names: Collection[str]) -> list[str]:
    """Names of train and val, if `trainval` stands among the names too: then it is not clear what belongs to train."""
    others = {name for name, split in SPLIT_ALIASES.items() if split != "test"} - {"trainval"}
    return sorted(others.intersection(names)) if "trainval" in names else []


GIVEN = "given_"
PROGRAM_COLUMNS = frozenset(
    (
        *("original_label", "group", "width", "height", "pixels", "perceptual_hash"),  # manifest.csv
        *("native_height", "brightness", "sharpness"),  # predictions.csv
        *("p_FEMALE", "p_MALE", "prediction", "calibrated_p_FEMALE", "answer"),
        *("unreadable", "missing", "empty", "no_picture", "damaged", "reason"),  # audit.csv
        *("wrong_extension", "animated", "low", "dark", "bright", "blurred", "odd_aspect"),
        *("too_large", "transparent"),
        *(f"{kind}_{what}" for kind in ("exact", "near") for what in ("duplicates", "across_labels", "across_splits")),
        *("duplicate_cluster", "identity_across_splits", "identity_with_both_labels"),
        *("suspect", "suggested_label", "suspect_score"),
    )
)
"""What the program adds to a manifest's rows. The user's own columns of these names are called `given_...` instead."""

_NOTHING = {"nan", "none", "null", "nat", "unknown", "-1", "-1.0", "<na>", "n/a", "?", "-"}
_NOTHING_IN_CAPITALS = {"NA", "N/A", "#N/A"}  # Na is a family name


def label_names(data: DataConfig) -> dict[str, str]:
    """Label of each alias in lower case; each label is an alias of itself."""
    aliases = {alias.lower(): label for label in CLASSES for alias in (label, *data.aliases[label])}
    return {**aliases, UNKNOWN: UNKNOWN}


def given_names(columns: Iterable[str]) -> dict[str, str]:
    """New names for those of the user's columns that are called like the program's."""
    return {column: f"{GIVEN}{column}" for column in columns if column in PROGRAM_COLUMNS or column.startswith(GIVEN)}


def stands_for_nothing(value: str) -> bool:
    """Whether a program wrote this text for a missing value: nan, None, NULL, NA, unknown, -1."""
    return value.casefold() in _NOTHING or value in _NOTHING_IN_CAPITALS


def warn_of_spellings(table: pd.DataFrame, where: object) -> None:
    """Warn of identities that look alike but differ: they count as different people, who may go to different splits.

    Args:
        where: the table is from, for the warning.
    """
    first: dict[str, str] = {}
    alike = []
    for identity in table["identity"].unique().tolist() if "identity" in table else ():
        other = first.setdefault(_without_spelling(identity), identity)
        if other != identity:
            alike.append(f"{other!a} and {identity!a}")
    if alike:
        log.warning(
            f"{where}: {plural(len(alike), 'pair')} of identities that look alike count as different people: "
            f"{first_few(alike)}. Spell them the same way if they are one person."
        )


def _without_spelling(identity: str) -> str:
    """The identity without capitals, blanks, invisible characters, variants of a letter, and zeros after the point."""
    if not identity.isascii():
        identity = "".join(sign for sign in unicodedata.normalize("NFKC", identity) if sign not in BLANKS)
    return identity.casefold().replace(" ", "").removesuffix(".0")


def without_placeholders(table: pd.DataFrame, where: object) -> pd.DataFrame:
    """The table with empty cells instead of texts that stand for nothing: these would all be one person or camera.

    In a column of identities, 0 stands for nothing too if there is no other value. A warning counts what was emptied.

    Args:
        where: the table comes from, for the warning.
    """
    for column in ("identity", "camera", "source", "sequence", "frame"):
        if column not in table:
            continue
        values = table[column].unique()
        nothing = [value for value in values if stands_for_nothing(value)]
        if column == "identity" and set(values) - {"", *nothing} in ({"0"}, {"0.0"}):
            nothing += ["0", "0.0"]
        emptied = table[column].isin(nothing)
        if emptied.any():
            counts = table[column][emptied].value_counts()
            said = first_few(f"'{value}' ({count})" for value, count in counts.items())
            log.warning(f"{where}: the {column} of {emptied.sum()} of {len(table)} images is unknown: {said}.")
            table = table.assign(**{column: table[column].mask(emptied, "")})
    return table
