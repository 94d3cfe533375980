"""Training on features computed once, compared with training on pixels (`recipe.views=0`)."""

import logging
from collections import Counter
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

from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.prepare import PreparedData
from gender_cls.training import feature_cache
from gender_cls.training.classifier import FeatureBatch, GenderClassifier
from gender_cls.training.feature_cache import build_feature_cache

AUGMENTED = {"flip": 0.5, "brightness": 0.5, "erase": 0.5}
TIMM = {"library": "timm", "name": "test_efficientnet", "pretrained": False, "options": {}}


class Records(Callback):
    """What each epoch saw, and what was logged."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, str, Tensor, list[int]]] = []
        self.points: list[tuple[int, dict[str, float]]] = []
        self.speeds: set[str] = set()
        self.calls = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def count(_: nn.Module, args: tuple[Tensor]) -> None:
            self.calls += len(args[0])

        first = next(module for module in pl_module.network.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_pre_hook(count)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        kind = "features" if isinstance(batch, FeatureBatch) else "pixels"
        self.batches.append((trainer.current_epoch, kind, batch[0].clone(), batch[1].tolist()))

    def note(self, metrics: dict[str, float], step: int) -> None:
        speeds = {name for name in metrics if name.startswith("speed/")}
        self.speeds |= speeds
        self.points.append((step, {name: value for name, value in metrics.items() if name not in speeds}))

    def kinds(self) -> list[tuple[int, str]]:
        return sorted({(epoch, kind) for epoch, kind, *_ in self.batches})


class PointsLogger(Logger):
    """Tells the records."""

    name = version = "points"

    def __init__(self, records: Records) -> None:
        super().__init__()
        self.records = records

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.records.note(metrics, step)

    def log_hyperparams(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepare(draw_folders(tmp_path_factory.mktemp("frozen") / "crops"), val_fraction=0.2)


def modules_of(prepared: PreparedData, config: Config) -> tuple[GenderClassifier, CropDataModule]:
    torch.manual_seed(0)
    data = config.data
    datamodule = datamodule_of(prepared, config, int(data.batch_size), num_workers=int(data.num_workers))
    return GenderClassifier(to_plain(config), datamodule.class_weights), datamodule


def config_of(prepared: PreparedData, **sections: dict[str, Any]) -> Config:
    recipe = {"lr": 0.02, "frozen_epochs": 2, **sections.pop("recipe", {})}
    trainer = {"max_epochs": 4, **sections.pop("trainer", {})}
    return classifiers.config_of(prepared.manifest.root, recipe=recipe, trainer=trainer, **sections)


def train(
    prepared: PreparedData, *others: Callback, resume: Path | None = None, **sections: Any
) -> tuple[GenderClassifier, Records, Trainer]:
    config = config_of(prepared, **sections)
    classifier, datamodule = modules_of(prepared, config)
    cache = build_feature_cache(classifier, datamodule)
    records = Records()
    trainer = trainer_for(
        classifier,
        callbacks=[*([cache] if cache else []), records, *others],
        max_epochs=config.trainer.max_epochs,
        accumulate_grad_batches=config.trainer.accumulate,
        precision="32-true" if config.trainer.precision == "auto" else config.trainer.precision,
        gradient_clip_val=config.recipe.gradient_clip,
        logger=PointsLogger(records),
        log_every_n_steps=min(2, len(datamodule.train_dataloader())),
        enable_checkpointing=bool(others),
    )
    if config.trainer.compile:
        classifier.network.compile(backend="eager")
    trainer.fit(classifier, datamodule, ckpt_path=resume, weights_only=True)
    return classifier, records, trainer


def assert_same(one: tuple[Any, Records, Any], other: tuple[Any, Records, Any], tolerance: float = 1e-5) -> None:
    """Weights, what was logged after each epoch, and the labels of each batch."""
    for a, b in zip(one[0].state_dict().values(), other[0].state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    names: set[str] = set()
    for (step, first), (other_step, second) in zip(one[1].points, other[1].points, strict=True):
        assert step == other_step
        assert first == pytest.approx(second, rel=tolerance, abs=tolerance)
        names |= first.keys()
    assert {"val/loss", "val/auroc", "train/loss", "train/accuracy", "train/loss_step", "lr/head"} < names
    assert [(epoch, labels) for epoch, _, _, labels in one[1].batches] == [
        (epoch, labels) for epoch, _, _, labels in other[1].batches
    ]


@pytest.mark.parametrize(
    "sections",
    [
        {"recipe": {"frozen_epochs": None}},
        {},
        {"model": TIMM | {"dropout": 0.3}, "recipe": {"frozen_epochs": None}, "trainer": {"max_epochs": 3}},
        # AdamW makes whole steps of gradients that are nothing but rounding: in float64 they stay small.
        {"model": TIMM | {"dropout": 0.3}, "trainer": {"max_epochs": 3, "precision": "64-true"}},
        {"model": {"library": "torchvision", "name": "resnet18", "pretrained": False, "dropout": 0.5, "options": {}},
         "recipe": {"frozen_epochs": None}, "trainer": {"max_epochs": 2}},
        {"data": {"balance": "sampler"}, "trainer": {"accumulate": 3}},
        {"data": {"balance": "loss", "batch_size": 11}},
        {"recipe": {"label_smoothing": 0.1, "views": 5}},
        {"recipe": {"views": 2}, "augment": AUGMENTED},
        {"recipe": {"views": 9, "frozen_epochs": None}, "augment": AUGMENTED},
    ],
    ids=["probe", "lp-ft", "timm", "timm-lp-ft", "drops", "sampler", "weights", "views", "augmented", "more-views"],
)  # fmt: skip
def test_it_ends_where_the_plain_way_ends(prepared: PreparedData, sections: dict[str, Any]) -> None:
    plain = {**sections, "recipe": {**sections.get("recipe", {}), "views": 0}}
    once, always = train(prepared, **sections), train(prepared, **plain)
    frozen_epochs = sections.get("recipe", {}).get("frozen_epochs", 2) or 99
    assert_same(once, always)
    epochs = range(once[2].max_epochs)
    assert once[1].kinds() == [(epoch, "features" if epoch < frozen_epochs else "pixels") for epoch in epochs]
    assert always[1].kinds() == [(epoch, "pixels") for epoch in epochs]


def test_ten_frozen_epochs_pass_each_image_once(prepared: PreparedData) -> None:
    _, records, trainer = train(prepared, recipe={"frozen_epochs": None}, trainer={"max_epochs": 10})
    datasets = trainer.datamodule.datasets
    assert {point["epoch"] for _, point in records.points} == set(range(10))
    assert records.calls == len(datasets["train"]) + len(datasets["val"])
    assert records.speeds == {"speed/head_images_per_second"}


def test_one_view_shows_the_first_epochs_pictures_again_and_two_take_turns(prepared: PreparedData) -> None:
    def sorted_features(views: int) -> list[Tensor]:
        _, records, _ = train(prepared, recipe={"frozen_epochs": None, "views": views}, augment=AUGMENTED)
        by_epoch = [torch.cat([f for epoch, _, f, _ in records.batches if epoch == number]) for number in range(4)]
        return [features[features[:, 0].argsort()] for features in by_epoch]

    first, second, third, _ = sorted_features(1)
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    one, two, three, four = sorted_features(2)
    assert torch.equal(one, first)
    assert not torch.equal(one, two)
    assert torch.equal(one, three)
    assert torch.equal(two, four)


def test_batches_have_the_sizes_of_the_plain_way_and_a_last_one_of_one_is_left_out(prepared: PreparedData) -> None:
    train_images = len(prepared.manifest.table.query("split == 'train'"))
    size = next(size for size in range(5, train_images) if train_images % size == 1)
    _, records, _ = train(prepared, data={"batch_size": size}, recipe={"frozen_epochs": 1}, trainer={"max_epochs": 2})
    sizes = Counter((epoch, kind, len(labels)) for epoch, kind, _, labels in records.batches)
    assert sizes == {(0, "features", size): train_images // size, (1, "pixels", size): train_images // size}
    assert records.speeds == {"speed/head_images_per_second", "speed/train_images_per_second"}


def test_the_epoch_that_wakes_the_backbone_sees_its_own_augmented_pixels(prepared: PreparedData) -> None:
    once, always = (
        train(prepared, augment=AUGMENTED, recipe={"frozen_epochs": 1, "views": views}, trainer={"max_epochs": 2})[1]
        for views in (1, 0)
    )
    for (_, _, pixels, labels), (_, _, plain, plain_labels) in zip(once.batches[-4:], always.batches[-4:], strict=True):
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels, plain)
        assert labels == plain_labels


def test_processes_that_read_pixels_start_once_for_features_and_once_when_the_backbone_wakes(
    prepared: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.data import dataloader

    started: list[int] = []
    original = dataloader._MultiProcessingDataLoaderIter.__init__

    def start(self: Any, loader: Any) -> None:
        started.append(len(loader.dataset))
        original(self, loader)

    monkeypatch.setattr(dataloader._MultiProcessingDataLoaderIter, "__init__", start)
    sections: dict[str, Any] = {"recipe": {"frozen_epochs": 2}, "data": {"num_workers": 1}}
    with_workers = train(prepared, **sections, trainer={"max_epochs": 3})
    datasets = with_workers[2].datamodule.datasets
    train_images, val_images = len(datasets["train"]), len(datasets["val"])
    assert started == [train_images, val_images, train_images, val_images]
    assert_same(with_workers, train(prepared, trainer={"max_epochs": 3}))


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_resumed_run_ends_like_an_unbroken_one(prepared: PreparedData, tmp_path: Path, epoch: int) -> None:
    sections: dict[str, Any] = {
        "augment": AUGMENTED,
        "data": {"balance": "sampler"},
        "recipe": {"views": 2, "frozen_epochs": 3},
    }
    keeper = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    whole = train(prepared, keeper, EMAWeightAveraging(decay=0.9), **sections)
    resumed = train(
        prepared,
        ModelCheckpoint(tmp_path / "resumed"),
        EMAWeightAveraging(decay=0.9),
        resume=tmp_path / f"epoch={epoch}.ckpt",
        **sections,
    )
    assert resumed[1].points == [point for point in whole[1].points if point[1]["epoch"] > epoch]
    for name, value in whole[0].state_dict().items():
        assert torch.equal(resumed[0].state_dict()[name], value), name


def test_averaged_weights_are_validated_as_in_the_plain_way(prepared: PreparedData, tmp_path: Path) -> None:
    once, always = (
        train(prepared, EMAWeightAveraging(decay=0.8), ModelCheckpoint(tmp_path / str(views)), recipe={"views": views})
        for views in (1, 0)
    )
    assert_same(once, always)


def test_bf16_features_train_like_bf16_pixels(prepared: PreparedData) -> None:
    once, always = (
        train(
            prepared,
            model=TIMM,
            recipe={"frozen_epochs": None, "views": views},
            trainer={"max_epochs": 2, "precision": "bf16-mixed"},
        )
        for views in (1, 0)
    )
    assert once[1].batches[0][2].dtype == torch.bfloat16
    assert_same(once, always, tolerance=1e-3)


def test_a_compiled_network_gives_its_features_uncompiled(prepared: PreparedData) -> None:
    recipe = {"frozen_epochs": None}
    compiled = train(prepared, recipe=recipe, trainer={"max_epochs": 1, "compile": True})
    assert_same(compiled, train(prepared, recipe=recipe, trainer={"max_epochs": 1}))


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
    prepared: PreparedData,
    sections: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
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


def test_it_says_how_many_images_it_computes(
    prepared: PreparedData, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    _, _, trainer = train(prepared, trainer={"max_epochs": 2, "progress_bar": True})
    images = [len(trainer.datamodule.datasets[split]) for split in ("train", "val")]
    assert f"computed once: {images[0]} + {images[1]} images" in caplog.text
    assert f"Features: 100%|██████████| {sum(images)}/{sum(images)}" in capfd.readouterr().err
    train(prepared, augment=AUGMENTED, recipe={"views": 3}, trainer={"max_epochs": 2})
    assert f"computed once: 2 views of {images[0]} + {images[1]} images" in caplog.text
    assert "Features" not in capfd.readouterr().err
