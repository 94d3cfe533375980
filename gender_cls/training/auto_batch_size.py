"""`data.batch_size=auto`: find the largest batch, up to 32 images, whose training step fits into memory."""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from gender_cls.config.checks import AUTO
from gender_cls.config.parsing import to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError, plural
from gender_cls.runs.run import Run
from gender_cls.system import memory
from gender_cls.system.processes import end_with_parent
from gender_cls.system.resources import Resources
from gender_cls.training.batch import LARGEST_AUTO_BATCH, Batch, images_per_step, record_batch, recorded_batch
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.gradient_checkpointing import keep_statistics, switch_checkpointing
from gender_cls.training.optimizer import build_optimizer
from gender_cls.training.recipe import parameter_groups, set_trainable
from gender_cls.training.trainer import build_trainer

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.8  # of the available memory, for a step; data loaders and explanations need the rest
SECOND_TRIAL = 4  # images in the second trial on a CPU


def choose_batch(config: Config, run: Run, resources: Resources) -> Batch:
    """Return the batch of an earlier session, of the configuration or of trial steps; `status.json` keeps it."""
    batch = recorded_batch(config, run)
    if batch is None and config.data.batch_size != AUTO:
        batch = Batch(int(config.data.batch_size), config.trainer.accumulate)
    if batch is None:
        size, why = (_on_cpu if resources.device == "cpu" else _by_halving)(config, resources)
        batch = Batch(size, images_per_step(AUTO, config.trainer.accumulate) // size)
        log.info(f"data.batch_size=auto takes {batch}: {why}.")
    batch = replace(batch, ranks=resources.devices * config.trainer.num_nodes)
    record_batch(run, batch)
    return batch


def smaller_batch(config: Config, run: Run, batch: Batch, message: str) -> Batch:
    """Return the next smaller batch after memory ran out; GenderClsError if there is none. `status.json` keeps it."""
    smaller = batch.halved()
    if smaller is None:
        record_batch(run, None)  # so that a later session starts with the batch of the configuration
        remedies = ["a smaller data.image_size"]
        if not config.trainer.precision.startswith("bf16"):
            remedies.insert(0, "trainer.precision=bf16-mixed")
        if not config.recipe.grad_checkpointing:
            remedies.insert(0, "recipe.grad_checkpointing=true")
        full = f"Memory ran out with {plural(batch.size, 'image')} at a time ({message})"
        raise GenderClsError(
            f"{full}: set {' or '.join(remedies)}, or choose a smaller model than {config.model.title}."
        )
    goes_on = f"training continues from the last epoch's checkpoint with {smaller}"
    log.warning(f"Memory ran out with {batch}: {goes_on}. ({message})")
    record_batch(run, smaller)
    return smaller


class TrialTraining:
    """Trains a network with random weights for a few steps, to see how much memory they take.

    It is separate from the real training: it changes no weight, statistic or random number outside.
    """

    def __init__(self, config: Config, precision: str, device: str) -> None:
        trainer, recipe = build_trainer(device, precision), config.recipe
        self._plugin, self._device = trainer.precision_plugin, torch.device(device)
        with self._keep_random_state():
            classifier = GenderClassifier(to_plain(config), load=False)
            self._plugin.convert_module(classifier)
            self._classifier = classifier.to(self._device)
        self.least = least_images(classifier)
        network = classifier.network
        set_trainable(network, classifier.heads, classifier.trainable, backbone=recipe.frozen_epochs is not None)
        if recipe.grad_checkpointing:
            switch_checkpointing(network, True, config.model.title)
        if recipe.ema_decay is not None:
            self._average = [parameter.detach().clone() for parameter in network.parameters()]
        groups = parameter_groups(network, classifier.heads, recipe)
        self._optimizer = build_optimizer(groups, recipe, scaled_gradients=trainer.scaler is not None)

    def step(self, images: int) -> None:
        """Run one training step with random images."""
        self.backward(images)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def backward(self, images: int) -> None:
        """Add the gradients of random images."""
        classifier, device = self._classifier, self._device
        labels = torch.arange(images, device=device) % 2
        with self._keep_random_state():
            pixels = torch.randint(0, 256, (images, 3, *classifier.image_size), dtype=torch.uint8).to(device)
            with self._plugin.train_step_context():
                loss = cross_entropy(classifier(pixels), labels)
            with keep_statistics(classifier.network):
                loss.backward()

    @property
    def held_bytes(self) -> int:
        """Size of the weights and of the optimizer's state."""
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        states = chain.from_iterable(self._optimizer.state[parameter].values() for parameter in parameters)
        return sum(tensor.nbytes for tensor in (*parameters, *states) if isinstance(tensor, torch.Tensor))

    def _keep_random_state(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng(devices=range(torch.cuda.device_count()) if self._device.type == "cuda" else [])


def _by_halving(config: Config, resources: Resources) -> tuple[int, str]:
    """The largest batch that fits into an accelerator's memory, and why; a step that does not fit raises an error."""
    size = LARGEST_AUTO_BATCH
    while size > 1 and not _fits(config, resources, size):
        memory.release_memory()
        size //= 2
    memory.release_memory()
    if resources.device == "cuda" and torch.cuda.is_available():
        memory.restart_peak("cuda")
    full = size < LARGEST_AUTO_BATCH
    return size, f"a trial step with {size * 2} images did not fit into memory" if full else "a trial step fitted"


def _fits(config: Config, resources: Resources, images: int) -> bool:
    try:
        training = TrialTraining(config, resources.precision, resources.device)
        for _ in range(2):  # the first step allocates the optimizer's state
            training.step(images)
    except Exception as error:
        if memory.is_out_of_memory(error):
            return False
        if not isinstance(error, GenderClsError):  # the real training will report this one
            raise
    return True


def _on_cpu(config: Config, resources: Resources) -> tuple[int, str]:
    """The largest batch that fits into main memory, and why.

    A step that does not fit would kill the process, so a child process measures smaller ones.
    """
    available = memory.available_memory()
    if available is None:
        return LARGEST_AUTO_BATCH, "this system does not tell how much memory is free"
    budget = MEMORY_SHARE * available / resources.devices
    spawn = multiprocessing.get_context("spawn")  # a forked process may hang after its parent has used threads
    with ProcessPoolExecutor(1, spawn, initializer=end_with_parent) as pool:
        try:
            least, first, each = pool.submit(_measure, config, resources, budget).result()
        except BrokenProcessPool:
            return 1, "memory ran out in a trial step of one image"
    size = LARGEST_AUTO_BATCH
    while size > least and first + (size - least) * each > budget:
        size //= 2
    first_gib, each_gib, budget_gib = (number / memory.GIBIBYTE for number in (first, each, budget))
    needed = f"a step takes {first_gib:.2f} GiB for {plural(least, 'image')} and {each_gib:.3f} for each further one"
    return (
        size,
        f"{needed}, and {budget_gib:.1f} GiB ({MEMORY_SHARE / resources.devices:.0%} of what is free) may be used",
    )


def _measure(config: Config, resources: Resources, budget: float) -> tuple[int, float, float]:
    """The fewest images that the network takes, the bytes of a step with them, and of each further image.

    The imports do not count. It runs in a child process.
    """
    memory.keep_freed_memory()  # as in the process that will train
    resources.apply()
    before = memory.resident_memory() or 0
    training = TrialTraining(config, resources.precision, "cpu")

    def peak(images: int) -> int:
        training.step(images)  # allocates everything that stays
        memory.restart_peak("cpu")
        training.step(images)
        return (memory.peak_memory("cpu") or 0) - before

    least = training.least
    first, more = float(peak(least)), SECOND_TRIAL - least
    each = max(first - training.held_bytes, 0.0) / least  # an upper bound, to see whether several images may be tried
    if first + more * each <= budget:
        each = max(peak(SECOND_TRIAL) - first, 0.0) / more
    return least, first, each


def least_images(classifier: GenderClassifier) -> int:
    """The fewest images of a training step: 2 if BatchNorm, as after the pooling, gets one value per channel for one.

    It then has nothing to normalise with, and torch raises an error.
    """
    network, heads = classifier.network, classifier.heads
    learning = [network] if classifier.settings.recipe.frozen_epochs is not None else map(network.get_submodule, heads)
    norms = {one for part in learning for one in part.modules() if isinstance(one, _BatchNorm)}
    if not norms:
        return 1
    alone: list[bool] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        alone.append(inputs[0].numel() == inputs[0].shape[1])

    modes = [(module, module.training) for module in network.modules()]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        network.eval()
        with torch.no_grad():
            classifier(torch.zeros((1, 3, *classifier.image_size), dtype=torch.uint8))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return 2 if any(alone) else 1
