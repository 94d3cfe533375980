"""`data.batch_size=auto`: the most images, of 32 at most, whose training step fits into memory."""

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from gender_cls.config.checks import AUTO
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.system.memory import (
    GIBIBYTE,
    available_memory,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory,
    release_memory,
    resident_memory,
    restart_peak,
)
from gender_cls.system.processes import end_with_parent
from gender_cls.system.resources import Resources
from gender_cls.training.batch import LARGEST_AUTO_BATCH, Batch, images_per_step, record_batch, recorded_batch
from gender_cls.training.trial import TrialTraining

log = logging.getLogger(__name__)

SHARE = 0.8
"""Of the available memory that a step may take: loaders, explanations and other processes need some as well."""

SEVERAL = 4  # images of the second trial step


def choose_batch(config: Config, run: Run, resources: Resources) -> Batch:
    """What the configuration says, what an earlier session of this run came to, or what trial steps find.

    It is written into `status.json`; the configuration stays as it is.
    """
    batch = recorded_batch(config, run)
    if batch is None and config.data.batch_size != AUTO:
        batch = Batch(int(config.data.batch_size), config.trainer.accumulate)
    if batch is None:
        size, why = (_on_cpu if resources.device == "cpu" else _by_halving)(config, resources)
        batch = Batch(size, images_per_step(AUTO, config.trainer.accumulate) // size)
        log.info(f"data.batch_size=auto takes {batch}: {why}.")
    record_batch(run, batch)
    return batch


def smaller_batch(config: Config, run: Run, batch: Batch, said: str) -> Batch:
    """What to go on with when memory ran out; written into `status.json` too.

    Args:
        said: the error's words.

    Raises:
        GenderClsError: the batch was one image already.
    """
    smaller = batch.halved()
    if smaller is None:
        record_batch(run, None)  # whoever finds a way out begins again with the batch of the configuration
        raise GenderClsError(
            f"Memory ran out with one image at a time ({said}): set {_ways_out(config)}, or take a smaller model than "
            f"{config.model.title}."
        )
    log.warning(f"Memory ran out with {batch}: going on from the last epoch's checkpoint with {smaller}. ({said})")
    record_batch(run, smaller)
    return smaller


def _ways_out(config: Config) -> str:
    ways = ["a smaller data.image_size"]
    if not config.trainer.precision.startswith("bf16"):
        ways.insert(0, "trainer.precision=bf16-mixed")
    if not config.recipe.grad_checkpointing:
        ways.insert(0, "recipe.grad_checkpointing=true")
    return " or ".join(ways)


def _by_halving(config: Config, resources: Resources) -> tuple[int, str]:
    """Real steps on an accelerator, which says when its memory is full. Two each: the first allocates the moments."""
    size, full = LARGEST_AUTO_BATCH, False
    while size > 1:
        try:
            training = TrialTraining(config, resources.precision, resources.device)
            training.step(size)
            training.step(size)
            break
        except MisconfigurationException:
            break  # no such accelerator, as the real trainer will say
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            full = True
        size //= 2
        training = None  # type: ignore[assignment]  # before memory is released
        release_memory()
    training = None  # type: ignore[assignment]  # before memory is released
    release_memory()
    if resources.device == "cuda" and torch.cuda.is_available():
        restart_peak("cuda")
    return size, f"a trial step with {size * 2} images did not fit into memory" if full else "a trial step fitted"


def _on_cpu(config: Config, resources: Resources) -> tuple[int, str]:
    """By measuring, since a step that does not fit would be the process's last: in a process of its own."""
    available = available_memory()
    if available is None:
        return LARGEST_AUTO_BATCH, "this system does not tell how much memory is free"
    budget = SHARE * available
    spawn = multiprocessing.get_context("spawn")  # forked, a process that has computed in threads could hang
    with ProcessPoolExecutor(1, spawn, initializer=end_with_parent) as pool:
        try:
            first, each = pool.submit(_measure, config, resources, budget).result()
        except BrokenProcessPool:
            return 1, "a trial step of one image did not survive"
    size = _most(budget, lambda images: first + (images - 1) * each)
    return size, (
        f"a step takes {first / GIBIBYTE:.2f} GiB for one image and {each / GIBIBYTE:.3f} for each more, and "
        f"{budget / GIBIBYTE:.1f} GiB ({SHARE:.0%} of what is free) may be used"
    )


def _measure(config: Config, resources: Resources, budget: float) -> tuple[float, float]:
    """In a child: bytes of a step with one image, beyond the imports, and of each image more."""
    keep_freed_memory()  # as the process that will train
    resources.apply()
    before = resident_memory() or 0
    training = TrialTraining(config, resources.precision, "cpu")
    first = float(_peak(training, 1) - before)
    each = max(first - training.held_bytes, 0.0)  # too much, but it tells whether several may be tried
    if first + (SEVERAL - 1) * each <= budget:
        each = max(_peak(training, SEVERAL) - before - first, 0.0) / (SEVERAL - 1)
    return first, each


def _peak(training: TrialTraining, images: int) -> int:
    """Bytes of the process; the second of two steps, when all that stays is allocated."""
    training.step(images)
    restart_peak("cpu")
    training.step(images)
    return peak_memory("cpu") or 0


def _most(budget: float, needed: Callable[[int], float]) -> int:
    """The largest power of two that fits; 1 in any case, for which there is nothing smaller."""
    size = LARGEST_AUTO_BATCH
    while size > 1 and needed(size) > budget:
        size //= 2
    return size
