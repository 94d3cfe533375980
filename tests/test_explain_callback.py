import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.explain import callback as module_under_test
from gender_cls.explain.attribution import grad_cam, saliency, scaled
from gender_cls.explain.callback import ConfusionMatrixCallback, ExplainCallback
from gender_cls.explain.figures import confusion_matrix_figure
from gender_cls.models.feature_map import FeatureMap

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning"),  # Lightning 2.6 on recent torch
]

FEATURE_MAP = FeatureMap("0", "NCHW", (8, 4))


class Tiny(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(6, 2),
        )

        self.confusion_matrix: Tensor | None = None

    def normalise(self, images: Tensor) -> Tensor:
        return images.float() / 255

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        return nn.functional.cross_entropy(self.network(self.normalise(batch[0])), batch[1])

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_index))

    def on_validation_epoch_end(self) -> None:
        self.confusion_matrix = torch.tensor([[self.current_epoch + 1, 0], [1, 3]])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def pictures(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, 16, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def explain(folder: Path, every_n_epochs: int = 1) -> ExplainCallback:
    names = [f"crop_{index}.png" for index in range(3)]
    return ExplainCallback(pictures(3), ["MALE", "FEMALE", "MALE"], names, FEATURE_MAP, folder, every_n_epochs)


def fit(tmp_path: Path, callbacks: list[Callback], max_epochs: int = 2, **options: Any) -> tuple[Tiny, Trainer]:
    seed_everything(3, verbose=False)
    model = Tiny()
    dataset = TensorDataset(pictures(16), torch.arange(16) % 2)
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        max_epochs=max_epochs,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **{"logger": False, **options},
    )
    trainer.fit(model, DataLoader(dataset, batch_size=4, shuffle=True), DataLoader(dataset, batch_size=8))
    return model, trainer


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What every call of `map_grid` was given."""
    calls = []

    def spy(images: Tensor, maps: dict[str, Tensor], captions: list[Any], **texts: str) -> np.ndarray:
        calls.append({"maps": maps, "captions": captions, **texts})
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(module_under_test, "map_grid", spy)
    return calls


@pytest.mark.parametrize(
    "options", [{"accumulate_grad_batches": 4, "val_check_interval": 2}, {"precision": "bf16-mixed"}]
)
def test_training_is_bit_identical_with_and_without_maps(tmp_path: Path, options: dict[str, Any]) -> None:
    without, _ = fit(tmp_path, [], **options)
    random_without = torch.get_rng_state()
    with_maps, _ = fit(tmp_path, [explain(tmp_path / "maps")], **options)
    assert (tmp_path / "maps" / "epoch_002.png").is_file()
    assert torch.equal(torch.get_rng_state(), random_without)
    for (name, expected), value in zip(without.state_dict().items(), with_maps.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name


def test_every_epoch_reaches_tensorboard_and_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    logger = TensorBoardLogger(tmp_path, name="events")
    fit(tmp_path, [explain(folder)], max_epochs=3, logger=logger, log_every_n_steps=1)

    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload()
    images, seconds = events.Images("explanations/probe_set"), events.Scalars("explanations/seconds")
    assert [event.step for event in images] == [4, 8, 12]  # 4 optimizer steps an epoch; nothing at the sanity check
    assert [event.step for event in seconds] == [4, 8, 12]
    assert all(0 < event.value < 60 for event in seconds)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_001.png", "epoch_002.png", "epoch_003.png"]
    for event, path in zip(images, sorted(folder.iterdir()), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        assert np.array_equal(shown, np.asarray(Image.open(path)))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_maps_and_captions_are_those_of_the_predicted_class(
    tmp_path: Path, drawn: list[dict[str, Any]], precision: str
) -> None:
    model, _ = fit(tmp_path, [explain(tmp_path)], precision=precision)
    network, inputs = model.network.eval(), pictures(3).float() / 255
    probabilities = network(inputs).softmax(dim=1).detach()
    confidence, predicted = probabilities.max(dim=1)
    assert len(drawn) == 2
    last = drawn[-1]
    assert torch.equal(last["maps"]["saliency"], scaled(saliency(network, inputs, predicted)))
    assert torch.equal(last["maps"]["Grad-CAM"], scaled(grad_cam(network, inputs, predicted, FEATURE_MAP)))
    assert [caption.label for caption in last["captions"]] == ["MALE", "FEMALE", "MALE"]
    assert [caption.predicted for caption in last["captions"]] == [["FEMALE", "MALE"][index] for index in predicted]
    assert [caption.probability for caption in last["captions"]] == pytest.approx(confidence.tolist())
    assert [caption.name for caption in last["captions"]] == ["crop_0.png", "crop_1.png", "crop_2.png"]
    right = int((predicted == torch.tensor([1, 0, 1])).sum())
    assert last["note"] == "Maps of the predicted label with this epoch's weights, each scaled to its own maximum."
    assert last["title"] == f"Epoch 2, step 8: {right} of 3 right"


def test_averaged_weights_are_explained(tmp_path: Path, drawn: list[dict[str, Any]]) -> None:
    class Raw(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
            self.network = [value.clone() for value in pl_module.network.state_dict().values()]

    raw = Raw()
    model, _ = fit(tmp_path, [explain(tmp_path), raw, EMAWeightAveraging(decay=0.9)])
    assert "with this epoch's averaged weights" in drawn[-1]["note"]
    inputs = pictures(3).float() / 255

    def maps() -> Tensor:
        return scaled(saliency(model.network, inputs, torch.tensor(predicted)))

    predicted = [["FEMALE", "MALE"].index(caption.predicted) for caption in drawn[-1]["captions"]]
    assert torch.equal(drawn[-1]["maps"]["saliency"], maps())  # at the end of fit the model holds the average
    model.network.load_state_dict(dict(zip(model.network.state_dict(), raw.network, strict=True)))
    assert not torch.allclose(drawn[-1]["maps"]["saliency"], maps())


def test_confusion_matrix_of_every_epoch_reaches_tensorboard(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="events")
    fit(tmp_path, [ConfusionMatrixCallback()], logger=logger, log_every_n_steps=1)
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0}).Reload().Images("confusion_matrix/val")
    assert [event.step for event in events] == [4, 8]
    for epoch, event in enumerate(events, start=1):
        expected = confusion_matrix_figure([[epoch, 0], [1, 3]], ("FEMALE", "MALE"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), expected)


@pytest.mark.parametrize("logger", [False, CSVLogger])
def test_due_epochs_and_the_last_one_without_tensorboard(tmp_path: Path, logger: Any) -> None:
    folder = tmp_path / "maps"
    fit(tmp_path, [explain(folder, 3)], max_epochs=4, logger=logger and logger(tmp_path), log_every_n_steps=1)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_003.png", "epoch_004.png"]


def test_nothing_is_drawn_outside_training(tmp_path: Path) -> None:
    model, trainer = fit(tmp_path, [], max_epochs=1)
    trainer.callbacks.append(explain(tmp_path / "maps"))
    trainer.validate(model, DataLoader(TensorDataset(pictures(4), torch.zeros(4, dtype=torch.long))), verbose=False)
    assert not (tmp_path / "maps").exists()
