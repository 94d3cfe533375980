"""Less memory for more time: activations are computed again in the backward pass instead of being kept (Chen et al.
2016, arXiv:1604.06174).

The architectures' own checkpoints, as timm has them, are used. They look at a flag alone and not at whether the network
trains, so it is up only from the beginning to the end of a training step: explanations and predictions see one plain
forward pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.errors import GenderClsError


class GradientCheckpointing(Callback):
    """Keeps the activations of a training step at the checkpoints alone.

    Gradients are the same up to rounding, dropout included. Statistics of BatchNorm are the same too: the second
    forward pass computes with those of the batch, as the first did, but does not count it again. Nothing of it is kept
    in the run's checkpoints.

    Args:
        network: the model that makes the logits.
        title: of the model, for the error.

    Raises:
        GenderClsError: the network has no checkpoints.
    """

    def __init__(self, network: nn.Module, title: str) -> None:
        self.network = network
        switch_checkpointing(network, True, title)
        switch_checkpointing(network, False, title)
        self.title = title

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin to forget activations."""
        switch_checkpointing(self.network, True, self.title)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validation and explanation may follow."""
        switch_checkpointing(self.network, False, self.title)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """From here, each forward pass is a second one."""
        self._second_pass = still_statistics(self.network)
        self._second_pass.__enter__()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The next one is a first one again."""
        self._second_pass.__exit__(None, None, None)


def switch_checkpointing(network: Any, on: bool, title: str) -> None:
    """Raise or lower the network's own flag.

    Raises:
        GenderClsError: it has none.
    """
    try:
        network.set_grad_checkpointing(on)
    except (
        AttributeError,
        AssertionError,
        NotImplementedError,
        TypeError,
    ):  # torchvision's and ours; timm's that cannot
        raise GenderClsError(
            f"recipe.grad_checkpointing=true is not possible with {title}, which has no checkpoints: set it to false, "
            "and save memory with a smaller data.batch_size and a larger trainer.accumulate, or take a model of timm "
            "that has them, such as ResNet, ConvNeXt, EfficientNet and ViT."
        ) from None


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm in training mode normalises with the batch's statistics as before, but its running ones stand still."""
    kept = [
        (module, module.momentum, module.num_batches_tracked)
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.training
    ]
    for module, _, _ in kept:
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, momentum, count in kept:
            module.momentum, module.num_batches_tracked = momentum, count
