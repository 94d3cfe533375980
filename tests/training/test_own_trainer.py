"""The DataModule and the LightningModule by themselves, in a Trainer of somebody else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from helpers.crops import PATTERN, write_crops
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gender_cls
from gender_cls.config.data import ResizeMode
from gender_cls.errors import GenderClsError

SIZE = (32, 16)


class OwnNetwork(nn.Module):
    """Nothing of ours: a body and a head."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU())
        self.answer = nn.Linear(4, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.body(images).mean((2, 3)))


class OwnModule(LightningModule):
    """A module of somebody else that learns from our batches."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.seen = OwnNetwork(), []

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        images, labels = batch
        self.seen.append((images.dtype, tuple(images.shape[1:]), labels.dtype))
        return cross_entropy(self.network(images / 255), labels)

    def validation_step(self, batch: Sequence[Tensor], number: int) -> None:
        self.log("loss", self.training_step(batch, number))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def own_trainer(**options: Any) -> Trainer:
    """Lightning's own, with its sanity check; only what prints and writes is off."""
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(**{"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1, **off, **options})


def crops_of(folders: Path, **options: Any) -> gender_cls.CropDataModule:
    given = {"image_size": SIZE, "batch_size": 8, "pattern": PATTERN, "cache": folders.parent / "cache", **options}
    return gender_cls.CropDataModule.from_folder(folders, **given)


def small(**options: Any) -> gender_cls.GenderClassifier:
    return gender_cls.build_classifier("custom_cnn", image_size=SIZE, **options)


def test_both_train_validate_test_and_predict_in_another_trainer(folders: Path, tmp_path: Path) -> None:
    crops = crops_of(folders, augment={"flip": 0.5})
    seed_everything(0, verbose=False)
    classifier = small(lr=0.003, class_weights=np.array([1, 2]))
    assert classifier.settings.recipe.lr == 0.003
    assert classifier.class_weights.tolist() == [1.0, 2.0]
    keep = ModelCheckpoint(tmp_path / "kept", monitor="val/balanced_accuracy", mode="max")
    trainer = own_trainer(callbacks=[keep], enable_checkpointing=True, max_epochs=3)
    trainer.fit(classifier, crops)
    logged = trainer.callback_metrics
    assert {"train/loss", "train/balanced_accuracy", "val/loss", "val/auroc", "lr/head"} <= logged.keys()
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0, "the cosine ends with the Trainer's epochs, not with ours"
    [validated], [tested] = (
        trainer.validate(classifier, crops, verbose=False),
        trainer.test(classifier, crops, verbose=False),
    )
    answers = torch.cat(trainer.predict(classifier, crops))
    is_male = (crops.tables["val"]["label"] == "MALE").to_numpy()
    right = (answers.argmax(dim=1).numpy() == 1) == is_male
    assert validated["val/balanced_accuracy"] == pytest.approx((right[is_male].mean() + right[~is_male].mean()) / 2)
    assert tested.keys() - {"step"} == {name.replace("val", "test") for name in validated.keys() - {"step"}}
    assert tested["test/balanced_accuracy"] > 0.9, "bright and dark are easy to tell apart"
    again = gender_cls.GenderClassifier.load_from_checkpoint(keep.best_model_path, load=False, weights_only=True)
    assert again.settings == classifier.settings


def test_the_test_split_stays_shut_until_it_is_asked_for(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops, classifier, trainer = crops_of(folders), small(), own_trainer(max_epochs=1)

    def opened(*_: Any) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(crops.datasets["test"].images.__class__, "__getitem__", guarded(crops, opened))
    trainer.fit(classifier, crops)
    trainer.validate(classifier, crops, verbose=False)
    trainer.predict(classifier, crops)
    with pytest.raises(AssertionError, match="opened"):
        trainer.test(classifier, crops, verbose=False)


def guarded(crops: gender_cls.CropDataModule, opened: Any) -> Any:
    """Reading an image, except of the test split."""
    images = crops.datasets["test"].images
    read = images.__class__.__getitem__
    return lambda sequence, row: opened() if sequence is images else read(sequence, row)


def test_another_module_learns_from_our_batches(folders: Path) -> None:
    module = OwnModule()
    own_trainer().fit(module, crops_of(folders))
    assert set(module.seen) == {(torch.uint8, (3, *SIZE), torch.int64)}


def test_our_module_trains_another_network(folders: Path) -> None:
    network = OwnNetwork()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classifier = gender_cls.build_classifier(network, image_size=SIZE, frozen_epochs=1, lr=0.01, warmup_epochs=0)
    assert classifier.network is network
    assert classifier.heads == ("answer",)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), "its weights are taken as they are"
    moved: list[bool] = []

    class Watch(Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            moved.append(not torch.equal(network.body[0].weight, before["body.0.weight"]))

    own_trainer(callbacks=[Watch()]).fit(classifier, crops_of(folders))
    assert moved == [False, True], "frozen in the first epoch"
    assert not torch.equal(network.answer.weight, before["answer.weight"])
    assert classifier.feature_map.layer == "body"


def test_a_network_of_timm_brings_its_own_mean_and_head() -> None:
    network = timm.create_model("test_vit", num_classes=2, img_size=SIZE, patch_size=8)
    classifier = gender_cls.build_classifier(network, image_size=SIZE)
    assert classifier.heads == ("head",)
    assert classifier.mean.flatten().tolist() == pytest.approx(network.pretrained_cfg["mean"])
    assert classifier(torch.zeros(1, 3, *SIZE, dtype=torch.uint8)).shape == (1, 2)


def test_names_recipes_and_keys_are_those_of_the_commands(folders: Path) -> None:
    assert small().settings.recipe.lr == 5e-4, "scratch: it has no published weights"
    found = gender_cls.build_classifier("torchvision/mobilenet_v2", image_size=SIZE, pretrained=False, mixup=0.2)
    assert found.settings.model.title == "torchvision/mobilenet_v2"
    assert found.mix is not None
    crops = crops_of(folders, resize_mode="crop")
    assert crops.data.resize_mode is ResizeMode.crop
    assert crops.data.aliases["FEMALE"][:2] == ["f", "woman"], "of conf/data/folders.yaml"
    assert crops.datasets["train"].augmentation is not None, "cctv"
    assert crops.datasets["val"].augmentation is None
    assert crops_of(folders, augment="none").datasets["train"].augmentation is None


def test_one_of_two_labels_in_the_first_batches_is_no_error(folders: Path) -> None:
    """Lightning's sanity check sees the first batches of val, which are all FEMALE."""
    write_crops(folders, *(f"FEMALE/person{number}_camera0_0.png" for number in range(30, 60)))
    trainer = own_trainer(max_epochs=1, num_sanity_val_steps=1)
    trainer.fit(small(), crops_of(folders, batch_size=4))
    assert "val/balanced_accuracy" in trainer.callback_metrics


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"recipe": "fintune"}, ["recipe=fintune", "finetune"]),
        ({"lrr": 1.0}, ["recipe.lrr", "lr"]),
        ({"lr": -1.0}, ["recipe.lr", "-1.0"]),
        ({"mixup": -0.1}, ["augment.mixup", "-0.1"]),
        ({"weights": "/nowhere.pth"}, ["model.weights", "/nowhere.pth"]),
        ({"backbone": "mobilenetv2_10"}, ["mobilenetv2_10", "mobilenetv2_100"]),
        ({"backbone": OwnNetwork(outputs=3)}, ["OwnNetwork", "(1, 3)", "(1, 2)"]),
        ({"backbone": nn.Flatten()}, ["Flatten", "heads=["]),
        ({"backbone": OwnNetwork(), "heads": ["fc"]}, ["OwnNetwork", "fc", "heads=["]),
    ],
)
def test_what_is_wrong_with_a_classifier_is_named(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(GenderClsError) as raised:
        gender_cls.build_classifier(**{"backbone": "custom_cnn", "image_size": SIZE, "pretrained": False, **options})
    assert all(word in str(raised.value) for word in named), raised.value


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"folder": "/nowhere"}, ["/nowhere"]),
        ({"patern": "x"}, ["data.patern", "pattern"]),
        ({"image_size": (3, 3)}, ["data.image_size", "[3, 3]"]),
        ({"augment": "strng"}, ["augment=strng", "strong"]),
        ({"augment": {"flipp": 1.0}}, ["augment.flipp", "flip"]),
        ({"augment": {"mixup": 0.2}}, ["mixup", "build_classifier"]),
    ],
)
def test_what_is_wrong_with_the_crops_is_named(folders: Path, options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(GenderClsError) as raised:
        gender_cls.CropDataModule.from_folder(**{"folder": folders, "cache": folders.parent / "cache", **options})
    assert all(word in str(raised.value) for word in named), raised.value


def test_a_training_without_an_end_and_several_devices_are_refused(folders: Path) -> None:
    crops = crops_of(folders)
    with pytest.raises(GenderClsError, match="max_epochs"):
        own_trainer(max_epochs=-1).fit(small(), crops)
    crops.trainer = type("Two", (), {"world_size": 2})()
    with pytest.raises(GenderClsError, match="1 device, and the Trainer has 2"):
        crops.setup("fit")
