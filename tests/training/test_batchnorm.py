"""BatchNorm adapted to other images: its statistics by hand, for every kind of layer, and no trace afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.classifiers import TINY_CONVNEXT, config_of, settings
from helpers.crops import ON_CPU, draw_folders, write_crop
from helpers.network_state import network_state
from helpers.small_network import Layers
from timm.layers import BatchNormAct2d, FrozenBatchNormAct2d
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore
from gender_cls.data.scan import scan
from gender_cls.errors import GenderClsError
from gender_cls.system.resources import Resources
from gender_cls.training import batchnorm
from gender_cls.training.batchnorm import adapted, adapted_probabilities, has_batchnorm
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor

IMAGES = 48


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folders(tmp_path_factory.mktemp("data") / "crops")


@pytest.fixture
def rows(root: Path) -> pd.DataFrame:
    """All FEMALE images first, which are bright."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    assert len(paths) == IMAGES
    return pd.DataFrame({"path": paths, "label": [path.split("/")[0] for path in paths]})


@pytest.fixture
def images(root: Path) -> ImageStore:
    return ImageStore(root)


def trained(network: nn.Module | None = None, precision: str = "32-true", **sections: Any) -> Predictor:
    """A predictor whose BatchNorm layers have random statistics and weights.

    Args:
        network: instead of the custom CNN.
    """
    torch.manual_seed(0)
    classifier = GenderClassifier(settings(**sections)).eval()
    if network is not None:
        classifier.network = network.eval()
    for layer in classifier.network.modules():
        if getattr(layer, "running_mean", None) is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight) if isinstance(layer.weight, nn.Parameter) else None
    predictor = Predictor(Path("none.ckpt"), Resources("cpu", precision, 1, 0))
    predictor.classifier = classifier
    return predictor


def small(*norms: nn.Module) -> Layers:
    """Convolutions to 6 channels with these layers in between, then two logits."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for norm in norms:
        layers += [nn.Conv2d(6 if layers else 3, 6, 3, stride=2), norm, nn.ReLU()]
    return Layers(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 2))


def norms_of(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


def statistics(predictor: Predictor, rows: pd.DataFrame, images: ImageStore) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of each BatchNorm layer while it is adapted."""
    with adapted(predictor, rows, images):
        layers = norms_of(predictor.classifier.network)
        return [(layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()) for layer in layers]


