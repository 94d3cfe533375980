from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.network_state import network_state
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from gender_cls.config.explain import Method
from gender_cls.explain import randomisation
from gender_cls.explain.attribution import Attribution, attribute
from gender_cls.explain.randomisation import RANDOM_NETWORKS, STAGES, Stage, randomisation_check
from gender_cls.models.custom_cnn import CustomCNN
from gender_cls.models.feature_map import FeatureMap, find_feature_map

METHODS = [Method.saliency, Method.grad_cam]
TARGETS = torch.tensor([0, 1, 1])


class Looking(nn.Module):
    """A linear network that looks at one place of the image: its saliency is `where` times a constant.

    Args:
        learned: whether `where` is a parameter of the network itself, as an embedding of position is.
    """

    def __init__(self, learned: bool) -> None:
        super().__init__()
        where = torch.linspace(0.1, 1, 16 * 8).view(1, 1, 16, 8)  # 128 regions of one pixel, more the further down
        if learned:
            self.where = nn.Parameter(where)
        else:
            self.register_buffer("where", where)
        self.mix = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.mix(images * self.where).mean(dim=(2, 3)))


def check_looking(learned: bool) -> list[Stage]:
    torch.manual_seed(0)
    inputs = torch.randn(3, 3, 16, 8, generator=torch.Generator().manual_seed(1))
    feature_map = FeatureMap("mix", "NCHW", (16, 8))
    return randomisation_check(Looking(learned), inputs, TARGETS, ("head",), [Method.saliency], feature_map)


def test_map_falls_when_the_layer_that_makes_it_becomes_random() -> None:
    stages = check_looking(learned=True)
    # Parameters: 4 * 2 + 2 of the head, 3 * 4 + 4 of the mix, 128 of the network itself: these last of all.
    assert [stage.layers for stage in stages] == ["head", "mix", "mix"]
    assert [stage.share for stage in stages] == [10 / 154, 26 / 154, 1]
    for stage in stages[:2]:
        assert stage.similarity[Method.saliency] == pytest.approx(np.ones(3), abs=1e-3)
    # Of 128 values in a random order the correlation has a standard deviation of 1 / sqrt(127).
    assert (abs(stages[2].similarity[Method.saliency]) < 3 / np.sqrt(127)).all()


def test_map_that_ignores_what_was_learned_stays_alike_and_so_does_the_control() -> None:
    stages = check_looking(learned=False)
    assert [stage.share for stage in stages] == [10 / 26, 1]
    for stage in stages:
        assert stage.similarity[Method.saliency] == pytest.approx(np.ones(3), abs=1e-3)
    assert np.isnan(stages[0].control[Method.saliency]).all(), "the control is of the last stage"
    assert stages[1].control[Method.saliency] == pytest.approx(np.ones(3), abs=1e-3)


def test_the_control_is_the_mean_over_all_pairs_of_random_networks(monkeypatch) -> None:
    # The maps are made up: those of the trained network, of the random head, and of four networks that are all random.
    made = iter(torch.randn(2 + RANDOM_NETWORKS, 3, 16, 8, generator=torch.Generator().manual_seed(2)))
    used: list[Tensor] = []

    def made_up(*arguments: object) -> Attribution:
        used.append(next(made))
        return Attribution(torch.ones(3, 2) / 2, TARGETS, {Method.grad_cam: used[-1]})

    monkeypatch.setattr(randomisation, "attribute", made_up)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    stages = randomisation_check(network, torch.zeros(3, 3, 16, 8), TARGETS, ("3",), [Method.grad_cam], None)
    trained, of_head, *of_all = ([spearmanr_ranks(one) for one in maps] for maps in used)

    def similar(a: list[np.ndarray], b: list[np.ndarray]) -> np.ndarray:
        return np.array([abs(np.corrcoef(one, other)[0, 1]) for one, other in zip(a, b, strict=True)])  # signs: |rho|

    np.testing.assert_allclose(stages[0].similarity[Method.grad_cam], similar(trained, of_head))
    expected = np.mean([similar(trained, one) for one in of_all], axis=0)
    np.testing.assert_allclose(stages[1].similarity[Method.grad_cam], expected)
    pairs = [similar(of_all[a], of_all[b]) for a in range(RANDOM_NETWORKS) for b in range(a)]
    np.testing.assert_allclose(stages[1].control[Method.grad_cam], np.mean(pairs, axis=0))


