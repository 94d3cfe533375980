"""PA-100K (Liu et al., "HydraPlus-Net", ICCV 2017): `annotation.mat` -> a table."""

from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import SPLITS, DataConfig
from gender_cls.data.importers.attributes import check_published_split, column, flagged, meanings
from gender_cls.data.importers.files import check_images, needed_file, needed_folder
from gender_cls.data.importers.matlab import matrix, read_mat, texts, variable

TERMS = (
    "get PA-100K from https://github.com/xh-liu/HydraPlus-Net (CC BY 4.0: name the authors, Liu et al., ICCV 2017) and "
    "put annotation.mat beside the folder data of its images"
)


def read_pa100k(root: Path, data: DataConfig) -> pd.DataFrame:
    """A row an annotated image. Images that the annotations do not name are left out.

    Raises:
        GenderClsError: files are missing, or the annotations are not as published.
    """
    check_published_split(data, ["official"])
    annotation = needed_file(root, ["annotation.mat"], TERMS)
    folder = needed_folder(root, ["data", "release_data/release_data", "release_data"], TERMS)
    mat = read_mat(annotation)
    attributes = texts(variable(mat, "attributes", annotation), annotation)
    images = {split: texts(variable(mat, f"{split}_images_name", annotation), annotation) for split in SPLITS}
    values = np.concatenate(
        [matrix(variable(mat, f"{split}_label", annotation), len(names), annotation) for split, names in images.items()]
    )
    paths = [f"{folder}/{name}" for names in images.values() for name in names]
    check_images(root, paths, annotation)
    female = column(attributes, values, ["Female"], annotation)
    splits = [split for split, names in images.items() for _ in names]
    return pd.DataFrame(
        {
            "path": paths,
            "label": meanings(female, {0: "MALE", 1: "FEMALE"}, "Female", annotation),
            "split": splits if data.published_split else "",
            "view": flagged(attributes, values, "(Front|Side|Back)"),
            "age": flagged(attributes, values, "Age(.+)"),
            "carrying": flagged(attributes, values, "(.*Bag|Backpack|HoldObjectsInFront)", none="nothing"),
        }
    )
