"""An exported ONNX file as predict and the parity check use it."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.classifiers import random_images
from helpers.exported import example_metadata, mean_colour_logits, write_mean_colour
from scipy.special import softmax

from gender_cls.config.data import ResizeMode
from gender_cls.data.input_form import InputForm
from gender_cls.errors import GenderClsError
from gender_cls.models.onnx_model import OnnxModel


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_mean_colour(tmp_path / "model.onnx", example_metadata().to_texts())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_batch_is_answered_in_any_layout(file: Path, layout: torch.memory_format) -> None:
    images = random_images(5, (8, 4)).contiguous(memory_format=layout)
    model = OnnxModel(file, 1)
    logits = mean_colour_logits(images.permute(0, 2, 3, 1))
    assert model.metadata == example_metadata()
    assert model.form == InputForm(8, 4, ResizeMode.stretch)
    probabilities, outputs = model.probabilities(images), model.outputs(images.permute(0, 2, 3, 1).numpy())
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, softmax(logits.astype(float), axis=1), atol=1e-6)
    calibrated = softmax(logits / 2, axis=1)[:, 0]
    np.testing.assert_allclose(outputs.probability, calibrated, atol=1e-6)
    assert outputs.answer.tolist() == [0 if p >= 0.6 else 1 for p in calibrated]


def test_white_and_black_get_different_answers(file: Path) -> None:
    pixels = np.zeros((2, 8, 4, 3), np.uint8)
    pixels[0, ..., 0] = 255  # red: logits 4.6 and -4.85
    assert OnnxModel(file, 1).outputs(pixels).answer.tolist() == [0, 1]


def test_a_foreign_or_damaged_file_is_named(tmp_path: Path, file: Path) -> None:
    foreign = write_mean_colour(tmp_path / "foreign.onnx", {"author": "somebody"})
    with pytest.raises(GenderClsError, match="foreign"):
        OnnxModel(foreign, 1)
    for name, content in (("text.onnx", b"hello"), ("empty.onnx", b""), ("cut.onnx", file.read_bytes()[:200])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GenderClsError, match=name) as raised:
            OnnxModel(tmp_path / name, 1)
        assert "\n" not in str(raised.value)


def test_the_library_reports_to_nobody(file: Path) -> None:
    OnnxModel(file, 1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_only_the_resized_form_has_an_input_size(tmp_path: Path) -> None:
    native = write_mean_colour(tmp_path / "model_native.onnx", example_metadata(native=True).to_texts())
    with pytest.raises(GenderClsError, match="_native"):
        _ = OnnxModel(native, 1).form
