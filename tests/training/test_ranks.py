"""Two and three ranks on the CPU train as one device does. A network without BatchNorm ends with the same weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from helpers.classifiers import TINY_VIT, config_of, datamodule_of, prepare, trainer_for
from helpers.crops import draw_folders
from helpers.training_ranks import on_ranks
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from torch import Tensor

from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData
from gender_cls.errors import GenderClsError
from gender_cls.system.network import free_port
from gender_cls.training import ranks
from gender_cls.training.auto_batch_size import least_images
from gender_cls.training.batch import Batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.feature_cache import build_feature_cache
from gender_cls.training.gradient_checkpointing import GradientCheckpointing
from gender_cls.training.weight_average import WeightAverage

RANKS = (2, 3)
SAME = {  # how one device trains, too
    "frozen, then all, with EMA, class weights and accumulation": {
        "data": {"batch_size": 4, "balance": "loss"}, "augment": {"flip": 0.5},
        "recipe": {"lr": 0.01, "frozen_epochs": 1, "ema_decay": 0.8, "gradient_clip": 0.5},
        "trainer": {"accumulate": 2, "max_epochs": 3},
    },
    "balanced draws, until it gets no better": {
        "data": {"batch_size": 8, "balance": "sampler"},
        "recipe": {"lr": 0.05, "frozen_epochs": 0, "monitor": "loss", "patience": 1}, "trainer": {"max_epochs": 4},
    },
    "fewer images in a step than ranks, label smoothing and checkpointing": {
        "data": {"batch_size": 2},
        "recipe": {"lr": 0.01, "frozen_epochs": 0, "label_smoothing": 0.1, "grad_checkpointing": True},
        "trainer": {"max_epochs": 1},
    },
}  # fmt: skip


class Epochs(Checkpoint):
    """All that was logged for each epoch, and the kinds of batches."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def trained(prepared: PreparedData, config: Config) -> dict[str, Any]:
    """Train on this rank."""
    number, accumulate = ranks.number(), config.trainer.accumulate
    batch = Batch(int(config.data.batch_size), accumulate, ranks=number)
    data = datamodule_of(
        prepared, config, batch_size=batch.size, accumulate=accumulate, rank=ranks.rank(), ranks=number
    )
    seed_everything(0, verbose=False)
    classifier, epochs, recipe = GenderClassifier(to_plain(config), data.class_weights), Epochs(), config.recipe
    data.least = least_images(classifier)
    callbacks = [
        build_feature_cache(classifier, data),
        None if recipe.ema_decay is None else WeightAverage(recipe.ema_decay),
        GradientCheckpointing(classifier.network, "ViT") if recipe.grad_checkpointing else None,
        None if recipe.patience is None else EarlyStopping(f"val/{recipe.monitor}", patience=recipe.patience),
        epochs,
    ]
    trainer = trainer_for(
        callbacks=[callback for callback in callbacks if callback is not None], enable_checkpointing=True,
        max_epochs=config.trainer.max_epochs, accumulate_grad_batches=batch.passes,
        gradient_clip_val=recipe.gradient_clip, log_every_n_steps=1, default_root_dir=prepared.manifest.root,
    )  # fmt: skip
    trainer.fit(classifier, data)
    images, _ = data.datasets["val"].__getitems__(range(len(data.tables["val"])))
    with torch.no_grad():
        probabilities = classifier.eval().probabilities(images)
    weights = {name: value.clone() for name, value in classifier.state_dict().items()}
    return {
        "epochs": epochs.rows, "probabilities": probabilities, "weights": weights, "steps": trainer.global_step,
        "confusion": classifier.confusion_matrix,
    }  # fmt: skip


def refused(prepared: PreparedData, config: Config) -> str:
    with pytest.raises(GenderClsError) as error:
        trained(prepared, config)
    return str(error.value)


def uneven_rows() -> list[Tensor]:
    """A table of 2 * ranks + 1 rows, of which this rank has its part; and what all have together."""
    number = ranks.number()
    table = torch.arange(2 * (2 * number + 1)).view(-1, 2)
    return [ranks.gather_rows(table[ranks.rank() :: number].to(dtype)) for dtype in (torch.int64, torch.bfloat16)]