def spearmanr_ranks(values: Tensor) -> np.ndarray:
    return values.flatten().argsort().argsort().double().numpy()


NETWORKS = {
    "cnn": (lambda: CustomCNN(widths=(4, 6, 8)), ("head",), "stages.0.0.0"),
    "vit": (
        lambda: VisionTransformer((32, 16), patch_size=4, embed_dim=12, depth=3, num_heads=2, num_classes=2),
        ("head",),
        "patch_embed.proj",
    ),
    "swin": (
        lambda: SwinTransformer(
            (32, 16), 2, num_classes=2, embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=4
        ),
        ("head.fc",),
        "patch_embed.proj",
    ),
}


@pytest.fixture(params=NETWORKS)
def layout(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[str, ...], str, FeatureMap]:
    build, heads, first = NETWORKS[request.param]
    torch.manual_seed(0)
    network = build().eval()
    with torch.no_grad():  # embeddings and heads begin at 0, which no shuffling changes
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape) / 10)
    return network, heads, first, find_feature_map(network, (32, 16), heads)


def some_images() -> Tensor:
    return torch.randn(3, 3, 32, 16, generator=torch.Generator().manual_seed(1))


def test_every_layout_has_finite_similarities_and_ends_with_everything_random(layout) -> None:
    network, heads, first, feature_map = layout
    stages = randomisation_check(network, some_images(), TARGETS, heads, METHODS, feature_map)
    shares = [stage.share for stage in stages]
    assert len(stages) == STAGES
    assert (stages[0].layers, stages[-1].layers) == (heads[0], first)
    assert shares == sorted(set(shares))
    of_head = sum(weight.numel() for weight in network.get_submodule(heads[0]).parameters())
    assert (shares[0], shares[-1]) == (of_head / sum(weight.numel() for weight in network.parameters()), 1)
    similarities = np.array([stage.similarity[method] for stage in stages for method in METHODS])
    assert similarities.shape == (2 * STAGES, 3)
    assert np.isfinite(similarities).all()
    assert stages[-1].similarity[Method.saliency].mean() < 0.9
    again = randomisation_check(network, some_images(), TARGETS, heads, METHODS, feature_map)
    np.testing.assert_equal([stage.similarity for stage in again], [stage.similarity for stage in stages])


def test_maps_of_a_trained_cnn_fall() -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 3, 32, 16, generator=generator) / 4, torch.arange(64) % 2
    images[labels == 1, 0, 6:14, 2:10] += 1  # all that there is to learn
    images[:, 1, 18:30, 4:14] += 2 * torch.randn(64, 12, 10, generator=generator).abs()  # strong, says nothing
    torch.manual_seed(0)
    network = CustomCNN(widths=(8, 12, 16))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert (network.eval()(images).argmax(dim=1) == labels).float().mean() > 0.95
    feature_map = find_feature_map(network, (32, 16), ("head",))
    feature_map = replace(feature_map, centres=None)  # where cells are drawn is no matter of what a network has learnt
    stages = randomisation_check(network, images[:16], labels[:16], ("head",), METHODS, feature_map)
    assert [stage.layers for stage in stages] == ["head", "stages.2.0.0", "stages.1.0.0", "stages.0.0.0"]
    first, last = stages[0].similarity, stages[-1].similarity
    assert last[Method.saliency].mean() < min(first[Method.saliency].mean() - 0.1, 0.6)
    assert abs(last[Method.grad_cam].mean()) < 0.4


