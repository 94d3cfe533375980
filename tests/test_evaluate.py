"""Runs that were trained once, evaluated and compared as often as one likes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import PATTERN, draw_folders
from example_metrics import assert_matches

from gender_cls.data.stress_names import CORRUPTIONS, SEVERITIES, SHORTCUTS
from gender_cls.evaluation.comparison_schema import Comparison
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.predictions import read_predictions
from gender_cls.evaluation.schema import Metrics
from gender_cls.run import Run

TINY = [
    "model=custom_cnn", f"data.pattern={PATTERN}", "data.image_size=[32,16]", "data.batch_size=8", "data.num_workers=0",
    "explain=off", "trainer.max_epochs=1", "trainer.progress_bar=false", "trainer.accelerator=cpu",
    "evaluation.shortcuts=false", "evaluation.resamples=200",
]  # fmt: skip


def command(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, "-m", f"gender_cls.{name}", *arguments],
        cwd=cwd, env={**kept, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip


def evaluate(run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command("evaluate", f"run={run}", "resamples=200", "num_workers=0", *arguments, cwd=run.parent)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over two seeds, `sweep`, and the crops beside it."""
    cwd = tmp_path_factory.mktemp("trained")
    crops = draw_folders(cwd / "crops")
    result = command("train", "-m", f"data.root={crops}", *TINY, "seed=0,1", "name=sweep", cwd=cwd)
    assert result.returncode == 0, result.stderr
    return cwd / "outputs" / "sweeps" / "sweep"


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Path:
    """A copy to work on; the crops stay where they were."""
    return Path(shutil.copytree(trained, tmp_path / "sweep"))


def test_seeds_share_the_split_and_make_one_candidate(trained: Path) -> None:
    manifests = {path.read_text() for path in trained.glob("*/manifest.csv")}
    assert len(manifests) == 1
    comparison = json.loads((trained / "leaderboard.json").read_text())
    assert_matches(comparison, Comparison)
    assert [(row["title"], row["seeds"]) for row in comparison["candidates"]] == [("custom_cnn", [0, 1])]
    table = pd.read_csv(trained / "leaderboard.csv")
    assert table["test_balanced_accuracy"][0] == pytest.approx(
        sum(
            Run(path.parent).metrics["test"]["scores"]["balanced_accuracy"]["value"]
            for path in trained.glob("*/metrics.json")
        )
        / 2
    )
    assert "<title>" in (trained / "leaderboard.html").read_text()


