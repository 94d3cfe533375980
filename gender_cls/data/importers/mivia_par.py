"""MIVIA PAR (Greco and Vento, PAR contest, CAIP 2023): `training_set.txt`, `validation_set.txt` -> a table."""

from pathlib import Path

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.importers.attributes import meanings
from gender_cls.data.importers.files import needed
from gender_cls.errors import GenderClsError, require

TERMS = (
    "ask for MIVIA PAR at https://mivia.unisa.it (its terms come with it; citation of Greco and Vento, CAIP 2023) and "
    "put training_set.txt, validation_set.txt and the folders of the same names under data.root"
)
PARTS = {"training_set": "train", "validation_set": "val"}
COLUMNS = ["image", "upper", "lower", "gender", "bag", "hat"]
"""The files have no header: the values that occur in each column are checked, to see that the order is right."""

COLOURS = {-1: "", **{colour: str(colour) for colour in range(1, 12)}}
MEANINGS = {
    "upper": COLOURS,
    "lower": COLOURS,
    "gender": {-1: UNKNOWN, 0: "MALE", 1: "FEMALE"},
    "bag": {-1: "", 0: "nothing", 1: "bag"},
    "hat": {-1: "", 0: "no", 1: "yes"},
}


def read_mivia_par(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per annotated image. Neither people nor cameras are known."""
    return pd.concat([_read(root, part, split) for part, split in PARTS.items()], ignore_index=True)


def _read(root: Path, part: str, split: str) -> pd.DataFrame:
    annotation = needed(root, f"{part}.txt", terms=TERMS)
    needed(root, part, terms=TERMS)
    try:
        rows = pd.read_csv(annotation, header=None, dtype=str, keep_default_na=False, skipinitialspace=True)
    except ValueError as error:  # pandas' parser errors are ValueErrors, and so are wrong encodings
        raise GenderClsError(f"{annotation} cannot be read as lines of {', '.join(COLUMNS)}: {error}.") from None
    require(
        rows.shape[1] == len(COLUMNS),
        f"{annotation} has {rows.shape[1]} values a line, expected {len(COLUMNS)} with commas between: "
        f"{', '.join(COLUMNS)}.",
    )
    rows.columns = pd.Index(COLUMNS)
    texts = {name: meanings(rows[name], meaning, name, annotation) for name, meaning in MEANINGS.items()}
    return pd.DataFrame(
        {"path": part + "/" + rows["image"], "label": texts["gender"], "split": split, "carrying": texts["bag"]}
    )
