"""Standard pedestrian datasets, as their authors distribute them -> a table like that of a CSV file."""

from pathlib import Path

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig, Importer
from gender_cls.data.importers.market1501 import read_market1501
from gender_cls.data.importers.mivia_par import read_mivia_par
from gender_cls.data.importers.pa100k import read_pa100k
from gender_cls.data.importers.peta import read_peta
from gender_cls.data.importers.rap import read_rap
from gender_cls.data.importers.upar import read_upar
from gender_cls.errors import require


def read_dataset(data: DataConfig) -> pd.DataFrame:
    """Read the annotations of `data.importer`'s dataset under `data.root`. No image is opened, nothing is downloaded.

    Returns:
        A row an image, all of it strings, empty where unknown: `path` (posix, relative to `data.root`), `label` (one of
        CLASSES or UNKNOWN) and `split` (of `data.published_split`; empty for images of unknown label), and what the
        dataset knows of `identity`, `camera`, `source`, `sequence` and `frame` (in a camera's recording), `view`,
        `occlusion`, `age` and `carrying` (several joined by semicolons).

    Raises:
        GenderClsError: a file is missing (with where one gets it and what its licence demands), or the annotations are
            not as published.
    """
    assert data.root is not None, "DataConfig.check asks for it"
    root = Path(data.root)
    require(root.is_dir(), f"data.root is no folder: {root}.")
    match data.importer:
        case Importer.peta:
            table = read_peta(root, data)
        case Importer.pa100k:
            table = read_pa100k(root, data)
        case Importer.rap_v1 | Importer.rap_v2:
            table = read_rap(root, data)
        case Importer.market1501:
            table = read_market1501(root, data)
        case Importer.upar:
            table = read_upar(root, data)
        case Importer.mivia_par:
            table = read_mivia_par(root, data)
        case None:
            raise AssertionError("the caller asks for a dataset")
    return table.assign(split=table["split"].where(table["label"] != UNKNOWN, "")).astype(str)
