import copy
import io

import pytest
import timm
import torch
from torch import nn

from gender_cls.models.depthwise import widen_depthwise


def depthwise(network: nn.Module) -> list[nn.Conv2d]:
    return [one for one in network.modules() if isinstance(one, nn.Conv2d) and one.groups == one.in_channels > 1]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "mobilenetv2_100"])
def test_only_depthwise_convolutions_change_and_only_under_autocast_by_as_much_as_bf16_rounds(name: str) -> None:
    torch.manual_seed(0)
    options = {"pad_type": "same"} if name == "mobilenetv2_100" else {}
    plain = timm.create_model(name, num_classes=2, **options).eval()
    widened = copy.deepcopy(plain)
    widen_depthwise(widened)
    assert list(widened.state_dict()) == list(plain.state_dict())
    assert len(depthwise(widened)) == len(depthwise(plain)) > 0
    images = torch.randn(4, 3, 64, 64)

    def answers(network: nn.Module, mixed: bool) -> tuple[torch.Tensor, torch.Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = network(images)
        logits.float().square().sum().backward()
        return logits.detach().float(), depthwise(network)[0].weight.grad.clone()

    exact = answers(plain, mixed=False)
    for one, other in zip(answers(widened, mixed=False), exact, strict=True):
        assert torch.equal(one, other), "without autocast it is the same network"
    for one, other, right in zip(answers(widened, mixed=True), answers(plain, mixed=True), exact, strict=True):
        assert (one - right).norm() < 2 * (other - right).norm(), "no farther from float32 than plain bf16 is"


def test_convolutions_compute_in_float32_and_answer_in_bfloat16() -> None:
    convolution = nn.Conv2d(8, 8, 3, groups=8)
    grouped, pointwise = nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(8, 8, 1)
    network = nn.Sequential(convolution, grouped, pointwise)
    exact = convolution(features := torch.randn(2, 8, 9, 9))
    widen_depthwise(network)
    assert type(grouped) is type(pointwise) is nn.Conv2d
    with torch.autocast("cpu", torch.bfloat16):
        answer = convolution(features)
    assert answer.dtype is torch.bfloat16
    assert torch.equal(answer, exact.to(torch.bfloat16))
    with torch.autocast("cpu", torch.float16):
        assert convolution(features).dtype is torch.float16


def test_gradients_are_those_of_float32_for_what_comes_back_in_bfloat16() -> None:
    convolution = nn.Conv2d(8, 8, 3, groups=8)
    features = torch.randn(2, 8, 9, 9, requires_grad=True)
    back = torch.randn(2, 8, 7, 7).to(torch.bfloat16)
    convolution(features).backward(back.float())
    exact = [features.grad, convolution.weight.grad]
    features.grad = convolution.weight.grad = None
    widen_depthwise(convolution)
    with torch.autocast("cpu", torch.bfloat16):
        answer = convolution(features)
    answer.backward(back)
    for gradient, right in zip((features.grad, convolution.weight.grad), exact, strict=True):
        assert torch.equal(gradient, right)


def test_a_copy_and_the_weights_of_a_widened_network_are_whole() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    widen_depthwise(network)
    widen_depthwise(network)  # as for a network that was built before
    twin = copy.deepcopy(network)
    features = torch.randn(1, 4, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(twin(features), network(features))
    twin[0].weight.data.zero_()
    assert network[0].weight.any(), "a copy has weights of its own"
    torch.save(network.state_dict(), file := io.BytesIO())
    file.seek(0)
    nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)).load_state_dict(torch.load(file, weights_only=True))
