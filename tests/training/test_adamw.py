"""The fused AdamW equals the plain one up to rounding, whatever state it continues."""

import copy
from pathlib import Path

import pytest
import torch
from helpers.classifiers import batches, settings, trainer_for
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import LambdaCallback
from torch import nn

from gender_cls.models.convolutions import set_layout
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.optimizer import adamw

GROUPS = {"lr": 0.01, "weight_decay": 0.05}


def network(channels_last: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    # Without a bias before the norm: its gradient is rounding noise, which AdamW turns into whole steps.
    layers = [nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3)]
    made = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 2))
    if channels_last:
        set_layout(made, torch.channels_last)
    return made


def steps(made: nn.Module, optimizer: torch.optim.Optimizer, count: int, clip: float | None = None) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(4, 3, 8, 8, generator=generator).to(next(made.parameters()).dtype)
        optimizer.zero_grad()
        nn.functional.cross_entropy(made(images), torch.arange(4) % 2).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(made.parameters(), clip)
        optimizer.step()


def optimizer_of(made: nn.Module, fused: bool = True) -> torch.optim.AdamW:
    return adamw([{"params": list(made.parameters()), **GROUPS}], scaled_gradients=not fused)


def difference(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max((one - other).abs().max().item() for one, other in pairs)


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_steps_equal_plain_ones(dtype, clip) -> None:
    plain, fused = network().to(dtype), network().to(dtype)
    steps(plain, torch.optim.AdamW(plain.parameters(), **GROUPS), 5, clip)
    optimizer = optimizer_of(fused)
    assert optimizer.param_groups[0]["fused"] is True
    steps(fused, optimizer, 5, clip)
    assert difference(network().to(dtype), fused) > 0
    assert difference(plain, fused) < 1e-6


def test_weights_of_half_precision_and_scaled_gradients_take_the_plain_step() -> None:
    assert optimizer_of(network().bfloat16()).param_groups[0]["fused"] is None
    assert optimizer_of(network(), fused=False).param_groups[0]["fused"] is None


@pytest.mark.parametrize("was_fused", [True, False])
@pytest.mark.parametrize("was_channels_last", [True, False])
def test_any_state_is_continued(was_channels_last, was_fused) -> None:
    """Above all that of the other layout: torch's fused step would use each moment for another weight."""
    unbroken = network()
    steps(unbroken, optimizer := torch.optim.AdamW(unbroken.parameters(), **GROUPS), 3)
    steps(unbroken, optimizer, 3)

    first = network(was_channels_last)
    steps(first, optimizer := optimizer_of(first, was_fused), 3)
    state, weights = optimizer.state_dict(), first.state_dict()
    for fused, channels_last in ((True, True), (True, False), (False, True)):
        second = network(channels_last)
        second.load_state_dict(weights)
        resumed = optimizer_of(second, fused)
        resumed.load_state_dict(copy.deepcopy(state))
        assert resumed.param_groups[0]["fused"] is (True if fused else None)
        steps(second, resumed, 3)
        assert difference(unbroken, second) < 1e-6, (fused, channels_last)


def test_a_run_is_resumed_in_the_other_layout(tmp_path) -> None:
    def fit(channels_last: bool, *callbacks: Callback, resume: Path | None = None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = GenderClassifier(settings(trainer={"channels_last": channels_last}))
        trainer = trainer_for(gradient_clip_val=1.0, callbacks=list(callbacks))
        trainer.fit(model, batches(), batches(), ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return model.network.state_dict()

    whole = fit(True)
    half = fit(False, LambdaCallback(on_train_epoch_end=lambda trainer, _: setattr(trainer, "should_stop", True)))
    resumed = fit(True, resume=tmp_path / "last.ckpt")
    torch.testing.assert_close(resumed, whole, rtol=0, atol=1e-5)
    assert not torch.allclose(half["head.weight"], whole["head.weight"], rtol=0, atol=1e-3), "it was half way"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_gradients_are_clipped_at_every_precision(precision) -> None:
    norms: list[float] = []

    class Measured(GenderClassifier):
        def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
            gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
            if gradients:
                norms.append(torch.nn.utils.get_total_norm(gradients).item())

    for clip, below in ((None, 1e9), (0.01, 0.0101)):
        norms.clear()
        model = Measured(settings(recipe={"gradient_clip": clip}))
        trainer = trainer_for(precision=precision, gradient_clip_val=clip)
        trainer.fit(model, batches(), batches())
        assert model.optimizers().param_groups[0]["fused"] is (None if precision == "bf16-true" else True)
        assert norms
        assert max(norms) < below
        if clip is None:
            assert max(norms) > 0.02
