"""Exported models next to the runs that they are from."""

from pathlib import Path

import numpy as np
import pytest
from helpers.comparing import COST, TABLE, compare, simulated, write_elsewhere, write_export, write_run
from helpers.prediction_tables import answered

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.comparison.candidates import find_candidates
from gender_cls.runs.exported_run import PARITY_FILE, ExportedRun
from gender_cls.runs.run import Run, find_runs

CHANGED = answered(TABLE, np.array([0.9, 0.6, 0.4, 0.7, 0.9, 0.7, 0.8, 0.1, 0.3, 0.4]))
"""Validation as TABLE, 3/4; test all right instead of 2/3 of each label."""


def test_an_exported_model_is_a_candidate_of_its_own_on_the_same_people(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", TABLE, seed=3)
    found = compare(run, write_export(run, CHANGED))
    origin, exported = found["candidates"]
    assert (origin["title"], exported["title"]) == ("net", "net (ONNX float32)")
    assert (origin["seeds"], exported["seeds"]) == ([3], [3])
    assert (origin["varied"], exported["varied"]) == ({"exported": "–"}, {"exported": "ONNX float32"})
    assert (origin["test"]["mean"], exported["test"]["mean"]) == pytest.approx((2 / 3, 1))
    [pair] = found["pairs"]
    assert (pair["a"], pair["b"], pair["difference"]) == ("net", "net (ONNX float32)", pytest.approx(-1 / 3))
    assert found["images"] == 6
    assert found["ensemble"] is None, "a run has one vote"
    assert exported["rows"] == "same"


def test_equal_answers_are_no_difference(tmp_path: Path) -> None:
    table = simulated(np.random.default_rng(0), 1.0)
    run = write_run(tmp_path / "a", table)
    [pair] = compare(run, write_export(run, table))["pairs"]
    assert (pair["difference"], pair["p_value"], pair["significant"]) == (0, 1, False)


def test_seeds_of_an_exported_model_are_one_candidate_and_each_precision_another(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(seed), TABLE, seed=seed) for seed in (0, 1)]
    exported = [write_export(run, TABLE, name) for name in ("model.onnx", "model_int8.onnx") for run in runs]
    found, unfinished = find_candidates([*runs, *exported])
    assert [(one.model, len(one.trained), one.repeated) for one in found] == [
        ("net", 2, []), ("net (ONNX float32)", 2, []), ("net (ONNX int8)", 2, []),
    ]  # fmt: skip
    assert unfinished == []


def test_without_its_configuration_a_run_and_its_exported_model_are_two_candidates(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", TABLE, model=None)
    found, _ = find_candidates([run, write_export(run, TABLE)])
    assert [one.model for one in found] == ["timm/net", "timm/net (ONNX float32)"]


def test_its_calibration_and_speed_are_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", TABLE)
    speed = {"milliseconds_batch_1": 3.0, "milliseconds_batch_1_spread": [2.9, 3.1], "device": "cpu, ONNX Runtime"}
    exported = compare(run, write_export(run, TABLE, cost=speed))["candidates"][1]
    p = np.array([0.9, 0.2, 0.8, 0.1, 0.3, 0.6])  # of FEMALE, with the temperature 2: the square root of the odds
    calibrated = np.sqrt(p) / (np.sqrt(p) + np.sqrt(1 - p))
    right = np.where([True, True, True, False, False, False], calibrated, 1 - calibrated)
    assert exported["log_loss"] == pytest.approx(-np.log(right).mean())
    assert exported["cost"]["parameters"] == COST["parameters"]
    assert exported["cost"]["milliseconds_batch_1"] == 3.0
    assert exported["cost"]["milliseconds_batch_32"] is None, "not measured"
    assert exported["cost"]["device"] == "cpu, ONNX Runtime"
    assert exported["explanations"] is None


def test_a_sweep_brings_no_exported_models_and_the_transfer_matrix_has_none(tmp_path: Path) -> None:
    run = write_run(tmp_path / "sweep" / "0_net", TABLE, data__root="/data/home")
    exported = write_export(run, TABLE)
    assert [(type(one), one.folder) for one in find_runs([tmp_path / "sweep"])] == [(Run, run.folder)]
    write_elsewhere(run, "away", TABLE)
    transfer = compare(run, exported)["transfer"]
    assert transfer is not None
    assert [row["candidate"] for row in transfer["rows"]] == ["net"]
    assert not [remark for remark in transfer["remarks"] if "ONNX" in remark]


def test_answers_of_another_network_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", TABLE)
    exported = write_export(run, TABLE)
    CHANGED.to_csv(exported.predictions, index=False)
    with pytest.raises(GenderClsError, match=str(exported.predictions)):
        compare(run, exported)


@pytest.mark.parametrize("name", ["model.pt2", "model_native.onnx", "model_float16.onnx", "other.onnx", "parity.json"])
def test_a_file_without_answers_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "a", TABLE)
    file = write_export(run, TABLE).file.with_name(name)
    file.touch()
    with pytest.raises(GenderClsError, match=rf"{file} .*model\.onnx") as caught:
        ExportedRun(file)
    assert "python -m gender_cls.export" in str(caught.value)


def test_an_export_that_did_not_end_is_refused(tmp_path: Path) -> None:
    file = write_export(write_run(tmp_path / "a", TABLE), TABLE).file
    file.with_name(PARITY_FILE).unlink()
    with pytest.raises(GenderClsError, match="export the run again"):
        ExportedRun(file)


def test_a_model_outside_of_a_runs_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    for file in (tmp_path / "model.onnx", tmp_path / "export" / "model.onnx"):
        file.touch()
        with pytest.raises(GenderClsError, match=f"{file} is neither"):
            ExportedRun(file)
