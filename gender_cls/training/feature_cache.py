"""Compute the features of a frozen backbone once and train the head on them.

A frozen backbone is in eval mode: every pass over the same images gives the same features. Training the head first and
everything afterwards is LP-FT of Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022, arXiv:2202.10054.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.datamodule import CropDataModule, CropLoader, Key
from gender_cls.data.samplers import FILLER, derived_seed
from gender_cls.system.memory import GIBIBYTE, available_memory
from gender_cls.system.progress import Work, working
from gender_cls.training import ranks
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.recipe import trains_backbone
from gender_cls.training.step_input import FeatureBatch

log = logging.getLogger(__name__)

TOLERANCE = 1e-5  # largest difference of logits made from features, as a share of the largest logit or of 1
SHARE_OF_MEMORY = 0.25  # of the available memory, which features may take


class FeatureCache(Callback):
    """Computes the features when training starts; the data module's loaders give them while the backbone is frozen.

    Features are the input of the head, made by the run's own forward pass on its device, in its precision and layout,
    without gradients. View v of a training image is augmented as in epoch v (on a GPU, where whole batches are
    augmented, with other random numbers), and epoch e learns from view e % `recipe.views`. Without augmentation, or
    with as many views as frozen epochs, the head learns what it would learn from pixels, up to rounding; with fewer
    views, augmented images repeat, and so do those that `data.balance=sampler` or `source` draws several times in an
    epoch. Order, batches, steps, random numbers and metrics do not change. Nothing is written to disk: a resumed run
    computes again what it still needs.

    With `recipe.ema_decay`, validation sees the frozen backbone itself instead of its average, which differs only by
    rounding. Of several ranks, each computes a part, and all of them get all features.
    """

    def __init__(self, classifier: GenderClassifier, datamodule: CropDataModule) -> None:
        self._settings, self._recipe = classifier.settings, classifier.settings.recipe
        self._views = _view_count(classifier)
        self._datamodule = datamodule
        self._features: dict[tuple[str, int], Tensor] = {}
        self._labels = {split: torch.tensor(datamodule.datasets[split].labels) for split in ("train", "val")}
        self._epoch = 0
        datamodule.staged = lambda split, loader: StagedLoader(loader, lambda: self._batches(split, loader))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the features for the frozen epochs that remain."""
        classifier = cast(GenderClassifier, pl_module)
        self._epoch = trainer.current_epoch
        views = sorted({epoch % self._views for epoch in range(trainer.current_epoch, _frozen_epochs(classifier))})
        if not views:
            return
        train, val = len(self._labels["train"]), len(self._labels["val"])
        images = (f"{len(views)} views of " if len(views) > 1 else "") + f"{train:,} + {val:,} images"
        log.info(f"The backbone is frozen at first, so its features are computed once: {images}.")
        classifier.network.eval()  # the start of the epoch sets what trains
        mine = len(views) * len(self._datamodule.rows("train")) + len(self._datamodule.rows("val"))
        with working("Computing the features", mine, "images") as work:
            rows, further = self._datamodule.rows("train"), () if ranks.rank() == 0 else (ranks.rank(),)
            for view in views:
                torch.manual_seed(derived_seed(self._settings.seed, view, *further))
                loader = self._datamodule.loader_of("train", [(view, row, 0) for row in rows])
                part = _head_inputs(trainer, loader, len(rows), work, classifier.augmentation)
                self._features["train", view] = ranks.gather_rows(part)
            trainer.validating = True  # other callbacks that act on batches must not take these for training
            rows = self._datamodule.rows("val")
            part = _head_inputs(trainer, self._datamodule.loader_of("val", rows), len(rows), work)
            self._features["val", 0] = ranks.gather_rows(part)
            trainer.training = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch; free the memory when the backbone starts to learn."""
        self._epoch = trainer.current_epoch
        if trains_backbone(self._recipe, self._epoch):
            self._features.clear()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Free the memory."""
        self._features.clear()

    def _batches(self, split: str, loader: CropLoader) -> Iterator[FeatureBatch] | None:
        """The batches of this epoch in the order of the loader's own sampler; None if the backbone learns."""
        if trains_backbone(self._recipe, self._epoch):
            return None
        features = self._features[split, self._epoch % self._views if split == "train" else 0]
        labels, batches = self._labels[split], cast(Iterable[list[Any]], loader.batch_sampler)
        return (self._batch(features, labels, keys) for keys in batches)

    @staticmethod
    def _batch(features: Tensor, labels: Tensor, keys: Sequence[Key]) -> FeatureBatch:
        rows = [key[1] if isinstance(key, tuple) else key for key in keys]
        labelled = [row for row, key in zip(rows, keys, strict=True) if not isinstance(key, tuple) or key[2] != FILLER]
        return FeatureBatch(features[rows], labels[labelled])


