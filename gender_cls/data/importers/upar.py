"""UPAR (Specker et al., WACV 2023; challenges at WACV 2023 and 2024): CSV files -> a table."""

from pathlib import Path

import pandas as pd

from gender_cls.config.data import SPLITS, DataConfig
from gender_cls.data.image_files import IMAGE_SUFFIXES
from gender_cls.data.importers.attributes import Attributes
from gender_cls.data.importers.market1501 import name_parts
from gender_cls.data.text_table import read_text_table
from gender_cls.errors import require

TERMS = (
    "get UPAR's annotations and its images (of Market-1501, PA-100K and PETA) with the starter kit of "
    "https://github.com/speckean/upar_challenge (annotations CC BY-NC-SA 3.0, images under their own terms: research "
    "only; citation of Specker et al., WACV 2023, and of the three datasets) and set data.root to its folder data"
)
SEX_COLUMN = "Gender-Female"


def read_upar(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per annotated image; `source` is the dataset it was taken from.

    People and cameras are known only for the images of Market-1501.
    """
    files = {file: split for split in SPLITS for file in _annotations(root, split)}
    require(
        bool(files),
        f"UPAR's annotations are missing: looked for train.csv, val.csv and test.csv with a column {SEX_COLUMN} under "
        f"{root / 'phase1'} and {root / 'annotations'}; nothing is downloaded, so {TERMS}.",
    )
    return pd.concat([_read(file, split) for file, split in files.items()], ignore_index=True)


def _annotations(root: Path, split: str) -> list[Path]:
    """The files of a split that hold the sex; the challenge's lists of images to predict do not."""
    found = [file for place in ("phase1", "annotations") for file in sorted((root / place).rglob(f"{split}.csv"))]
    return [file for file in found if SEX_COLUMN in _csv(file, rows=0).columns]


def _csv(file: Path, rows: int | None = None) -> pd.DataFrame:
    """All columns as text. NumPy wrote the header: its first name begins with `# `."""
    table = read_text_table(file, str(file), known=(SEX_COLUMN,), most_rows=rows)
    return table.rename(columns=lambda name: name.removeprefix("#").strip())


def _read(file: Path, split: str) -> pd.DataFrame:
    annotations = _csv(file)
    # The column of images is called Image in one edition and has no name in another: it is the one with file names.
    is_name = annotations.apply(lambda values: values.str.lower().str.endswith(tuple(IMAGE_SUFFIXES)).all())
    require(is_name.sum() == 1, f"{file} has {is_name.sum()} columns of image names, expected 1.")
    paths = annotations.loc[:, is_name].squeeze(axis=1)
    annotations = annotations.loc[:, ~is_name]
    attributes = Attributes(list(annotations.columns), annotations.to_numpy(), file)
    source = paths.str.partition("/")[0]
    parts = name_parts(paths.where(source == "Market1501", ""))
    return pd.DataFrame(
        {
            "path": paths,
            "label": attributes.meanings({0: "MALE", 1: "FEMALE"}, SEX_COLUMN),
            **{name: ("Market1501_" + parts[name]).where(parts[name] != "", "") for name in ("identity", "camera")},
            "source": source,
            "split": split,
            **parts[["sequence", "frame"]],
            "age": attributes.flagged("Age-(.+)"),
            "carrying": attributes.flagged("Accessory-(Backpack|Bag)", none="nothing"),
        }
    )
