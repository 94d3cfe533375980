"""Runs that leave the test split alone (`evaluation.test=false`), and what each command makes of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.commands import SMALL, command
from helpers.events import read_events
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from gender_cls.config.explain import ExplainConfig
from gender_cls.config.parsing import CONFIG_FOLDER, recorded_config
from gender_cls.data.csv_text import read_csv_text
from gender_cls.data.image_store import ImageSequence
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.evaluation.predictions import answers_of
from gender_cls.runs.run import Run
from gender_cls.train import train


@pytest.fixture(scope="module")
def sweep(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs without a test."""
    cwd = tmp_path_factory.mktemp("untested")
    arguments = ["-m", "name=sweep", "recipe.lr=5e-4,1e-9", "evaluation.test=false", "trainer.max_epochs=2"]
    result = command("train", f"data.root={finished.parents[2] / 'crops'}", *SMALL, *arguments, "explain=off", cwd=cwd)
    assert result.stdout.count(" on validation, not tested\n") == 2
    assert "\n- Nothing was tested: by validation alone custom_cnn #1 is the best of 2 candidates" in result.stdout
    return cwd / "outputs" / "sweeps" / "sweep"


@pytest.fixture
def copied(sweep: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sweep, tmp_path / "outputs" / "sweeps" / "sweep"))


def test_no_image_of_test_is_read_until_the_run_is_called_to_test(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = Run(tmp_path / "run"), recorded_config(next(finished.glob("0_*/.hydra/config.yaml")))
    run.folder.mkdir()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        composed = compose("train", ["model=custom_cnn", "name=run"], return_hydra_config=True)
    composed.hydra.runtime.output_dir = str(run.folder)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)
    config = replace(config, output_dir=str(tmp_path), trainer=replace(config.trainer, threads=1))
    config = replace(config, explain=ExplainConfig(images=2))
    read: set[str] = set()
    take = ImageSequence.__getitem__

    def noting(self: ImageSequence, row: int) -> object:
        read.add(self.paths[row])
        return take(self, row)

    monkeypatch.setattr(ImageSequence, "__getitem__", noting)
    score = train(replace(config, evaluation=replace(config.evaluation, test=False)))
    split = read_csv_text(run.manifest).set_index("path")["split"]
    assert {split[path] for path in read} == {"train", "val"}
    assert (run.status["state"], run.tested, run.predictions.exists()) == ("finished", False, False)
    assert score == run.status["best_validation"] == pd.read_csv(run.epochs)["val_balanced_accuracy"].max()
    hp = {tag: points for tag, points in read_events(run.folder).scalars.items() if tag.startswith("hp/")}
    assert hp == {"hp/validation_balanced_accuracy": {run.status["best_step"]: pytest.approx(score)}}
    checkpoint = run.best_checkpoint.read_bytes()

    assert train(config) == score
    assert (run.status["state"], run.metrics["best_validation"]) == ("finished", score)
    assert run.best_checkpoint.read_bytes() == checkpoint
    assert {split[path] for path in read} == {"train", "val", "test"}
    hp = {tag for tag in read_events(run.folder).scalars if tag.startswith("hp/")}
    assert hp == {"hp/validation_balanced_accuracy", "hp/test_balanced_accuracy", "hp/test_auroc"}


def test_a_sweep_without_a_test_is_sorted_by_validation_and_tested_afterwards(copied: Path, tmp_path: Path) -> None:
    runs = [Run(folder) for folder in sorted(copied.glob("*_custom_cnn*"))]
    best = max(runs, key=lambda run: run.status["best_validation"])
    rows = json.loads((copied / "leaderboard.json").read_text())["candidates"]
    expected = sorted((run.status["best_validation"] for run in runs), reverse=True)
    assert [row["validation"]["mean"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert [(row["seeds"], row["compared"], row["test"]["mean"], row["cost"]["device"]) for row in rows] == [
        ([0], False, None, None)
    ] * 2
    assert rows[0]["runs"][0]["folder"].endswith(best.folder.name)

    for needs_a_test in (require_evaluated, answers_of):  # predict, export and tests on other data; explain
        with pytest.raises(GenderClsError, match=f"python -m gender_cls.evaluate run={best.folder}"):
            needs_a_test(best)
    refused = command("compare", f"runs={copied}", cwd=tmp_path, code=1)
    assert f"python -m gender_cls.evaluate run={best.folder} tests it." in refused.stdout

    tested = command("evaluate", f"run={best.folder}", "resamples=200", "num_workers=0", cwd=tmp_path)
    assert "Tested: the weights of epoch" in tested.stdout
    assert (best.status["state"], best.tested) == ("finished", True)
    comparison = json.loads((copied / "leaderboard.json").read_text())
    assert [row["compared"] for row in comparison["candidates"]] == [True, False]
    assert comparison["candidates"][1]["validation"]["mean"] == pytest.approx(expected[1], abs=1e-6)
    assert comparison["pairs"] == []
    assert any("custom_cnn #2" in sentence for sentence in comparison["cautions"])
