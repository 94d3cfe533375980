"""Save memory by computing activations again in the backward pass (Chen et al. 2016, arXiv:1604.06174).

timm's own checkpoints in its architectures are used. They look at a flag only and not at whether the network trains, so
the flag is set only during a training step; explanations and predictions see one plain forward pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.errors import GenderClsError


class GradientCheckpointing(Callback):
    """Keeps the activations of a training step at the checkpoints only.

    Gradients are the same up to rounding, with dropout too. BatchNorm's statistics are the same: the second forward
    pass uses those of the batch, as the first did, but does not update the running ones again. The run's checkpoints
    hold nothing of it. GenderClsError says that the network has no checkpoints.
    """

    def __init__(self, network: nn.Module, title: str) -> None:
        self.network, self.title = network, title
        switch_checkpointing(network, True, title)  # or raise before training starts
        switch_checkpointing(network, False, title)

    def on_train_batch_start(self, *_: Any) -> None:
        """Set the flag."""
        switch_checkpointing(self.network, True, self.title)

    def on_train_batch_end(self, *_: Any) -> None:
        """Clear the flag, because validation and explanation may follow."""
        switch_checkpointing(self.network, False, self.title)

    def on_before_backward(self, *_: Any) -> None:
        """Stop BatchNorm's running statistics: from here, each forward pass is a second one."""
        self._second_pass = keep_statistics(self.network)
        self._second_pass.__enter__()

    def on_after_backward(self, *_: Any) -> None:
        """Let BatchNorm's running statistics change again."""
        self._second_pass.__exit__(None, None, None)


def switch_checkpointing(network: Any, on: bool, title: str) -> None:
    """Set or clear the network's own flag; GenderClsError if it has none."""
    try:
        network.set_grad_checkpointing(on)
    except (AttributeError, AssertionError, NotImplementedError, TypeError):  # torchvision's, ours, some of timm's
        raise GenderClsError(
            f"recipe.grad_checkpointing=true is not possible with {title}, which has no checkpoints: set it to false, "
            "and save memory with a smaller data.batch_size and a larger trainer.accumulate, or choose a model of timm "
            "that has them, such as ResNet, ConvNeXt, EfficientNet and ViT."
        ) from None


@contextmanager
def keep_statistics(network: nn.Module) -> Iterator[None]:
    """Keep the running statistics of BatchNorm in training mode; it still normalises with those of the batch."""
    kept = [
        (module, module.momentum, module.num_batches_tracked)
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.training
    ]
    spare = next((count.clone() for *_, count in kept if count is not None), None)  # SyncBatchNorm insists on counting
    for module, _, count in kept:
        module.momentum, module.num_batches_tracked = 0.0, None if count is None else spare
    try:
        yield
    finally:
        for module, momentum, count in kept:
            module.momentum, module.num_batches_tracked = momentum, count
