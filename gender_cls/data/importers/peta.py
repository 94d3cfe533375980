"""PETA (Deng et al., ACM MM 2014): the ten folders with their `Label.txt`, or `PETA.mat` -> a table."""

import logging
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.folders import image_names
from gender_cls.data.image_files import IMAGE_SUFFIXES
from gender_cls.data.importers.attributes import Attributes
from gender_cls.data.importers.matlab import MatFile
from gender_cls.data.importers.needed_files import needed
from gender_cls.data.split import assign_splits
from gender_cls.data.text_table import BLANKS, read_text
from gender_cls.errors import first_few, plural, require

log = logging.getLogger(__name__)

TERMS = (
    "get PETA from http://mmlab.ie.cuhk.edu.hk/projects/PETA.html (research only, not commercial; citation of Deng et "
    "al., ACM MM 2014), or PETA.mat and its folder images as "
    "https://github.com/dangweili/pedestrian-attribute-recognition-pytorch says, and point data.root to the folder "
    "that holds them"
)
SHARES = DataConfig(val_fraction=0.1, test_fraction=0.4)
"""The shares of the published splits: 9500, 1900 and 7600 images."""

SUBSETS = ["3DPeS", "CAVIAR4REID", "CUHK", "GRID", "i-LID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR"]
"""In the order of their numbers in PETA.mat, which start at 1."""

SEXES = ["personalMale", "personalFemale"]

# What the file names of a subset tell in addition to the person. The frames of TownCentre are those of one recording.
NAME_PARTS = {
    "3DPeS": r"_(?P<sequence>\d+)_FRAME_(?P<frame>\d+)_",
    "MIT": r"_(?P<view>fore|back)\.",
    "TownCentre": r"_(?P<frame>\d+)\.",
}


