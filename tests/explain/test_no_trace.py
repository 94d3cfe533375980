"""Training is the same to the last bit with and without maps, however it is done.

Each time all five methods explain both the predicted and the true class after every epoch.
"""

import os
import random
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.classifiers import settings
from helpers.tiny_training import Tiny, explain, fit
from helpers.training_ranks import on_ranks
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, LambdaCallback, ModelCheckpoint
from torch import Tensor

from gender_cls.config.explain import ExplainedClass, Method
from gender_cls.explain.callback import ExplainCallback
from gender_cls.training.classifier import GenderClassifier


def explain_all(folder: Path, size: tuple[int, int] = (16, 8)) -> ExplainCallback:
    return explain(folder, size, methods=list(Method), explained_class=ExplainedClass.both)


def everything(model: LightningModule, trainer: Trainer) -> dict[str, Tensor]:
    """All that the rest of a training depends on."""
    state = {f"weight {name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        state[f"learns {name}"] = torch.tensor(parameter.requires_grad)
        if parameter.grad is not None:
            state[f"gradient {name}"] = parameter.grad
    for index, moments in trainer.optimizers[0].state_dict()["state"].items():
        state |= {f"optimizer {index} {name}": torch.as_tensor(value) for name, value in moments.items()}
    for name, module in model.named_modules():
        state[f"training {name}"] = torch.tensor(module.training)
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        state[f"hooks {name}"] = torch.tensor([len(kind) for kind in hooks])
    state["random torch"] = torch.get_rng_state()
    state["random numpy"] = torch.from_numpy(np.random.get_state()[1].astype(np.int64))  # noqa: NPY002  # the global one
    state["random Python"] = torch.tensor(random.getstate()[1])
    return {name: value.detach().clone() for name, value in state.items()}


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    assert found.keys() == expected.keys()
    return [name for name, value in found.items() if not torch.equal(value, expected[name])]


def assert_drawn(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_001.png", "epoch_002.png"]


@pytest.mark.parametrize(
    ("options", "others"),
    [
        ({}, []),
        ({"precision": "bf16-mixed"}, []),
        ({"precision": "bf16-true"}, []),
        ({"accumulate_grad_batches": 3, "val_check_interval": 2}, []),
        ({}, [lambda: EMAWeightAveraging(decay=0.9)]),
    ],
    ids=["plain", "autocast", "bfloat16", "accumulation", "averaging"],
)
def test_a_training_with_maps_is_bit_identical_to_one_without(tmp_path, options, others) -> None:
    expected = everything(*fit(tmp_path, [make() for make in others], **options))
    found = everything(*fit(tmp_path, [explain_all(tmp_path / "maps"), *(make() for make in others)], **options))
    assert_drawn(tmp_path / "maps")
    assert differences(found, expected) == []


def test_the_comparison_sees_a_random_number_and_a_training_flag(tmp_path) -> None:
    expected = everything(*fit(tmp_path, []))
    draw = LambdaCallback(on_validation_epoch_end=lambda *_: torch.rand(1))
    switch = LambdaCallback(on_train_epoch_start=lambda _, module: module.network[1].eval())
    drawn, switched = (differences(everything(*fit(tmp_path, [one])), expected) for one in (draw, switch))
    assert {"weight network.0.weight", "optimizer 0 momentum_buffer", "random torch"} < set(drawn)
    assert {"weight network.1.running_mean", "training network.1"} < set(switched) - {"random torch"} == set(switched)


def test_a_compiled_network_stays_compiled_and_trains_the_same(tmp_path) -> None:
    events: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        events.append("compiled")
        return lambda *arguments: events.append("run") or graph(*arguments)

    class Compiled(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.network.compile(backend=backend)

    def train(callbacks: list[Callback]) -> tuple[dict[str, Tensor], list[str]]:
        torch.compiler.reset()
        events.clear()
        return everything(*fit(tmp_path, callbacks, Compiled)), [*events]

    (expected, without_maps), (found, with_maps) = train([]), train([explain_all(tmp_path / "maps")])
    assert_drawn(tmp_path / "maps")
    assert differences(found, expected) == []
    assert with_maps == without_maps  # maps run none of it, and nothing is compiled again because of them
    assert without_maps.count("run") == 2 + 2 * (4 + 2)  # the sanity check; per epoch 4 steps and 2 validation batches


def test_a_frozen_stage_stays_frozen_and_wakes_the_same(tmp_path) -> None:
    model = {"library": "custom", "name": "custom_cnn", "options": {"widths": [4, 8]}, "dropout": 0.5}
    config = settings(model=model, recipe={"lr": 0.01, "frozen_epochs": 1, "warmup_epochs": 0})

    backbones: list[dict[str, Tensor]] = []

    def note(trainer: Trainer, model: Any) -> None:
        backbones.append({name: value.clone() for name, value in model.network.stages.state_dict().items()})

    def train(callbacks: list[Callback]) -> dict[str, Tensor]:
        return everything(*fit(tmp_path, callbacks, lambda: GenderClassifier(config), size=(32, 16)))

    noting = LambdaCallback(on_fit_start=note, on_train_epoch_end=note)
    found = train([explain_all(tmp_path / "maps", (32, 16)), noting])
    assert_drawn(tmp_path / "maps")
    assert differences(found, train([])) == []
    begun, frozen, awake = backbones
    assert differences(frozen, begun) == []  # BatchNorm's statistics among them
    assert set(differences(awake, begun)) == begun.keys()


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning")
def test_a_resumed_training_goes_on_the_same_and_checkpoints_hold_nothing_of_it(tmp_path) -> None:
    def train(folder: Path, explaining: Callable[[], list[Callback]]) -> dict[str, Tensor]:
        def callbacks() -> list[Callback]:
            return [*explaining(), ModelCheckpoint(folder, "last", enable_version_counter=False)]

        fit(folder, callbacks(), max_epochs=1, enable_checkpointing=True)
        return everything(*fit(folder, callbacks(), resume=folder / "last.ckpt", enable_checkpointing=True))

    expected = train(tmp_path / "without", list)
    found = train(tmp_path / "with", lambda: [explain_all(tmp_path / "maps")])
    assert_drawn(tmp_path / "maps")
    assert differences(found, expected) == []
    last = torch.load(tmp_path / "with" / "last.ckpt", weights_only=True)
    assert not any("Explain" in name for name in last["callbacks"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its two processes by fork")
def test_two_processes_stay_in_step_while_the_first_draws(tmp_path) -> None:
    def train() -> list[dict[str, Tensor]]:
        return [everything(*fit(tmp_path, callbacks)) for callbacks in ([], [explain_all(tmp_path / "maps")])]

    expected, *others = chain.from_iterable(on_ranks(2, train, tmp_path))
    assert_drawn(tmp_path / "maps")
    assert [differences(found, expected) for found in others] == [[], [], []]
