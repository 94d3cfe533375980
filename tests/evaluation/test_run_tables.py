"""Results of runs as tables and values."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import gender_cls
from gender_cls.data.csv_text import read_csv_text
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.run_tables import SCORE_COLUMNS
from gender_cls.runs.run import Run


@pytest.fixture
def sweep(finished: Path, tmp_path: Path) -> Path:
    """Two finished runs that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "sweep"))


def test_the_scores_are_those_of_metrics_json(finished: Path) -> None:
    table = gender_cls.read_scores(finished)
    assert table.dtypes.astype(str).to_dict() == {
        name: str(pd.Series([], dtype=kind).dtype) for name, kind in SCORE_COLUMNS.items()
    }
    assert table["seed"].tolist() == [0, 1]
    assert table["state"].tolist() == ["finished"] * 2
    assert set(table["model"]) == {"custom_cnn"}
    assert set(table["data"]) == {"crops"}
    assert table["fold"].isna().all()
    for row in table.itertuples():
        metrics = json.loads(Path(row.path, "metrics.json").read_text())
        assert gender_cls.read_metrics(row.path) == metrics
        headline = metrics["test"]["scores"]["balanced_accuracy"]
        assert (row.test_balanced_accuracy, row.test_low, row.test_high) == tuple(
            headline[name] for name in ("value", "low", "high")
        )
        assert row.validation_balanced_accuracy == metrics["validation"]["scores"]["balanced_accuracy"]["value"]
        assert row.test_images == metrics["test"]["images"]
        assert (row.parameters, row.flops) == (metrics["cost"]["parameters"], metrics["cost"]["flops"])
    pd.testing.assert_frame_equal(gender_cls.read_scores([*table["path"]]), table)
    assert len(gender_cls.read_scores(table["path"][0])) == 1


def test_epochs_and_predictions_have_the_types_that_they_mean(finished: Path) -> None:
    path = gender_cls.read_scores(finished)["path"][0]
    epochs, predictions = gender_cls.read_epochs(path), gender_cls.read_predictions(path)
    assert epochs["epoch"].tolist() == [1]
    assert str(epochs["epoch"].dtype) == "int64"
    assert (epochs.dtypes.drop(["epoch", "step"]) == "float64").all()
    raw = read_csv_text(Run(Path(path)).predictions)
    assert predictions.columns.tolist() == raw.columns.tolist()
    assert predictions["calibrated_p_FEMALE"].tolist() == raw["calibrated_p_FEMALE"].astype(float).tolist()
    assert predictions["identity"].tolist() == raw["identity"].tolist(), "texts stay texts"
    test = predictions[predictions["split"] == "test"]
    metrics = gender_cls.read_metrics(path)
    recalls = (test["prediction"] == test["label"]).groupby(test["label"]).mean()
    assert metrics["test"]["scores"]["balanced_accuracy"]["value"] == pytest.approx(recalls.mean())


def test_runs_that_were_not_tested_or_failed_have_a_row_too(sweep: Path) -> None:
    first, second = (Run(Path(path)) for path in gender_cls.read_scores(sweep)["path"])
    first.metrics_file.unlink()
    second.note(state="failed", error="Out of luck.")
    table = gender_cls.read_scores(sweep)
    assert table["state"].tolist() == ["finished", "failed"]
    assert table["test_balanced_accuracy"].isna().tolist() == [True, False]
    epochs = gender_cls.read_epochs(first.folder)
    assert table["validation_balanced_accuracy"][0] == epochs["val_balanced_accuracy"][0]
    with pytest.raises(GenderClsError, match=rf"{first.folder} .*gender_cls\.evaluate"):
        gender_cls.read_metrics(first.folder)


def test_what_is_no_run_is_named(tmp_path: Path, sweep: Path) -> None:
    for read in (gender_cls.read_scores, gender_cls.read_metrics, gender_cls.read_epochs, gender_cls.read_predictions):
        with pytest.raises(GenderClsError, match=str(tmp_path / "nowhere")):
            read(tmp_path / "nowhere")
    with pytest.raises(GenderClsError, match=f"{sweep} is no run"):
        gender_cls.read_epochs(sweep)
    run = Run(Path(gender_cls.read_scores(sweep)["path"][0]))
    run.epochs.write_text("epoch,val_loss\n1,much\n")
    with pytest.raises(GenderClsError, match=r"epochs\.csv is damaged .*much"):
        gender_cls.read_epochs(run.folder)
