"""Standard pedestrian datasets, as their authors distribute them -> a table like that of a CSV file."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig, Importer
from gender_cls.data.importers.market1501 import read_market1501
from gender_cls.data.importers.mivia_par import read_mivia_par
from gender_cls.data.importers.needed_files import check_images
from gender_cls.data.importers.pa100k import read_pa100k
from gender_cls.data.importers.peta import read_peta
from gender_cls.data.importers.rap import read_rap
from gender_cls.data.importers.upar import read_upar
from gender_cls.errors import require

NUMBERED = list("12345")

READERS: dict[Importer, tuple[Callable[[Path, DataConfig], pd.DataFrame], list[str]]] = {
    Importer.peta: (read_peta, [*NUMBERED, "zero_shot"]),
    Importer.pa100k: (read_pa100k, ["official"]),
    Importer.rap_v1: (read_rap, NUMBERED),
    Importer.rap_v2: (read_rap, NUMBERED),
    Importer.market1501: (read_market1501, ["official"]),
    Importer.upar: (read_upar, ["official"]),
    Importer.mivia_par: (read_mivia_par, ["official"]),
}
"""Of each dataset the reader and its published splits. A reader raises GenderClsError if files are missing or are not
as published; the split that it returns counts only if `data.published_split` asks for one."""


def read_dataset(data: DataConfig) -> pd.DataFrame:
    """Read the annotations of `data.importer`'s dataset under `data.root`. No image is opened, nothing is downloaded.

    Returns:
        One row per image, only strings, empty where unknown: `path` (posix, relative to `data.root`), `label` (one of
        CLASSES or UNKNOWN) and `split` (of `data.published_split`; empty for images of unknown label), and what the
        dataset knows of `identity`, `camera`, `source`, `sequence` and `frame` (in a camera's recording), `view`,
        `occlusion`, `age` and `carrying` (several joined by semicolons).

    Raises:
        GenderClsError: a file is missing (the message says where to get it and what its licence demands), the
            annotations are not as published, or the dataset has no such published split.
    """
    assert data.root is not None, "DataConfig.check asks for both"
    assert data.importer is not None
    root = Path(data.root)
    require(root.is_dir(), f"data.root is not a folder: {root}.")
    reader, published = READERS[data.importer]
    require(
        data.published_split is None or data.published_split in published,
        f"data.published_split={data.published_split} is no split of {data.importer.value}: it must be "
        f"{', '.join(published)} or null (a new split is made).",
    )
    table = reader(root, data)
    check_images(root, table["path"], data.importer.value)
    if data.published_split is None:
        table["split"] = ""
    return table.assign(split=table["split"].where(table["label"] != UNKNOWN, "")).astype(str)
