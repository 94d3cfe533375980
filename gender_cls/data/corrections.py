"""Corrected labels: `suspects.csv` of an audit, with its last column filled in by a person."""

from pathlib import Path

import pandas as pd

from gender_cls.config.data import CLASSES, UNKNOWN
from gender_cls.data.image_list import spellings
from gender_cls.data.text_table import read_text_table
from gender_cls.errors import GenderClsError, first_few, plural, require


def apply_corrections(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The table with corrected labels; rows of the file with an empty `corrected_label` change nothing.

    The new column `original_label` holds the label before a correction, and is empty for the other images.

    Raises:
        GenderClsError: the file lacks a column, names images or labels that do not exist, or was made for other labels.
    """
    columns = ("path", "label", "corrected_label")
    corrections = read_text_table(file, f"data.corrections ({file})", columns, as_written="path")
    known = set(table["path"])
    corrections["path"] = [next((one for one in spellings(path) if one in known), path) for path in corrections["path"]]
    given = {name.lower(): name for name in (*CLASSES, UNKNOWN)}
    corrections["corrected_label"] = corrections["corrected_label"].str.lower()
    corrections = corrections[corrections["corrected_label"] != ""]
    for row in corrections[~corrections["corrected_label"].isin(given)].itertuples():
        raise GenderClsError(
            f"data.corrections says '{row.corrected_label}' for {row.path}: corrected_label must be "
            f"{', '.join(CLASSES)}, {UNKNOWN} or empty ({file})."
        )
    twice = corrections["path"][corrections["path"].duplicated()]
    require(twice.empty, f"data.corrections names {first_few(twice)} more than once: {file}.")
    wanted = corrections.set_index("path")["corrected_label"].map(given)
    strange = wanted.index.difference(pd.Index(table["path"]))
    require(
        strange.empty,
        f"data.corrections names {plural(len(strange), 'image that is', 'images that are')} not in the data: "
        f"{first_few(strange)} ({file}).",
    )
    believed = corrections.set_index("path")["label"].reindex(table["path"]).to_numpy()
    label = table["path"].map(wanted)
    changed = label.notna() & (label != table["label"])
    other = changed & (table["label"] != believed)
    for row in table[other].itertuples():
        raise GenderClsError(
            f"data.corrections was made for other labels: {row.path} is {row.label} in the data ({file})."
        )
    return table.assign(label=table["label"].mask(changed, label), original_label=table["label"].where(changed, ""))


def count_corrections(table: pd.DataFrame) -> dict[str, int]:
    """How many labels were corrected, by `FROM to TO`."""
    if "original_label" not in table:
        return {}
    changed = table[table["original_label"] != ""]
    counts = (changed["original_label"] + " to " + changed["label"]).value_counts().sort_index()
    return {str(change): int(count) for change, count in counts.items()}
