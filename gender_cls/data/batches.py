"""What a batch is, which images make a step of the optimizer, and in how many batches they come."""

from collections.abc import Iterator, Sized
from itertools import islice, pairwise
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Sampler

PixelBatch = tuple[Tensor, Tensor]
"""Images (B, 3, H, W) uint8 and labels (B,) int64."""


class FeatureBatch(NamedTuple):
    """What a frozen backbone made of a batch's images.

    Attributes:
        features: (B, ...), floats, the input of the head.
        labels: (B,) int64.
    """

    features: Tensor
    labels: Tensor


class StepBatches(Sampler[list[Any]]):
    """Batches in the order of a sampler: `batch_size * accumulate` items make a step, cut into batches.

    The items of a step hang on that product alone, also at the end of an epoch: whoever halves one factor and doubles
    the other gets the same steps. The last step is cut into batches as equal as can be, since one of a single image
    would stop a BatchNorm behind the pooling. A last step of one image is left out for the same reason.

    Args:
        sampler: of single items, anew each epoch.
        batch_size: items of a batch at most.
        accumulate: batches of a full step.
    """

    def __init__(self, sampler: Sampler[Any], batch_size: int, accumulate: int = 1) -> None:
        self.sampler = sampler  # under this name Lightning looks for `set_epoch`
        self.batch_size = batch_size
        self.step = batch_size * accumulate

    def __len__(self) -> int:
        """Batches of an epoch."""
        full, rest = divmod(self._items, self.step)
        return full * (self.step // self.batch_size) + -(-rest // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        items = islice(self.sampler, self._items)
        while step := list(islice(items, self.step)):
            batches = -(-len(step) // self.batch_size)
            ends = [len(step) * batch // batches for batch in range(batches + 1)]
            yield from (step[begin:end] for begin, end in pairwise(ends))

    @property
    def _items(self) -> int:
        """Of an epoch, without a last one that would be alone."""
        assert isinstance(self.sampler, Sized)
        items = len(self.sampler)
        return items - (items > 1 and items % self.step == 1 and self.step > 1)
