"""Training as on a GPU, forced on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import batches, config_of, datamodule_of, prepare, random_images, settings, trainer_for
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor

from gender_cls.data.augmentation import Augmentation
from gender_cls.data.datamodule import CropDataModule
from gender_cls.system.resources import Resources
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor
from gender_cls.training.session import augment_on_device, describe_cuda
from gender_cls.training.trainer import build_trainer
from gender_cls.training.weight_average import WeightAverage

AUGMENT = {"flip": 0.5, "brightness": 0.3, "affine": 0.5, "translate": 0.2, "blur": 0.5, "erase": 0.3, "jpeg": 0.5}


def classifier_of(augment: dict[str, float] | None = None, **recipe: Any) -> GenderClassifier:
    seed_everything(0, verbose=False)
    return GenderClassifier(settings(augment=augment or {}, recipe=recipe))


def module_of(folders: Path) -> CropDataModule:
    return datamodule_of(prepare(folders), config_of(folders, augment=AUGMENT))


def fit(classifier: GenderClassifier, *data: Any, folder: Path, resume: Path | None = None, epochs: int = 2) -> None:
    """Leaves a checkpoint of each epoch."""
    keep = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
    trainer = trainer_for(max_epochs=epochs, callbacks=[keep], enable_checkpointing=True)
    trainer.fit(classifier, *data, ckpt_path=resume, weights_only=True)


def weights(classifier: GenderClassifier) -> list[Any]:
    return [value.tolist() for value in classifier.network.state_dict().values()]


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_training_with_augmentation_on_the_device_is_repeated_and_resumed_to_the_last_bit(folders, tmp_path) -> None:
    results = []
    for name, checkpoint in (("once", None), ("again", None), ("resumed", tmp_path / "once" / "epoch=0.ckpt")):
        classifier, data = classifier_of(AUGMENT), module_of(folders)
        augment_on_device(classifier, data)
        torch.rand(len(results))  # what happened before does not matter
        fit(classifier, data, folder=tmp_path / name, resume=checkpoint)
        results.append(weights(classifier))
    assert results[0] == results[1] == results[2]
    without = classifier_of(AUGMENT)
    fit(without, module_of(folders), folder=tmp_path / "without")
    assert weights(without) != results[0]


def test_the_loader_does_only_what_the_device_cannot(folders) -> None:
    classifier, data = classifier_of({**AUGMENT, "jpeg": 0.0}), module_of(folders)
    augment_on_device(classifier, data)
    assert data.datasets["train"].augmentation is None
    plain, _ = data.datasets["train"][0]
    assert torch.equal(data.datasets["train"][(0, 0, 0)][0], plain)
    augment_on_device(classifier_of(AUGMENT), data)
    compressed = torch.stack([data.datasets["train"][(epoch, 0, 0)][0] for epoch in range(12)])
    changed = (compressed != plain).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 12


@pytest.mark.parametrize("augment", [AUGMENT, {"mixup": 0.5, "cutmix": 0.5}])
def test_a_step_reads_nothing_from_the_device(augment, folders, monkeypatch) -> None:
    """On torch's device `meta`, which has no numbers, reading one is an error; on a GPU it would wait."""
    classifier, data = classifier_of(augment, ema_decay=0.9, label_smoothing=0.1), module_of(folders)
    augment_on_device(classifier, data)
    monkeypatch.setattr(classifier, "_refuse_non_finite", lambda loss: None)  # it reads one of fifty losses
    steps = 0

    class Enough(Exception): ...

    class Count(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            nonlocal steps
            steps = trainer.global_step
            if steps == 2:
                raise Enough

    class Meta(CPUAccelerator):
        def setup_device(self, device: torch.device) -> None: ...

    class OnMeta(SingleDeviceStrategy):
        def reduce(self, *_: Any, **__: Any) -> Tensor:
            return torch.tensor(1)  # before training Lightning asks whether there are batches

    strategy = OnMeta(torch.device("meta"), accelerator=Meta())
    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0, "max_epochs": 1, "num_sanity_val_steps": 0}
    callbacks = [WeightAverage(0.9), Count()]
    trainer = build_trainer("auto", "32-true", strategy=strategy, callbacks=callbacks, **options)
    monkeypatch.setattr(trainer, "_teardown", lambda: None)  # it would copy weights and metrics back
    with pytest.raises(Enough):
        trainer.fit(classifier, data)
    assert steps == 2


def test_validation_and_prediction_see_the_images_as_they_are() -> None:
    classifier = classifier_of({"erase": 1.0, "flip": 1.0}).eval()
    batch = (random_images(4), torch.zeros(4))
    with torch.no_grad():
        before = classifier.predict_step(batch, 0)
        classifier.augmentation = Augmentation(classifier.settings.augment)
        assert torch.equal(classifier.predict_step(batch, 0), before)


def test_memory_is_pinned_for_cuda_only(folders) -> None:
    assert not module_of(folders).train_dataloader().pin_memory
    for device, pinned in (("cuda", True), ("mps", False), ("cpu", False)):
        assert Predictor(Path("x"), Resources(device, "32-true", 1, 0)).pin_memory == pinned


def test_a_sentence_about_the_gpu_tells_what_is_on() -> None:
    sentence = describe_cuda(config_of(augment=AUGMENT), Resources("cuda", "bf16-mixed", 1, 0))
    for fact in ("bf16-mixed", "channels last", "JPEG compression in the loader", "pinned", "no TF32", "compile off"):
        assert fact in sentence
    assert "RandAugment" not in sentence
    assert "no augmentation" in describe_cuda(config_of(augment={}), Resources("cuda", "bf16-mixed", 1, 0))


def test_a_compiled_network_trains_as_the_plain_one_through_a_frozen_stage(tmp_path) -> None:
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
        fit(classifier, batches(10), batches(10), folder=tmp_path / name, epochs=4)
    torch.testing.assert_close(compiled.network.state_dict(), plain.network.state_dict(), rtol=1e-5, atol=1e-6)
    assert len(calls) == 4 * 2 * 3  # all passes, validation too, use what was compiled: batches of 4, 4 and 2
    assert len(graphs) <= 6  # frozen, trained or validated, batches of the first size or of any: torch stops at 8
