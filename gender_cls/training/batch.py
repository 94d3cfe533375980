"""How many images pass through the network at once (size), and how many passes make a step (accumulate).

Results depend on size x accumulate; memory depends on size only. Several devices share the images of a step. Imports no
torch.
"""

import logging
from dataclasses import asdict, dataclass, replace

from gender_cls.config.checks import AUTO
from gender_cls.config.train import Config
from gender_cls.errors import plural
from gender_cls.runs.run import Run

log = logging.getLogger(__name__)

LARGEST_AUTO_BATCH = 32  # images in one pass with `data.batch_size=auto`; the recipes are tuned for it


@dataclass(frozen=True)
class Batch:
    """How a step of the optimizer is computed, as `status.json` keeps it."""

    size: int  # the most images in one forward and backward pass
    accumulate: int  # passes whose gradients make one step, on one device
    too_large: tuple[int, ...] = ()  # sizes with which memory ran out before
    least: int = 1  # the fewest images in a pass that the network accepts
    ranks: int = 1  # devices that share the images of a step

    @property
    def step(self) -> int:
        """Images in a step."""
        return self.size * self.accumulate

    @property
    def passes(self) -> int:
        """Passes of each device in a full step."""
        return -(-self.step // (self.size * self.ranks))

    @property
    def images(self) -> int:
        """The most images that really pass through one device at once; fewer than `size` if several share a step."""
        return -(-self.step // (self.passes * self.ranks))

    def halved(self) -> "Batch | None":
        """The same step with half as many images in a pass, or fewer if that does not divide it; None if too few."""
        for size in range(self.images // 2, self.least - 1, -1):
            if self.step % size == 0:
                return replace(self, size=size, accumulate=self.step // size, too_large=(*self.too_large, self.size))
        return None

    def __str__(self) -> str:
        batches = f"batches of {plural(self.images, 'image')}"
        on_each = f" on each of {self.ranks} devices" if self.ranks > 1 else ""
        return batches + on_each + (f", {self.passes} of them per step" if self.passes > 1 else "")


def images_per_step(batch_size: int | str, accumulate: int) -> int:
    """How many images make one step of the optimizer, for `data.batch_size` and `trainer.accumulate`.

    With `auto` this does not depend on the machine: passes of fewer images than LARGEST_AUTO_BATCH are accumulated.
    """
    return (LARGEST_AUTO_BATCH if batch_size == AUTO else int(batch_size)) * accumulate


def recorded_batch(config: Config, run: Run) -> Batch | None:
    """The batch that an earlier session of this run ended with; None if the configuration asks for another one."""
    batch, size = _noted(run), config.data.batch_size
    if batch is None or batch.step != images_per_step(size, config.trainer.accumulate):
        return None
    return batch if size == AUTO or batch.size <= int(size) else None


def images_at_once(config: Config, run: Run) -> int:
    """How many images of this run pass through the network at once: as many as in its training, where memory may have
    run out with more."""
    batch = recorded_batch(config, run)
    return images_per_step(config.data.batch_size, accumulate=1) if batch is None else batch.size


def record_batch(run: Run, batch: Batch | None) -> None:
    """Write the batch into `status.json`."""
    run.note(batch=None if batch is None else asdict(batch))


def halve_recorded_batch(run: Run) -> bool:
    """Let the run go on with half the batch; False if its training has ended or the batch cannot be smaller."""
    batch = _noted(run)
    smaller = None if batch is None or run.status.get("fitted") else batch.halved()
    if smaller is None:
        return False
    record_batch(run, smaller)
    killed = f"{run.folder.name}: the kernel killed the process because memory ran out with {batch}"
    log.warning(f"{killed}; it goes on from the last epoch's checkpoint with {smaller}.")
    return True


def _noted(run: Run) -> Batch | None:
    noted = run.status.get("batch")
    if noted is None:
        return None
    return Batch(**{**noted, "too_large": tuple(noted["too_large"])})
