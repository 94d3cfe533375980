"""A copy of a clean dataset with faults put in, and the record of which file has which."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

REENCODED = ("jpeg_90", "jpeg_75", "jpeg_50", "resized_90")
CROPPED = ("cropped_2", "cropped_4")


@dataclass
class Injected:
    """What was done.

    Attributes:
        root: the folder with train, val and test.
        source: where the clean pictures lie.
        swapped: identity -> the label it carries now.
        originals: copy -> the image in train that it was made from, by kind of copy.
        broken: path -> fault.
        hidden: pictures that must be passed over.
        single_label_camera: its name.
    """

    root: Path
    source: Path
    swapped: dict[str, str] = field(default_factory=dict)
    originals: dict[str, dict[str, str]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    single_label_camera: str = "c9"


def inject(table: pd.DataFrame, source: Path, root: Path, copies: int, seed: int = 0) -> Injected:
    """Lay out `table` (path below `source`, label, identity, camera, split) as folders, faults included.

    File names become `<identity>_<camera>_<number>.<suffix>`, without `_` in the first two.

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
    _copy(result, train, copies)
    _break(result, source / table["path"].iloc[0])
    for name in [name for name in train if "/MALE/" in name][:12]:  # of people whom other cameras see too
        who, _, rest = Path(name).name.split("_")
        os.rename(root / name, (root / name).with_name(f"{who}_{result.single_label_camera}_{rest}"))
    return result


def _copy(result: Injected, train: list[str], copies: int) -> None:
    """Put copies of training images into test, each of another kind, as somebody new at an unknown camera."""
    for kind in ("exact", *REENCODED, *CROPPED):
        result.originals[kind] = {}
        for number in range(copies):
            original = train.pop()
            label = original.split("/")[1]
            picture = Image.open(result.root / original).convert("RGB")
            width, height = picture.size
            suffix, options = "png", {}
            if kind.startswith("jpeg"):
                suffix, options = "jpg", {"quality": int(kind[5:])}
            elif kind == "resized_90":
                picture = picture.resize((round(width * 0.9), round(height * 0.9)), Image.Resampling.BILINEAR)
            elif kind.startswith("cropped"):
                share = int(kind[8:]) / 100
                picture = picture.crop(
                    (
                        round(width * share),
                        round(height * share),
                        round(width * (1 - share)),
                        round(height * (1 - share)),
                    )
                )
            copy = f"test/{label}/copy-{kind.replace('_', '-')}-{number}_c8_0.{suffix}"
            picture.save(result.root / copy, **options)
            result.originals[kind][copy] = original


def _break(result: Injected, picture: Path) -> None:
    content = picture.read_bytes()
    contents = {
        "empty": ("jpg", b""),
        "no_picture": ("jpg", b"This is a note about the camera, not a picture.\n"),
        "damaged": (picture.suffix[1:], content[: len(content) // 2]),
    }
    for fault, (suffix, data) in contents.items():
        for number in range(3):
            path = f"train/MALE/broken-{fault.replace('_', '-')}-{number}_c8_0.{suffix}"
            (result.root / path).write_bytes(data)
            result.broken[path] = fault
    hidden = result.root / "train" / "MALE" / ".ipynb_checkpoints"
    hidden.mkdir()
    for number in range(2):
        (hidden / f"{number}{picture.suffix}").write_bytes(content)
        result.hidden.append(f"train/MALE/.ipynb_checkpoints/{number}{picture.suffix}")
