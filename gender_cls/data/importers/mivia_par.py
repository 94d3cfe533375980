"""MIVIA PAR (Greco and Vento, PAR contest, CAIP 2023): `training_set.txt`, `validation_set.txt` -> a table."""

from pathlib import Path

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.importers.attributes import Attributes
from gender_cls.data.importers.needed_files import needed
from gender_cls.data.text_table import read_text_table
from gender_cls.errors import require

TERMS = (
    "ask for MIVIA PAR at https://mivia.unisa.it (its terms come with it; citation of Greco and Vento, CAIP 2023) and "
    "put training_set.txt, validation_set.txt and the folders of the same names under data.root"
)
PARTS = {"training_set": "train", "validation_set": "val"}
COLOURS_OF_CLOTHES = dict.fromkeys((-1, *range(1, 12)), "a colour, or none is known")
MEANINGS = {
    "upper": COLOURS_OF_CLOTHES,
    "lower": COLOURS_OF_CLOTHES,
    "gender": {-1: UNKNOWN, 0: "MALE", 1: "FEMALE"},
    "bag": {-1: "", 0: "nothing", 1: "bag"},
    "hat": {-1: "", 0: "no", 1: "yes"},
}
"""Attributes in the order of the columns that follow the image's name. The files have no header: all values are
checked, to see that the order is right."""


def read_mivia_par(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per annotated image. Neither people nor cameras are known."""
    return pd.concat([_read(root, part, split) for part, split in PARTS.items()], ignore_index=True)


def _read(root: Path, part: str, split: str) -> pd.DataFrame:
    annotation = needed(root, f"{part}.txt", terms=TERMS)
    needed(root, part, terms=TERMS)
    columns = ", ".join(["image", *MEANINGS])
    content = f"lines of {columns}"
    rows = read_text_table(annotation, str(annotation), content=content, header=False)
    require(
        rows.shape[1] == 1 + len(MEANINGS),
        f"{annotation} has {rows.shape[1]} values a line, expected {1 + len(MEANINGS)} with commas between: {columns}.",
    )
    attributes = Attributes(list(MEANINGS), rows.to_numpy()[:, 1:], annotation)
    texts = {name: attributes.meanings(meaning, name) for name, meaning in MEANINGS.items()}
    paths = part + "/" + rows["0"]
    return pd.DataFrame({"path": paths, "label": texts["gender"], "split": split, "carrying": texts["bag"]})
