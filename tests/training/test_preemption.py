"""A training that is stopped by signals, in the middle of epochs, and resumed, ends as one that never was."""

import signal
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.classifiers import config_of, prepare
from helpers.crops import ON_CPU
from helpers.events import read_events
from pytorch_lightning import Callback, Trainer

from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData
from gender_cls.runs.run import Run
from gender_cls.system.signals import stop_behind
from gender_cls.training.fit import fit

Moment = tuple[str, int, int, int]
"""The hook, the epoch and the batch, counted from 0, and the signal that comes then."""


class Signals(Callback):
    """Gets a signal twice, as a process may."""

    def __init__(self, moment: Moment | None) -> None:
        self.moment = moment

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ask("train", trainer, batch_idx)

    def on_validation_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.ask("validation", trainer, batch_idx)

    def ask(self, hook: str, trainer: Trainer, batch: int) -> None:
        if self.moment is not None and self.moment[:3] == (hook, trainer.current_epoch, batch):
            signal.raise_signal(self.moment[3])
            signal.raise_signal(self.moment[3])


def train(config: Config, run: Run, prepared: PreparedData, moment: Moment | None = None) -> None:
    """To the end, or to the moment of a signal."""
    run.folder.mkdir(exist_ok=True)
    if moment is None:
        fit(config, run, prepared, ON_CPU, lambda *_: [Signals(None)])
        return
    with pytest.raises(SystemExit) as ended:
        fit(config, run, prepared, ON_CPU, lambda *_: [Signals(moment)])
    stop = stop_behind(ended.value)
    assert stop is not None
    assert stop.signal == moment[3]


def numbers(run: Run) -> pd.DataFrame:
    """The table of epochs without times."""
    table = pd.read_csv(run.epochs)
    return table[[name for name in table if name != "seconds" and not name.startswith("speed")]]


def points(run: Run) -> dict[str, dict[int, float]]:
    """What TensorBoard shows, without times."""
    scalars = read_events(run.folder).scalars
    return {tag: values for tag, values in scalars.items() if not tag.startswith("speed")}


@pytest.mark.parametrize(
    ("sections", "moments"),
    [
        ({}, [("train", 0, 0, signal.SIGTERM), ("train", 0, 4, signal.SIGUSR1), ("train", 1, 2, signal.SIGUSR2)]),
    ],
)
def test_a_stopped_training_ends_as_one_that_was_never_stopped(folders, tmp_path, sections, moments) -> None:
    config, prepared = config_of(folders, **sections), prepare(folders)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train(config, whole, prepared)
    for moment in moments:
        train(config, stopped, prepared, moment)
    train(config, stopped, prepared)
    pd.testing.assert_frame_equal(numbers(stopped), numbers(whole))
    weights, expected = (torch.load(run.best_checkpoint, weights_only=True)["state_dict"] for run in (stopped, whole))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    assert points(stopped) == points(whole)
