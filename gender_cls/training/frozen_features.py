"""While the backbone is frozen, its features are computed once, and the head learns from them.

A frozen backbone is in eval mode and thus a fixed function: every pass over the same pictures gives the same features.
To train the head alone first and everything from there is LP-FT of Kumar et al., "Fine-Tuning can Distort Pretrained
Features and Underperform Out-of-Distribution", ICLR 2022, arXiv:2202.10054.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.datamodule import CropDataModule
from gender_cls.data.samplers import derived_seed
from gender_cls.system.memory import available_memory
from gender_cls.training.classifier import FeatureBatch, GenderClassifier
from gender_cls.training.recipe import trains_backbone

log = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""Of the logits: by how much the head may be off, given the features, in shares of the largest logit above 1."""

SHARE_OF_MEMORY = 0.25
"""What features may take at most of the memory that is available."""

MEMORY = 4 << 30
"""Bytes that count as available where the system does not tell."""


class FrozenFeatures(Callback):
    """Computes the features when training begins, and has the data module hand them out while the backbone is frozen.

    Features are what the head's module is given: the run's own forward pass on its device, in its precision and layout,
    without gradients. View v of a training picture is the one that epoch v would show (on a GPU, where pictures are
    augmented batch by batch, another one by the same chance), and epoch e learns from view e % `recipe.views`. So
    without augmentation, or with as many views as frozen epochs, the head learns what it would learn from pixels, up to
    the rounding of passes with another last batch; with fewer views, pictures come again.
    Order, batches, steps, random numbers and metrics are the plain way's. Nothing is kept on disk: a resumed run
    computes what it still needs anew.

    With `recipe.ema_decay` validation sees the frozen backbone itself. The plain way sees its average, which is the
    same but for the rounding of averaging equal numbers.

    Args:
        classifier: the one to be trained.
        datamodule: its data; from now on its loaders give `FeatureBatch`es in frozen epochs.
    """

    def __init__(self, classifier: GenderClassifier, datamodule: CropDataModule) -> None:
        settings = classifier.settings
        self._recipe = settings.recipe
        self._views = _views(classifier)
        self._progress_bar = settings.trainer.progress_bar
        self._datamodule = datamodule
        self._features: dict[tuple[str, int], Tensor] = {}
        self._labels = {split: torch.tensor(datamodule.datasets[split].labels) for split in ("train", "val")}
        self._epoch = 0
        datamodule.staged = lambda split, loader: StagedLoader(loader, lambda: self._batches(split, loader))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the features that the frozen epochs to come need."""
        classifier = cast(GenderClassifier, pl_module)
        self._epoch = trainer.current_epoch
        epochs = range(trainer.current_epoch, _frozen_epochs(classifier))
        if not epochs:
            return
        views = sorted({epoch % self._views for epoch in epochs})
        images = {split: len(labels) for split, labels in self._labels.items()}
        several = f"{len(views)} views of " if len(views) > 1 else ""
        log.info(
            f"While the backbone is frozen, its features are computed once: {several}{images['train']:,} + "
            f"{images['val']:,} images."
        )
        classifier.network.eval()  # the epoch's beginning sets what trains
        total = len(views) * images["train"] + images["val"]
        with tqdm(total=total, desc="Features", unit="img", disable=not self._progress_bar) as progress:

            def compute(split: str, keys: Sequence[Any], augment: Callable[[Tensor], Tensor] | None = None) -> Tensor:
                loader = self._datamodule.loader_of(split, keys)
                return _compute(trainer, classifier, loader, len(keys), progress.update, augment)

            for view in views:
                torch.manual_seed(derived_seed(classifier.settings.seed, view))
                keys = [(view, row) for row in range(images["train"])]
                self._features["train", view] = compute("train", keys, classifier.augmentation)
            trainer.validating = True  # whatever else acts on batches must not take these for training
            self._features["val", 0] = compute("val", range(images["val"]))
            trainer.training = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch; when the backbone wakes, features are of no more use."""
        self._epoch = trainer.current_epoch
        if trains_backbone(self._recipe, self._epoch):
            self._features.clear()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the memory back."""
        self._features.clear()

    def _batches(self, split: str, loader: DataLoader) -> Iterator[FeatureBatch] | None:
        """The batches of this epoch, by the loader's own sampler; None where the backbone learns."""
        if trains_backbone(self._recipe, self._epoch):
            return None
        features = self._features[split, self._epoch % self._views if split == "train" else 0]
        labels = self._labels[split]
        return (FeatureBatch(features[rows], labels[rows]) for rows in _rows_of_batches(loader))


class StagedLoader:
    """A loader that asks, each time its first batch is wanted, whether there is something to give instead of pixels.

    Lightning makes an iterator before it knows the epoch, so it decides late; processes of the pixel loader start only
    when there is need of pixels.

    Args:
        loader: of pixels.
        instead: gives the batches of this epoch, or None for pixels.
    """

    def __init__(self, loader: DataLoader, instead: Callable[[], Iterator[FeatureBatch] | None]) -> None:
        self.loader = loader
        self.sampler, self.batch_sampler = loader.sampler, loader.batch_sampler  # Lightning tells them the epoch
        self._instead = instead

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        yield from self._instead() or self.loader


