"""Which training images come in which order, and in which batches."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle, islice, pairwise

import numpy as np
import torch
from torch.utils.data import Sampler

FILLER = -1
"""The `draw` of an image that fills up a batch and has no weight in the loss."""


def derived_seed(*parts: int) -> int:
    """A well-mixed 64-bit seed from several small numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class EpochSampler(Sampler[tuple[int, int, int]]):
    """Yields `(epoch, row, draw)` in an order that depends on seed and epoch only; Lightning calls `set_epoch`.

    With `balanced`, rows are drawn with replacement, as many as there are, and every group equally often on average.
    `draw` counts from 0 how often the row came before in this epoch, so that it can be augmented in another way.

    Args:
        groups: of each row, from 0: its label, or its source.
        repeats: every epoch is like the first one.
    """

    def __init__(self, groups: Sequence[int], seed: int, balanced: bool, repeats: bool = False) -> None:
        self.weights = torch.from_numpy(1 / np.bincount(groups)[groups])
        self.seed = seed
        self.balanced, self.repeats = balanced, repeats
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = 0 if self.repeats else epoch

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        if self.balanced:
            order = torch.multinomial(self.weights, len(self), replacement=True, generator=generator)
        else:
            order = torch.randperm(len(self), generator=generator)
        drawn: Counter[int] = Counter()
        for row in order.tolist():
            yield self.epoch, row, drawn[row]
            drawn[row] += 1


class StepBatchSampler(Sampler[list]):
    """Yields batches in the order of a sampler: `batch_size * accumulate` items make a step, cut into batches.

    Which items make a step depends on this product only, also at the end of an epoch: half the batch size with twice
    the accumulation gives the same steps, and so does another number of ranks. The last step is cut into batches of
    nearly equal size, because BatchNorm after the pooling fails on a batch of one image: a batch of two gets the third
    image instead. For the same reason a last step of one image is left out.

    All ranks get the same number of batches of a step. A batch that would have fewer than `least` items is filled up
    with items of the same step that do not count: their `draw` is FILLER.

    Args:
        sampler: yields single items, anew in each epoch; it has a length. With several ranks: `(epoch, row, draw)`.
        batch_size: the most items of a batch.
        accumulate: the batches of a full step, if there is one rank.
        rank: which of the ranks this one is, from 0.
        ranks: how many train together.
        least: the fewest items of a batch, if there are several ranks.
    """

    def __init__(
        self, sampler: Sampler, batch_size: int, accumulate: int = 1, *, rank: int = 0, ranks: int = 1, least: int = 1
    ) -> None:
        self.sampler = sampler  # Lightning looks for `set_epoch` under this name
        self.batch_size = batch_size
        self.step = batch_size * accumulate
        self.rank, self.ranks, self.least = rank, ranks, least
        self.skip = 0  # how many steps the next iteration, and only that one, leaves out at the beginning

    def __len__(self) -> int:
        """Batches of an epoch that this rank gets; steps that are left out count too."""
        full, rest = divmod(self._items(), self.step)
        return full * self._batches(self.step) + self._batches(rest)

    def __iter__(self) -> Iterator[list]:
        items = islice(self.sampler, self.skip * self.step, self._items())
        self.skip = 0
        while step := list(islice(items, self.step)):
            batches = self._batches(len(step)) * self.ranks
            ends = [len(step) * batch // batches for batch in range(batches + 1)]
            pieces = [step[begin:end] for begin, end in pairwise(ends)]
            yield from (self._filled(piece, step) for piece in pieces[self.rank :: self.ranks])

    def _filled(self, piece: list, step: list) -> list:
        missing = self.least - len(piece) if self.ranks > 1 else 0
        return piece + [(epoch, row, FILLER) for epoch, row, _ in islice(cycle(piece or step), max(missing, 0))]

    def _batches(self, items: int) -> int:
        """Batches that each rank gets of a step with this many items."""
        batches = -(-items // (self.batch_size * self.ranks))
        return batches if self.batch_size == 1 or self.ranks > 1 else min(batches, max(items // 2, 1))

    def _items(self) -> int:
        """Items of an epoch, without a last one that would be alone in its step."""
        items = len(self.sampler)  # type: ignore[arg-type]  # torch declares no length, and all of ours have one
        return items - (items > 1 and items % self.step == 1 and self.step > 1)