def read_peta(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per image, from the folders if they exist and no published split is asked for, else from `PETA.mat`.

    The identity is the subset and the person in it; the subset stands for source and camera, which are not annotated.
    """
    folders = sorted(folder for folder in root.glob("*/archive") if folder.is_dir())
    if data.published_split is None and folders:
        return pd.concat([_read_folder(root, folder) for folder in folders], ignore_index=True).fillna("")
    return _read_mat(root, data)


def _read_folder(root: Path, folder: Path) -> pd.DataFrame:
    """The table of one subset. Images of people whom `Label.txt` does not describe have an unknown label."""
    annotation = needed(root, folder.relative_to(root).as_posix() + "/Label.txt", terms=TERMS)
    people = _people(annotation)
    subset = folder.parent.name
    names = pd.Series(image_names(folder), dtype="str")
    person = names.map(lambda name: _without_suffix(name.partition("_")[0]))
    require(
        len(names) == 0 or bool(person.isin(people.index).any()),
        f"{annotation} describes none of the {plural(len(names), 'image')} next to it, such as {first_few(names)}: "
        "does it belong to another subset?",
    )
    table = pd.DataFrame({"path": folder.relative_to(root).as_posix() + "/" + names, "identity": subset + "_" + person})
    table = table.assign(camera=subset, source=subset, split="")
    if subset in NAME_PARTS:
        table = table.join(names.str.extract(NAME_PARTS[subset]).replace({"fore": "front"}))
    described = people.reindex(person).reset_index(drop=True).fillna({"label": UNKNOWN})
    return table.join(described)


def _people(annotation: Path) -> pd.DataFrame:
    """Label, age and carried things by person. Lines are `person attribute attribute ...`, with blanks or commas."""
    words = [
        re.split(r"[\s,;]+", line.strip(f"{BLANKS},;")) for line in read_text(annotation, str(annotation)).splitlines()
    ]
    described: dict[str, set[str]] = {}
    for person, *attributes in ((person, *map(str.lower, names)) for person, *names in words if person):
        known = described.setdefault(_without_suffix(person), set(attributes))
        require(known == set(attributes), f"{annotation} describes person {person} twice, in different ways.")
    sexes = set(map(str.lower, SEXES))
    require(
        not described or any(sexes & attributes for attributes in described.values()),
        f"{annotation} gives nobody one of {' and '.join(SEXES)}: its lines must be a person and the attributes.",
    )
    names = sorted(sexes.union(*described.values()))
    has = [[name in attributes for name in names] for attributes in described.values()]
    values = np.array(has, dtype=np.uint8).reshape(len(described), len(names))
    return _described(Attributes(names, values, annotation)).set_index(pd.Index(described, dtype="str"))


def _without_suffix(name: str) -> str:
    """The name without an image suffix: `Label.txt` of CUHK names a person by the whole file name."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def _described(attributes: Attributes) -> pd.DataFrame:
    """Label, age and carried things of each row. Both sexes at once contradict each other: the label is unknown."""
    male, female = (attributes.meanings({0: "no", 1: "yes"}, sex) == "yes" for sex in SEXES)
    if both := (male & female).sum():
        who = plural(int(both), "person or image", "people or images")
        log.warning(f"{attributes.annotation} gives both sexes to {who}: the label is {UNKNOWN}.")
    return pd.DataFrame(
        {
            "label": np.select([male & ~female, female & ~male], ["MALE", "FEMALE"], UNKNOWN),
            "age": attributes.flagged(r"personal((?:Less|Larger)\d+)"),
            "carrying": attributes.flagged("carrying(.+)"),
        }
    )


def _read_mat(root: Path, data: DataConfig) -> pd.DataFrame:
    """`PETA.mat`: row i is `images/<i, five digits>.png`; four columns of numbers come before the attributes."""
    instead = ["*/archive/Label.txt"] if data.published_split is None else []  # only the error names it
    annotation = needed(root, *instead, "PETA.mat", terms=TERMS)
    mat = MatFile(annotation)
    names = mat.texts("peta", "attribute")
    rows = len(np.atleast_2d(mat.value("peta", "data")))
    values = mat.matrix("peta", "data", rows=rows)
    require(
        values.shape[1] == len(names) + 4,
        f"{annotation} has {values.shape[1]} columns for {len(names)} attributes: expected 4 more (image, person, "
        "subset, person in the subset).",
    )
    subset, identity = _identities(values[:, :4], annotation)
    described = _described(Attributes(names, values[:, 4:], annotation))
    contradictory = (described["label"] == UNKNOWN).mean()
    require(
        contradictory < 0.1,
        f"{annotation} gives neither or both of {' and '.join(SEXES)} to {contradictory:.0%} of the images: its "
        "columns are not in the published order.",
    )
    table = pd.DataFrame({"path": [f"images/{row:05d}.png" for row in range(1, rows + 1)], "identity": identity})
    table = table.assign(camera=subset, source=subset).join(described)
    if data.published_split == "zero_shot":
        return table.assign(split=_zero_shot(table))
    field = "partion_attribute"  # spelled like this in the file
    return table.assign(split=mat.splits("peta", field, number=data.published_split, images=rows))


def _identities(numbers: NDArray, annotation: Path) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """The subset and the identity of each row, from the columns image, person, subset, person in the subset.

    Nothing in the file names these columns, so they must confirm each other.
    """
    image, _, subset, local = numbers.T
    people = [len(np.unique(numbers[:, columns], axis=0)) for columns in ([1], [2, 3], [1, 2, 3])]
    require(
        bool((image == np.arange(1, len(image) + 1)).all() and np.isin(subset, range(1, len(SUBSETS) + 1)).all())
        and len(set(people)) == 1,
        f"The first 4 columns of {annotation} are not image, person, subset (1 to {len(SUBSETS)}) and person in the "
        "subset as published: is it another version?",
    )
    names = np.array(SUBSETS, dtype=object)[subset.astype(int) - 1]
    return names, names + "_" + local.astype(int).astype(str).astype(object)


def _zero_shot(table: pd.DataFrame) -> pd.Series:
    """(rows,) a split with no person in two parts, with the shares of the published splits; it is always the same.

    After Jia et al., "Rethinking of Pedestrian Attribute Recognition" (arXiv 2107.03576), whose own split is not in the
    file: theirs is of the same kind, with other people in each part.
    """
    return assign_splits(table.assign(group=table["identity"], split=""), SHARES)["split"]
