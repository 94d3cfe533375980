"""PA-100K (Liu et al., "HydraPlus-Net", ICCV 2017): `annotation.mat` -> a table."""

from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import SPLITS, DataConfig
from gender_cls.data.importers.attributes import Attributes
from gender_cls.data.importers.matlab import MatFile
from gender_cls.data.importers.needed_files import needed

TERMS = (
    "get PA-100K from https://github.com/xh-liu/HydraPlus-Net (CC BY 4.0: name the authors, Liu et al., ICCV 2017) and "
    "put annotation.mat next to the folder data of its images"
)


def read_pa100k(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per annotated image. Images that the annotations do not name are left out."""
    annotation = needed(root, "annotation.mat", terms=TERMS)
    folder = needed(root, "data", "release_data/release_data", "release_data", terms=TERMS)
    mat = MatFile(annotation)
    images = {split: mat.texts(f"{split}_images_name") for split in SPLITS}
    values = [mat.matrix(f"{split}_label", rows=len(names)) for split, names in images.items()]
    attributes = Attributes(mat.texts("attributes"), np.concatenate(values), annotation)
    prefix = folder.relative_to(root).as_posix()
    return pd.DataFrame(
        {
            "path": [f"{prefix}/{name}" for names in images.values() for name in names],
            "label": attributes.meanings({0: "MALE", 1: "FEMALE"}, "Female"),
            "split": [split for split, names in images.items() for _ in names],
            "view": attributes.flagged("(Front|Side|Back)"),
            "age": attributes.flagged("Age(.+)"),
            "carrying": attributes.flagged("(.*Bag|Backpack|HoldObjectsInFront)", none="nothing"),
        }
    )
