"""What the tests of the importers share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gender_cls.config.data import DataConfig, Importer
from gender_cls.data.importers import read_dataset
from gender_cls.errors import GenderClsError


def read(importer: str, root: Path, split: str | None = None) -> pd.DataFrame:
    return read_dataset(DataConfig(root=str(root), importer=Importer(importer), published_split=split))


def assert_columns(table: pd.DataFrame, **expected: str) -> None:
    """The values of these columns, with spaces between and `-` where they are empty."""
    for column, values in expected.items():
        assert table[column].tolist() == ["" if value == "-" else value for value in values.split()], column


def assert_refused(match: str, importer: str, root: Path, split: str | None = None) -> None:
    with pytest.raises(GenderClsError, match=match):
        read(importer, root, split)


def cell(values: Sequence[Any], row: bool = False) -> np.ndarray:
    """A MATLAB cell array, a column as in the published files unless `row`."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(1, -1) if row else array.reshape(-1, 1)