def frozen_features(classifier: GenderClassifier, datamodule: CropDataModule) -> FrozenFeatures | None:
    """The callback for training on features while the backbone is frozen; None where it must be the plain way.

    Why, says a line in the log, unless the recipe asks for the plain way or freezes nothing.
    """
    if classifier.settings.recipe.views == 0 or _frozen_epochs(classifier) == 0:
        return None
    if obstacle := _obstacle(classifier, datamodule):
        log.info(f"While the backbone is frozen, every epoch computes its features anew, for {obstacle}.")
        return None
    return FrozenFeatures(classifier, datamodule)


def _obstacle(classifier: GenderClassifier, datamodule: CropDataModule) -> str | None:
    augment = classifier.settings.augment
    for key in ("mixup", "cutmix"):
        if getattr(augment, key) > 0:
            return f"augment.{key} mixes the pictures of a batch"
    if len(classifier.heads) != 1:
        return f"{len(classifier.heads)} heads make the logits ({', '.join(classifier.heads)})"
    features = _features_of_noise(classifier)
    if features is None:
        return f"the logits are not what the head alone ({classifier.heads[0]}) makes of its input"
    train, val = (len(datamodule.datasets[split]) for split in ("train", "val"))
    views = min(_views(classifier), _frozen_epochs(classifier))
    needed = (views * train + val) * features[0].numel() * features.element_size()
    available = available_memory() or MEMORY
    if needed > SHARE_OF_MEMORY * available:
        return f"they would take {needed / 2**30:.1f} GiB of the {available / 2**30:.1f} GiB of memory that are free"
    return None


def _features_of_noise(classifier: GenderClassifier) -> Tensor | None:
    """The features of two pictures of noise; None where the head does not turn them into the logits."""
    network, head = classifier.network, classifier.head
    noise = torch.randint(
        256, (2, 3, *classifier.image_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    network.eval()
    with torch.no_grad(), inputs_of(head) as inputs:
        logits = classifier(noise.to(classifier.device))
        features = inputs[0] if len(inputs) == 1 else None
        again = head(features.clone()) if features is not None else None
    network.train()
    if again is None or features is None or len(features) != len(noise) or again.shape != logits.shape:
        return None
    off = (again - logits).abs().max().item()
    proves_something = bool(logits.any())  # a head of zeros would agree with anything
    return features if proves_something and off <= TOLERANCE * max(1.0, logits.abs().max().item()) else None


def _compute(
    trainer: Trainer,
    classifier: GenderClassifier,
    loader: DataLoader,
    images: int,
    count: Callable[[int], Any],
    augment: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """What the head is given for each picture of the loader: (images, ...) on the CPU, of the type that it comes in."""
    features: Tensor | None = None
    done = 0
    with ExitStack() as stack:
        inputs = stack.enter_context(inputs_of(classifier.head))
        stack.enter_context(torch.no_grad())  # not inference mode: the head's gradients need these tensors
        if classifier.settings.trainer.compile:
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code skips the hook
        for loaded in loader:
            batch = trainer.precision_plugin.convert_input(loaded)
            batch = classifier._on_before_batch_transfer(batch, dataloader_idx=0)
            pixels, _ = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
            with trainer.precision_plugin.forward_context():
                classifier(pixels if augment is None else augment(pixels))
            given = inputs.pop()
            assert given is not None
            if features is None:
                features = torch.empty((images, *given.shape[1:]), dtype=given.dtype)
            features[done : done + len(given)] = given
            done += len(given)
            count(len(given))
    assert features is not None
    assert done == images
    return features


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor | None]]:
    """Collects what a module is called with; None for a call with anything but one tensor."""
    inputs: list[Tensor | None] = []

    def collect(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        alone = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
        inputs.append(args[0].detach().clone() if alone else None)  # the module may write into it

    handle = module.register_forward_pre_hook(collect, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


def _rows_of_batches(loader: DataLoader) -> Iterator[list[int]]:
    """In the loader's order; its keys are rows, or `(epoch, row)`."""
    assert loader.batch_sampler is not None
    for keys in cast(Iterable[list[Any]], loader.batch_sampler):
        yield [key[1] if isinstance(key, tuple) else key for key in keys]


def _views(classifier: GenderClassifier) -> int:
    """Different pictures that stand for one; where nothing is augmented, one is all."""
    settings = classifier.settings
    return settings.recipe.views if build_augmentation(settings.augment) is not None else 1


def _frozen_epochs(classifier: GenderClassifier) -> int:
    """How many of the run's first epochs train the head alone."""
    frozen, epochs = classifier.settings.recipe.frozen_epochs, classifier.settings.trainer.max_epochs
    return epochs if frozen is None else min(frozen, epochs)
