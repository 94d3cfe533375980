"""`recipe.optimizer` names any of timm's optimizers; the groups of the recipe, resuming and EMA stay as with AdamW."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.classifiers import batches, settings, trainer_for
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import LambdaCallback
from timm.optim import get_optimizer_info, list_optimizers
from torch import nn

from gender_cls.config.optimizers import OPTIMIZERS, REFUSED
from gender_cls.config.train import RecipeConfig
from gender_cls.errors import GenderClsError
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.optimizer import build_optimizer, check_optimizer
from gender_cls.training.weight_average import WeightAverage


def network() -> nn.Sequential:
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(convolution, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))


def groups(made: nn.Sequential) -> list[dict[str, Any]]:
    backbone, head = ([*part.parameters()] for part in made)
    return [
        {"params": backbone, "lr": 1e-3, "weight_decay": 0.05, "part": "backbone"},
        {"params": head, "lr": 1e-2, "weight_decay": 0.0, "part": "head"},
    ]


def steps(made: nn.Sequential, optimizer: torch.optim.Optimizer, count: int, frozen: bool = False) -> None:
    generator = torch.Generator().manual_seed(count)
    made[0].requires_grad_(not frozen)
    for _ in range(count):
        images = torch.randn(4, 3, 6, 6, generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(images), torch.arange(4) % 2).backward()
        optimizer.step()


def test_the_list_of_names_is_timms_without_the_refused_ones() -> None:
    known = {name for name in list_optimizers() if not name.startswith(tuple(REFUSED))}
    assert set(OPTIMIZERS) <= known
    assert {name for name in known if get_optimizer_info(name).second_order} == set()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_leaves_a_frozen_part_alone_and_goes_on_from_its_saved_state(name: str) -> None:
    recipe, made = RecipeConfig(optimizer=name, lr=1e-2), network()
    optimizer = build_optimizer(groups(made), recipe)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(1e-3, 0.05), (1e-2, 0.0)]
    steps(made, optimizer, 2, frozen=True)
    assert torch.equal(made[0][0].weight, network()[0][0].weight)
    assert not torch.equal(made[1][2].weight, network()[1][2].weight)
    steps(made, optimizer, 2)  # the first one of some only begins their averages
    assert not torch.equal(made[0][0].weight, network()[0][0].weight)

    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "weights": made.state_dict()}, file)
    file.seek(0)
    kept = torch.load(file, weights_only=True)
    other = network()
    other.load_state_dict(kept["weights"])
    resumed = build_optimizer(groups(other), recipe)
    resumed.load_state_dict(kept["optimizer"])
    steps(made, optimizer, 2)
    steps(other, resumed, 2)
    torch.testing.assert_close(other.state_dict(), made.state_dict(), rtol=0, atol=1e-7)


def test_sgd_takes_steps_of_its_formula() -> None:
    """Two steps on the gradient 1: the buffer is 1, then 1.5; without Nesterov's form these are the steps."""

    def moved(**recipe: Any) -> float:
        weight = nn.Parameter(torch.zeros(1))
        chosen = RecipeConfig(lr=0.1, weight_decay=0.0, momentum=0.5, **recipe)
        optimizer = build_optimizer([{"params": [weight], "lr": 0.1, "weight_decay": 0.0}], chosen)
        for _ in range(2):
            weight.grad = torch.ones(1)
            optimizer.step()
        return -weight.item()

    assert moved(optimizer="momentum") == pytest.approx(0.1 * (1 + 1.5))
    assert moved(optimizer="sgd", optimizer_options={"nesterov": False}) == pytest.approx(0.1 * (1 + 1.5))
    assert moved(optimizer="sgd") == pytest.approx(0.1 * ((1 + 0.5) + (1 + 0.5 * 1.5)))


def test_options_reach_the_optimizer_and_others_are_refused_by_name(caplog: pytest.LogCaptureFixture) -> None:
    def built(**recipe: Any) -> torch.optim.Optimizer:
        return build_optimizer(groups(network()), RecipeConfig(**recipe))

    assert tuple(built(optimizer_options={"betas": [0.8, 0.9]}).defaults["betas"]) == (0.8, 0.9)
    assert tuple(built(optimizer="lion", optimizer_options={"betas": [0.8, 0.9]}).defaults["betas"]) == (0.8, 0.9)
    for name in ("adamw", "sgd", "muon"):
        with pytest.raises(GenderClsError, match=rf"recipe\.optimizer={name} .*optimizer_options.*wings=1"):
            check_optimizer(RecipeConfig(optimizer=name, optimizer_options={"wings": 1}))
    with pytest.raises(GenderClsError, match=r"momentum=0\.0"):
        check_optimizer(RecipeConfig(optimizer="sgd", momentum=0.0))
    check_optimizer(RecipeConfig(optimizer="sgd", momentum=0.5))
    assert not caplog.text
    check_optimizer(RecipeConfig(momentum=0.5))
    assert "recipe.momentum=0.5" in caplog.text


@pytest.mark.parametrize("name", ["sgd", "lion", "muon"])
def test_a_training_with_averages_and_accumulation_is_resumed_to_the_same_weights(name: str, tmp_path: Path) -> None:
    def fit(stop: bool, resume: Path | None = None) -> dict[str, torch.Tensor]:
        def keep(trainer: Trainer, _: Any) -> None:
            trainer.should_stop = stop
            if stop:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

        torch.manual_seed(0)
        model = GenderClassifier(settings(recipe={"optimizer": name, "frozen_epochs": 1, "lr": 1e-2}))
        trainer = trainer_for(
            callbacks=[WeightAverage(0.5), LambdaCallback(on_train_epoch_end=keep)],
            accumulate_grad_batches=2,
            gradient_clip_val=1.0,
        )
        trainer.fit(model, batches(), batches(), ckpt_path=resume, weights_only=True)
        return model.network.state_dict()  # the averages

    whole = fit(stop=False)
    half = fit(stop=True)
    resumed = fit(stop=False, resume=tmp_path / "last.ckpt")
    torch.testing.assert_close(resumed, whole, rtol=0, atol=1e-6)
    assert not torch.allclose(half["head.weight"], whole["head.weight"], rtol=0, atol=1e-4), "it was half way"