def by_hand(
    predictor: Predictor, rows: pd.DataFrame, images: ImageStore, batches: list[list[int]]
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Mean and variance of each BatchNorm layer, and the probabilities, of a network of layers one after another.

    In float64, from all inputs of a layer together; while they are collected, a batch is normalised with its own.
    """
    network = [layer.double() for layer in predictor.classifier.network]
    pixels = torch.stack([images.at([path])[0] for path in rows["path"]])
    size = predictor.classifier.settings.data.image_size
    assert tuple(pixels.shape[2:]) == tuple(size)
    values = predictor.classifier.normalise(pixels).double()

    def channels(values: Tensor) -> np.ndarray:
        return values.transpose(0, 1).flatten(1).numpy()

    def normalised(layer: Any, values: Tensor, mean: np.ndarray, variance: np.ndarray) -> Tensor:
        shape = (-1, *[1] * (values.dim() - 2))
        scale = torch.from_numpy(1 / np.sqrt(variance + layer.eps)).view(shape)
        values = (values - torch.from_numpy(mean).view(shape)) * scale * layer.weight.view(shape)
        return layer.act(values + layer.bias.view(shape)) if hasattr(layer, "act") else values + layer.bias.view(shape)

    parts, found = [values[batch] for batch in batches], []
    with torch.no_grad():
        for layer in network:
            if layer in norms_of(predictor.classifier.network):
                inputs = np.concatenate([channels(part) for part in parts], axis=1)
                found.append((inputs.mean(axis=1), inputs.var(axis=1, ddof=1)))
                each = [channels(part) for part in parts]
                parts = [
                    normalised(layer, part, one.mean(axis=1), one.var(axis=1))
                    for part, one in zip(parts, each, strict=True)
                ]
            else:
                parts = [layer(part) for part in parts]
        rest = iter(found)
        for layer in network:
            norm = layer in norms_of(predictor.classifier.network)
            values = normalised(layer, values, *next(rest)) if norm else layer(values)
    return found, values.softmax(dim=1).numpy()


KINDS: dict[str, Callable[[], nn.Module]] = {
    "BatchNorm2d": lambda: nn.BatchNorm2d(6),
    "a plain mean of batches": lambda: nn.BatchNorm2d(6, momentum=None),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(6),
    "BatchNormAct2d": lambda: BatchNormAct2d(6),
}
NATIVE = {"data": {"image_size": [48, 24]}}  # of the crops, so that nothing is resized


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [32, 20])
def test_statistics_and_answers_are_those_worked_out_by_hand(kind, limit, rows, images, monkeypatch) -> None:
    monkeypatch.setattr(batchnorm, "LARGEST_AUTO_BATCH", limit)
    predictor = trained(small(KINDS[kind](), KINDS[kind]()), **NATIVE)
    found, answers = statistics(predictor, rows, images), adapted_probabilities(predictor, rows, images)
    batches = batchnorm._batches(IMAGES, 8)
    assert [len(batch) for batch in batches] == ([24, 24] if limit == 32 else [16, 16, 16])
    expected, probabilities = by_hand(predictor, rows, images, batches)
    for (mean, variance), (wanted_mean, wanted_variance) in zip(found, expected, strict=True):
        np.testing.assert_allclose(mean, wanted_mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, wanted_variance, rtol=1e-4)
    np.testing.assert_allclose(answers, probabilities, atol=1e-5)
    assert abs(answers - probabilities[::-1]).max() > 0.01  # so the comparison could fail


def test_a_layer_behind_the_pooling_is_adapted_too(rows, images) -> None:
    torch.manual_seed(1)
    before = [nn.Conv2d(3, 6, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = Layers(*before, nn.BatchNorm1d(6), nn.Linear(6, 2))
    predictor = trained(network, **NATIVE)
    for count in (IMAGES, 33, 2):
        chosen = rows.iloc[-count:].reset_index(drop=True)
        found = statistics(predictor, chosen, images)
        batches = batchnorm._batches(count, 8)
        answers = adapted_probabilities(predictor, chosen, images)
        expected, probabilities = by_hand(predictor, chosen, images, batches)
        predictor.classifier.network.float()
        np.testing.assert_allclose(found[0][1], expected[0][1], rtol=1e-3)
        np.testing.assert_allclose(answers, probabilities, atol=1e-5)


def test_one_batch_answers_as_the_network_would_in_training(rows, images) -> None:
    """All but for dropout and torch's estimate of the variance, which is by 1 / n larger."""
    predictor = trained(small(nn.BatchNorm2d(6)), **NATIVE)
    few = rows.iloc[::2].reset_index(drop=True)
    answers = adapted_probabilities(predictor, few, images)
    network = predictor.classifier.network
    network[1].train()
    pixels = torch.stack([images.at([path])[0] for path in few["path"]])
    with torch.no_grad():
        expected = network(predictor.classifier.normalise(pixels)).softmax(dim=1)
    np.testing.assert_allclose(answers, expected, atol=1e-4)


@pytest.mark.parametrize("size", [1, 8, 64, "auto"])
def test_every_image_comes_once_and_no_batch_is_small_or_of_one_label(size, rows) -> None:
    steps = 32 if size == "auto" else size
    for count in (1, 2, 31, 33, 65, 321):
        batches = batchnorm._batches(count, steps)
        assert sorted(row for batch in batches for row in batch) == list(range(count))
        assert min(map(len, batches)) >= min(count, 16)
        assert max(map(len, batches)) <= max(steps, 32)
        assert batches == batchnorm._batches(count, steps)
    labels = rows["label"].to_numpy()
    shares = [(labels[batch] == "FEMALE").mean() for batch in batchnorm._batches(IMAGES, steps)]
    assert 0.25 < min(shares) <= max(shares) < 0.75


def test_sorted_folders_leave_answers_as_any_order_would(rows, images) -> None:
    """In their own order, each batch of the first or the last images would have one label and its own mean."""
    predictor = trained(small(nn.BatchNorm2d(6), nn.BatchNorm2d(6)), **NATIVE)
    mixed = rows.sample(frac=1, random_state=5)
    answers = adapted_probabilities(predictor, mixed.reset_index(drop=True), images)
    back = np.argsort(mixed.index)
    spread = abs(adapted_probabilities(predictor, rows, images) - answers[back]).max()
    assert spread < 0.02
    whole, _ = by_hand(predictor, rows, images, [list(range(IMAGES))])
    in_order, _ = by_hand(predictor, rows, images, np.split(np.arange(IMAGES), 2))
    predictor.classifier.network.float()
    found = statistics(predictor, rows, images)
    assert abs(found[1][1] / whole[1][1] - 1).max() < 0.1 < abs(in_order[1][1] / whole[1][1] - 1).max()


def test_the_network_and_its_plain_answers_are_bit_identical_afterwards(rows, images) -> None:
    predictor = trained(small(nn.BatchNorm2d(6), BatchNormAct2d(6)), **NATIVE)
    network = predictor.classifier.network
    plain = predictor.probabilities(rows, images)
    before, buffers = network_state(network)[:5], [(name, id(value)) for name, value in network.named_buffers()]
    different = adapted_probabilities(predictor, rows, images)
    assert abs(different - plain).max() > 0.01
    np.testing.assert_array_equal(adapted_probabilities(predictor, rows, images), different)
    assert network_state(network)[:5] == before
    assert [(name, id(value)) for name, value in network.named_buffers()] == buffers
    np.testing.assert_array_equal(predictor.probabilities(rows, images), plain)


class Stopping:
    """Images of which one cannot be read after this many reads."""

    def __init__(self, images: ImageStore, reads: int, error: BaseException) -> None:
        self.images, self.reads, self.error = images, reads, error

    def at(self, paths: list[str]) -> "Stopping":
        self.sequence, self.paths = self.images.at(paths), paths
        return self

    def __getitem__(self, row: int) -> Tensor:
        self.reads -= 1
        if self.reads < 0:
            raise self.error
        return self.sequence[row]


@pytest.mark.parametrize("reads", [0, IMAGES // 2 + 3, IMAGES + 1])  # in the first batch, the second, the answers
@pytest.mark.parametrize("error", [UnreadableError("gone.png"), MemoryError()])
def test_an_error_leaves_no_trace(reads, error, rows, images) -> None:
    predictor = trained(small(nn.BatchNorm2d(6), BatchNormAct2d(6)), **NATIVE)
    network = predictor.classifier.network
    plain, before = predictor.probabilities(rows, images), network_state(network)[:5]
    with pytest.raises(type(error)):
        adapted_probabilities(predictor, rows, Stopping(images, reads, error))
    assert network_state(network)[:5] == before
    np.testing.assert_array_equal(predictor.probabilities(rows, images), plain)


def test_the_checkpoint_is_not_written(rows, images, tmp_path) -> None:
    classifier = trained().classifier
    checkpoint = tmp_path / "best.ckpt"
    torch.save({"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}, checkpoint)
    content, stamp = checkpoint.read_bytes(), checkpoint.stat().st_mtime_ns
    predictor = Predictor(checkpoint, ON_CPU)
    adapted_probabilities(predictor, rows, images)
    assert (checkpoint.read_bytes(), checkpoint.stat().st_mtime_ns) == (content, stamp)
    assert sorted(tmp_path.iterdir()) == [checkpoint]


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda: small(FrozenBatchNorm2d(6)), id="torchvision's frozen"),
        pytest.param(lambda: small(FrozenBatchNormAct2d(6)), id="timm's frozen"),
        pytest.param(lambda: small(nn.BatchNorm2d(6, track_running_stats=False)), id="no running statistics"),
        pytest.param(lambda: small(nn.InstanceNorm2d(6, track_running_stats=True)), id="InstanceNorm"),
        pytest.param(lambda: small(nn.GroupNorm(2, 6)), id="GroupNorm"),
        pytest.param(lambda: None, id="ConvNeXt"),
    ],
)
def test_a_network_without_batchnorm_has_its_sentence(network, rows, images) -> None:
    predictor = trained(network(), model=TINY_CONVNEXT, data={"image_size": [64, 32]})
    assert not has_batchnorm(predictor)
    with pytest.raises(GenderClsError, match=r"convnext_atto.* no BatchNorm"):
        adapted_probabilities(predictor, rows, images)
    assert predictor.probabilities(rows, images).shape == (IMAGES, 2)


def test_only_layers_with_running_statistics_are_adapted(rows, images) -> None:
    frozen, plain = FrozenBatchNorm2d(6), nn.BatchNorm2d(6, track_running_stats=False)
    predictor = trained(small(frozen, nn.BatchNorm2d(6), plain))
    assert has_batchnorm(predictor)
    mean = frozen.running_mean.clone()
    [own, _] = norms_of(predictor.classifier.network)
    before = own.running_mean.clone()
    with adapted(predictor, rows, images):
        assert torch.equal(frozen.running_mean, mean)
        assert plain.running_mean is None
        assert not torch.equal(own.running_mean, before)


def test_a_layer_used_twice_or_never_reached(rows, images) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(3, 6, 7, stride=3)
            self.norm, self.unused, self.head = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.Linear(6, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(sum(self.norm(layer(images)).mean((2, 3)) for layer in (self.first, self.second)))

    torch.manual_seed(0)
    predictor = trained(Shared(), **NATIVE)
    network: Any = predictor.classifier.network
    unused = network.unused.running_mean.clone()
    pixels = predictor.classifier.normalise(torch.stack([images.at([path])[0] for path in rows["path"]]))
    with torch.no_grad():
        inputs = [layer(pixels).transpose(0, 1).flatten(1) for layer in (network.first, network.second)]
    expected = torch.cat(inputs, dim=1)
    with adapted(predictor, rows, images):
        torch.testing.assert_close(network.norm.running_mean, expected.mean(dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network.norm.running_var, expected.var(dim=1), rtol=1e-4, atol=1e-5)
        assert torch.equal(network.unused.running_mean, unused)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_statistics_are_as_precise_in_every_precision(precision, rows, images, monkeypatch) -> None:
    """A channel far from 0: sums in bfloat16, which has 8 binary digits, would say nothing about its spread."""
    network = small(nn.BatchNorm2d(6))
    nn.init.constant_(network[0].bias, 30.0)
    network[0].weight.data *= 5
    predictor = trained(network, precision, **NATIVE)
    given: list[np.ndarray] = []
    measured: list[Tensor] = []

    class Spy(batchnorm._Layer):
        def _measure(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given.append(inputs[0].double().transpose(0, 1).flatten(1).numpy())
            super()._measure(layer, inputs)

        def take_all(self) -> None:
            measured.extend([self.mean, self.variance])
            super().take_all()

    monkeypatch.setattr(batchnorm, "_Layer", Spy)
    answers = adapted_probabilities(predictor, rows, images)
    values = np.concatenate(given, axis=1)
    np.testing.assert_allclose(measured[0].numpy(), values.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(measured[1].numpy(), values.var(axis=1), rtol=1e-4)
    assert np.isfinite(answers).all()
    kept = {"bf16-true": torch.bfloat16, "64-true": torch.float64}.get(precision, torch.float32)
    assert {layer.running_mean.dtype for layer in norms_of(predictor.classifier.network)} == {kept}


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_layout_changes_rounding_only(channels_last, rows, images) -> None:
    predictor = trained(trainer={"channels_last": channels_last})
    found = statistics(predictor, rows, images)
    other = statistics(trained(trainer={"channels_last": not channels_last}), rows, images)
    for one, two in zip(found, other, strict=True):
        np.testing.assert_allclose(np.concatenate(one), np.concatenate(two), rtol=1e-4, atol=1e-5)
    weight = predictor.classifier.network.stages[0][0][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_a_network_that_cannot_be_copied_is_adapted_in_place(rows, images) -> None:
    levit = {"library": "timm", "name": "levit_128s", "pretrained": False}
    predictor = trained(model=levit, data={"image_size": [64, 64]})
    network = predictor.classifier.network
    plain, state = predictor.probabilities(rows, images), network_state(network)[:5]
    answers = adapted_probabilities(predictor, rows, images)
    assert abs(answers - plain).max() > 0.01
    assert network_state(network)[:5] == state
    np.testing.assert_array_equal(predictor.probabilities(rows, images), plain)


def test_images_are_not_decoded_again_where_their_pixels_are_kept(tmp_path) -> None:
    folder = tmp_path / "crops"
    paths = [f"{number:02d}.png" for number in range(40)]
    for seed, path in enumerate(paths):
        write_crop(folder / path, seed)
    table = pd.DataFrame({"path": paths, "label": "MALE"})
    predictor = trained()
    expected = adapted_probabilities(predictor, table, ImageStore(folder))
    kept = scan(paths, folder, tmp_path / "cache", config_of(folder).data).images
    for path in paths:
        (folder / path).unlink()
    np.testing.assert_array_equal(adapted_probabilities(predictor, table, kept), expected)


def test_random_numbers_and_dropout_do_not_matter(rows, images) -> None:
    predictor = trained(small(nn.BatchNorm2d(6)), **NATIVE)
    torch.manual_seed(3)
    first = adapted_probabilities(predictor, rows, images)
    torch.manual_seed(4)
    np.testing.assert_array_equal(adapted_probabilities(predictor, rows, images), first)
