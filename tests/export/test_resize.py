"""The resize in the graph, against the one that networks are trained with, and against pixels worked out by hand."""

import random

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.crops import noise
from torch import Tensor, nn

from gender_cls.config.data import ResizeMode
from gender_cls.data import resizing
from gender_cls.data.input_form import InputForm
from gender_cls.data.resizing import resize_into
from gender_cls.export.graph import quiet
from gender_cls.export.resize import resize

Size = tuple[int, int]
LETTERBOX = InputForm(48, 24, ResizeMode.letterbox)
SIDES = [1, 2, 3, 17, 64, 99, 128, 150, 200, 256, 257, 400]


def as_trained(image: Tensor, form: InputForm) -> Tensor:
    pixels = torch.empty(form.height, form.width, 3, dtype=torch.uint8)
    resize_into(pixels, image, form.mode)
    return pixels.permute(2, 0, 1)


def require_equal(found: Tensor, expected: Tensor) -> None:
    differences = (found.int() - expected.int()).abs()
    if resizing._RESIZES_BYTES:
        assert not differences.any()
    assert (differences > 0).double().mean() <= 0.01  # on processors for which torch has no kernel for bytes
    assert differences.max() <= 2


@pytest.mark.parametrize("mode", ResizeMode)
def test_random_sizes_give_the_bytes_of_training(mode: ResizeMode) -> None:
    draw = random.Random(0)
    for _ in range(80):
        native = draw.choice(SIDES) + draw.randrange(3), draw.choice(SIDES) + draw.randrange(3)
        height, width = draw.choice([(256, 128), (128, 64), (224, 224), (draw.randint(2, 90), draw.randint(2, 90))])
        image, form = noise(*native), InputForm(height, width, mode)
        require_equal(resize(image.permute(1, 2, 0), form)[0], as_trained(image, form))


@pytest.mark.parametrize("mode", ResizeMode)
@pytest.mark.parametrize(
    ("native", "size"),
    [
        ((331, 188), (384, 192)),  # crop keeps 165.5 columns, which Python rounds to the even 166
        ((4000, 3), (256, 128)),
        ((1, 4000), (32, 64)),
        ((1, 1), (256, 128)),
        ((256, 128), (256, 128)),
        ((3000, 2000), (8, 4)),  # sums of weights beyond what float32 holds exactly
    ],
)
def test_borders_of_the_arithmetic(native: Size, size: Size, mode: ResizeMode) -> None:
    image, form = noise(*native), InputForm(*size, mode)
    require_equal(resize(image.permute(1, 2, 0), form)[0], as_trained(image, form))


def test_enlarging_mixes_the_two_nearest_pixels() -> None:
    # The centres of the four results lie at 0.25, 0.75, 1.25 and 1.75 of two pixels whose centres are 0.5 and 1.5.
    line = torch.tensor([[[0], [255]]], dtype=torch.uint8).expand(1, 2, 3)
    found = resize(line, InputForm(1, 4, ResizeMode.stretch))
    assert found.tolist() == [[[[0, 64, 191, 255]]] * 3]


def test_reducing_weighs_pixels_by_a_triangle() -> None:
    # From 4 to 2: centres 1 and 3, reach 2, so the weights of the first are 3, 3 and 1 of 7.
    line = torch.tensor([[[70], [140], [210], [0]]], dtype=torch.uint8).expand(1, 4, 3)
    found = resize(line, InputForm(1, 2, ResizeMode.stretch))
    assert found[0, 0, 0].tolist() == [round((3 * 70 + 3 * 140 + 210) / 7), round((140 + 3 * 210) / 7)]


class _Letterbox(nn.Module):
    def forward(self, crop: Tensor) -> Tensor:
        return resize(crop, LETTERBOX)


def test_one_graph_of_onnx_serves_every_size() -> None:
    sizes = {0: torch.export.Dim("height", min=1), 1: torch.export.Dim("width", min=1)}
    crop = torch.zeros(48, 24, 3, dtype=torch.uint8)
    with quiet():
        program = torch.export.export(_Letterbox(), (crop,), dynamic_shapes=(sizes,))
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString())
    for native in [(1, 1), (1, 90), (300, 1), (48, 24), (24, 12), (200, 80), (77, 403), (2500, 31)]:
        image = noise(*native)
        (found,) = session.run(None, {"crop": np.ascontiguousarray(image.permute(1, 2, 0))})
        require_equal(torch.from_numpy(found)[0], as_trained(image, LETTERBOX))
