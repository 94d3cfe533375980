"""The moving average of the weights (EMA), on the device that trains."""

from collections import defaultdict
from itertools import chain
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor

CHUNK = 64  # tensors that are updated together: few kernels on a GPU, and little memory for what is computed in between


class WeightAverage(EMAWeightAveraging):
    """Lightning's callback with the same numbers, for a GPU.

    Lightning makes the average before the module moves to the GPU, so all weights would be copied to the CPU in every
    step. And torch's update asks the device in every step whether it is the first one, which waits for the device.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the average where the module will train."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """After an optimizer step: average = decay * average + (1 - decay) * weights; after the first: the weights."""
        if trainer.global_step == self._latest_update_step:
            return
        assert self._average_model is not None
        for averages, weights in _chunks(self._average_model.module, pl_module):
            if self._latest_update_step == 0:
                torch._foreach_copy_(averages, weights)
            elif averages[0].is_floating_point():
                torch._foreach_mul_(averages, self.decay)
                torch._foreach_add_(averages, torch._foreach_mul(weights, 1 - self.decay))
            else:
                for average, weight in zip(averages, weights, strict=True):
                    average.copy_(self.decay * average + (1 - self.decay) * weight)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step


def _chunks(average: torch.nn.Module, module: torch.nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Parameters and buffers of both, in lists of one dtype."""
    kept, current = (chain(one.parameters(), one.buffers()) for one in (average, module))
    by_dtype = defaultdict(list)
    for pair in zip(kept, current, strict=True):
        by_dtype[pair[0].dtype].append([tensor.detach() for tensor in pair])
    return [
        ([pair[0] for pair in pairs[first : first + CHUNK]], [pair[1] for pair in pairs[first : first + CHUNK]])
        for pairs in by_dtype.values()
        for first in range(0, len(pairs), CHUNK)
    ]
