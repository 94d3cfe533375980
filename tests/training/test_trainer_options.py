"""What Lightning's own keys mean for a run: its epochs, its learning rate, its best weights, and what it is worth."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.classifiers import config_of, prepare
from helpers.crops import ON_CPU
from helpers.training_ranks import on_ranks
from pytorch_lightning import Callback, LightningModule, Trainer

from gender_cls.config.train import Config
from gender_cls.config.trainer import TrainerConfig, debugging
from gender_cls.data.prepare import PreparedData
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.training.batch import Batch, record_batch
from gender_cls.training.fit import fit
from gender_cls.training.session import train_session
from gender_cls.training.trainer_options import batches_of, deterministic_algorithms


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    from helpers.crops import draw_folders

    return prepare(draw_folders(tmp_path_factory.mktemp("data") / "crops"))


class Watch(Callback):
    """Notes the images and labels of each batch, the steps of the validations, and the learning rates."""

    def __init__(self) -> None:
        self.batches: dict[str, list[tuple[int, torch.Tensor, torch.Tensor]]] = {"train": [], "val": []}
        self.validations: list[int] = []
        self.scores: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches["train"].append((trainer.current_epoch, *batch))
        self.rates.append(trainer.optimizers[0].param_groups[-1]["lr"])

    def on_validation_batch_start(self, trainer: Trainer, module: Any, batch: Any, *_: Any) -> None:
        self.batches["val"].append((trainer.current_epoch, *batch))

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.validations.append(trainer.global_step)
        self.scores.append(float(trainer.callback_metrics["val/loss"]))


def trained(folder: Path, prepared: PreparedData, *further: Callback, **sections: Any) -> tuple[Run, Watch]:
    run, watch = Run(folder), Watch()
    run.folder.mkdir(exist_ok=True)
    config: Config = config_of(**sections)
    run.record_settings({"trainer": vars(config.trainer)}, {})
    fit(config, run, prepared, ON_CPU, lambda *_: [watch, *further])
    return run, watch


def rows(run: Run) -> pd.DataFrame:
    return pd.read_csv(run.epochs)


def test_limits_are_batches_or_shares_and_shorten_the_schedule(prepared, tmp_path) -> None:
    """Of 5 batches of train, 2; of validation the first third, with both labels; the rate falls to zero over 2 x 2."""
    trainer = {"limit_train_batches": 0.4, "limit_val_batches": 1, "max_epochs": 2}
    run, watch = trained(tmp_path / "run", prepared, trainer=trainer, recipe={"warmup_epochs": 0})
    assert list(rows(run)["step"]) == [2, 4]
    assert [epoch for epoch, *_ in watch.batches["val"]] == [0, 1]
    assert {*watch.batches["val"][0][2].tolist()} == {0, 1}
    lr = config_of().recipe.lr
    assert watch.rates == pytest.approx([lr, lr * 0.853553, lr * 0.5, lr * 0.146447], rel=1e-5)
    assert run.status["fitted"] is True
    assert run.debugging == "trainer.limit_train_batches=0.4 and trainer.limit_val_batches=1"


def test_overfitting_sees_the_same_augmented_batches_in_each_epoch(prepared, tmp_path) -> None:
    _, watch = trained(tmp_path / "run", prepared, trainer={"overfit_batches": 2}, augment={"flip": 0.5})
    first, second = ([images for at, images, _ in watch.batches["train"] if at == epoch] for epoch in (0, 1))
    assert len(first) == 2
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first[0], first[1])
    _, other = trained(tmp_path / "other", prepared, augment={"flip": 0.5})
    first, second = ([images for at, images, _ in other.batches["train"] if at == epoch] for epoch in (0, 1))
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("recipe", [{"frozen_epochs": 1}, {"frozen_epochs": None}], ids=["finetune", "linear-probe"])
def test_a_fast_run_trains_what_would_learn_and_keeps_nothing(prepared, tmp_path, recipe) -> None:
    weights: list[list[torch.Tensor]] = []

    class Weights(Callback):
        def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
            weights.append([one.detach().clone() for one in module.network.stages.parameters()])

        on_train_end = on_train_start

    trainer = {"fast_dev_run": 2, "max_epochs": 5}
    run, watch = trained(tmp_path / "run", prepared, Weights(), trainer=trainer, recipe=recipe)
    assert (len(watch.batches["train"]), len(watch.batches["val"]), len(rows(run))) == (2, 1, 1)
    moved = any(not torch.equal(one, other) for one, other in zip(*weights, strict=True))
    assert moved == (recipe["frozen_epochs"] is not None)
    assert "fitted" not in run.status
    assert 0 <= run.status["best_validation"] <= 1
    assert [file for file in run.folder.rglob("*") if "ckpt" in file.name or "tfevents" in file.name] == []


def test_each_validation_in_an_epoch_may_have_the_best_weights(prepared, tmp_path) -> None:
    """Of 5 batches, validated after 2 and 4; the last step of an epoch is in no validated weights."""
    sections: Any = {"recipe": {"monitor": "loss", "lr": 0.05, "ema_decay": 0.5}}
    run, watch = trained(tmp_path / "run", prepared, trainer={"val_check_interval": 2}, **sections)
    assert watch.validations == [2, 4, 7, 9]
    best = min(range(4), key=watch.scores.__getitem__)
    assert run.status["best_step"] == watch.validations[best]
    assert run.status["best_epoch"] == best // 2 + 1
    assert run.status["best_validation"] == pytest.approx(watch.scores[best])
    assert list(rows(run)["val_loss"]) == pytest.approx(watch.scores[1::2], rel=1e-5)
    assert torch.load(run.best_checkpoint, weights_only=True)["global_step"] == watch.validations[best]


def test_an_interval_longer_than_an_epoch_is_refused(prepared, tmp_path) -> None:
    with pytest.raises(GenderClsError, match=r"trainer\.val_check_interval=6 .* 5 batches"):
        trained(tmp_path / "run", prepared, trainer={"val_check_interval": 6})
    with pytest.raises(GenderClsError, match=r"trainer\.limit_val_batches=0\.01 of \d+ batch"):
        trained(tmp_path / "other", prepared, trainer={"limit_val_batches": 0.01})


@pytest.mark.parametrize("max_time", ["00:00:00:01", {"seconds": 1}])
def test_time_ends_a_training_in_an_epoch_which_is_validated_and_may_be_chosen(
    prepared, tmp_path, caplog, monkeypatch, max_time
) -> None:
    class Late(Callback):
        """Lets the time be over in the second batch of the second epoch."""

        def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            if (trainer.current_epoch, batch_idx) == (1, 1):
                timer = next(one for one in trainer.callbacks if type(one).__name__ == "Timer")
                timer._offset = 10_000

    monkeypatch.setattr("pytorch_lightning.callbacks.timer.time.monotonic", lambda: 0.0)
    trainer = {"max_time": max_time, "max_epochs": 4}
    run, watch = trained(tmp_path / "run", prepared, Late(), trainer=trainer)
    assert watch.validations == [5, 7]
    assert list(rows(run)["step"]) == [5, 7]
    assert run.status["fitted"] is True
    assert "after 7 of 20 steps" in run.status["ended"]
    assert any("trainer.max_time" in one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    assert run.debugging is None


@pytest.mark.parametrize("profiler", ["simple", "advanced", "pytorch"])
def test_a_profile_lies_in_the_folder_of_the_run(prepared, tmp_path, profiler) -> None:
    trainer = {"profiler": profiler, "fast_dev_run": 1}
    run, _ = trained(tmp_path / "run", prepared, trainer=trainer)
    [text] = run.profile.glob("*.txt")
    assert {"simple": "training_step", "advanced": "training_step", "pytorch": "aten::"}[profiler] in text.read_text()
    assert bool([*run.profile.glob("*.json")]) == (profiler == "pytorch")


def test_deterministic_training_switches_torch_and_leaves_it_as_it_was(prepared, tmp_path) -> None:
    seen = []

    class Look(Callback):
        def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
            seen.append(
                (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
            )

    for setting in (True, "warn", False):
        trainer = {"deterministic": setting, "fast_dev_run": 1}
        trained(tmp_path / str(setting), prepared, Look(), trainer=trainer)
        assert not torch.are_deterministic_algorithms_enabled()
    assert seen == [(True, False), (True, True), (False, False)]


def test_what_has_no_deterministic_form_is_named() -> None:
    """On a CPU: the gradient of a put with accumulation into one place."""

    def work() -> None:
        torch.use_deterministic_algorithms(True)
        values = torch.zeros(3, dtype=torch.float32)
        torch.nn.functional.max_unpool1d(values[None], torch.zeros(1, 3, dtype=torch.int64), 3)

    with (
        pytest.raises(GenderClsError, match=r"trainer\.deterministic=true .*unpool.*deterministic=warn"),
        deterministic_algorithms(True),
    ):
        work()
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="other"), deterministic_algorithms(True):
        raise RuntimeError("other")


class StopsAfterOneValidation(Callback):
    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.should_stop = True


def test_two_ranks_end_alike_in_the_middle_of_an_epoch(prepared, tmp_path) -> None:
    trainer: Any = {"limit_train_batches": 4, "val_check_interval": 0.5, "max_epochs": 3}
    recipe: Any = {"lr": 1e-9, "ema_decay": 0.5}
    config, run = config_of(trainer=trainer, recipe=recipe), Run(tmp_path / "run")
    run.folder.mkdir()
    record_batch(run, Batch(8, 1, ranks=2))

    def work() -> tuple[list[int], list[float]]:
        watch = Watch()
        callbacks: list[Callback] = [watch, StopsAfterOneValidation()]
        train_session(config, run, prepared.manifest, prepared.images, ON_CPU, lambda *_: callbacks, lambda _: "")
        return watch.validations, watch.scores

    (steps, scores), others = on_ranks(2, work, tmp_path)
    assert (steps, scores) == others
    assert steps == [2]
    alone, watch = trained(tmp_path / "alone", prepared, StopsAfterOneValidation(), trainer=trainer, recipe=recipe)
    assert watch.validations == [2]
    names = ["step", "train_loss", "train_accuracy", "train_balanced_accuracy"]
    pd.testing.assert_frame_equal(rows(run)[names], rows(alone)[names], rtol=0.05)


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, None),
        ({"limit_train_batches": 1.0, "fast_dev_run": False}, None),
        ({"limit_train_batches": 1}, "trainer.limit_train_batches=1"),
        ({"fast_dev_run": True}, "trainer.fast_dev_run=True"),
        ({"max_time": "00:00:01:00", "profiler": "simple"}, None),
    ],
)
def test_runs_that_see_a_part_of_their_batches_are_debugging_runs(settings: dict[str, Any], seen: str | None) -> None:
    assert debugging(vars(TrainerConfig(**settings))) == seen
    assert debugging({}) is None, "of an earlier version"


def test_batches_are_counted_as_lightning_does() -> None:
    assert batches_of(TrainerConfig(limit_train_batches=0.34), "train", 10) == 3
    assert batches_of(TrainerConfig(limit_val_batches=20), "val", 10) == 10
    assert batches_of(TrainerConfig(overfit_batches=2, limit_val_batches=5), "val", 10) == 2
    assert batches_of(TrainerConfig(fast_dev_run=True), "train", 10) == 1
