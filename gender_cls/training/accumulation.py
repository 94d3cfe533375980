"""Gradients of several batches as those of one."""

from itertools import chain

import torch
from torch import Tensor


class Accumulation:
    """Makes the gradient of a step that of one large batch, whatever the sizes and weights of its batches.

    Lightning takes the mean over the batches of their mean losses, which is another number when one batch is smaller,
    or when class weights make its images count less. So each loss is weighed by the weight of its images, and before
    the step the gradients are divided by the weight of all.

    Args:
        batches: whose gradients make a step; Lightning divides each loss by this.
    """

    def __init__(self, batches: int = 1) -> None:
        self.batches = batches

    def weigh(self, loss: Tensor, weight: float | Tensor, batch_index: int) -> Tensor:
        """What to go backward from.

        Args:
            loss: the weighted mean over the batch.
            weight: of its images together, by which the mean was divided.
            batch_index: within the epoch.
        """
        if self.batches == 1:
            return loss
        if batch_index % self.batches == 0:
            self._first, self._all = weight, weight
        else:
            self._all = self._all + weight
        return loss * (weight / self._first)  # near 1, which suits the range of float16

    def finish(self, optimizer: torch.optim.Optimizer) -> None:
        """Called when the gradients of a step are complete, before they are clipped."""
        if self.batches == 1:
            return
        factor = self.batches * self._first / self._all
        if not isinstance(factor, Tensor) and factor == 1:
            return
        for parameter in chain.from_iterable(group["params"] for group in optimizer.param_groups):
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
