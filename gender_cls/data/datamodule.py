"""The LightningDataModule: labelled crops as batches of uint8 pixels."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gender_cls.config.data import CLASSES, SPLITS, Balance, DataConfig
from gender_cls.config.presets import augment_settings, data_settings
from gender_cls.config.train import AugmentConfig
from gender_cls.data.augmentation import build_augmentation
from gender_cls.data.crops import Crops, balanced_sample, read_crops
from gender_cls.data.cue_boxes import cue_boxes
from gender_cls.data.image_store import ImageStore
from gender_cls.data.manifest import Manifest
from gender_cls.data.resizing import resize_into
from gender_cls.data.samplers import FILLER, EpochSampler, StepBatchSampler, derived_seed
from gender_cls.errors import plural, require
from gender_cls.system.processes import end_only_by_parent, fork_context
from gender_cls.system.signals import holding_stops

Key = int | tuple[int, int, int]
"""A row of a table, or `(epoch, row, draw)`."""


class CropDataset(Dataset[tuple[Tensor, Tensor]]):
    """The crops of a table, in its order.

    A key is a row, or `(epoch, row, draw)` to have the crop augmented. The random numbers depend on these and the seed
    only, not on the number of workers and not on where a run was interrupted; `draw` tells apart the draws of a row
    that comes several times in an epoch. Images with the draw FILLER come last in a batch and get no label.

    Args:
        distort: a function that changes the native crop (3, H, W) uint8 of a path before it is resized.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        images: ImageStore,
        data: DataConfig,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        distort: Callable[[Tensor, str], Tensor] | None = None,
    ) -> None:
        self.images = images.at(table["path"].tolist())
        self.labels = [CLASSES.index(label) for label in table["label"]]
        self.size, self.mode = data.image_size, data.resize_mode
        self.augmentation = build_augmentation(augment) if augment is not None else None
        self.seed, self.distort = seed, distort

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) uint8 and index of the label."""
        images, labels = self.__getitems__([key])
        return images[0], labels[0]

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """A batch: images (B, 3, H, W) uint8, channels last in memory, and labels (B,) int64, except of FILLER."""
        drawn = [key if isinstance(key, tuple) else (None, key, 0) for key in keys]
        pixels = torch.empty((len(keys), *self.size, 3), dtype=torch.uint8)
        for (_, row, _), into in zip(drawn, pixels, strict=True):
            image = self.images[row]
            if self.distort is not None:
                image = self.distort(image, self.images.paths[row])
            resize_into(into, image, self.mode)
        images = pixels.permute(0, 3, 1, 2)
        if self.augmentation is not None:
            with torch.random.fork_rng(devices=[]):
                for (epoch, row, draw), image in zip(drawn, images.split(1), strict=True):
                    if epoch is not None and draw != FILLER:
                        # Only the CPU's generator: torch.manual_seed also records the seed for every other device.
                        torch.default_generator.manual_seed(derived_seed(self.seed, epoch, row, draw))
                        self.augmentation(image)
        labels = [self.labels[row] for _, row, draw in drawn if draw != FILLER]
        return images, torch.tensor(labels, dtype=torch.int64)


class CropLoader(DataLoader):
    """A DataLoader that starts when its first batch is needed.

    Lightning makes an iterator before it tells the epoch, and before `training.preemption` tells where in the epoch a
    resumed training goes on: processes of a loader that had started would have fetched other batches by then.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises a class of its own
        with holding_stops():  # a process that has just started is not ready for them
            batches = super().__iter__()
        yield from batches

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the position is that of the training, which may go on with smaller batches."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """With `state_dict`, this tells Lightning that the loader can begin in the middle of an epoch."""


def crop_loader(dataset: CropDataset, **options: Any) -> CropLoader:
    """A DataLoader with these options that passes on the batches of `CropDataset.__getitems__`."""
    options["multiprocessing_context"] = fork_context() if options.get("num_workers") else None
    return CropLoader(dataset, collate_fn=_identity_collate, worker_init_fn=end_only_by_parent, **options)


def _identity_collate(batch: Any) -> Any:
    return batch


class CropDataModule(LightningDataModule):
    """Training, validation and test crops of one manifest; test crops only for `trainer.test` or a caller that asks.

    Batches are `(images (B, 3, H, W) uint8, channels last in memory, labels (B,) int64: 0 FEMALE, 1 MALE)`; the model
    normalises them on its own device. With several ranks, each rank gets its part. `tables["val"]` has the manifest's
    row of each image of `val_dataloader`, in its order. `from_folder` makes one for a Trainer of your own.
    """

    def __init__(
        self,
        manifest: Manifest,
        images: ImageStore,
        data: DataConfig,
        *,
        augment: AugmentConfig,
        seed: int,
        batch_size: int,
        num_workers: int,
        accumulate: int = 1,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self.manifest, self.images, self.data, self.seed = manifest, images, data, seed
        self.batch_size, self.num_workers, self.accumulate = batch_size, num_workers, accumulate
        self.rank, self.ranks = rank, ranks
        self.least = 1  # images that the network needs in a training batch
        self.repeats_epoch = False  # True: every epoch has the order and the augmentation of the first one
        self.mixes_validation = False  # True: a random order, always the same, so that few batches have both labels
        self.pin_memory = False  # True: batches lie where a GPU can copy them without making the program wait
        # Given a split's name and its loader, returns what training or validation gets instead of the loader.
        self.staged: Callable[[str, CropLoader], Any] = lambda _, loader: loader
        table = manifest.table
        self.tables = {split: table[table["split"] == split].reset_index(drop=True) for split in SPLITS}
        self.datasets = {
            split: CropDataset(rows, images, data, augment if split == "train" else None, seed)
            for split, rows in self.tables.items()
        }
        self._groups = self._groups_to_draw()
        for split in ("train", "val"):
            require(
                len(self.tables[split]) >= ranks,
                f"{split} has {plural(len(self.tables[split]), 'image')}, and each of {ranks} devices needs one: lower "
                "trainer.devices.",
            )

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        *,
        image_size: tuple[int, int] = (256, 128),
        batch_size: int = 32,
        augment: str | Mapping[str, Any] = "cctv",
        num_workers: int = 0,
        seed: int = 0,
        cache: str | os.PathLike[str] = "outputs/cache",
        **data_keys: Any,
    ) -> Self:
        """Find, check, group and split the images as training does, for a Trainer of your own with one device.

        Args:
            folder: with the folders MALE and FEMALE, images at any depth; or what the paths in `csv` are relative to.
            image_size: (height, width) in pixels that each image is resized to.
            batch_size: images of a batch.
            augment: a file in `conf/augment/`, or some of its keys with their values; of training images only.
            num_workers: processes that prepare batches; 0: this one does.
            seed: of the order and the augmentation; the split has `split_seed`.
            cache: a folder that keeps the facts and the pixels of images that were read before.
            data_keys: other keys of `conf/data/folders.yaml`, such as `csv="crops.csv"` or `split_by="camera"`.

        Raises:
            GenderClsError: a key or a value is wrong; images cannot be found, read or split.
        """
        from gender_cls.data.prepare import prepare_data  # what only answers for images needs none of it

        sizes = {"image_size": list(image_size), "batch_size": batch_size, "num_workers": num_workers}
        data = data_settings(root=str(folder), **data_keys, **sizes)
        changes = augment_settings(augment)
        mixes = changes.mixup or changes.cutmix
        require(not mixes, "augment.mixup and cutmix mix whole batches: give them to build_classifier instead.")
        prepared = prepare_data(data, Path(cache).expanduser().absolute())
        numbers = {"seed": seed, "batch_size": batch_size, "num_workers": num_workers}
        module = cls(prepared.manifest, prepared.images, data, augment=changes, **numbers)
        module.pin_memory = torch.cuda.is_available()
        return module

    def setup(self, stage: str) -> None:
        """Refuse a Trainer with several devices that this was not made for: each would get all images."""
        ranks = self.trainer.world_size if self.trainer is not None else 1
        require(
            ranks == self.ranks,
            f"These crops are for {plural(self.ranks, 'device')}, and the Trainer has {ranks}: give it devices=1. For "
            "several, python -m gender_cls.train trainer.devices=N.",
        )

    @property
    def class_weights(self) -> list[float] | None:
        """Inverse frequency of each class in train, mean 1 over images; None unless `data.balance=loss`."""
        if self.data.balance is not Balance.loss:
            return None
        labels = self.datasets["train"].labels
        return [len(labels) / (len(CLASSES) * labels.count(index)) for index in range(len(CLASSES))]

    def _groups_to_draw(self) -> list[int]:
        """(rows of train,) the label of each row, or its source with `data.balance=source`."""
        if self.data.balance is not Balance.source:
            return self.datasets["train"].labels
        sources = self.tables["train"]["source"]
        unknown = int((sources == "").sum())
        require(
            unknown == 0,
            f"data.balance=source needs the source of each training image, and {unknown} of {len(sources)} have none: "
            "name it with data.pattern or a column of data.csv.",
        )
        codes, names = pd.factorize(sources, sort=True)
        require(
            len(names) > 1,
            f"data.balance=source needs at least two sources in train, and all {len(sources)} images there come from "
            f"{names[0]}: leave the setting out.",
        )
        return codes.tolist()

    def train_dataloader(self) -> CropLoader:
        """Batches of train, shuffled and augmented."""
        balanced = self.data.balance in (Balance.sampler, Balance.source)
        sampler = EpochSampler(self._groups, self.seed, balanced, self.repeats_epoch)
        batches = StepBatchSampler(
            sampler, self.batch_size, self.accumulate, rank=self.rank, ranks=self.ranks, least=self.least
        )
        return self.staged("train", self._loader("train", batch_sampler=batches))

    def val_dataloader(self) -> CropLoader:
        """Batches of val, in the order of the manifest; of several ranks, each gets the rows of `rows`."""
        rows: Sequence[int] = self.rows("val")
        if self.mixes_validation:
            order = torch.randperm(len(self.tables["val"]), generator=torch.Generator().manual_seed(self.seed))
            rows = [int(order[row]) for row in rows]
        return self.staged("val", self.loader_of("val", rows))

    def test_dataloader(self) -> CropLoader:
        """Batches of test, in the order of the manifest, for `trainer.test`. Our own runs are tested elsewhere."""
        return self.loader_of("test", self.rows("test"))

    def predict_dataloader(self) -> CropLoader:
        """Batches of val, in the order of the manifest."""
        return self.loader_of("val", self.rows("val"))

    def rows(self, split: str) -> range:
        """The rows of a split for this rank: `rank`, `rank + ranks`, ..., so that each image is in exactly one part."""
        return range(self.rank, len(self.tables[split]), self.ranks)

    def loader_of(self, split: str, keys: Sequence[int] | Sequence[tuple[int, int, int]]) -> CropLoader:
        """Batches of these rows of a split, in this order; a key `(epoch, ...)` is augmented as in that epoch."""
        return self._loader(split, batch_size=self.batch_size, sampler=keys)

    def _loader(self, split: str, **options: Any) -> CropLoader:
        return crop_loader(
            self.datasets[split],
            **options,
            num_workers=self.num_workers,
            persistent_workers=split == "train" and self.num_workers > 0,
            pin_memory=self.pin_memory,
        )

    def probe_set(self, images: int) -> tuple[Crops, pd.DataFrame]:
        """A fixed set of validation crops to explain, and their rows of the manifest; fewer when val is smaller.

        It does not use a loader, because a loader would use global random numbers.
        """
        rows = balanced_sample(self.tables["val"], images, self.data.split_seed)
        return read_crops(self.images.at(rows["path"].tolist()), self.data, cue_boxes(rows)), rows
