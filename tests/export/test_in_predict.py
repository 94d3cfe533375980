"""An exported model in `predict`: the table of its run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.predicting import answer, rows_of

from gender_cls.config.parsing import parse_config
from gender_cls.config.predict import PredictConfig
from gender_cls.errors import GenderClsError
from gender_cls.predict.table import COLUMNS
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor


def never(*_: Any) -> Any:
    raise AssertionError("torch is asked")


def test_an_exported_model_gives_the_table_of_its_run(
    exported: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Path(shutil.copytree(exported.folder, tmp_path / "run")))
    own = rows_of(answer(run.folder, run.data_root))
    monkeypatch.setattr(Predictor, "answer", never)
    folder = answer(run.exported / "model.onnx", run.data_root)
    table = rows_of(folder)
    assert folder.summary == run.exported / "predictions" / "x" / "summary.json"
    assert folder.summary.is_file()
    numbers = ["p_FEMALE", "p_MALE", "calibrated_p_FEMALE"]
    np.testing.assert_allclose(table[numbers], own[numbers], atol=1e-4)
    same = [name for name, kind in COLUMNS.items() if kind != "float64"]
    pd.testing.assert_frame_equal(table[same], own[same])
    with pytest.raises(GenderClsError, match="answers alone"):
        parse_config({"run": [str(run.folder), str(run.exported / "model.onnx")], "images": "-"}, PredictConfig)
