import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models
from helpers.network_state import network_state
from torch import Tensor, nn

from gender_cls.config.model import Library, ModelConfig
from gender_cls.evaluation.schema import Cost
from gender_cls.models import cost
from gender_cls.models.backbones import build_backbone
from gender_cls.models.cost import count_flops, measure_cost

SIZE = (32, 16)


def build(library: str, name: str, size: tuple[int, int] = (256, 128), **options: Any) -> nn.Module:
    return build_backbone(ModelConfig(Library[library], name, pretrained=False, options=options), size).network


def flops(library: str, name: str, size: tuple[int, int] = (256, 128)) -> int:
    counted = count_flops(build(library, name, size), size, name)
    assert counted is not None
    return counted


class Pixels(nn.Module):
    """Takes uint8 pixels, as a classifier does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8
        return self.network(images.to(next(self.parameters()).dtype) / 255)


def measure(model: Pixels, precision: str = "32-true", size: tuple[int, int] = SIZE) -> dict[str, Any]:
    layout = torch.contiguous_format
    return measure_cost(model, model.network, size, layout=layout, precision=precision, title="TITLE")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Pixels:
    """A model that is timed with as few calls as possible."""
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    monkeypatch.setattr(cost.Meanwhile, "disturbed", lambda _: None)
    return Pixels(build("custom", "custom_cnn", SIZE, widths=[4]))


def on_data(model: Pixels, act: Callable[[int], None]) -> None:
    """Call `act` with the size of each batch that has data."""
    model.register_forward_pre_hook(lambda _, inputs: act(len(inputs[0])))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "vit_b_32"])
def test_flops_agree_with_those_that_torchvision_publishes(name) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"]  # 1e9 multiply-adds, with 1000 classes
    assert flops("torchvision", name, (224, 224)) / 2e9 == pytest.approx(published, abs=0.0025)


def test_flops_are_those_counted_by_hand() -> None:
    height, width, before, products = 256, 128, 3, 256 * 2
    for after in (32, 64, 128, 256):
        height, width = height // 2, width // 2
        products += 9 * (before * after + after * after) * height * width
        before = after
    with torch.device("meta"):
        assert flops("custom", "custom_cnn") == 2 * products

    tokens, patches, dim = 129, 128, 192
    linear = tokens * (3 * dim * dim + dim * dim + 2 * 4 * dim * dim)
    products = patches * 3 * 16 * 16 * dim + 12 * (linear + 2 * tokens * tokens * dim) + 2 * dim
    with torch.device("meta"):
        assert flops("timm", "vit_tiny_patch16_224") == 2 * products
        mobilenet = flops("timm", "mobilenetv2_100")
        assert mobilenet == flops("torchvision", "mobilenet_v2") == pytest.approx(0.40e9, rel=0.03)


def test_flops_of_a_huge_network_need_no_data() -> None:
    with torch.device("meta"):
        assert flops("timm", "convnext_xlarge") == pytest.approx(2 * 39.8e9, rel=0.001)


def test_a_network_that_looks_at_its_data_has_no_flops_and_says_why(tiny, caplog) -> None:
    class Curious(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3))[:, :2] * (1 if images.sum().item() > 0 else 2)

    with caplog.at_level(logging.WARNING):
        assert measure(Pixels(Curious(1, 1)))["flops"] is None
    assert "TITLE" in caplog.text
    assert "item" in caplog.text


def test_the_cost_has_the_keys_of_the_schema_that_are_known_without_training(tiny) -> None:
    measured = measure(tiny)
    assert measured.keys() == Cost.__annotations__.keys() - {"peak_memory_bytes", "fit_seconds"}
    assert measured["parameters"] == 3 * 4 * 9 + 8 + 4 * 4 * 9 + 8 + 4 * 2 + 2
    cells = 16 * 8  # stride 2 halves 32x16
    assert measured["flops"] == 2 * (3 * 3 * 3 * 4 * cells + 3 * 3 * 4 * 4 * cells + 4 * 2)
    assert measured["milliseconds_batch_1"] > 0
    assert measured["milliseconds_batch_32"] > 0


def test_the_device_is_named_with_threads_and_precision(tiny) -> None:
    threads = torch.get_num_threads()
    where = f"cpu, {threads} thread" + ("s" if threads > 1 else "")
    types: list[torch.dtype] = []
    tiny.register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    assert measure(tiny)["device"] == f"{where}, 32-true"
    assert set(types) == {torch.float32}
    assert measure(tiny, "bf16-mixed")["device"] == f"{where}, bf16-mixed"
    assert types[-1] == torch.bfloat16
    assert measure(tiny, "16-mixed")["device"] == f"{where}, bf16-mixed"  # what Lightning makes of it on a CPU
    assert measure(tiny.to(torch.bfloat16), "bf16-true")["device"] == f"{where}, bf16-true"


def test_time_is_per_image_and_without_the_warm_up(tiny) -> None:
    sizes: list[int] = []

    def wait(size: int) -> None:
        sizes.append(size)
        time.sleep(0.4 if sizes.count(size) == 1 else 0.05)

    on_data(tiny, wait)
    measured = measure(tiny)
    assert sizes == [1] * 4 + [32] * 4
    assert 50 <= measured["milliseconds_batch_1"] < 300
    assert 50 / 32 <= measured["milliseconds_batch_32"] < 300 / 32


def test_a_fast_network_is_called_until_the_time_is_up(tiny, monkeypatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", 1.0)
    sizes: list[int] = []

    def wait(size: int) -> None:
        sizes.append(size)
        time.sleep(0.05 if size == 1 else 0.4)

    on_data(tiny, wait)
    measure(tiny)
    assert 5 < sizes.count(1) <= 20
    assert sizes.count(32) == 4, "three calls without the warm-up are the least"


def test_the_time_is_that_of_the_fastest_call_and_the_spread_is_of_all_but_the_warm_up(tiny, monkeypatch) -> None:
    seconds = iter([9.0, 0.3, 0.1, 0.2] * 2)
    clock = iter([end for length in [*seconds] for end in (0.0, length)])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    measured = measure(tiny)
    for batch in (1, 32):
        assert measured[f"milliseconds_batch_{batch}"] == pytest.approx(100 / batch)
        assert measured[f"milliseconds_batch_{batch}_spread"] == pytest.approx([100 / batch, 300 / batch])
    assert measured["disturbed"] is None


def test_while_others_compute_the_time_is_that_of_the_cpu_and_the_reason_is_kept(tiny, monkeypatch) -> None:
    monkeypatch.setattr(cost.Meanwhile, "disturbed", lambda _: "others computed")
    walls, on_cpu = iter([9.0, 0.3, 0.5, 0.4] * 2), iter([9.0, 0.2, 0.1, 0.3] * 2)
    for name, lengths in (("perf_counter", walls), ("thread_time", on_cpu)):
        clock = iter([end for length in [*lengths] for end in (0.0, length)])
        monkeypatch.setattr(cost.time, name, lambda clock=clock: next(clock))
    measured = measure(tiny)
    assert measured["milliseconds_batch_1"] == pytest.approx(100)
    assert measured["milliseconds_batch_1_spread"] == pytest.approx([100, 300])
    assert measured["disturbed"] == "others computed"


def test_a_batch_that_does_not_fit_has_no_time(tiny) -> None:
    def refuse(size: int) -> None:
        if size == 32:
            raise torch.OutOfMemoryError("out of memory")

    on_data(tiny, refuse)
    measured = measure(tiny)
    assert measured["milliseconds_batch_32"] is measured["milliseconds_batch_32_spread"] is None
    assert measured["milliseconds_batch_1"] > 0


@pytest.mark.parametrize("fails", [False, True])
def test_measuring_leaves_no_trace(tiny, fails) -> None:
    def fail(_: int) -> None:
        if fails:
            raise ValueError("no")

    on_data(tiny, fail)
    tiny.train()
    tiny.network.stages[0][0][1].eval()  # as a frozen BatchNorm is
    before = network_state(tiny)
    try:
        measure(tiny, "bf16-mixed")
    except ValueError:
        assert fails
    assert network_state(tiny) == before


def test_a_network_that_keeps_what_it_computed_can_still_be_explained(monkeypatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    keeper = build("timm", "levit_128s", (224, 224)).eval()
    measure(Pixels(keeper), size=(224, 224))
    caches = [module.attention_bias_cache for module in keeper.modules() if hasattr(module, "attention_bias_cache")]
    assert caches
    assert not any(caches)
    images = torch.rand(1, 3, 224, 224, requires_grad=True)
    keeper(images)[0, 0].backward()
    assert images.grad is not None
