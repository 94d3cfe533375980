"""The way of training that a GPU takes, forced on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.crops import PATTERN
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.config.data import DataConfig
from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import AugmentConfig, Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.device_augmentation import DeviceAugmentation
from gender_cls.data.prepare import prepare_data
from gender_cls.system.resources import Resources
from gender_cls.training.accelerated import augment_on_device, said_of_cuda
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.inference import Predictor

AUGMENT = {"flip": 0.5, "brightness": 0.3, "affine": 0.5, "translate": 0.2, "blur": 0.5, "erase": 0.3, "jpeg": 0.5}


def classifier_of(augment: dict[str, float] | None = None, **recipe: Any) -> GenderClassifier:
    model = {"library": "custom", "name": "custom_cnn", "options": {"widths": [4, 8]}}
    config = {"data": {"root": "x", "image_size": [32, 16]}, "model": model, "augment": augment or {}, "recipe": recipe}
    seed_everything(0, verbose=False)
    return GenderClassifier(to_plain(parse_config(config, Config)))


def module_of(folders: Path) -> CropDataModule:
    data = DataConfig(root=str(folders), pattern=PATTERN, image_size=[32, 16], batch_size=8, num_workers=0)
    found = prepare_data(data, cache=folders.parent / "cache")
    augment = AugmentConfig(**AUGMENT)
    return CropDataModule(found.manifest, found.images, data, augment=augment, seed=0, batch_size=8, num_workers=0)


def fit(classifier: GenderClassifier, data: Any, folder: Path, resume: Path | None = None, epochs: int = 2) -> None:
    """Leaves a checkpoint of each epoch; a loader is for training and validation alike."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    keep = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", num_sanity_val_steps=0, callbacks=[keep], **quiet)
    loaders = (
        {"datamodule": data}
        if isinstance(data, CropDataModule)
        else {"train_dataloaders": data, "val_dataloaders": data}
    )
    trainer.fit(classifier, **loaders, ckpt_path=resume, weights_only=True)


def same(one: GenderClassifier, other: GenderClassifier) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_training_with_changes_on_the_device_is_repeated_and_resumed_to_the_last_bit(
    folders: Path, tmp_path: Path
) -> None:
    results = []
    for name, checkpoint in (("once", None), ("again", None), ("resumed", tmp_path / "once" / "epoch=0.ckpt")):
        classifier, data = classifier_of(AUGMENT), module_of(folders)
        augment_on_device(classifier, data)
        torch.rand(len(results))  # what happened before does not matter
        fit(classifier, data, tmp_path / name, checkpoint)
        results.append(classifier)
    assert same(results[0], results[1])
    assert same(results[0], results[2])
    without = classifier_of(AUGMENT)
    fit(without, module_of(folders), tmp_path / "without")
    assert not same(results[0], without)


def test_the_loader_does_only_what_the_device_cannot(folders: Path) -> None:
    classifier, data = classifier_of({**AUGMENT, "jpeg": 0.0}), module_of(folders)
    augment_on_device(classifier, data)
    assert data.datasets["train"].augmentation is None
    plain, _ = data.datasets["train"][0]
    assert torch.equal(data.datasets["train"][(0, 0)][0], plain)
    classifier = classifier_of(AUGMENT)
    augment_on_device(classifier, data)
    compressed = torch.stack([data.datasets["train"][(epoch, 0)][0] for epoch in range(12)])
    changed = (compressed != plain).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 12


def test_validation_and_prediction_see_the_pictures_as_they_are() -> None:
    classifier = classifier_of({"erase": 1.0, "flip": 1.0}).eval()
    images = torch.randint(0, 256, (4, 3, 32, 16), dtype=torch.uint8)
    with torch.no_grad():
        before = classifier.predict_step((images, torch.zeros(4)), 0)
        classifier.augmentation = DeviceAugmentation(classifier.settings.augment)
        assert torch.equal(classifier.predict_step((images, torch.zeros(4)), 0), before)


def test_memory_is_pinned_for_cuda_alone(folders: Path) -> None:
    assert not module_of(folders).train_dataloader().pin_memory
    for device, pinned in (("cuda", True), ("mps", False), ("cpu", False)):
        assert Predictor(Path("x"), "auto", Resources(device, "32-true", 1, 0)).pin_memory == pinned


def test_the_sentence_about_a_gpu_tells_what_is_on() -> None:
    config = parse_config({"data": {"root": "x"}, "model": {"name": "resnet18"}, "augment": AUGMENT}, Config)
    assert said_of_cuda(config, Resources("cuda", "bf16-mixed", 1, 0)) == (
        "On the GPU: bf16-mixed, channels last, augmentation on the GPU after JPEG compression in the loader, batches "
        "copied from pinned memory, kernels of cuDNN chosen by trial, no TF32, torch.compile off (trainer.compile)."
    )


def uneven() -> DataLoader:
    """Batches of 4, 4 and 2, in this order."""
    images = torch.randint(0, 256, (10, 3, 32, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(images, torch.arange(10) % 2), batch_size=4)


def test_a_compiled_network_trains_as_the_plain_one_through_a_frozen_stage(tmp_path: Path) -> None:
    graphs, calls = [], []

    def counting(module: Any, _: list[Tensor]) -> Any:
        graphs.append(module)

        def run(*inputs: Any) -> Any:
            calls.append(1)
            return module(*inputs)

        return run

    plain, compiled = classifier_of(frozen_epochs=1), classifier_of(frozen_epochs=1)
    compiled.network.compile(backend=counting)
    for name, classifier in (("plain", plain), ("compiled", compiled)):
        classifier.network.to(memory_format=torch.channels_last)
        torch._dynamo.reset()
        fit(classifier, uneven(), tmp_path / name, epochs=4)
    for one, other in zip(plain.network.parameters(), compiled.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert len(calls) == 4 * 2 * 3  # every pass, of validation too, goes through what was compiled
    assert len(graphs) <= 6  # frozen, trained or validated, batches of the first size or of any: torch stops at 8
    assert list(compiled.network.state_dict()) == list(plain.network.state_dict())
