"""How many images a prediction passes through the network at once."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import config_of, prepare, random_images, settings
from helpers.crops import ON_CPU
from torch import Tensor

from gender_cls.runs.run import Run
from gender_cls.training.batch import Batch, record_batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor


def predictor_after(run: Run, batch: Batch | None, **data: Any) -> Predictor:
    """Of a run whose training ended with this batch."""
    record_batch(run, batch)
    predictor = Predictor.of_run(run, ON_CPU, config_of(data=data))
    predictor.classifier = GenderClassifier(settings()).eval()
    return predictor


def refuse_more_than(most: int, predictor: Predictor) -> list[int]:
    """Let memory run out for larger batches; the list gets the size of every batch."""
    sizes: list[int] = []

    def full(_: Any, inputs: tuple[Tensor]) -> None:
        sizes.append(len(inputs[0]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    predictor.classifier.network.register_forward_pre_hook(full)
    return sizes


@pytest.mark.parametrize(
    ("recorded", "batch_size", "expected"),
    [
        (None, 8, 8), (None, "auto", 32), (Batch(2, 4, (8, 4)), 8, 2), (Batch(8, 4), "auto", 8),
        (Batch(2, 2), 8, 8),  # of another configuration
    ],
)  # fmt: skip
def test_as_many_images_as_in_training(recorded, batch_size, expected, tmp_path: Path) -> None:
    assert predictor_after(Run(tmp_path), recorded, batch_size=batch_size).batch_size == expected


def test_fewer_images_when_memory_runs_out(folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepared, predictor = prepare(folders), predictor_after(Run(tmp_path), Batch(4, 2, (8,)))
    rows, crops = prepared.manifest.table.head(7), random_images(4)
    answers, answer = predictor.probabilities(rows, prepared.images), predictor.answer(crops)
    sizes = refuse_more_than(2, predictor)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(predictor.probabilities(rows, prepared.images), answers, atol=1e-6)
    assert sizes == [4, 2, 2, 2, 1]
    assert "4 images at a time" in caplog.text
    np.testing.assert_allclose(predictor.answer(crops), answer, atol=1e-6)
    assert sizes[5:] == [2, 2]  # it stays so
    assert predictor.batch_size == 2


def test_one_image_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    predictor = predictor_after(Run(tmp_path), None, batch_size=2)
    sizes = refuse_more_than(0, predictor)
    with pytest.raises(torch.OutOfMemoryError):
        predictor.answer(random_images(5))
    assert sizes == [2, 1]
    assert predictor.batch_size == 2
