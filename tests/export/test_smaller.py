"""Smaller files: the network in fewer bits, what stands around it as it was."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.classifiers import random_images
from helpers.exported import example_metadata, write_mean_colour
from numpy.typing import NDArray
from scipy.special import expit

from gender_cls.config.export import Smaller
from gender_cls.export.smaller import write_smaller
from gender_cls.models.onnx_model import OnnxModel

PIXELS = np.ascontiguousarray(random_images(64, (8, 4)).permute(0, 2, 3, 1).numpy())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_mean_colour(tmp_path / "model.onnx", example_metadata().to_texts())


def crops(most: int) -> NDArray[np.uint8]:
    return PIXELS[:most]


@pytest.mark.parametrize("kind", list(Smaller))
def test_only_the_network_has_fewer_bits(kind: Smaller, file: Path, tmp_path: Path) -> None:
    target = tmp_path / f"model_{kind.value}.onnx"
    write_smaller(kind, file, crops, target)
    small, large = OnnxModel(target, 1), OnnxModel(file, 1)
    found, expected = small.outputs(PIXELS), large.outputs(PIXELS)
    assert small.metadata == example_metadata(weights=kind.value)
    assert 0 < np.abs(found.logits - expected.logits).max() < 0.05
    log_odds = found.logits[:, 0].astype(float) - found.logits[:, 1]
    np.testing.assert_allclose(found.probability, expit(log_odds / 2), atol=1e-6)  # the rule is not rounded
    assert (found.answer == (found.probability < 0.6)).all()
    model = onnx.load(target)
    onnx.checker.check_model(model)
    sizes = {one.data_type for one in model.graph.initializer if one.name.startswith("weights")}
    wanted = onnx.TensorProto.FLOAT16 if kind is Smaller.float16 else onnx.TensorProto.INT8
    assert wanted in sizes


@pytest.mark.parametrize("kind", list(Smaller))
def test_the_same_file_gives_the_same_bytes(kind: Smaller, file: Path, tmp_path: Path) -> None:
    for name in ("first.onnx", "second.onnx"):
        write_smaller(kind, file, crops, tmp_path / name)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    assert {one.name for one in tmp_path.iterdir()} == {"model.onnx", "first.onnx", "second.onnx"}


def test_float16_asks_for_no_crops(file: Path, tmp_path: Path) -> None:
    def none(most: int) -> NDArray[np.uint8]:
        raise AssertionError

    write_smaller(Smaller.float16, file, none, tmp_path / "small.onnx")
