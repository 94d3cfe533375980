"""What an epoch of training adds up, kept on the device and not looked at before the epoch is over."""

import torch
from torch import Tensor

from gender_cls.config.data import CLASSES


class TrainingTotals:
    """Loss and right answers, summed up batch by batch without a wait for the device.

    torchmetrics would ask it several times a batch: for values that are no numbers, for the labels that occur, for the
    size of a count.
    """

    def __init__(self) -> None:
        self.images = 0
        self._loss: Tensor | float = 0.0
        self._counts: Tensor | int = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """One batch: its mean loss, logits (B, classes) and labels (B,) int64."""
        self.images += len(labels)
        self._loss = self._loss + loss.detach().float() * len(labels)
        cells = labels * len(CLASSES) + logits.detach().argmax(dim=1)
        self._counts = self._counts + (cells[:, None] == torch.arange(len(CLASSES) ** 2, device=cells.device)).sum(0)

    @property
    def loss(self) -> Tensor:
        """The mean over images, after at least one batch."""
        return torch.as_tensor(self._loss / self.images)

    def accuracies(self) -> tuple[Tensor, Tensor]:
        """Accuracy, and the mean recall of the classes that occur or were answered."""
        confusion = torch.as_tensor(self._counts).view(len(CLASSES), len(CLASSES))
        right, labelled, answered = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        recall = right / labelled.clamp(min=1)
        return right.sum() / confusion.sum(), recall.sum() / ((labelled + answered) > 0).sum()
