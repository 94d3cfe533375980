import logging
import time
from typing import Any

import pytest
import torch
import torchvision.models
from torch import nn

from gender_cls.config.data import DataConfig
from gender_cls.config.model import Library, ModelConfig
from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.evaluation.schema import Cost
from gender_cls.training import cost
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.cost import count_flops, measure_cost


def classifier(
    library: str = "custom",
    name: str = "custom_cnn",
    image_size: tuple[int, int] = (256, 128),
    options: dict[str, Any] | None = None,
) -> GenderClassifier:
    model = ModelConfig(library=Library(library), name=name, pretrained=False, options=options or {})
    data = DataConfig(root="crops", image_size=list(image_size))
    return GenderClassifier(to_plain(Config(data=data, model=model)), load=False)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> GenderClassifier:
    """One that is timed by the least number of calls."""
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    return classifier(image_size=(32, 16), options={"widths": [4]})


def test_a_tiny_network_costs_what_one_counts_by_hand(tiny: GenderClassifier) -> None:
    cells = 16 * 8  # stride 2 halves 32x16
    first, second, head = 3 * 3 * 3 * 4 * cells, 3 * 3 * 4 * 4 * cells, 4 * 2
    assert count_flops(tiny) == 2 * (first + second + head) == 64_528


def test_the_custom_network_costs_the_sum_over_its_layers() -> None:
    height, width, before, products = 256, 128, 3, 0
    for after in (32, 64, 128, 256):
        height, width = height // 2, width // 2
        products += 9 * (before * after + after * after) * height * width
        before = after
    products += 256 * 2
    assert count_flops(classifier()) == 2 * products
    assert products == pytest.approx(0.42e9, rel=0.01)


def test_attention_of_a_vit_is_counted() -> None:
    tokens, patches, dim, blocks = 129, 128, 192, 12
    linear = tokens * (3 * dim * dim + dim * dim + 2 * 4 * dim * dim)
    attention = 2 * tokens * tokens * dim
    products = patches * 3 * 16 * 16 * dim + blocks * (linear + attention) + 2 * dim
    assert count_flops(classifier("timm", "vit_tiny_patch16_224")) == 2 * products


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "vit_b_32"])
def test_flops_agree_with_those_that_torchvision_publishes(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT.meta["_ops"]  # 1e9 multiply-adds, with 1000 classes
    flops = count_flops(classifier("torchvision", name, (224, 224)))
    assert flops is not None
    assert flops / 2e9 == pytest.approx(published, abs=0.0025)


def test_mobilenet_v2_of_either_library_costs_the_same() -> None:
    flops = count_flops(classifier("timm", "mobilenetv2_100"))
    assert flops == count_flops(classifier("torchvision", "mobilenet_v2"))
    assert flops == pytest.approx(0.40e9, rel=0.03)


def test_flops_of_a_huge_network_need_no_data() -> None:
    with torch.device("meta"):
        huge = classifier("timm", "convnext_xlarge")
    assert count_flops(huge) == pytest.approx(2 * 39.8e9, rel=0.001)


def test_a_network_that_looks_at_its_data_has_no_flops_and_says_why(
    tiny: GenderClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    class Curious(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3))[:, :2] * (1 if images.sum().item() > 0 else 2)

    tiny.network = Curious()
    with caplog.at_level(logging.WARNING):
        assert count_flops(tiny) is None
    assert caplog.messages[0].startswith(
        "The FLOPs of custom/custom_cnn are not counted, it does not run without data: "
    )
    assert "item" in caplog.messages[0]
    assert measure_cost(tiny, "32-true")["flops"] is None


def test_the_cost_has_the_keys_of_the_schema_that_are_known_without_training(tiny: GenderClassifier) -> None:
    measured = measure_cost(tiny, "32-true")
    assert measured.keys() == Cost.__annotations__.keys() - {"peak_memory_bytes", "fit_seconds"}
    assert measured["parameters"] == 3 * 4 * 9 + 8 + 4 * 4 * 9 + 8 + 4 * 2 + 2
    assert measured["flops"] == 64_528
    assert measured["milliseconds_batch_1"] > 0
    assert measured["milliseconds_batch_32"] > 0


def test_the_device_is_named_with_threads_and_precision(tiny: GenderClassifier) -> None:
    threads = torch.get_num_threads()
    where = f"cpu, {threads} thread" + ("s" if threads > 1 else "")
    types: list[torch.dtype] = []
    tiny.network.register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    assert measure_cost(tiny, "32-true")["device"] == f"{where}, 32-true"
    assert set(types) == {torch.float32}
    types.clear()
    assert measure_cost(tiny, "bf16-mixed")["device"] == f"{where}, bf16-mixed"
    assert measure_cost(tiny, "16-mixed")["device"] == f"{where}, bf16-mixed"  # what Lightning makes of it on a CPU
    assert types[-1] == torch.bfloat16
    assert measure_cost(tiny.to(torch.bfloat16), "bf16-true")["device"] == f"{where}, bf16-true"


def test_time_is_of_an_image_and_without_the_warm_up(tiny: GenderClassifier) -> None:
    sizes: list[int] = []

    def wait(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].device.type == "cpu":
            sizes.append(len(inputs[0]))
            time.sleep(0.4 if sizes.count(len(inputs[0])) == 1 else 0.05)

    tiny.network.register_forward_pre_hook(wait)
    measured = measure_cost(tiny, "32-true")
    assert sizes == [1, 1, 32, 32]
    assert 50 <= measured["milliseconds_batch_1"] < 300
    assert 50 / 32 <= measured["milliseconds_batch_32"] < 300 / 32


def test_a_quick_network_is_called_until_the_time_is_up(
    tiny: GenderClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.05)
    sizes: list[int] = []
    tiny.network.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    measure_cost(tiny, "32-true")
    assert sizes.count(1) > 5


def test_a_batch_that_does_not_fit_has_no_time(tiny: GenderClassifier) -> None:
    def refuse(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) == 32:
            raise torch.OutOfMemoryError("out of memory")

    tiny.network.register_forward_pre_hook(refuse)
    measured = measure_cost(tiny, "32-true")
    assert measured["milliseconds_batch_32"] is None
    assert measured["milliseconds_batch_1"] > 0


def test_measuring_leaves_no_trace(tiny: GenderClassifier) -> None:
    tiny.train()
    tiny.network.stages[0][0][1].eval()  # as a frozen BatchNorm is
    flags = [module.training for module in tiny.modules()]
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    random_state = torch.get_rng_state()
    measure_cost(tiny, "bf16-mixed")
    assert [module.training for module in tiny.modules()] == flags
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in tiny.parameters())


def test_training_flags_are_put_back_after_an_error(tiny: GenderClassifier) -> None:
    def fail(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].device.type == "cpu":
            raise ValueError("no")

    tiny.train().network.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match="no"):
        measure_cost(tiny, "32-true")
    assert all(module.training for module in tiny.modules())


def test_a_network_that_keeps_what_it_computed_can_still_be_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    keeper = classifier("timm", "levit_128s", (224, 224)).eval()
    measure_cost(keeper, "32-true")
    caches = [module.attention_bias_cache for module in keeper.modules() if hasattr(module, "attention_bias_cache")]
    assert caches
    assert {device for cache in caches for device in cache} == {"cpu"}  # and nothing without data
    images = torch.rand(1, 3, 224, 224, requires_grad=True)
    keeper.network(images)[0, 0].backward()
    assert images.grad is not None
