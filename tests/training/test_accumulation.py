"""Several batches a step are as good as one."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.crops import PATTERN
from pytorch_lightning import Trainer, seed_everything
from torch.utils.data import RandomSampler, SequentialSampler

from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.config.train import AugmentConfig, Config
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.prepare import PreparedData, prepare_data
from gender_cls.data.samplers import StepBatchSampler
from gender_cls.training.classifier import GenderClassifier


@pytest.mark.parametrize("items", range(1, 36))
def test_steps_hang_on_the_product_alone(items: int) -> None:
    def steps(size: int, accumulate: int) -> list[list[int]]:
        batches = StepBatchSampler(SequentialSampler(range(items)), size, accumulate)
        found = list(batches)
        assert len(found) == len(batches)
        assert max(map(len, found)) <= size
        # Every step but the last one has as many batches as Lightning counts.
        return [list(chain(*found[start : start + accumulate])) for start in range(0, len(found), accumulate)]

    assert steps(8, 1) == steps(4, 2) == steps(2, 4) == steps(1, 8)
    kept = items - 1 if items % 8 == 1 and items > 1 else items
    assert list(chain(*steps(4, 2))) == list(range(kept))


def test_a_batch_of_one_image_is_avoided() -> None:
    sizes = [len(batch) for batch in StepBatchSampler(RandomSampler(range(13)), 4, 2)]
    assert sizes == [4, 4, 2, 3]


def test_batches_of_one_image_leave_none_out() -> None:
    assert list(StepBatchSampler(SequentialSampler(range(3)), 1)) == [[0], [1], [2]]


@pytest.fixture
def prepared(folders: Path, tmp_path: Path) -> PreparedData:
    for crop in range(3, 9):  # more FEMALE ones, so that class weights weigh
        (folders / "FEMALE" / f"person00_camera0_{crop}.png").hardlink_to(folders / "FEMALE" / "person00_camera0_0.png")
    return prepare_data(config(folders).data, tmp_path / "cache")


def config(root: Path, **sections: dict[str, Any]) -> Config:
    least = {
        "data": {"root": str(root), "pattern": PATTERN, "image_size": [64, 32], "num_workers": 0},
        "model": {
            "name": "convnext_atto",
            "pretrained": False,
            "options": {"depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
        },
        "recipe": {"lr": 1e-3, "label_smoothing": 0.05, "gradient_clip": 0.5, "warmup_epochs": 0.5},
        "trainer": {"max_epochs": 2},
    }
    return parse_config({key: {**least.get(key, {}), **sections.get(key, {})} for key in least | sections}, Config)


class Recording(GenderClassifier):
    """Notes the gradient of the head before clipping, and the learning rates, at each step."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        [head] = self.heads
        gradient = self.network.get_submodule(head).weight.grad
        self.steps.append((gradient.clone(), [group["lr"] for group in optimizer.param_groups]))


def trained(settings: Config, prepared: PreparedData, size: int, accumulate: int) -> Recording:
    data = CropDataModule(
        prepared.manifest,
        prepared.images,
        settings.data,
        augment=AugmentConfig(),
        seed=0,
        batch_size=size,
        num_workers=0,
        accumulate=accumulate,
    )
    assert len(data.datasets["train"]) % 8 not in (0, 1), "the last step is to be a smaller one"
    seed_everything(0, verbose=False)
    classifier = Recording(to_plain(settings), data.class_weights)
    classifier.steps = []
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        gradient_clip_val=settings.recipe.gradient_clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(classifier, data)
    assert trainer.global_step == 2 * -(-len(data.datasets["train"]) // 8)
    return classifier


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_batches_of_a_step_give_the_weights_of_one(folders: Path, prepared: PreparedData, balance: str) -> None:
    settings = config(folders, data={"balance": balance})
    one = trained(settings, prepared, 8, 1)
    for size, accumulate in ((4, 2), (1, 8)):
        several = trained(settings, prepared, size, accumulate)
        assert (several.class_weights is None) == (balance == "none")
        for (expected, rates), (found, found_rates) in zip(one.steps, several.steps, strict=True):
            assert found_rates == rates, "warm-up and cosine go by steps"
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item() + 1e-6)
        for key, value in one.network.state_dict().items():
            torch.testing.assert_close(several.network.state_dict()[key], value, rtol=0, atol=1e-5, msg=key)


def test_the_mean_over_batches_would_be_another_gradient(
    folders: Path, prepared: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's own way, for comparison: the weights above are no coincidence."""
    settings = config(folders, data={"balance": "loss"})
    one = trained(settings, prepared, 8, 1)
    monkeypatch.setattr("gender_cls.training.accumulation.Accumulation.weigh", lambda self, loss, *_: loss)
    monkeypatch.setattr("gender_cls.training.accumulation.Accumulation.finish", lambda *_: None)
    naive = trained(settings, prepared, 4, 2)
    assert (naive.steps[0][0] - one.steps[0][0]).abs().max() > 1e-3 * one.steps[0][0].abs().max()
