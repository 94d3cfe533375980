"""A training that signals stop, also in the middle of an epoch, ends when resumed as one that was never stopped."""

import logging
import signal
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.classifiers import TINY_VIT, batches, config_of, prepare, settings, trainer_for
from helpers.crops import ON_CPU
from helpers.events import read_events
from helpers.training_ranks import on_ranks
from pytorch_lightning import Callback, LightningModule, Trainer

from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData
from gender_cls.runs.run import Run
from gender_cls.system.signals import STOPS, stop_behind, unless_stopped
from gender_cls.training import ranks
from gender_cls.training.batch import Batch, record_batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.fit import fit
from gender_cls.training.preemption import Agreement
from gender_cls.training.session import train_session

Moment = tuple[str, int, int, int]
"""A hook, epoch and batch, counted from 0, and the signal that comes there."""

FOREIGN = "hpc_ckpt_1.ckpt"  # Lightning would go on from it


@pytest.fixture(autouse=True)
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a job or an interactive shell of Slurm, where Lightning has signal handlers and checkpoints of its own."""
    monkeypatch.chdir(tmp_path)  # where Lightning would look for them, if not in the run's folder
    (tmp_path / FOREIGN).write_text("foreign")
    for name, value in {"NTASKS": 2, "JOB_ID": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "JOB_NAME": "train"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


class Signals(Callback):
    """Gets a signal twice, as a process may."""

    def __init__(self, moment: Moment | None) -> None:
        self.moment = moment
        self.explained: list[int] = []  # epochs

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ask("train", trainer, batch_idx)

    def on_validation_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.ask("validation", trainer, batch_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def explain() -> None:
            self.ask("explanation", trainer, 0)
            self.explained.append(trainer.current_epoch)

        if trainer.is_global_zero:
            unless_stopped(explain)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ask("end", trainer, 0)

    def ask(self, hook: str, trainer: Trainer, batch: int) -> None:
        if self.moment is not None and self.moment[:3] == (hook, trainer.current_epoch, batch):
            signal.raise_signal(self.moment[3])
            signal.raise_signal(self.moment[3])


def train(config: Config, run: Run, prepared: PreparedData, moment: Moment | None = None) -> list[int]:
    """To the end, or to the moment of a signal; returns the epochs that were explained."""
    run.folder.mkdir(exist_ok=True)
    (run.folder / FOREIGN).write_text("foreign")
    signals = Signals(moment)
    if moment is None:
        fit(config, run, prepared, ON_CPU, lambda *_: [signals])
    else:
        with pytest.raises(SystemExit) as ended:  # by Lightning
            fit(config, run, prepared, ON_CPU, lambda *_: [signals])
        stop = stop_behind(ended.value)
        assert stop is not None
        assert stop.signal == moment[3]
    written = {file.name: file.read_text() for file in (*Path().rglob("hpc*"), *run.folder.rglob("hpc*"))}
    assert written == {FOREIGN: "foreign"}
    return signals.explained


def numbers(run: Run) -> pd.DataFrame:
    """The table of epochs without times."""
    table = pd.read_csv(run.epochs)
    return table[[name for name in table if name != "seconds" and not name.startswith("speed")]]


def points(run: Run) -> dict[str, dict[int, float]]:
    """What TensorBoard shows, without times."""
    scalars = read_events(run.folder).scalars
    return {tag: values for tag, values in scalars.items() if not tag.startswith("speed")}


TERM, USR1, USR2 = signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2


@pytest.mark.parametrize(
    ("sections", "moments", "goes_on"),
    [
        (
            {"data": {"num_workers": 1}, "augment": {"flip": 0.5}},
            [("train", 0, 0, TERM), ("train", 0, 4, USR1), ("train", 1, 2, USR2)],
            ["epoch 1, after step 1", "the validation of epoch 1, after step 5", "epoch 2, after step 8"],
        ),
        (
            {"recipe": {"ema_decay": 0.8, "frozen_epochs": 1}},
            [("validation", 0, 0, TERM), ("explanation", 0, 0, USR1), ("end", 0, 0, USR2), ("train", 1, 3, TERM)],
            [*["the validation of epoch 1, after step 5"] * 2, "epoch 2, after step 5", "epoch 2, after step 9"],
        ),
        (
            {"data": {"balance": "sampler", "batch_size": 4}, "trainer": {"accumulate": 2}, "recipe": {"patience": 1}},
            [("train", 0, 2, TERM), ("end", 1, 0, USR2)],
            ["epoch 1, after step 2"],
        ),
        (
            {"trainer": {"val_check_interval": 2, "limit_train_batches": 4}, "recipe": {"monitor": "loss"}},
            [("train", 0, 1, TERM), ("validation", 0, 0, USR1), ("train", 1, 2, TERM)],
            ["epoch 1, after step 2", "the validation of epoch 1, after step 4", "epoch 2, after step 7"],
        ),
    ],
    ids=["plain", "averaged-frozen", "accumulated-balanced", "validated-twice"],
)
def test_a_stopped_training_ends_as_one_that_was_never_stopped(
    folders, tmp_path, caplog, sections, moments, goes_on
) -> None:
    config, prepared = config_of(folders, **sections), prepare(folders)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    explained = train(config, whole, prepared)
    caplog.set_level(logging.INFO, "gender_cls.training.preemption")
    parts = [train(config, stopped, prepared, moment) for moment in moments] + [train(config, stopped, prepared)]
    told = list(chain(*parts))
    if config.trainer.val_check_interval == 1.0:
        assert told == explained == [0, 1]
    else:  # a stop leaves out the maps of a validation in the middle of an epoch
        assert (told, explained) == ([0, 1, 1], [0, 0, 1, 1])
    pd.testing.assert_frame_equal(numbers(stopped), numbers(whole))
    weights, expected = (torch.load(run.best_checkpoint, weights_only=True)["state_dict"] for run in (stopped, whole))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    assert points(stopped) == points(whole)
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "goes on" in line] == [f"Training goes on with {where}." for where in goes_on]
    assert sum(f"{stopped.last_checkpoint} holds" in line for line in lines) == len(moments)


def test_ranks_stop_at_one_step_whichever_gets_the_signal_and_one_device_goes_on(folders, tmp_path) -> None:
    config, prepared = config_of(folders, model=TINY_VIT, recipe={"lr": 0.01}), prepare(folders)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    stopped.folder.mkdir()
    train(config, whole, prepared)
    record_batch(stopped, Batch(8, 1, ranks=2))

    def session(rank: int, moment: Moment) -> list[int]:
        """The signal comes to one rank only; returns how far the training is then."""
        signals = Signals(moment if ranks.rank() == rank else None)
        with pytest.raises(SystemExit) as ended:
            train_session(
                config, stopped, prepared.manifest, prepared.images, ON_CPU, lambda *_: [signals], lambda _: ""
            )
        content = torch.load(stopped.last_checkpoint, weights_only=True)
        return [stop_behind(ended.value).signal, content["epoch"], content["global_step"], *signals.explained]

    def work() -> list[list[int]]:
        agreement = Agreement()
        told = [agreement.most(number * ranks.rank(), at_once=number == 5) for number in (0, 3, 0, 0, 5)]
        return [told, session(1, ("train", 0, 0, USR1)), session(0, ("validation", 0, 0, TERM))]

    same = [[0, 0, 3, 0, 5], [USR1, 0, 2], [TERM, 0, 5]]
    assert on_ranks(2, work, tmp_path) == [same, same]
    record_batch(stopped, Batch(8, 1))
    train(config, stopped, prepared)
    pd.testing.assert_frame_equal(numbers(stopped), numbers(whole), rtol=1e-5)


class Handlers(Callback):
    """Looks at what signals do before the first step, where features of a frozen backbone are computed."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen = [signal.getsignal(number) for number in STOPS]


def test_lightning_handles_no_signal() -> None:
    handlers, before = Handlers(), [signal.getsignal(number) for number in STOPS]
    trainer_for(callbacks=[handlers]).fit(GenderClassifier(settings()), batches(), batches())
    assert handlers.seen == before
