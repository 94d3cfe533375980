"""A copy of a clean dataset with known faults."""

import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

REENCODED = ("jpeg_90", "jpeg_75", "jpeg_50", "resized_90")
CROPPED = ("cropped_2", "cropped_4")
SINGLE_LABEL_CAMERA = "c9"


@dataclass
class Injected:
    """Which file has which fault."""

    root: Path  # the folder with train, val and test
    source: Path  # of the clean images
    swapped: dict[str, str] = field(default_factory=dict)  # identity -> its wrong label
    originals: dict[str, dict[str, str]] = field(default_factory=dict)  # by kind: copy -> its original in train
    broken: dict[str, str] = field(default_factory=dict)  # path -> fault
    hidden: list[str] = field(default_factory=list)  # images that must not be used
    cut_out: str = "train/FEMALE/cut-out_c8_0.png"  # a person on a transparent background


def inject(table: pd.DataFrame, source: Path, root: Path, copies: int, seed: int = 0) -> Injected:
    """Lay out `table` (path below `source`, label, identity, camera, split) as folders with faults.

    File names are `<identity>_<camera>_<number>.<suffix>`, without `_` in the first two.

    Args:
        copies: of each kind, from train into test.
    """
    rng = np.random.default_rng(seed)
    result = Injected(root, source)
    table = table.reset_index(drop=True)
    identity = table["identity"].str.replace("_", "-")
    camera = table["camera"].str.replace("_", "-")
    for name in rng.choice(np.unique(identity), max(round(0.05 * identity.nunique()), 1), replace=False):
        label = table["label"][identity == name].iloc[0]
        result.swapped[name] = "FEMALE" if label == "MALE" else "MALE"
    label = identity.map(result.swapped).fillna(table["label"])
    names = [
        f"{row.split}/{label[row.Index]}/{identity[row.Index]}_{camera[row.Index]}_{row.Index}{Path(row.path).suffix}"
        for row in table.itertuples()
    ]
    for name, path in zip(names, table["path"], strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(source / path, root / name)
    train = rng.permutation([name for name in names if name.startswith("train/")]).tolist()
    for kind in ("exact", *REENCODED, *CROPPED):
        originals = [train.pop() for _ in range(copies)]
        result.originals[kind] = {_copy(root, path, kind, number): path for number, path in enumerate(originals)}
    _break(result, source / table["path"].iloc[0])
    for name in [name for name in train if "/MALE/" in name][:12]:  # of people whom other cameras see too
        who, _, rest = Path(name).name.split("_")
        os.rename(root / name, (root / name).with_name(f"{who}_{SINGLE_LABEL_CAMERA}_{rest}"))
    return result


def _copy(root: Path, original: str, kind: str, number: int) -> str:
    """Put a changed copy of a training image into test, as a new person at an unknown camera; return its path."""
    image = Image.open(root / original).convert("RGB")
    name, _, amount = kind.partition("_")
    size = np.array(image.size)
    if name == "resized":
        image = image.resize((size * int(amount) / 100).round().astype(int).tolist(), Image.Resampling.BILINEAR)
    elif name == "cropped":
        share = int(amount) / 100
        image = image.crop((*(size * share).round().astype(int), *(size * (1 - share)).round().astype(int)))
    suffix, options = ("jpg", {"quality": int(amount)}) if name == "jpeg" else ("png", {})
    copy = f"test/{original.split('/')[1]}/copy-{kind.replace('_', '-')}-{number}_c8_0.{suffix}"
    image.save(root / copy, **options)
    return copy


def _break(result: Injected, image: Path) -> None:
    content = image.read_bytes()
    jpeg = BytesIO()
    Image.open(image).convert("RGB").save(jpeg, "JPEG", quality=90)
    half = jpeg.getvalue()[: len(jpeg.getvalue()) // 2]
    contents = {
        "empty": ("empty", "jpg", b""),
        "text": ("no_picture", "jpg", b"This is a note about the camera, not an image.\n"),
        "cut": ("damaged", image.suffix[1:], content[: len(content) // 2]),
        "closed": ("damaged", "jpg", half + b"\xff\xd9"),  # cut, but with an end marker
    }
    for name, (fault, suffix, data) in contents.items():
        for number in range(3):
            path = f"train/MALE/broken-{name}-{number}_c8_0.{suffix}"
            (result.root / path).write_bytes(data)
            result.broken[path] = fault
    noise = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)
    Image.fromarray(noise).resize((50, 120), Image.Resampling.NEAREST).save(result.root / result.cut_out)
    hidden = result.root / "train" / "MALE" / ".ipynb_checkpoints"
    hidden.mkdir()
    for number in range(2):
        (hidden / f"{number}{image.suffix}").write_bytes(content)
        result.hidden.append(f"train/MALE/.ipynb_checkpoints/{number}{image.suffix}")