def test_each_stage_shuffles_the_values_of_its_layers_and_leaves_the_others(monkeypatch) -> None:
    torch.manual_seed(0)
    network = CustomCNN(widths=(4, 6))
    network(some_images())  # statistics that are not 0 and 1
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    states: list[dict[str, Tensor]] = []

    def noted(network: nn.Module, *arguments: object) -> Attribution:
        states.append({name: value.clone() for name, value in network.state_dict().items()})
        return attribute(network, *arguments)

    monkeypatch.setattr(randomisation, "attribute", noted)
    feature_map = find_feature_map(network, (32, 16), ("head",))
    randomisation_check(network, some_images(), TARGETS, ("head",), METHODS, feature_map)
    assert all(torch.equal(states[0][name], value) for name, value in before.items())
    blocks = [f"stages.{stage}.{half}" for stage in (0, 1) for half in (0, 1)]
    layers = [f"{block}.{part}" for block in blocks for part in (0, 1)]  # convolution, BatchNorm
    assert len(states) == 1 + STAGES + RANDOM_NETWORKS - 1
    for state, known in zip(states[1:], (layers, layers[:5], layers[:2], *[[]] * RANDOM_NETWORKS), strict=True):
        for name, value in before.items():
            layer, _, kind = name.rpartition(".")
            if kind in ("weight", "bias"):
                assert torch.equal(state[name].flatten().sort().values, value.flatten().sort().values)
            if layer in known:
                assert torch.equal(state[name], value)
            elif kind == "running_mean" or (kind == "weight" and value.ndim > 1):
                assert not torch.equal(state[name], value)


def test_statistics_of_batch_norm_are_those_of_the_images_and_their_mirrored_ones(monkeypatch) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()
    last: list[nn.Module] = []
    monkeypatch.setattr(
        randomisation, "attribute", lambda network, *rest: last.append(network) or attribute(network, *rest)
    )
    inputs = some_images()
    randomisation_check(network, inputs, TARGETS, ("5",), [Method.saliency], FeatureMap("0", "NCHW", (30, 14)))
    with torch.no_grad():
        maps = last[-1].get_submodule("0")(torch.cat([inputs, inputs.flip(3)])).transpose(0, 1).flatten(1)
    norm = last[-1].get_submodule("1")
    torch.testing.assert_close(norm.running_mean, maps.mean(dim=1))
    torch.testing.assert_close(norm.running_var, maps.var(dim=1))


def test_one_image_is_enough_also_where_batch_norm_sees_one_value_a_channel() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)
    )
    feature_map = FeatureMap("0", "NCHW", (30, 14))
    inputs, targets = some_images()[:1], TARGETS[:1]
    stages = randomisation_check(network.eval(), inputs, targets, ("4",), METHODS, feature_map)
    similarities = np.array([stage.similarity[Method.grad_cam] for stage in stages])
    assert similarities.shape == (3, 1)
    assert np.isfinite(similarities).all()


def test_network_that_diverged_has_no_similarity() -> None:
    network = CustomCNN(widths=(4, 6)).eval()
    feature_map = find_feature_map(network, (32, 16), ("head",))
    with torch.no_grad():
        network.stages[1][0][0].weight.fill_(torch.nan)
    for stage in randomisation_check(network, some_images(), TARGETS, ("head",), METHODS, feature_map):
        assert np.isnan([stage.similarity[method] for method in METHODS]).all()


@pytest.mark.parametrize("outer", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_network_and_random_states_stay_bit_identical(outer) -> None:
    torch.manual_seed(0)
    network = CustomCNN(widths=(4, 6), dropout=0.5)
    feature_map = find_feature_map(network, (32, 16), ("head",))
    network(some_images()).sum().backward()
    before = network_state(network)
    with outer():
        randomisation_check(network, some_images(), TARGETS, ("head",), METHODS, feature_map)
    assert network_state(network) == before