Work = dict[str, Callable[[], Any]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """What each rank does, by name."""
    folders = draw_folders(tmp_path_factory.mktemp("ranks") / "crops")
    found = prepare(folders, val_fraction=0.25)
    table = found.manifest.table
    train, val = (table[table["split"] == split].head(images) for split, images in (("train", 21), ("val", 11)))
    prepared = replace(found, manifest=replace(found.manifest, table=pd.concat([train, val])))
    same = {
        name: partial(trained, prepared, config_of(folders, model=TINY_VIT, **sections))
        for name, sections in SAME.items()
    }
    batchnorm = {
        "data": {"batch_size": 19}, "recipe": {"frozen_epochs": 0}, "augment": {"mixup": 0.3},
        "trainer": {"max_epochs": 1},
    }  # fmt: skip
    huge = {"recipe": {"lr": 1e30, "frozen_epochs": 0, "gradient_clip": 1e30}, "trainer": {"max_epochs": 1}}
    return {
        **same,
        "batchnorm": partial(trained, prepared, config_of(folders, **batchnorm)),
        "nan": partial(refused, prepared, config_of(folders, model=TINY_VIT, **huge)),
        "rows": uneven_rows,
    }


@pytest.fixture(scope="module")
def alone(work: Work) -> dict[str, Any]:
    return {name: work[name]() for name in SAME}


@pytest.fixture(scope="module", params=RANKS)
def several(request: pytest.FixtureRequest, work: Work, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of several ranks did."""
    folder: Path = tmp_path_factory.mktemp("results")
    return on_ranks(request.param, lambda: {name: one() for name, one in work.items()}, folder)


@pytest.mark.parametrize("name", SAME)
def test_losses_weights_and_answers_are_those_of_one_device(alone, several, name) -> None:
    expected = alone[name]
    for found in (rank[name] for rank in several):
        assert found["steps"] == expected["steps"]
        for epoch, one in zip(found["epochs"], expected["epochs"], strict=True):
            different = {"train/loss_step", *(metric for metric in one if metric.startswith("speed/"))}
            assert set(epoch) == set(one)
            for metric in set(one) - different:
                assert epoch[metric] == pytest.approx(one[metric], abs=1e-5), metric
        torch.testing.assert_close(found["weights"], expected["weights"], rtol=0, atol=1e-5)
        torch.testing.assert_close(found["probabilities"], expected["probabilities"], rtol=0, atol=1e-5)
        assert torch.equal(found["confusion"], expected["confusion"])


@pytest.mark.parametrize("name", [*SAME, "batchnorm"])
def test_all_ranks_end_with_the_same(several, name) -> None:
    first, *others = (rank[name] for rank in several)
    for other in others:
        torch.testing.assert_close(other["weights"], first["weights"], rtol=0, atol=0)
        assert torch.equal(other["probabilities"], first["probabilities"])
        for mine, theirs in zip(other["epochs"], first["epochs"], strict=True):
            assert mine == theirs


def test_rows_are_gathered_in_order(several) -> None:
    table = torch.arange(2 * (2 * len(several) + 1)).view(-1, 2)
    for rank in several:
        assert all(torch.equal(rows.long(), table) for rows in rank["rows"])


def test_all_ranks_refuse_weights_that_are_no_numbers(several) -> None:
    first, *others = (rank["nan"] for rank in several)
    assert "recipe.lr" in first
    assert others == [first] * len(others)


def test_a_rank_with_an_error_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    left: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(ranks.group, "destroy_process_group", lambda: left.append(True))
        with pytest.raises(ValueError, match="mine"), ranks.joined("cpu"):
            raise ValueError("mine")
    assert not left
    ranks.group.destroy_process_group()
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    with pytest.raises(KeyboardInterrupt), ranks.joined("cpu"):
        raise KeyboardInterrupt  # which comes to all of them
    assert not ranks.group.is_initialized()
