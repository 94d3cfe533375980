import re
from pathlib import Path

import pytest
from helpers.classifiers import trainer_for
from helpers.events import read_events
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from gender_cls.runs.run import HPARAMS_SCORES
from gender_cls.training.run_events import DESCRIPTIONS, RunLogger


@pytest.fixture
def logger(tmp_path: Path) -> RunLogger:
    return RunLogger(tmp_path)


def test_curves_come_first_with_a_description_and_without_the_epoch(tmp_path: Path, logger: RunLogger) -> None:
    for step in (4, 8):
        logger.log_metrics({"val/loss": 1 / step, "train/loss": 2 / step, "lr/head": 0.1, "epoch": 7}, step)
    logger.finalize("success")
    events = read_events(tmp_path)
    assert events.scalars == {
        "Val/loss": {4: 0.25, 8: 0.125},
        "Train/loss": {4: 0.5, 8: 0.25},
        "lr/head": {4: pytest.approx(0.1), 8: pytest.approx(0.1)},
    }
    assert {tag: events.descriptions[tag] for tag in events.scalars} == {
        tag: DESCRIPTIONS[tag] for tag in events.scalars
    }


def test_variables_of_slurm_around_a_training_do_not_silence_it(
    tmp_path: Path, logger: RunLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 3)  # as with SLURM_PROCID=3
    trainer_for(logger=logger)
    logger.log_metrics({"val/loss": 0.5}, 4)
    logger.finalize("success")
    assert read_events(tmp_path).scalars == {"Val/loss": {4: 0.5}}


def test_a_run_that_begins_has_settings_text_and_charts_but_no_score(tmp_path: Path, logger: RunLogger) -> None:
    logger.log_start({"lr": 0.5, "model": "custom_cnn"}, "- **seed**: 0")
    logger.finalize("success")
    events = read_events(tmp_path)
    assert events.scalars == {}
    assert events.texts == {"experiment": {0: "- **seed**: 0"}}
    hparams = EventAccumulator(str(tmp_path)).Reload().PluginTagToContent("hparams")
    assert hparams.keys() == {"_hparams_/experiment", "_hparams_/session_start_info"}, "it has not ended"
    about = HParamsPluginData.FromString(hparams["_hparams_/experiment"]).experiment
    assert [metric.name.tag for metric in about.metric_infos] == [*HPARAMS_SCORES]
    started = HParamsPluginData.FromString(hparams["_hparams_/session_start_info"]).session_start_info
    assert (started.hparams["lr"].number_value, started.hparams["model"].string_value) == (0.5, "custom_cnn")


def test_training_and_validation_share_a_chart(tmp_path: Path, logger: RunLogger) -> None:
    logger.log_start({}, "")
    logger.finalize("success")
    layout = Layout.FromString(read_events(tmp_path).others["custom_scalars__config__"][0])
    charts = {chart.title: chart.multiline.tag for category in layout.category for chart in category.chart}
    tags = ["Train/loss", "Train/loss_step", "Val/loss", "Train/balanced_accuracy", "Val/balanced_accuracy"]
    shown = {title: [tag for tag in tags if any(re.match(one, tag) for one in charts[title])] for title in charts}
    assert shown["loss"] == ["Train/loss", "Val/loss"]
    assert shown["balanced accuracy"] == ["Train/balanced_accuracy", "Val/balanced_accuracy"]
