"""The schema of `conf/data/`: where the crops are, what their labels mean, how they are split. Imports no torch."""

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gender_cls.config.checks import AUTO, check_seed, require_count
from gender_cls.errors import GenderClsError, require

CLASSES = ("FEMALE", "MALE")
"""Class names; the position is the index of the logit."""

UNKNOWN = "unknown"
"""A label that the annotators left open: kept in the manifest, in no split."""

SPLITS = ("train", "val", "test")


class ResizeMode(Enum):
    stretch = "stretch"
    letterbox = "letterbox"
    crop = "crop"


class Balance(Enum):
    none = "none"
    loss = "loss"
    sampler = "sampler"


class OnCorrupt(Enum):
    stop = "stop"
    drop = "drop"


class Importer(Enum):
    peta = "peta"
    pa100k = "pa100k"
    rap_v1 = "rap_v1"
    rap_v2 = "rap_v2"
    market1501 = "market1501"
    upar = "upar"
    mivia_par = "mivia_par"


class PixelCache(Enum):
    none = "none"
    disk = "disk"


class SplitBy(Enum):
    identity = "identity"
    camera = "camera"
    source = "source"


@dataclass
class DataConfig:
    """Where the crops are, how they are split and how they reach the model."""

    root: str | None = None
    csv: str | None = None
    importer: Importer | None = None
    published_split: str | None = None
    corrections: str | None = None
    pattern: str | None = None
    frame_gap: int = 1
    near_duplicate_distance: int = 6
    aliases: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in CLASSES})
    split_by: SplitBy = SplitBy.identity
    leave_out: str | None = None
    split_seed: int = 0
    licence: str | None = None
    allow_leaks: bool = False
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    folds: int | None = None
    fold: int = 0
    image_size: list[int] = field(default_factory=lambda: [256, 128])
    resize_mode: ResizeMode = ResizeMode.stretch
    batch_size: int | str = 32
    num_workers: int | str = AUTO
    cache: PixelCache = PixelCache.disk
    cache_gigabytes: float = 20.0
    cache_days: int = 30
    limit: int | None = None
    balance: Balance = Balance.none
    on_corrupt: OnCorrupt = OnCorrupt.stop

    def check(self) -> None:
        require(
            self.root is not None or self.csv is not None,
            "No data are named: give data.root=FOLDER (with MALE/ and FEMALE/ inside), data.csv=FILE or data=demo.",
        )
        require(
            self.importer is None or (self.root is not None and self.csv is None),
            "data.importer reads the dataset under data.root: set data.root, and leave out data.csv.",
        )
        require(
            self.importer is not None or self.published_split is None,
            "data.published_split belongs to a dataset with an importer, such as data=peta; a split of your own is "
            "a column of data.csv or the folders train, val and test.",
        )
        if self.corrections is not None:
            require(Path(self.corrections).is_file(), f"data.corrections names no file: {self.corrections}")
        require(self.frame_gap >= 0, f"data.frame_gap must be at least 0 frames, not {self.frame_gap}.")
        require(
            0 <= self.near_duplicate_distance <= 16,
            f"data.near_duplicate_distance must lie between 0 and 16 of 64 bits, not {self.near_duplicate_distance}.",
        )
        require(
            self.leave_out is None or self.split_by is not SplitBy.identity,
            "data.leave_out names a camera or a source: set data.split_by=camera or data.split_by=source.",
        )
        require(
            self.leave_out is None or self.folds is None,
            "data.leave_out and data.folds both choose the test split: set one of them.",
        )
        check_seed("data.split_seed", self.split_seed)
        require(
            sorted(self.aliases) == sorted(CLASSES),
            f"data.aliases must have the keys {' and '.join(CLASSES)}, not {', '.join(self.aliases) or 'none'}.",
        )
        if self.pattern is not None:
            try:
                names = re.compile(self.pattern).groupindex
            except re.error as error:
                raise GenderClsError(f"data.pattern is no regular expression ({error}): {self.pattern}") from None
            require(
                bool(names),
                f"data.pattern has no named group such as (?P<identity>...) or (?P<camera>...): {self.pattern}",
            )
        for key, fraction in (("val", self.val_fraction), ("test", self.test_fraction)):
            require(0 < fraction < 1, f"data.{key}_fraction must lie between 0 and 1 (exclusive), not {fraction}.")
        require(
            self.val_fraction + self.test_fraction < 1,
            f"data.val_fraction + data.test_fraction must stay below 1, not {self.val_fraction + self.test_fraction}.",
        )
        if self.folds is not None:
            require(self.folds >= 3, f"data.folds must be at least 3 (train, val, test), not {self.folds}.")
            require(
                0 <= self.fold < self.folds,
                f"data.fold must lie between 0 and data.folds - 1 = {self.folds - 1}, not {self.fold}.",
            )
        require(
            len(self.image_size) == 2 and all(16 <= side <= 4096 for side in self.image_size),
            f"data.image_size must be [height,width] in pixels, each from 16 to 4096, not {list(self.image_size)}.",
        )
        require_count("data.batch_size", self.batch_size, 1)
        require_count("data.num_workers", self.num_workers, 0)
        require(self.cache_gigabytes > 0, f"data.cache_gigabytes must be above 0, not {self.cache_gigabytes}.")
        require(self.cache_days >= 1, f"data.cache_days must be at least 1, not {self.cache_days}.")
        if self.limit is not None:
            require(self.limit >= 6, f"data.limit must be at least 6 images (3 splits, 2 labels), not {self.limit}.")
