import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch.nn.functional import cross_entropy

from gender_cls.training.totals import TrainingTotals


def test_totals_of_uneven_batches_are_those_of_all_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(37, 2, generator=generator), torch.randint(0, 2, (37,), generator=generator)
    totals = TrainingTotals()
    for some, of_these in zip(logits.split(8), labels.split(8), strict=True):
        totals.add(cross_entropy(some, of_these), some, of_these)
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
