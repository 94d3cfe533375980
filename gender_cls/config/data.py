"""The schema of `conf/data/`: where the crops are, what their labels mean, how they are split. Imports no torch."""

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gender_cls.config.checks import AUTO, MOST_PROCESSES, seed_setting, setting
from gender_cls.errors import GenderClsError, first_few, require

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
    source = "source"


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
    root: str | None = setting(path="any")
    csv: str | None = setting(path="any")
    importer: Importer | None = None
    published_split: str | None = None
    corrections: str | None = setting(path="file")
    pattern: str | None = None
    frame_gap: int = setting(1, least=0, unit="frames")
    near_duplicate_distance: int = setting(6, least=0, most=16, unit="of 64 bits")
    aliases: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in CLASSES})
    split_by: SplitBy = SplitBy.identity
    val_by: SplitBy | None = None
    leave_out: str | None = None
    split_seed: int = seed_setting()
    licence: str | None = None
    allow_leaks: bool = False
    allow_doubtful_people: bool = False
    val_fraction: float = setting(0.15, above=0, below=1)
    test_fraction: float = setting(0.15, above=0, below=1)
    folds: int | None = setting(least=3, unit="(train, val, test)")
    fold: int = 0
    image_size: list[int] = field(default_factory=lambda: [256, 128])
    resize_mode: ResizeMode = ResizeMode.stretch
    batch_size: int | str = setting(32, least=1, auto=True)
    num_workers: int | str = setting(AUTO, least=0, most=MOST_PROCESSES, auto=True)
    cache: PixelCache = PixelCache.disk
    cache_gigabytes: float = setting(20.0, above=0)
    cache_days: int = setting(30, least=1)
    limit: int | None = setting(least=6, unit="images (3 splits, 2 labels)")
    balance: Balance = Balance.none
    on_corrupt: OnCorrupt = OnCorrupt.stop
    max_megapixels: float = setting(64.0, above=0, most=178, unit="(Pillow's own limit)")

    @property
    def named(self) -> bool:
        """Whether it says where the images lie."""
        return self.root is not None or self.csv is not None

    def require_named(self) -> None:
        """Raise GenderClsError unless it says where the images lie."""
        name = self.importer.value if self.importer is not None else ""
        require(
            self.named or not name,
            f"Where {name} lies is not known: give data.root=FOLDER, or write `data_roots: {{{name}: FOLDER}}` into "
            ".gender_cls.yaml in this folder.",
        )
        require(
            self.named,
            "No data are named: give data.root=FOLDER (with MALE/ and FEMALE/ inside), data.csv=FILE or data=demo. To "
            "name them once, set the environment variable GENDER_CLS_DATA=FOLDER, or write `data: {root: FOLDER}` into "
            ".gender_cls.yaml in this folder.",
        )

    def check(self) -> None:
        require(
            self.importer is None or not self.named or (self.root is not None and self.csv is None),
            "data.importer reads the dataset under data.root: set data.root, and leave out data.csv.",
        )
        require(
            self.importer is not None or self.published_split is None,
            "data.published_split belongs to a dataset with an importer, such as data=peta; a split of your own is "
            "a column of data.csv or the folders train, val and test.",
        )
        require(
            self.leave_out is None or self.split_by is not SplitBy.identity,
            "data.leave_out names a camera or a source: set data.split_by=camera or data.split_by=source.",
        )
        both = self.leave_out is not None and self.folds is not None
        require(not both, "data.leave_out and data.folds both choose the test split: set one of them.")
        require(
            sorted(self.aliases) == sorted(CLASSES),
            f"data.aliases must have the keys {' and '.join(CLASSES)}, not {', '.join(self.aliases) or 'none'}.",
        )
        aliases = [{label.lower(), *map(str.lower, self.aliases[label])} for label in CLASSES]
        shared = sorted(set.intersection(*aliases))
        require(not shared, f"data.aliases gives both labels the name {first_few(shared)}: it can stand for one only.")
        held_out = self.val_fraction + self.test_fraction
        require(held_out < 1, f"data.val_fraction + data.test_fraction must be below 1, not {held_out}.")
        require(
            self.folds is None or 0 <= self.fold < self.folds,
            f"data.fold must lie between 0 and data.folds - 1 = {(self.folds or 1) - 1}, not {self.fold}.",
        )
        require(
            len(self.image_size) == 2 and all(16 <= side <= 4096 for side in self.image_size),
            f"data.image_size must be [height,width] in pixels, each from 16 to 4096, not {list(self.image_size)}.",
        )
        if self.pattern is not None:
            try:
                names = re.compile(self.pattern).groupindex
            except re.error as error:
                raise GenderClsError(f"data.pattern is no regular expression ({error}): {self.pattern}") from None
            example = "(?P<identity>...) or (?P<camera>...)"
            require(bool(names), f"data.pattern has no named group such as {example}: {self.pattern}")

    @property
    def keeps_pixels(self) -> bool:
        """Whether decoded pixels are kept, so that an image is decoded once and not in every epoch."""
        return self.cache is not PixelCache.none


def dataset_name(data: DataConfig, choice: str | None) -> str:
    """The name of the data that are tested: the same for a run's own data and for data given to it later.

    The source or camera that `data.leave_out` makes the test split, else the chosen file of the group `data`, else the
    importer, the name of the table or of the folder. It can be the name of a folder.

    Args:
        choice: the chosen file of the group `data`; None if that is not known.
    """
    importer = data.importer.value if data.importer is not None else None
    chosen = choice if choice != "folders" else None
    csv, root = (Path(path or "") for path in (data.csv, data.root))
    name = next(filter(None, (data.leave_out, chosen, importer, csv.stem, root.name)), "")
    return folder_name(name, "data")


def folder_name(text: str, otherwise: str) -> str:
    """The text as the name of a folder; `otherwise` where it has no letter or digit."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-")[:100].strip(".") or otherwise


@dataclass
class DemoConfig:
    """Everything in `conf/demo.yaml`: how to draw the demo dataset."""

    folder: str = setting("outputs/demo_data", path="any")
    images: int = setting(600, least=48, unit="(8 people)")
    cue: bool = True
    seed: int = seed_setting()
