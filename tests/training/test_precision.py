"""How far bfloat16 changes the answers of a trained network."""

import numpy as np
import pytest
import torch
from helpers.classifiers import settings, trainer_for
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gender_cls.system.resources import Resources
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor


def crops(count: int, seed: int) -> TensorDataset:
    """Noise; images of the second class are a little brighter in their upper half."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 200, (count, 3, 32, 16), generator=generator)
    images[:, :, :16] += 50 * labels.view(-1, 1, 1, 1)
    return TensorDataset(images.to(torch.uint8), labels)


def train(precision: str) -> GenderClassifier:
    torch.manual_seed(0)
    classifier = GenderClassifier(settings(recipe={"lr": 0.01, "warmup_epochs": 0}))
    trainer = trainer_for(precision=precision, gradient_clip_val=1.0)
    trainer.fit(classifier, DataLoader(crops(128, 1), batch_size=16), DataLoader(crops(16, 2), batch_size=16))
    return classifier


def probabilities(classifier: GenderClassifier, precision: str) -> NDArray[np.float64]:
    """Of FEMALE, for 200 other images."""
    batches = trainer_for(precision=precision).predict(classifier, DataLoader(crops(200, 3), batch_size=50))
    return torch.cat([batch for batch in batches if isinstance(batch, Tensor)])[:, 0].numpy()


def test_bf16_moves_answers_by_little_and_accuracy_by_less_than_chance_does() -> None:
    exact = train("32-true")
    answers = probabilities(exact, "32-true")
    labels = np.arange(200) % 2
    accuracy = np.mean((answers < 0.5) == labels)
    assert accuracy > 0.9, "the task is learned"
    moved = np.abs(probabilities(exact, "bf16-mixed") - answers)
    assert 0 < moved.max() < 0.02
    trained_in_bf16 = train("bf16-mixed")
    assert all(weight.dtype == torch.float32 for weight in trained_in_bf16.network.parameters())
    assert np.mean((probabilities(trained_in_bf16, "bf16-mixed") < 0.5) == labels) == pytest.approx(accuracy, abs=0.03)


def test_a_predictor_computes_as_it_is_told(tmp_path) -> None:
    predictor = Predictor(tmp_path / "none.ckpt", "cpu", Resources("cpu", "bf16-mixed", 1, 0))
    assert predictor.precision == predictor._trainer.precision == "bf16-mixed"
