"""Exported files: the numbers of the network in each format, the same bytes each time, and nothing foreign inside."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import onnx
import pytest
import torch
from helpers.classifiers import random_images
from helpers.crops import noise
from helpers.exported import example_metadata
from helpers.exporting import CUSTOM_CNN, RULE, random_classifier
from torch import Tensor, nn

from gender_cls.errors import GenderClsError
from gender_cls.export import onnx_file
from gender_cls.export.graph import ExportedGraph
from gender_cls.export.onnx_file import write_onnx
from gender_cls.export.pt2_file import read_pt2, write_pt2
from gender_cls.models.exported import OUTPUTS, Metadata
from gender_cls.models.onnx_model import OnnxModel

MODELS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "custom_cnn": (CUSTOM_CNN, (32, 16)),
    "mobilenetv2": (
        {
            "library": "torchvision",
            "name": "mobilenet_v2",
            "options": {"width_mult": 0.25, "inverted_residual_setting": [[1, 16, 1, 1], [6, 24, 2, 2]]},
        },
        (64, 32),
    ),
    "vit_small": (
        {"library": "timm", "name": "vit_small_patch14_dinov2", "options": {"patch_size": 16, "depth": 2}},
        (64, 32),
    ),
    "convnext_tiny": (
        {"library": "timm", "name": "convnext_tiny", "options": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}},
        (64, 32),
    ),
}
METADATA = example_metadata(licence="Lizenz für Forschung", band=None)
Ask = Callable[[Tensor], tuple[Tensor, ...]]


def from_onnx(file: Path) -> Ask:
    model = OnnxModel(file, threads=1)
    return lambda pixels: tuple(torch.from_numpy(output) for output in model.outputs(pixels.numpy()))


def written(graph: ExportedGraph, folder: Path) -> dict[str, Ask]:
    """Both formats, read again."""
    write_onnx(graph, METADATA, folder / "model.onnx")
    write_pt2(graph, METADATA, folder / "model.pt2")
    return {"onnx": from_onnx(folder / "model.onnx"), "pt2": read_pt2(folder / "model.pt2")[0]}


@pytest.mark.parametrize("name", MODELS)
def test_both_formats_give_the_numbers_of_the_network_for_any_batch(name: str, tmp_path: Path) -> None:
    model, size = MODELS[name]
    classifier = random_classifier(model, size)
    images = random_images(32, size)
    with torch.no_grad():
        logits = classifier(images)
    assert (logits[:, 0] - logits[:, 1]).std() > 0.01
    graph = ExportedGraph(classifier, RULE, native=False)
    _, probability, answer = graph(pixels := images.permute(0, 2, 3, 1).contiguous())
    for ask in written(graph, tmp_path).values():
        for batch in (1, 7, 32):
            found = ask(pixels[:batch])
            assert ((found[0] - logits[:batch]).abs() <= 1e-3 * logits[:batch].abs().clamp(min=1)).all()
            assert (found[1] - probability[:batch]).abs().max() <= 1e-4
            assert torch.equal(found[2], answer[:batch])


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportedGraph, Path]:
    """A graph that takes a crop of any size, and the folder of its two files."""
    folder, graph = tmp_path_factory.mktemp("native"), ExportedGraph(random_classifier(resize_mode="crop"), RULE, True)
    written(graph, folder)
    return graph, folder


def test_both_formats_take_a_crop_of_any_size(native: tuple[ExportedGraph, Path]) -> None:
    graph, folder = native
    asks = from_onnx(folder / "model.onnx"), read_pt2(folder / "model.pt2")[0]
    for size in [(1, 1), (1, 50), (70, 1), (32, 16), (90, 41), (700, 13)]:
        crop = noise(*size).permute(1, 2, 0).contiguous()
        for ask in asks:
            for found, output in zip(ask(crop), graph(crop), strict=True):
                torch.testing.assert_close(found, output, rtol=0, atol=1e-5)


def test_the_onnx_file_is_whole_and_states_what_it_is(native: tuple[ExportedGraph, Path]) -> None:
    model = onnx.load(native[1] / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", onnx_file.OPSET)]
    (pixels,) = model.graph.input
    assert pixels.name == "pixels"
    assert [one.dim_param or one.dim_value for one in pixels.type.tensor_type.shape.dim] == ["height", "width", 3]
    assert [one.name for one in model.graph.output] == list(OUTPUTS)
    assert not {"Dropout", "BatchNormalization"} & {node.op_type for node in model.graph.node}
    assert not [one.name for one in model.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    assert Metadata.from_texts({one.key: one.value for one in model.metadata_props}, "") == METADATA


def test_reading_a_pt2_file_unpickles_nothing(
    native: tuple[ExportedGraph, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a pickle is read")

    graph, file = native[0], native[1] / "model.pt2"
    with zipfile.ZipFile(file) as archive:
        assert not [name for name in archive.namelist() if archive.read(name).startswith((b"PK", b"\x80"))]
    for module, name in [(torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")]:
        monkeypatch.setattr(module, name, refuse)
    network, metadata = read_pt2(file)
    crop = noise(20, 20).permute(1, 2, 0)
    assert all(torch.equal(*pair) for pair in zip(network(crop), graph(crop), strict=True))
    assert metadata == METADATA


class Decomposed(nn.Module):
    """An operation that torch.export knows and ONNX lacks."""

    def forward(self, images: Tensor) -> Tensor:
        images = images.mean(dim=1)
        return torch.linalg.eigvalsh(images @ images.mT)[:, :2]


def test_a_network_that_onnx_cannot_hold_is_named(tmp_path: Path) -> None:
    graph = ExportedGraph(random_classifier(), RULE, native=False)
    graph.network = Decomposed()
    with pytest.raises(GenderClsError, match=r"custom/custom_cnn .*eigh.*format=pt2") as raised:
        write_onnx(graph, METADATA, tmp_path / "model.onnx")
    assert "\n" not in str(raised.value)
    write_pt2(graph, METADATA, tmp_path / "model.pt2")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt2"]


def test_weights_that_do_not_fit_into_an_onnx_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    with pytest.raises(GenderClsError, match=r"custom/custom_cnn .*format=pt2"):
        write_onnx(ExportedGraph(random_classifier(), RULE, native=False), METADATA, tmp_path / "model.onnx")
