"""What training sums up over batches and ranks: the gradients of a step, the loss and the metrics of an epoch."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional import classification

from gender_cls.config.data import CLASSES
from gender_cls.training import ranks


class Accumulation:
    """Makes the gradient of a step that of one large batch, whatever the sizes and class weights of its batches.

    Lightning averages the mean losses of the batches, and DistributedDataParallel the gradients of the ranks, which
    differs if one batch is smaller or if class weights make its images count less. So each loss is multiplied by the
    total weight of its images, and before the step the gradients are divided by the total weight of all images.
    """

    def __init__(self, batches: int = 1) -> None:
        self.batches = batches  # in a step, on each rank; Lightning divides each loss by this

    def scale(self, loss: Tensor, weight: float | Tensor, batch_index: int) -> Tensor:
        """Return the loss for the backward pass, from the mean over the batch and the total weight of its images."""
        if self.batches == 1 and ranks.number() == 1:
            return loss
        if batch_index % self.batches == 0:
            self._first, self._all = _mean_over_ranks(weight, loss), weight
        else:
            self._all = self._all + weight
        return loss * (weight / self._first)  # near 1, which suits the range of float16

    def finish(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients of a complete step, before they are clipped."""
        if self.batches == 1:
            return  # the first batches of the ranks are all batches
        factor = self.batches * self._first / _mean_over_ranks(self._all, self._first)
        if not isinstance(factor, Tensor) and factor == 1:
            return
        for parameter in chain.from_iterable(group["params"] for group in optimizer.param_groups):
            if parameter.grad is not None:
                parameter.grad.mul_(factor)


def _mean_over_ranks(weight: float | Tensor, like: float | Tensor) -> float | Tensor:
    """The mean weight of the ranks, on the device of `like`, so that a GPU does not wait; alone, the weight itself."""
    if ranks.number() == 1:
        return weight
    assert isinstance(like, Tensor)
    dtype = torch.promote_types(like.dtype, torch.float32)
    return ranks.sum_over_ranks(torch.ones_like(like, dtype=dtype) * weight) / ranks.number()


class TrainingTotals:
    """Sums loss and right answers over batches without waiting for the device; torchmetrics waits in every batch."""

    def __init__(self) -> None:
        self.images = 0
        self.summed = False  # whether it holds what all ranks have
        self._weight: Tensor | float = 0.0
        self._loss: Tensor | float = 0.0
        self._counts: Tensor | int = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, weight: Tensor | float | None = None) -> None:
        """Add one batch: its mean loss, logits (B, classes), labels (B,) int64, total weight (None: one per image)."""
        weight = len(labels) if weight is None else weight
        self.images += len(labels)
        self.summed = False
        self._weight = self._weight + weight
        self._loss = self._loss + loss.detach().float() * weight
        cells = labels * len(CLASSES) + logits.detach().argmax(dim=1)
        self._counts = self._counts + (cells[:, None] == torch.arange(len(CLASSES) ** 2, device=cells.device)).sum(0)

    def sum_over_ranks(self) -> None:
        """Add up what all ranks have, after the last batch of an epoch."""
        self.summed = True
        self.images = int(ranks.sum_over_ranks(torch.tensor(self.images)))
        self._weight = ranks.sum_over_ranks(torch.as_tensor(self._weight))
        self._loss = ranks.sum_over_ranks(torch.as_tensor(self._loss))
        self._counts = ranks.sum_over_ranks(torch.as_tensor(self._counts))

    @property
    def loss(self) -> Tensor:
        """The mean over images by their weights, after at least one batch."""
        return torch.as_tensor(self._loss / self._weight)

    def accuracies(self) -> tuple[Tensor, Tensor]:
        """Accuracy, and the mean recall of the classes that occur as a label or as an answer."""
        confusion = torch.as_tensor(self._counts).view(len(CLASSES), len(CLASSES))
        right, labelled, answered = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        recall = right / labelled.clamp(min=1)
        return right.sum() / confusion.sum(), recall.sum() / ((labelled + answered) > 0).sum()

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, for a checkpoint in the middle of an epoch."""
        return {"images": self.images, "weight": self._weight, "loss": self._loss, "counts": self._counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from these sums over all ranks."""
        self.summed = True
        self.images, self._weight, self._loss, self._counts = (
            state_dict[name] for name in ("images", "weight", "loss", "counts")
        )


def scores_of_answers(logits: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The scores of all images of a split, and their confusion matrix (classes, classes), a row per label.

    Args:
        logits: (N, classes) float32.
        labels: (N,) int64.
    """
    # probabilities, because torchmetrics would take logits for probabilities if all of them lie in [0, 1]
    answers = logits.softmax(dim=1), labels
    options: dict[str, Any] = {"num_classes": len(CLASSES), "validate_args": False}  # labels and scores are valid
    f1 = classification.multiclass_f1_score(*answers, average="none", **options)
    scores = {
        "loss": cross_entropy(logits, labels),
        "balanced_accuracy": classification.multiclass_accuracy(*answers, average="macro", **options),
        "accuracy": classification.multiclass_accuracy(*answers, average="micro", **options),
        "auroc": classification.multiclass_auroc(*answers, **options),
        **{f"f1_{name}": value for name, value in zip(CLASSES, f1, strict=True)},
    }
    return scores, classification.multiclass_confusion_matrix(*answers, **options)
