"""`callbacks` and `loggers`: built from the command's configuration alone, and harmless to what a run is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.classifiers import config_of, prepare, settings
from helpers.crops import ON_CPU, draw_folders
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger

from gender_cls.config.parsing import recorded_config
from gender_cls.data.prepare import PreparedData
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit
from gender_cls.training.load_checkpoint import load_classifier
from gender_cls.training.open_groups import build_callbacks, build_loggers, check_open_groups, log_test

HERE = __name__


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(draw_folders(tmp_path_factory.mktemp("data") / "crops"))


class Counts(Callback):
    """A callback of a user."""

    made: list[int] = []  # noqa: RUF012 - shared by all, to look at it afterwards

    def __init__(self, start: int) -> None:
        self.made.append(start)


class Keeps(Logger):
    """A logger of a user, which has no network from some call on."""

    calls: list[tuple[str, Any]] = []  # noqa: RUF012 - shared by all, to look at it afterwards
    name = version = "keeps"  # type: ignore[assignment]  # they are properties in Logger

    def __init__(self, works: int = 1000) -> None:
        super().__init__()
        self.works = works

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.works == 0:
            raise ConnectionError("no route to host")
        self.works -= 1
        self.calls.append(("metrics", dict(metrics)))

    def log_hyperparams(self, params: dict[str, Any], *_: Any) -> None:
        self.calls.append(("hyperparams", dict(params)))


TARGETS = {"callbacks": {"counts": {"_target_": f"{HERE}.Counts", "start": 3}}}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules[HERE])
    Keeps.calls.clear()
    Counts.made.clear()


def train(folder: Path, prepared: PreparedData, **sections: Any) -> Run:
    run = Run(folder)
    run.folder.mkdir()
    fit(config_of(**sections), run, prepared, ON_CPU, lambda *_: [])
    return run


def test_they_get_the_metrics_and_settings_and_change_no_number(prepared: PreparedData, tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", prepared)
    run = train(tmp_path / "run", prepared, **TARGETS, loggers={"keeps": {"_target_": f"{HERE}.Keeps"}})
    assert Counts.made == [3]
    kinds = [kind for kind, _ in Keeps.calls]
    assert kinds[0] == "hyperparams"
    assert Keeps.calls[0][1]["settings.recipe.lr"] == 0.001
    names = {name for kind, values in Keeps.calls if kind == "metrics" for name in values}
    assert {"train/loss", "val/balanced_accuracy", "val/auroc", "lr/head"} <= names
    tables = [pd.read_csv(one.epochs) for one in (plain, run)]
    numbers = [name for name in tables[0] if name != "seconds" and not name.startswith("speed")]
    pd.testing.assert_frame_equal(tables[0][numbers], tables[1][numbers])
    weights = [torch.load(one.best_checkpoint, weights_only=True)["state_dict"] for one in (plain, run)]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_a_logger_that_fails_is_told_once_and_ends_nothing(prepared, tmp_path, caplog) -> None:
    run = train(tmp_path / "run", prepared, loggers={"keeps": {"_target_": f"{HERE}.Keeps", "works": 1}})
    assert run.status["fitted"] is True
    told = [one.getMessage() for one in caplog.records if "loggers.keeps" in one.getMessage()]
    assert len(told) == 1
    assert "no route to host" in told[0]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"_target_": "no_such_module.Thing"}, "callbacks.mine._target_=no_such_module.Thing cannot be imported"),
        ({"_target_": "pytorch_lightning.callbacks.NoSuch"}, "callbacks.mine._target_="),
        ({"_target_": "pathlib.Path"}, "callbacks.mine._target_=pathlib.Path is no Callback"),
    ],
)
def test_wrong_targets_are_named_before_any_work(section: dict[str, Any], words: str) -> None:
    with pytest.raises(GenderClsError) as caught:
        check_open_groups(config_of(callbacks={"mine": section}))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_and_results_are_named() -> None:
    with pytest.raises(GenderClsError, match=rf"callbacks\.mine cannot be made of {HERE}\.Counts.*start"):
        build_callbacks(config_of(callbacks={"mine": {"_target_": f"{HERE}.Counts"}}))
    with pytest.raises(GenderClsError, match=r"callbacks\.mine\._target_=builtins\.dict is no Callback"):
        build_callbacks(config_of(callbacks={"mine": {"_target_": "builtins.dict"}}))


def test_a_foreign_configuration_makes_nothing(tmp_path: Path) -> None:
    """What evaluate, predict, compare and export read of a run's folder."""
    plain = {**settings(), **TARGETS}
    classifier = GenderClassifier(plain)
    content = {"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}
    torch.save(content, tmp_path / "best.ckpt")
    assert load_classifier(tmp_path / "best.ckpt").settings.callbacks == TARGETS["callbacks"]
    run = Run(tmp_path)
    run.record_settings(plain, {})
    assert recorded_config(run.config_file).callbacks == TARGETS["callbacks"]
    assert Counts.made == []


def test_the_scores_of_the_test_are_sent(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.note(best_step=7)
    run.metrics_file.write_text('{"test": {"scores": {"auroc": {"value": 0.75}, "ece": {"value": null}}}}')
    log_test(config_of(loggers={"keeps": {"_target_": f"{HERE}.Keeps"}}), run)
    assert Keeps.calls == [("metrics", {"test/auroc": 0.75})]


def test_wandb_goes_on_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = Run(tmp_path)
    config = config_of(loggers={"wandb": {"_target_": "pytorch_lightning.loggers.WandbLogger", "project": "p"}})
    [first] = build_loggers(config, run)
    [again] = build_loggers(config, run)
    assert first.version == again.version == run.status["loggers"]["wandb"]
    assert first.experiment.name == run.folder.name
    again.experiment.finish()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


@pytest.mark.filterwarnings("default")  # of MLflow and SQLAlchemy
def test_mlflow_goes_on_with_the_same_run(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    where = {"_target_": "pytorch_lightning.loggers.MLFlowLogger", "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    config = replace(config_of(loggers={"mlflow": where}), tags=["night"])
    for value in (0.5, 0.25):
        [logger] = build_loggers(config, run)
        logger.log_metrics({"val/loss": value}, step=1)
    kept = mlflow.MlflowClient(where["tracking_uri"]).get_run(run.status["loggers"]["mlflow"])
    assert kept.data.metrics["val/loss"] == 0.25
    assert (kept.info.run_name, kept.data.tags["night"]) == ("run", "true")
