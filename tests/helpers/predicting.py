"""The command `predict` in the process of a test, and its table."""

from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.config.parsing import parse_config
from gender_cls.config.predict import PredictConfig
from gender_cls.data.csv_text import read_csv_text
from gender_cls.predict.__main__ import predict
from gender_cls.predict.store import PredictionFolder
from gender_cls.predict.table import COLUMNS

QUICKLY = {"num_workers": 0, "accelerator": "cpu", "resamples": 200, "threads": 1}


def answer(run: Path, images: Any, **settings: Any) -> PredictionFolder:
    """Run the command in this process; returns its folder."""
    named = [*map(str, images)] if isinstance(images, list) else str(images)
    config = parse_config({"run": str(run), "images": named, **QUICKLY, "name": "x", **settings}, PredictConfig)
    return PredictionFolder(predict(config).parent)


def rows_of(folder: PredictionFolder) -> pd.DataFrame:
    table = read_csv_text(folder.folder / "predictions.csv")
    numbers = [name for name, kind in COLUMNS.items() if kind.startswith("float")]
    return table.assign(**{name: [float(cell or "nan") for cell in table[name]] for name in numbers})
