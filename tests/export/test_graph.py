"""Pixels to answers in one network: the numbers of the classifier, and the answers of the run's rule."""

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.classifiers import TINY_CONVNEXT, random_images
from helpers.crops import noise
from helpers.exporting import CUSTOM_CNN, RULE, random_classifier
from helpers.network_state import network_state
from torch import Tensor, nn

from gender_cls.config.data import ResizeMode
from gender_cls.data.resizing import resize_into
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.export.graph import ExportedGraph, quiet
from gender_cls.models.exported import ANSWERS

BORDERS = [(0.0, 0.0), (1e-9, 0.0), (0.0, 1e-9), (3.0, -40.0), (-1e4, 1e4), (float("inf"), 0.0), (float("nan"), 1.0)]


class Given(nn.Module):
    """A network that answers with these logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[: len(images)]


def answers_of(logits: Tensor, rule: DecisionRule) -> tuple[Tensor, list[str]]:
    """Calibrated probabilities and answers."""
    graph = ExportedGraph(random_classifier(), rule, native=False)
    graph.network = Given(logits)
    _, probability, answer = graph(torch.zeros(len(logits), 32, 16, 3, dtype=torch.uint8))
    assert (probability.dtype, answer.dtype) == (torch.float32, torch.int64)
    return probability, [ANSWERS[index] for index in answer]


def by_the_run(logits: Tensor, rule: DecisionRule) -> list[str]:
    probabilities = logits.double().softmax(dim=1).numpy()
    return rule.answers(pd.DataFrame(probabilities, columns=["p_FEMALE", "p_MALE"])).tolist()


@pytest.mark.parametrize("band", [None, (0.3, 0.8), (0.5, 0.7)])
@pytest.mark.parametrize("threshold", [0.5, 0.62])
def test_answers_are_those_of_the_rule(threshold: float, band: tuple[float, float] | None) -> None:
    rule = DecisionRule(1.7, threshold, band)
    random = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) * 3
    logits = torch.cat([torch.tensor(BORDERS), random])
    assert answers_of(logits, rule)[1] == by_the_run(logits, rule)


def test_borders_belong_to_the_threshold_and_are_compared_in_float64() -> None:
    logits = torch.tensor(BORDERS[:3])  # 0.5, just above and just below; in float32 all three are 0.5
    probability, answers = answers_of(logits, DecisionRule(1.0, 0.5, None))
    assert probability.tolist() == [0.5] * 3
    assert answers == ["FEMALE", "FEMALE", "MALE"]
    assert answers_of(logits, DecisionRule(1.0, 0.5, (0.5, 0.7)))[1] == ["FEMALE", "abstain", "MALE"]


def test_probabilities_are_calibrated() -> None:
    probability, _ = answers_of(torch.tensor([[3.0, 1.0]]), DecisionRule(2.0, 0.5, None))
    assert probability.item() == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("mode", ResizeMode)
def test_a_crop_of_any_size_gives_what_training_makes_of_it(mode: ResizeMode) -> None:
    classifier = random_classifier(resize_mode=mode.value)
    graph = ExportedGraph(classifier, RULE, native=True)
    for native in [(50, 21), (9, 40), (32, 16)]:
        image = noise(*native)
        pixels = torch.empty(32, 16, 3, dtype=torch.uint8)
        resize_into(pixels, image, mode)
        with torch.no_grad():
            found, expected = graph(image.permute(1, 2, 0))[0], classifier(pixels.permute(2, 0, 1)[None])
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("model", [CUSTOM_CNN, TINY_CONVNEXT], ids=["works in place", "has widened convolutions"])
def test_the_classifier_stays_as_it_is(model: dict[str, Any]) -> None:
    classifier = random_classifier(model, (64, 32)).to(torch.bfloat16).train()
    modules = [(type(module), vars(module).get("inplace")) for module in classifier.modules()]
    strides = [weight.stride() for weight in classifier.network.parameters()]
    before = network_state(classifier.network)
    graph = ExportedGraph(classifier, RULE, native=False)
    graph(random_images(2, (64, 32)).permute(0, 2, 3, 1))
    assert network_state(classifier.network) == before
    assert modules == [(type(module), vars(module).get("inplace")) for module in classifier.modules()]
    assert strides == [weight.stride() for weight in classifier.network.parameters()]
    assert all(weight.dtype == torch.float32 and not weight.requires_grad for weight in graph.parameters())
    assert not {weight.data_ptr() for weight in graph.parameters()} & {
        weight.data_ptr() for weight in classifier.parameters()
    }


class Moody(nn.Module):
    """Does something else with bright pictures."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] if images.mean() > 0 else images.flatten(1)[:, 2:4]


def test_a_network_that_cannot_be_followed_is_named_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    graph = ExportedGraph(random_classifier(), RULE, native=False)
    graph.network = Moody()
    with pytest.raises(GenderClsError, match=r"custom/custom_cnn .*another model"):
        _ = graph.program
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_what_this_package_logs_is_shown_while_exporters_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = logging.getLogger("gender_cls.system.progress"), logging.getLogger("torch.onnx")
    with caplog.at_level(logging.INFO), quiet():
        ours.info("Writing model.onnx ...")
        theirs.warning("noise")
        warnings.warn("noise", stacklevel=1)
    theirs.warning("from others")
    assert caplog.messages == ["Writing model.onnx ...", "from others"]
