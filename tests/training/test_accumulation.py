"""Several batches per step give the step of one large batch; totals are those of all images."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from helpers.classifiers import TINY_CONVNEXT, config_of, datamodule_of, prepare, trainer_for
from pytorch_lightning import seed_everything
from sklearn.metrics import balanced_accuracy_score
from torch.nn.functional import cross_entropy
from torch.utils.data import RandomSampler, SequentialSampler

from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.data.prepare import PreparedData
from gender_cls.data.samplers import StepBatchSampler
from gender_cls.training.accumulation import TrainingTotals
from gender_cls.training.classifier import GenderClassifier


@pytest.mark.parametrize("items", range(1, 36))
def test_steps_depend_on_the_product_only(items) -> None:
    def steps(size: int, accumulate: int) -> list[list[int]]:
        batches = StepBatchSampler(SequentialSampler(range(items)), size, accumulate)
        found = list(batches)
        assert len(found) == len(batches)
        assert max(map(len, found)) <= (3 if size == 2 else size), "one of two may get a third"
        assert size == 1 or items == 1 or min(map(len, found)) > 1
        # Every step but the last one has as many batches as Lightning counts.
        return [list(chain(*found[start : start + accumulate])) for start in range(0, len(found), accumulate)]

    assert steps(8, 1) == steps(4, 2) == steps(2, 4) == steps(1, 8)
    kept = items - 1 if items % 8 == 1 and items > 1 else items
    assert list(chain(*steps(4, 2))) == list(range(kept))


def test_a_batch_of_one_image_is_avoided() -> None:
    assert [len(batch) for batch in StepBatchSampler(RandomSampler(range(13)), 4, 2)] == [4, 4, 2, 3]
    assert [len(batch) for batch in StepBatchSampler(RandomSampler(range(11)), 2, 4)] == [2, 2, 2, 2, 3]
    assert list(StepBatchSampler(SequentialSampler(range(3)), 1)) == [[0], [1], [2]], "unless each batch is one image"


@pytest.fixture
def prepared(folders: Path) -> PreparedData:
    for crop in range(3, 9):  # more FEMALE ones, so that class weights differ
        (folders / "FEMALE" / f"person00_camera0_{crop}.png").hardlink_to(folders / "FEMALE" / "person00_camera0_0.png")
    return prepare(folders)


def config(balance: str) -> Config:
    recipe = {"lr": 1e-3, "label_smoothing": 0.05, "gradient_clip": 0.5, "warmup_epochs": 0.5}
    return config_of(data={"image_size": [64, 32], "balance": balance}, model=TINY_CONVNEXT, recipe=recipe)


class Recording(GenderClassifier):
    """Notes the gradient of the head before clipping, and the learning rates, at each step."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        gradient = self.head.weight.grad
        self.steps.append((gradient.clone(), [group["lr"] for group in optimizer.param_groups]))


def trained(config: Config, prepared: PreparedData, size: int, accumulate: int) -> Recording:
    data = datamodule_of(prepared, config, batch_size=size, accumulate=accumulate)
    images = len(data.datasets["train"])
    assert images % 8 not in (0, 1), "the last step is to be a smaller one"
    seed_everything(0, verbose=False)
    classifier = Recording(to_plain(config), data.class_weights)
    classifier.steps = []
    trainer = trainer_for(accumulate_grad_batches=accumulate, gradient_clip_val=config.recipe.gradient_clip)
    trainer.fit(classifier, data)
    assert trainer.global_step == 2 * -(-images // 8)
    return classifier


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_batches_of_a_step_give_the_weights_of_one(prepared, balance) -> None:
    one = trained(config(balance), prepared, 8, 1)
    for size, accumulate in ((4, 2), (1, 8)):
        several = trained(config(balance), prepared, size, accumulate)
        assert (several.class_weights is None) == (balance == "none")
        for (expected, rates), (found, found_rates) in zip(one.steps, several.steps, strict=True):
            assert found_rates == rates, "warm-up and cosine count steps"
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item() + 1e-6)
        torch.testing.assert_close(several.network.state_dict(), one.network.state_dict(), rtol=0, atol=1e-5)


def test_totals_of_uneven_batches_are_those_of_all_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(37, 2, generator=generator), torch.randint(0, 2, (37,), generator=generator)
    totals = TrainingTotals()
    for part, part_labels in zip(logits.split(8), labels.split(8), strict=True):
        totals.add(cross_entropy(part, part_labels), part, part_labels)
    predicted = logits.argmax(dim=1)
    accuracy, balanced_accuracy = totals.accuracies()
    assert totals.images == 37
    assert totals.loss.item() == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-6)
    assert accuracy.item() == pytest.approx((predicted == labels).float().mean().item())
    assert balanced_accuracy.item() == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_label_that_never_occurs_counts_when_it_was_answered() -> None:
    totals = TrainingTotals()
    loss, labels = torch.tensor(0.5), torch.zeros(4, dtype=torch.int64)
    totals.add(loss, torch.tensor([[1.0, 0.0]] * 4), labels)
    assert [value.item() for value in totals.accuracies()] == [1, 1]
    totals.add(loss, torch.tensor([[0.0, 1.0]] * 4), labels)
    assert [value.item() for value in totals.accuracies()] == [0.5, 0.25]  # as torchmetrics has it


def test_adding_a_batch_asks_the_device_for_no_value() -> None:
    totals = TrainingTotals()
    logits = torch.empty(8, 2, device="meta")  # where a value cannot be had
    for _ in range(2):
        totals.add(logits.sum(), logits, torch.empty(8, dtype=torch.int64, device="meta"))
    assert totals.images == 16
