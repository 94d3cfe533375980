"""The main job, end to end, on tiny crops."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.commands import SMALL, Started, command, start
from helpers.crops import decode, draw_folders, resize
from helpers.events import read_events
from helpers.example_metrics import assert_matches
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from gender_cls.config.parsing import CONFIG_FOLDER, recorded_config
from gender_cls.evaluation.schema import Metrics
from gender_cls.runs.run import Run
from gender_cls.train import train as train_task
from gender_cls.training.load_checkpoint import load_classifier


def train(root: Path, cwd: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return command("train", f"data.root={root}", *SMALL, *arguments, cwd=cwd, code=code)


def start_sweep(root: Path, cwd: Path) -> Started:
    return start("train", f"data.root={root}", *SMALL, *LONG_SWEEP, cwd=cwd)


LONG_SWEEP = ["-m", "name=sweep", "trainer.max_epochs=500", "seed=0,1", "explain=off"]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folders(tmp_path_factory.mktemp("data") / "crops")


@pytest.fixture(scope="module")
def finished(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    cwd = tmp_path_factory.mktemp("finished")
    result = train(crops, cwd, "name=one", "trainer.max_epochs=3", "recipe.ema_decay=0.5", "augment.mixup=0.2")
    return Run(cwd / "outputs" / "runs" / "one"), result.stdout + result.stderr


def test_a_run_folder_holds_all_that_other_commands_need(finished: tuple[Run, str], crops: Path) -> None:
    run, output = finished
    assert run.status["state"] == "finished"
    [warning] = [line for line in output.splitlines() if "Warning" in line]
    assert "18 FEMALE and 18 MALE images are in train" in warning
    assert output.count("Computes on cpu: precision ") == 1
    precision, resources = run.status["precision"], run.status["resources"]
    assert precision == "32-true"
    assert resources.pop("reasons").keys() == {"threads"}, "the others were given"
    assert resources == {"device": "cpu", "precision": precision, "threads": 1, "num_workers": 0, "devices": 1}
    assert f"precision {precision}, seed 0" in " ".join(run.model_card.read_text().split())
    (loading,) = re.findall("```python\n(.*?)```", run.model_card.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    with contextlib.chdir(run.folder):
        exec(loading, names)
    assert names["model"](torch.zeros(1, 3, 32, 16, dtype=torch.uint8)).shape == (1, 2)
    assert run.metrics["cost"]["device"] == f"cpu, 1 thread, {precision}"
    assert "\n  tensorboard --logdir outputs/runs/one --samples_per_plugin images=1000\n" in output
    manifest = pd.read_csv(run.manifest, dtype=str, keep_default_na=False)
    assert list(manifest.columns) == [
        "path", "label", "identity", "camera", "source", "split", "group", "width", "height", "pixels",
        "perceptual_hash",
    ]  # fmt: skip
    assert manifest.groupby("identity")["split"].nunique().max() == 1
    predictions = pd.read_csv(run.predictions)
    assert list(predictions.columns) == [
        *manifest.columns, "native_height", "brightness", "sharpness", "p_FEMALE", "p_MALE", "prediction",
        "calibrated_p_FEMALE", "answer",
    ]  # fmt: skip
    assert set(predictions["split"]) == {"val", "test"}
    expected = manifest[manifest["split"] != "train"]
    assert sorted(predictions["path"]) == sorted(expected["path"])
    assert (predictions["p_FEMALE"] + predictions["p_MALE"]).to_numpy() == pytest.approx(1)
    metrics, test = run.metrics, predictions[predictions["split"] == "test"]
    assert_matches(metrics, Metrics)
    right = (test["label"] == test["prediction"]).mean()
    assert metrics["test"]["scores"]["accuracy"]["value"] == pytest.approx(right)
    validation = metrics["validation"]["scores"]["balanced_accuracy"]["value"]
    assert validation == pytest.approx(metrics["best_validation"])
    assert metrics["data"]["root"] == str(crops)
    assert metrics["data"]["leaky"] is False
    scores = {one["name"]: one["balanced_accuracy"] for one in metrics["baselines"]}
    assert scores["majority"] == 0.5
    assert scores["colour"] == 1  # the drawn FEMALE crops are the bright ones
    assert (run.folder / ".hydra" / "config.yaml").is_file()


def test_checkpoints_load_with_weights_only_and_give_the_same_predictions(finished: tuple[Run, str]) -> None:
    run, _ = finished
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    for checkpoint in run.checkpoints.iterdir():
        assert torch.load(checkpoint, weights_only=True)["hyper_parameters"]["classes"] == ["FEMALE", "MALE"]
    classifier = load_classifier(run.best_checkpoint)
    predictions = pd.read_csv(run.predictions)
    row = predictions.iloc[0]
    image = decode(Path(run.metrics["data"]["root"]) / row["path"])
    data = classifier.settings.data
    with torch.no_grad():
        logits = classifier(resize(image, (32, 16), data.resize_mode)[None])
    assert logits.softmax(dim=1)[0].numpy() == pytest.approx([row["p_FEMALE"], row["p_MALE"]], abs=1e-6)


def test_tensorboard_holds_curves_pictures_text_and_hparams(finished: tuple[Run, str]) -> None:
    run, _ = finished
    events, status = read_events(run.folder), run.status
    steps = list(events.scalars["Val/loss"])
    curves = {f"{split}/{name}" for split in ("Train", "Val") for name in ("loss", "accuracy", "balanced_accuracy")}
    curves |= {
        "Val/auroc",
        "Val/f1_FEMALE",
        "Val/f1_MALE",
        "speed/train_images_per_second",
        "speed/explanation_seconds",
    }
    curves |= {"explanations_scores/outside/grad_cam", "explanations_scores/agreement/saliency_grad_cam"}
    pictures = {tag for tag in events.images if tag.startswith("explanations/")}
    assert pictures == {"explanations/1_FEMALE", "explanations/2_MALE"}
    for tag in curves:
        assert list(events.scalars[tag]) == steps, tag
    for tag in pictures | {"validation_confusion_matrix"}:
        assert list(events.images[tag]) == steps, tag  # pictures and scalars of an epoch at the same step
    assert pd.read_csv(run.epochs)["step"].tolist() == steps
    assert "epoch" not in events.scalars
    assert min(events.scalars, key=str) == "Train/accuracy", "capitals come first"
    assert set(events.scalars) - curves == {
        "Train/loss_step", "lr/head", "lr/backbone", "hp/validation_balanced_accuracy", "hp/test_balanced_accuracy",
        "hp/test_auroc", "explanations_scores/outside/saliency", "explanations_scores/stability/saliency",
        "explanations_scores/stability/grad_cam",
    }  # fmt: skip
    assert [tag for tag in (*events.scalars, *events.images) if not events.descriptions[tag]] == []
    assert list(events.scalars["explanations_scores/stability/saliency"]) == steps[1:]
    assert max(events.scalars["lr/head"].values()) == pytest.approx(5e-4, rel=0.2)

    of_test = {tag.removeprefix("test/") for tag in events.images if tag.startswith("test/")}
    drawn = {path.stem for path in run.explanations.glob("*.png") if not path.stem.startswith("epoch_")}
    assert {"roc", "precision_recall", "reliability", "least_certain"} <= of_test
    assert of_test == drawn | {path.stem for path in run.plots.iterdir()}
    best = status["best_step"]
    assert best in steps
    assert {tuple(events.images[f"test/{name}"]) for name in of_test} == {(best,)}
    tested = run.metrics["test"]["scores"]["auroc"]["value"]
    assert events.scalars["hp/test_auroc"] == {best: pytest.approx(tested)}
    assert f"{tested:.3f}" in events.texts["test/scores"][best]
    assert "Grad-CAM" in events.texts["test/explanations"][best]
    assert events.texts["Verdict"][best] == run.metrics["standing"]["sentence"]
    assert all(f"**{name}**" in events.texts["experiment"][0] for name in ("dataset", "train", "learning rate", "seed"))
    assert len(list(run.explanations.glob("epoch_*.png"))) == 3

    hparams = EventAccumulator(str(run.folder)).Reload().PluginTagToContent("hparams")
    started = HParamsPluginData.FromString(hparams["_hparams_/session_start_info"])
    shown = {key: value.string_value or value.number_value for key, value in started.session_start_info.hparams.items()}
    assert sorted(shown)[:5] == ["augment", "lr", "model", "recipe", "seed"]  # what the tab shows unasked
    assert (shown["model"], shown["recipe"], shown["lr"]) == ("custom_cnn", "scratch", 5e-4)
    assert shown["settings.recipe.ema_decay"] == 0.5


def test_train_returns_the_best_validation_score_for_sweepers(
    finished: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = finished
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        composed = compose("train", ["data.root=x", "model=custom_cnn", "name=one"], return_hydra_config=True)
    composed.hydra.runtime.output_dir = str(run.folder)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)
    score = train_task(recorded_config(run.config_file))
    assert type(score) is float
    assert score == run.metrics["best_validation"]


def test_early_stopping_looks_at_validation(crops: Path, tmp_path: Path) -> None:
    arguments = ["name=early", "recipe.patience=2", "recipe.monitor=loss", "recipe.lr=1e-12", "trainer.max_epochs=40"]
    train(crops, tmp_path, *arguments, "recipe=linear_probe", "explain=off")
    run = Run(tmp_path / "outputs" / "runs" / "early")
    last = torch.load(run.last_checkpoint, weights_only=True)["epoch"] + 1
    assert last < 40
    assert run.metrics["best_epoch"] == last - 2
    assert run.metrics["monitor"] == "loss"


def test_the_same_seed_gives_the_same_bytes_also_after_a_kill(crops: Path, tmp_path: Path) -> None:
    """Freezing, warm-up, averaging, dropout, sampling and augmentation go on where they were."""
    arguments = ["trainer.max_epochs=4", "recipe.ema_decay=0.9", "data.balance=sampler", "recipe.warmup_epochs=2"]
    arguments += ["recipe.frozen_epochs=2", "model.dropout=0.2", "augment=strong", "augment.cutmix=1"]
    runs = tmp_path / "outputs" / "runs"
    train(crops, tmp_path, "name=whole", *arguments)

    killed = Run(runs / "killed")
    process = start("train", f"data.root={crops}", *SMALL, *arguments, "name=killed", cwd=tmp_path)
    while not killed.last_checkpoint.exists():  # then the second epoch begins
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert torch.load(killed.last_checkpoint, weights_only=True)["epoch"] == 0, "the second epoch was not finished"
    assert killed.status["state"] == "running"
    assert killed.state == "killed"
    assert not killed.predictions.exists()
    train(crops, tmp_path, "name=killed", *arguments, "trainer.resume=true")
    train(crops, tmp_path, "name=unexplained", *arguments, "explain=off", "data.num_workers=2")
    assert not Run(runs / "unexplained").explanations.exists()
    for other in ("killed", "unexplained"):
        for name in ("predictions.csv", "manifest.csv"):
            assert (runs / other / name).read_bytes() == (runs / "whole" / name).read_bytes(), other


def test_a_leaky_split_is_refused_or_marked_everywhere(crops: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"path": sorted(path.relative_to(crops).as_posix() for path in crops.glob("*/*"))})
    table["label"] = table["path"].str.split("/").str[0]
    table["split"] = ["train", "val", "test"] * 16  # of the three crops of each person
    table.to_csv(tmp_path / "list.csv", index=False)
    arguments = [f"data.csv={tmp_path / 'list.csv'}", "trainer.max_epochs=1", "explain=off"]
    refused = train(crops, tmp_path, *arguments, code=1).stderr
    assert all(fact in refused for fact in ("16 identities", "person00", "100.0%"))
    allowed = train(crops, tmp_path, "-m", *arguments, "data.allow_leaks=true", "name=allowed")
    assert "The results are marked as leaky." in allowed.stderr + allowed.stdout
    folder = tmp_path / "outputs" / "sweeps" / "allowed"
    [run] = [Run(path.parent) for path in folder.glob("*/metrics.json")]
    assert run.metrics["data"]["leaky"] is True
    assert run.metrics["data"]["leaks"]["identities"] == 16
    assert pd.read_csv(folder / "leaderboard.csv")["leaky"].tolist() == [True]
    assert "| LEAKY" in (folder / "leaderboard.md").read_text()


def test_resuming_on_other_data_is_refused(finished: tuple[Run, str], crops: Path) -> None:
    run, _ = finished
    run.note(state="interrupted")
    arguments = ["name=one", "trainer.resume=true", "trainer.max_epochs=3", "augment.mixup=0.2", "recipe.ema_decay=0.5"]
    before = run.manifest.read_text()
    run.manifest.write_text(before.replace("person00", "person99", 1))
    result = train(crops, run.folder.parents[2], *arguments, code=1)
    run.manifest.write_text(before)
    assert "The data have changed since" in result.stderr


def test_a_finished_run_does_not_ignore_other_epochs(finished: tuple[Run, str], crops: Path) -> None:
    run, _ = finished
    run.note(state="finished")
    before = run.config_file.read_bytes()
    arguments = ["name=one", "trainer.resume=true", "trainer.max_epochs=4", "augment.mixup=0.2", "recipe.ema_decay=0.5"]
    result = train(crops, run.folder.parents[2], *arguments, code=1)
    assert f"{run.folder} was started with trainer.max_epochs=3, not 4" in result.stderr
    assert run.config_file.read_bytes() == before


def test_a_sweep_survives_failures_and_resumes(crops: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    torch.save({"some.weight": torch.zeros(1)}, bad)
    arguments = ["-m", "name=sweep", "trainer.max_epochs=1", f"model.weights=null,{bad}", "explain=off"]
    result = train(crops, tmp_path, *arguments, code=1)
    assert "1 job of the sweep failed: 1_custom_cnn_weights" in result.stderr
    assert "Error executing job" not in result.stderr
    folder = tmp_path / "outputs" / "sweeps" / "sweep"
    assert list(pd.read_csv(folder / "leaderboard.csv")["state"]) == ["finished"]
    (failed,) = json.loads((folder / "leaderboard.json").read_text())["unfinished"]
    assert "custom_cnn" in failed["folder"]
    assert "bad.pth does not fit" in failed["error"]
    assert re.search(r"^1 of 2: custom_cnn, model\.weights=null$", result.stdout, re.MULTILINE)
    score = r", \d+ s: bal\. acc\. \d\.\d{3} on validation, \d\.\d{3}( \[\d\.\d{3}, \d\.\d{3}\])? on test$"
    assert re.search(rf"^0_custom_cnn_weights\S*{score}", result.stdout, re.MULTILINE)
    assert re.search(r"^Error: 1_custom_cnn_weights\S* failed: .*bad\.pth does not fit", result.stdout, re.MULTILINE)
    done = Run(next(folder.glob("0_*")))
    before = done.predictions.stat().st_mtime_ns
    train(crops, tmp_path, *arguments, "trainer.resume=true", code=1)
    assert done.predictions.stat().st_mtime_ns == before, "a finished job is not done again"


def test_a_killed_job_costs_itself_only_and_a_killed_sweep_resumes(crops: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "sweeps" / "sweep"
    process = start_sweep(crops, tmp_path)

    def wait_for(job: str) -> Run:
        while process.poll() is None:
            for found in folder.glob(f"{job}_*/checkpoints/last.ckpt"):
                return Run(found.parents[1])
            time.sleep(0.01)
        raise AssertionError("the sweep ended too early")

    first = wait_for("0")
    os.kill(first.status["pid"], signal.SIGKILL)
    second = wait_for("1")
    assert first.status["state"] == "failed"
    assert "SIGKILL" in first.status["error"]
    assert "data.batch_size" in first.status["error"]
    rival = train(crops, tmp_path, *LONG_SWEEP, "trainer.resume=true", code=1)
    assert f"{folder} is in use by another process" in rival.stderr
    assert second.status["state"] == "running"
    process.kill()
    process.communicate(timeout=60)  # until the job, which holds the same pipes, has ended too
    assert second.state == "killed"

    def epoch() -> int:
        return torch.load(first.last_checkpoint, weights_only=True)["epoch"]

    before = epoch()
    process = start("train", f"data.root={crops}", *SMALL, *LONG_SWEEP, "trainer.resume=true", cwd=tmp_path)
    while epoch() == before:
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()  # a scheduler's signal reaches the first process only
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "Ended by SIGTERM. The same command with trainer.resume=true goes on" in errors
    assert first.state == "interrupted"
    *_, kept, last = first.log.read_text().splitlines()
    assert f"SIGTERM: {first.last_checkpoint} holds" in kept
    assert "SIGTERM" in last


def test_ctrl_c_stops_the_sweep(crops: Path, tmp_path: Path) -> None:
    process = start_sweep(crops, tmp_path)
    folder = tmp_path / "outputs" / "sweeps" / "sweep"
    while not list(folder.glob("0_*/checkpoints/last.ckpt")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Interrupted." in errors
    assert "trainer.resume=true" in errors
    assert "Interrupted by SIGINT" in output
    assert not list(folder.glob("1_*"))
    assert json.loads(next(folder.glob("0_*/status.json")).read_text())["state"] == "interrupted"