def test_a_sweep_is_evaluated_under_stress_and_then_without_network_or_pictures(sweep: Path) -> None:
    runs = [Run(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    before = [read_predictions(run.predictions) for run in runs]
    assert runs[0].metrics["stress"] is None
    result = evaluate(sweep, "stress=true", "progress_bar=false")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Open ") == 2
    assert result.stderr == ""
    for run, table in zip(runs, before, strict=True):
        assert_matches(run.metrics, Metrics)
        assert [one["name"] for one in run.metrics["stress"]["corruptions"]] == list(CORRUPTIONS)
        assert [one["name"] for one in run.metrics["shortcuts"]] == list(SHORTCUTS)
        pd.testing.assert_frame_equal(read_predictions(run.predictions), table)
        logits = pd.read_csv(run.variants)
        assert len(logits.columns) == 1 + len(CORRUPTIONS) * len(SEVERITIES) + len(SHORTCUTS)
        assert list(logits["path"]) == list(table["path"][table["split"] == "test"])
        assert {path.stem for path in run.plots.iterdir()} >= {"roc", "reliability", "risk_coverage", "stress"}

    [run, _] = runs
    run.best_checkpoint.unlink()
    result = evaluate(run.folder, "target_error=0.45", "operating_point=equal_recall", "data_root=.")
    assert result.returncode == 0, result.stderr
    metrics = run.metrics
    assert metrics["operating_point"]["rule"] == "equal_recall"
    assert metrics["abstention"]["target_error"] == 0.45
    assert metrics["stress"] is not None
    answers = pd.read_csv(run.predictions)["answer"]
    assert list(answers) == list(DecisionRule.from_metrics(metrics).answers(read_predictions(run.predictions)))
    assert len(list(run.folder.glob("events.out.tfevents.*.evaluation"))) == 1


def test_an_interrupted_evaluation_goes_on(sweep: Path) -> None:
    [run, _] = [Run(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    assert evaluate(run.folder).returncode == 0
    logits = pd.read_csv(run.variants)
    whole = run.variants.read_bytes()
    logits.drop(columns=["grey", "eight_pixels"]).assign(person_only=7.0).to_csv(run.variants, index=False)
    result = evaluate(run.folder)
    assert result.returncode == 0, result.stderr
    again = pd.read_csv(run.variants)
    assert (again["person_only"] == 7).all(), "what is there is not made again"
    pd.testing.assert_frame_equal(again[["grey", "eight_pixels"]], logits[["grey", "eight_pixels"]])
    run.variants.unlink()
    assert evaluate(run.folder).returncode == 0
    assert run.variants.read_bytes() == whole


def test_pictures_that_were_moved_are_named(sweep: Path, trained: Path, tmp_path: Path) -> None:
    [run, _] = [Run(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    before = run.predictions.read_bytes()
    run.predictions.unlink()
    data = run.data
    moved = Path(shutil.copytree(data["root"], tmp_path / "moved"))
    run.data_file.write_text(json.dumps({**data, "root": str(tmp_path / "gone")}))
    result = evaluate(run.folder)
    assert result.returncode == 1
    assert f"error: The images of {run.folder} cannot be read any more." in result.stderr
    assert "name the folder with data_root." in result.stderr
    result = evaluate(run.folder, f"data_root={moved}")
    assert result.returncode == 0, result.stderr
    assert run.predictions.read_bytes() == before


def test_errors_of_evaluate_name_the_way_out(sweep: Path, tmp_path: Path) -> None:
    def error(*arguments: str) -> str:
        result = command("evaluate", *arguments, cwd=tmp_path)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        return result.stderr

    assert error() == "error: No run is named: give run=FOLDER, a run's folder or a sweep's.\n"
    assert error("run=nowhere") == "error: run names no folder: nowhere\n"
    (tmp_path / "empty").mkdir()
    assert "There is no run in empty: name a run, a sweep, or a folder with runs inside." in error("run=empty")
    assert "target_error must lie between 0 and 1, not 1.5." in error("run=empty", "target_error=1.5")
    assert "resamples must lie between 100 and 1,000,000, not 5." in error("run=empty", "resamples=5")
    assert "stres is no key of the configuration; did you mean stress?" in error("run=empty", "+stres=true")
    assert "leave out -m." in error("-m", "run=empty,other")
    [run, other] = [Run(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    run.note(fitted=None)
    assert f"{run.folder} has not been trained to its end: there is nothing to evaluate yet." in error(
        f"run={run.folder}"
    )
    other.variants.write_text("path,grey\nx.png,1\n")
    assert f"{other.variants} is not of the images in predictions.csv: remove it." in error(f"run={other.folder}")


def test_runs_are_compared(sweep: Path, tmp_path: Path) -> None:
    names = [path.parent.name for path in sorted(sweep.glob("*/status.json"))]
    result = command("compare", "runs=sweep", "name=one", "resamples=200", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "outputs" / "comparisons" / "one"
    assert (folder / "compare.md").read_text() in result.stdout
    assert f"Open {folder / 'compare.html'}." in result.stdout
    assert_matches(json.loads((folder / "compare.json").read_text()), Comparison)
    assert (
        "data:image/" in (folder / "compare.html").read_text()
        or not json.loads((folder / "compare.json").read_text())["all_wrong"]
    )

    runs = [Run(sweep / name) for name in names]
    config = runs[1].config_file.read_text()
    runs[1].config_file.write_text(config.replace("seed: 1", "seed: 0").replace("lr: 0.0005", "lr: 0.005"))
    listed = f"runs=[{sweep / names[0]},{sweep / names[1]}]"
    result = command("compare", listed, "name=two", "resamples=200", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "custom_cnn (recipe.lr=0.0005)" in result.stdout
    assert "custom_cnn (recipe.lr=0.005)" in result.stdout
    assert "McNemar" in result.stdout
    assert "soft-vote ensemble" in result.stdout

    again = command("compare", "runs=sweep", "name=one", cwd=tmp_path)
    assert again.returncode == 1
    assert f"{folder} exists already: choose another name, or remove it." in again.stderr
    runs[0].metrics_file.write_text("{}")
    result = command("compare", "runs=sweep", "resamples=200", cwd=tmp_path)
    assert f"was not evaluated: run python -m gender_cls.evaluate run={runs[0].folder}." in result.stdout


def test_errors_of_compare_name_the_way_out(tmp_path: Path) -> None:
    def error(*arguments: str) -> str:
        result = command("compare", *arguments, cwd=tmp_path)
        assert result.returncode == 1
        return result.stderr

    assert error() == "error: No runs are named: give runs=SWEEP_FOLDER or runs=[FOLDER,FOLDER].\n"
    assert error("runs=[a,b]") == "error: runs names no folder: a\n"
    assert "leave out -m." in error("-m", "runs=a,b")
    assert "thumbnails must lie between 0 and 500, not 501." in error("runs=.", "thumbnails=501")
    assert "There is no run in ." in error("runs=.")