class StagedLoader:
    """A loader that decides, when its first batch is needed, whether to give pixels or something else.

    Lightning makes an iterator before it knows the epoch, so the decision comes late; the processes of the pixel loader
    start only when pixels are needed. `instead` returns the batches of this epoch, or None for pixels.
    """

    def __init__(self, loader: CropLoader, instead: Callable[[], Iterator[FeatureBatch] | None]) -> None:
        self.loader = loader
        self.sampler, self.batch_sampler = loader.sampler, loader.batch_sampler  # Lightning tells them the epoch
        self.state_dict, self.load_state_dict = loader.state_dict, loader.load_state_dict
        self._instead = instead

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        yield from self._instead() or self.loader


def build_feature_cache(classifier: GenderClassifier, datamodule: CropDataModule) -> FeatureCache | None:
    """Return the callback that trains on features while the backbone is frozen; None if it cannot: the log says why."""
    if classifier.settings.recipe.views == 0 or _frozen_epochs(classifier) == 0:  # nothing to explain then
        return None
    if obstacle := _obstacle(classifier, datamodule):
        log.info(f"The backbone is frozen at first, but every epoch computes its features again because {obstacle}.")
        return None
    return FeatureCache(classifier, datamodule)


def _obstacle(classifier: GenderClassifier, datamodule: CropDataModule) -> str | None:
    augment, heads = classifier.settings.augment, classifier.heads
    for key in ("mixup", "cutmix"):
        if getattr(augment, key) > 0:
            return f"augment.{key} mixes the images of a batch"
    if len(heads) != 1:
        return f"{len(heads)} heads make the logits ({', '.join(heads)})"
    features = _features_of_noise(classifier)
    if features is None:
        return f"the logits are not what the head alone ({heads[0]}) makes of its input"
    train, val = (len(datamodule.datasets[split]) for split in ("train", "val"))
    views = min(_view_count(classifier), _frozen_epochs(classifier))
    needed = (views * train + val) * features[0].nbytes
    available = (available_memory() or 4 * GIBIBYTE) // ranks.number_here()  # each rank holds all features
    if ranks.sum_over_ranks(torch.tensor(needed > SHARE_OF_MEMORY * available, dtype=torch.int64)):
        return f"they would take {needed / GIBIBYTE:.1f} GiB of {available / GIBIBYTE:.1f} GiB of free memory"
    return None


def _features_of_noise(classifier: GenderClassifier) -> Tensor | None:
    """The features of two images of noise; None if the head does not turn them into the logits."""
    network, head = classifier.network, classifier.head
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (2, 3, *classifier.image_size), dtype=torch.uint8, generator=generator)
    network.eval()
    with torch.no_grad(), _collect_inputs(head) as inputs:
        logits = classifier(noise.to(classifier.device))
        features = inputs[0] if len(inputs) == 1 else None
        again = None if features is None or len(features) != len(noise) else head(features.clone())
    network.train()
    if again is None or again.shape != logits.shape:
        return None
    difference, largest = (value.abs().max().item() for value in (again - logits, logits))
    proven = largest > 0 and difference <= TOLERANCE * max(1.0, largest)  # a head of zeros agrees with anything
    return features if proven else None


def _head_inputs(
    trainer: Trainer, loader: CropLoader, images: int, work: Work, augment: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return what the head gets for each image of the loader: (images, ...) on the CPU, in its own dtype."""
    classifier = cast(GenderClassifier, trainer.lightning_module)
    features, done = torch.empty(0), 0
    with ExitStack() as stack:
        inputs = stack.enter_context(_collect_inputs(classifier.head))
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
            assert given is not None  # as `_features_of_noise` has checked
            if done == 0:
                features = torch.empty((images, *given.shape[1:]), dtype=given.dtype)
            features[done : done + len(given)] = given
            done += len(given)
            work.advance(len(given))
    assert done == images
    return features


@contextmanager
def _collect_inputs(module: nn.Module) -> Iterator[list[Tensor | None]]:
    """Collect the inputs of a module's calls; None for a call with anything but one tensor."""
    inputs: list[Tensor | None] = []

    def collect(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        alone = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
        inputs.append(args[0].detach().clone() if alone else None)  # the module may change its input

    handle = module.register_forward_pre_hook(collect, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


def _view_count(classifier: GenderClassifier) -> int:
    """How many differently augmented copies of an image there are; one without augmentation."""
    return classifier.settings.recipe.views if build_augmentation(classifier.settings.augment) is not None else 1


def _frozen_epochs(classifier: GenderClassifier) -> int:
    """How many of the run's first epochs train the head alone."""
    frozen, epochs = classifier.settings.recipe.frozen_epochs, classifier.settings.trainer.max_epochs
    return epochs if frozen is None else min(frozen, epochs)
