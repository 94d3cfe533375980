"""Market-1501 (Zheng et al., ICCV 2015) with the attributes of Lin et al. (2019): `market_attribute.mat` -> a table."""

from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.folders import image_names
from gender_cls.data.importers.attributes import Attributes
from gender_cls.data.importers.matlab import MatFile
from gender_cls.data.importers.needed_files import needed
from gender_cls.errors import first_few, plural, require

TERMS = (
    "get the images from the authors of Market-1501 (no licence is stated, so ask before any use but research; "
    "citation of Zheng et al., ICCV 2015) and market_attribute.mat from "
    "https://github.com/vana77/Market-1501_Attribute (citation of Lin et al., Pattern Recognition 2019)"
)
FOLDERS = {"bounding_box_train": "train", "bounding_box_test": "test", "query": "test"}
NOBODY = ("-1", "0000")
"""In file names: a piece of a person or of the background, and a person that is no query (a distractor)."""

MEANINGS: dict[str, dict[int, str]] = {
    "gender": {1: "MALE", 2: "FEMALE"},
    "age": {1: "young", 2: "teenager", 3: "adult", 4: "old"},
    **{bag: {1: "no", 2: "yes"} for bag in ("backpack", "bag", "handbag")},
}
"""Of the values of each attribute that is read."""

NAME = r"^(?P<identity>-1|\d{4})_(?P<camera>c\d)(?P<sequence>s\d)_(?P<frame>\d+)_\d+\."


def read_market1501(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per image of the three folders; pieces and distractors have neither label nor identity.

    `sequence` names the recording of a camera that `frame` counts in.
    """
    annotation = needed(root, "market_attribute.mat", "attribute/market_attribute.mat", terms=TERMS)
    names = {folder: image_names(needed(root, folder, terms=TERMS)) for folder in FOLDERS}
    rows = [(f"{folder}/{name}", split) for folder, split in FOLDERS.items() for name in names[folder]]
    table = pd.DataFrame(rows, columns=["path", "split"], dtype="str")
    table = table.join(name_parts(table["path"]))
    strange = table["path"][table["camera"] == ""]
    require(
        strange.empty,
        f"{root} holds {plural(len(strange), 'image')} whose name is not Market-1501's (such as "
        f"0002_c1s1_000451_03.jpg): {first_few(strange)}.",
    )
    people = _people(annotation)
    unlisted = table["path"][~table["identity"].isin(["", *people.index])]
    require(
        unlisted.empty,
        f"{annotation} has no attributes of the people in {plural(len(unlisted), 'image')}: {first_few(unlisted)}; is "
        "it of another dataset?",
    )
    return table.join(people, on="identity").fillna({"label": UNKNOWN, "age": "", "carrying": ""})


def name_parts(paths: pd.Series) -> pd.DataFrame:
    """Identity, camera, sequence and frame from Market-1501's file names; all empty if a name has another form.

    Pieces and distractors keep only their camera: frames would link the people around them.
    """
    parts = paths.str.rpartition("/")[2].str.extract(NAME).fillna("")
    nobody = parts["identity"].isin(NOBODY)
    parts.loc[nobody, ["identity", "sequence", "frame"]] = ""
    return parts


def _people(annotation: Path) -> pd.DataFrame:
    """Label, age and bags of each annotated person. Fields are found by name: their order differs between parts."""
    mat = MatFile(annotation)
    people = []
    for part in ("train", "test"):
        values = [np.atleast_1d(mat.value("market_attribute", part, name)) for name in MEANINGS]
        attributes = Attributes(list(MEANINGS), np.stack(values, axis=1), annotation)
        texts = {name: attributes.meanings(meaning, name) for name, meaning in MEANINGS.items()}
        carrying = attributes.flagged("(backpack|bag|handbag)", none="nothing", flag=2)
        index = mat.texts("market_attribute", part, "image_index")
        people.append(pd.DataFrame({"label": texts["gender"], "age": texts["age"], "carrying": carrying}, index=index))
    table = pd.concat(people)
    twice = table.index[table.index.duplicated()]
    require(twice.empty, f"{annotation} describes {plural(len(twice), 'person', 'people')} twice: {first_few(twice)}.")
    return table
