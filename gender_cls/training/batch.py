"""How many images pass through the network at once, and how many passes make a step of the optimizer.

Results hang on the product of the two, memory on the first alone. Imports no torch.
"""

import logging
from dataclasses import asdict, dataclass

from gender_cls.config.checks import AUTO
from gender_cls.config.train import Config
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)

LARGEST_AUTO_BATCH = 32
"""In one pass where `data.batch_size=auto`: what the recipes are tuned for."""


@dataclass(frozen=True)
class Batch:
    """A way to compute a step, as `status.json` keeps it.

    Attributes:
        size: images in one forward and backward pass.
        accumulate: passes whose gradients make one step of the optimizer.
        too_large: sizes with which memory ran out before.
    """

    size: int
    accumulate: int
    too_large: tuple[int, ...] = ()

    @property
    def step(self) -> int:
        """Images of a step."""
        return self.size * self.accumulate

    def halved(self) -> "Batch | None":
        """The same step in passes of half as many images, or fewer if that does not divide it; None for one image."""
        if self.size == 1:
            return None
        size = next(size for size in range(self.size // 2, 0, -1) if self.step % size == 0)
        return Batch(size, self.step // size, (*self.too_large, self.size))

    def __str__(self) -> str:
        """A few words."""
        images = "1 image" if self.size == 1 else f"{self.size} images"
        return f"batches of {images}" + (f", {self.accumulate} of them a step" if self.accumulate > 1 else "")


def images_per_step(batch_size: int | str, accumulate: int) -> int:
    """Images whose gradients make one step of the optimizer: what results hang on.

    Args:
        batch_size: `data.batch_size`; with `auto`, whatever fits is made up to LARGEST_AUTO_BATCH.
        accumulate: `trainer.accumulate`.
    """
    return (LARGEST_AUTO_BATCH if batch_size == AUTO else int(batch_size)) * accumulate


def recorded_batch(config: Config, run: Run) -> Batch | None:
    """The batch that an earlier session of this run came to, unless the configuration asks for a smaller one."""
    batch, size = _noted(run), config.data.batch_size
    if batch is None or batch.step != images_per_step(size, config.trainer.accumulate):
        return None
    return batch if size == AUTO or batch.size <= int(size) else None


def record_batch(run: Run, batch: Batch | None) -> None:
    """Write it into `status.json`."""
    run.note(batch=None if batch is None else asdict(batch))


def halve_recorded_batch(run: Run) -> bool:
    """Let the run go on with half the batch; False where it trains no longer, or cannot do with less."""
    batch = _noted(run)
    smaller = None if batch is None or run.status.get("fitted") else batch.halved()
    if smaller is None:
        return False
    record_batch(run, smaller)
    log.warning(
        f"{run.folder.name}: the kernel ended the process for want of memory with {batch}; it goes on from the last "
        f"epoch's checkpoint with {smaller}."
    )
    return True


def _noted(run: Run) -> Batch | None:
    noted = run.status.get("batch")
    return None if noted is None else Batch(noted["size"], noted["accumulate"], tuple(noted["too_large"]))
