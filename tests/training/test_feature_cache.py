"""Training on features computed once, compared with training on pixels (`recipe.views=0`)."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import classifiers
from helpers.classifiers import datamodule_of, prepare, trainer_for
from helpers.crops import draw_folders
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.prepare import PreparedData
from gender_cls.training import feature_cache
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.feature_cache import build_feature_cache
from gender_cls.training.step_input import FeatureBatch

AUGMENTED = {"flip": 0.5, "brightness": 0.5, "erase": 0.5}
TIMM = {"library": "timm", "name": "test_efficientnet", "pretrained": False, "options": {}}


class Records(Callback):
    """What each epoch saw."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, str, Tensor, list[int]]] = []
        self.calls = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def count(_: nn.Module, args: tuple[Tensor]) -> None:
            self.calls += len(args[0])

        first = next(module for module in pl_module.network.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_pre_hook(count)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        kind = "features" if isinstance(batch, FeatureBatch) else "pixels"
        self.batches.append((trainer.current_epoch, kind, batch[0].clone(), batch[1].tolist()))

    def kinds(self) -> list[tuple[int, str]]:
        return sorted({(epoch, kind) for epoch, kind, *_ in self.batches})


class Points(Logger):
    """What was logged."""

    name = version = "points"

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, dict[str, float]]] = []
        self.speeds: set[str] = set()

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.speeds |= {name for name in metrics if name.startswith("speed/")}
        self.points.append((step, {name: value for name, value in metrics.items() if name not in self.speeds}))

    def log_hyperparams(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    found = prepare(draw_folders(tmp_path_factory.mktemp("frozen") / "crops"), val_fraction=0.2)
    table = found.manifest.table
    return replace(found, manifest=replace(found.manifest, table=table.assign(source=table["camera"])))


def modules_of(prepared: PreparedData, config: Config) -> tuple[GenderClassifier, CropDataModule]:
    torch.manual_seed(0)
    data = config.data
    datamodule = datamodule_of(prepared, config, batch_size=int(data.batch_size), num_workers=int(data.num_workers))
    return GenderClassifier(to_plain(config), datamodule.class_weights), datamodule


def config_of(prepared: PreparedData, **sections: dict[str, Any]) -> Config:
    sections["recipe"] = {"lr": 0.02, "frozen_epochs": 2, **sections.get("recipe", {})}
    sections["trainer"] = {"max_epochs": 4, **sections.get("trainer", {})}
    return classifiers.config_of(prepared.manifest.root, **sections)


def train(
    prepared: PreparedData, keeper: ModelCheckpoint | None = None, resume: Path | None = None, **sections: Any
) -> tuple[GenderClassifier, Records, Points]:
    config = config_of(prepared, **sections)
    classifier, datamodule = modules_of(prepared, config)
    records, points = Records(), Points()
    average = None if config.recipe.ema_decay is None else EMAWeightAveraging(decay=config.recipe.ema_decay)
    callbacks = [build_feature_cache(classifier, datamodule), records, average, keeper]
    trainer = trainer_for(
        callbacks=[callback for callback in callbacks if callback is not None],
        max_epochs=config.trainer.max_epochs, accumulate_grad_batches=config.trainer.accumulate,
        precision="32-true" if config.trainer.precision == "auto" else config.trainer.precision,
        gradient_clip_val=config.recipe.gradient_clip, enable_checkpointing=keeper is not None,
        logger=points, log_every_n_steps=min(2, len(datamodule.train_dataloader())),
    )  # fmt: skip
    if config.trainer.compile:
        classifier.network.compile(backend="eager")
    trainer.fit(classifier, datamodule, ckpt_path=resume, weights_only=True)
    return classifier, records, points


HALF = {"max_epochs": 2, "precision": "bf16-mixed"}
PROBE = {"frozen_epochs": None}
RESNET = {"library": "torchvision", "name": "resnet18", "pretrained": False, "dropout": 0.5}


@pytest.mark.parametrize(
    "sections",
    [
        {"recipe": PROBE},
        {},
        {"model": TIMM | {"dropout": 0.3}, "recipe": PROBE, "trainer": {"max_epochs": 3}},
        # AdamW turns gradients that are nothing but rounding into whole steps: in float64 they stay small.
        {"model": TIMM | {"dropout": 0.3}, "trainer": {"max_epochs": 3, "precision": "64-true"}},
        {"model": RESNET, "recipe": PROBE, "trainer": {"max_epochs": 2}},
        {"data": {"balance": "sampler"}, "trainer": {"accumulate": 3}},
        {"data": {"balance": "source"}},
        {"data": {"balance": "loss", "batch_size": 11}},
        {"data": {"num_workers": 1}},
        {"recipe": {"label_smoothing": 0.1, "views": 5}},
        {"recipe": {"views": 2}, "augment": AUGMENTED},
        {"recipe": {"views": 9} | PROBE, "augment": AUGMENTED},
        {"recipe": {"ema_decay": 0.8}},
        {"recipe": PROBE, "trainer": {"max_epochs": 1, "compile": True}},
        {"recipe": PROBE, "trainer": HALF, "model": TIMM},
    ],
    ids=["probe", "lp-ft", "timm", "timm-lp-ft", "drops", "sampler", "sources", "weights", "workers", "views",
         "augmented", "more-views", "averaged", "compiled", "bf16"],
)  # fmt: skip
def test_features_end_where_pixels_end(prepared, sections) -> None:
    uncompiled = {**sections.get("trainer", {}), "compile": False}
    pixels = {**sections, "recipe": {**sections.get("recipe", {}), "views": 0}, "trainer": uncompiled}
    classifier, records, logged = train(prepared, **sections)
    plain_classifier, plain_records, plain_logged = train(prepared, **pixels)
    half = sections.get("trainer") is HALF
    assert (records.batches[0][2].dtype == torch.bfloat16) == half
    tolerance = 1e-3 if half else 1e-5
    expected = plain_classifier.state_dict()
    torch.testing.assert_close(classifier.state_dict(), expected, rtol=tolerance, atol=tolerance)
    for (step, point), (plain_step, plain_point) in zip(logged.points, plain_logged.points, strict=True):
        assert step == plain_step
        assert point == pytest.approx(plain_point, rel=tolerance, abs=tolerance)
    names = {name for _, point in logged.points for name in point}
    assert {"val/loss", "val/auroc", "train/loss", "train/accuracy", "train/loss_step", "lr/head"} < names
    labels, plain_labels = ([(batch[0], batch[3]) for batch in one.batches] for one in (records, plain_records))
    assert labels == plain_labels
    frozen_epochs = sections.get("recipe", {}).get("frozen_epochs", 2) or 99
    epochs = range(classifier.settings.trainer.max_epochs)
    assert records.kinds() == [(epoch, "features" if epoch < frozen_epochs else "pixels") for epoch in epochs]
    assert plain_records.kinds() == [(epoch, "pixels") for epoch in epochs]


def count(prepared: PreparedData) -> dict[str, int]:
    return prepared.manifest.table["split"].value_counts().to_dict()


def test_ten_frozen_epochs_pass_each_image_once(prepared) -> None:
    _, records, logged = train(prepared, recipe={"frozen_epochs": None}, trainer={"max_epochs": 10})
    assert {epoch for epoch, *_ in records.batches} == set(range(10))
    assert records.calls == count(prepared)["train"] + count(prepared)["val"]
    assert logged.speeds == {"speed/head_images_per_second"}


def test_one_view_repeats_the_images_of_the_first_epoch_and_two_take_turns(prepared) -> None:
    def sorted_features(views: int) -> list[Tensor]:
        _, records, _ = train(prepared, recipe={"frozen_epochs": None, "views": views}, augment=AUGMENTED)
        by_epoch = [torch.cat([f for epoch, _, f, _ in records.batches if epoch == number]) for number in range(4)]
        return [features[features[:, 0].argsort()] for features in by_epoch]

    first, second, third, _ = sorted_features(1)
    one, two, three, four = sorted_features(2)
    for a, b in ((first, second), (first, third), (one, first), (one, three), (two, four)):
        assert torch.equal(a, b)
    assert not torch.equal(one, two)


def test_a_last_batch_of_one_image_is_left_out_as_with_pixels(prepared) -> None:
    train_images = count(prepared)["train"]
    size = next(size for size in range(5, train_images) if train_images % size == 1)
    sections = {"data": {"batch_size": size}, "recipe": {"frozen_epochs": 1}, "trainer": {"max_epochs": 2}}
    _, records, logged = train(prepared, **sections)
    sizes = Counter((epoch, kind, len(labels)) for epoch, kind, _, labels in records.batches)
    assert sizes == {(0, "features", size): train_images // size, (1, "pixels", size): train_images // size}
    assert logged.speeds == {"speed/head_images_per_second", "speed/train_images_per_second"}


def test_the_first_epoch_of_the_backbone_sees_its_own_augmented_pixels(prepared) -> None:
    once, always = (
        train(prepared, augment=AUGMENTED, recipe={"frozen_epochs": 1, "views": views}, trainer={"max_epochs": 2})[1]
        for views in (1, 0)
    )
    for (_, _, pixels, labels), (_, _, plain, plain_labels) in zip(once.batches[-4:], always.batches[-4:], strict=True):
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, plain)
        assert labels == plain_labels


def test_processes_that_read_pixels_start_for_features_and_when_the_backbone_learns(prepared, monkeypatch) -> None:
    started: list[int] = []
    original = _MultiProcessingDataLoaderIter.__init__

    def start(self: Any, loader: Any) -> None:
        started.append(len(loader.dataset))
        original(self, loader)

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "__init__", start)
    train(prepared, data={"num_workers": 1}, trainer={"max_epochs": 3})
    assert started == [count(prepared)["train"], count(prepared)["val"]] * 2


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_run_ends_like_an_uninterrupted_one(prepared, tmp_path) -> None:
    recipe = {"views": 2, "frozen_epochs": 3, "ema_decay": 0.9}
    sections: dict[str, Any] = {"augment": AUGMENTED, "data": {"balance": "sampler"}, "recipe": recipe}
    whole, _, logged = train(prepared, ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1), **sections)
    for epoch in (0, 1, 2):
        keeper = ModelCheckpoint(tmp_path / f"from{epoch}")
        resumed, _, points = train(prepared, keeper, resume=tmp_path / f"epoch={epoch}.ckpt", **sections)
        assert points.points == logged.points[-(len(logged.points) * (3 - epoch) // 4) :]
        torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


SMALL_DEIT = {
    "library": "timm", "name": "deit_tiny_distilled_patch16_224", "pretrained": False,
    "options": {"depth": 1, "embed_dim": 12, "num_heads": 1},
}  # fmt: skip
SQUEEZENET = {"library": "torchvision", "name": "squeezenet1_1", "pretrained": False}


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"model": SMALL_DEIT}, "2 heads make the logits (head, head_dist)"),
        ({"model": SQUEEZENET, "data": {"image_size": [64, 32]}}, "the head alone (classifier.1)"),
        ({"augment": {"mixup": 0.2}}, "augment.mixup"),
        ({"augment": {"cutmix": 0.2}}, "augment.cutmix"),
        ({}, "0.0 GiB of 0.0 GiB"),  # memory, of which there is next to none below
        ({"recipe": {"views": 0}}, ""),
        ({"recipe": {"frozen_epochs": 0}}, ""),
    ],
    ids=["two-heads", "head", "mixup", "cutmix", "memory", "no-views", "nothing-frozen"],
)
def test_what_cannot_be_cached_trains_on_pixels_and_the_log_says_why(
    prepared, sections, reason, caplog, monkeypatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(feature_cache, "available_memory", lambda: 1 << 10)
    classifier, datamodule = modules_of(prepared, config_of(prepared, **sections))
    state = torch.random.get_rng_state()
    caplog.clear()
    assert build_feature_cache(classifier, datamodule) is None
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in classifier.network.modules())
    assert isinstance(datamodule.train_dataloader(), torch.utils.data.DataLoader)
    assert reason in caplog.text if reason else not caplog.text


def test_the_log_says_how_many_images_are_computed(prepared, caplog) -> None:
    caplog.set_level(logging.INFO)
    train(prepared, trainer={"max_epochs": 2})
    images = [count(prepared)[split] for split in ("train", "val")]
    assert f"computed once: {images[0]} + {images[1]} images" in caplog.text
    train(prepared, augment=AUGMENTED, recipe={"views": 3}, trainer={"max_epochs": 2})
    assert f"computed once: 2 views of {images[0]} + {images[1]} images" in caplog.text
