"""The demo dataset: drawn people before four cameras, with one planted cue for each label.

FEMALE and MALE are only names here. Everyone wears a panel of chevrons on the chest; they point up for FEMALE and down
for MALE. Build, clothes, poses, cameras and sizes come from the same distributions for both. So there is one thing to
learn, and it is known where a map must point.

Both patterns consist of the same edges in another order. Of two unlike patterns a network may learn the easier one
alone and answer the other label wherever it is missing; then there is no place in the image to point at.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.demo.cameras import CAMERAS, build_scene, take_shot
from gender_cls.demo.figures import Pattern, random_person
from gender_cls.errors import GenderClsError, one_line
from gender_cls.runs.locks import held
from gender_cls.system.progress import working

DRAWING_VERSION = 4
"""Raise it with any change that alters a pixel, so that older demo folders are drawn anew."""

MANIFEST = "manifest.csv"
SETTINGS = ".demo.json"
PATTERNS: tuple[Pattern, Pattern] = ("up", "down")  # for FEMALE and MALE

CASTING, PEOPLE, VISITS, SCENES, SHOTS = range(5)
"""Streams of random numbers that do not depend on each other: more people leave the scenes as they are."""


def draw_demo(folder: Path, *, images: int = 600, cue: bool = True, seed: int = 0) -> pd.DataFrame:
    """Writes FEMALE/*.jpg, MALE/*.jpg and manifest.csv into `folder`, unless they are there with the same arguments.

    About six images show each person. With `cue=False` the images are the same, and half of the people with each
    pattern get either label, so that no pixel tells the label. The same arguments give the same bytes (with the same
    Pillow and numpy). The folder appears whole or not at all; a demo dataset drawn with other arguments is replaced.

    Args:
        folder: new, empty, or an earlier demo dataset.
        images: how many, at least 24.
        cue: whether the chevrons go with the label.
        seed: 0 or above.

    Returns:
        The manifest, one row per image, sorted by `path` (posix, relative to `folder`): `path`, `label`, `identity`,
        `camera`, and the box of the panel in pixels of the image: `cue_left`, `cue_top`, `cue_right`,
        `cue_bottom` (right and bottom exclusive).

    Raises:
        GenderClsError: the folder holds something else, or cannot be written.
    """
    settings = json.dumps({"images": images, "cue": cue, "seed": seed, "version": DRAWING_VERSION}) + "\n"
    if not _is_drawn(folder, settings):
        if folder.exists() and not (folder / SETTINGS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise GenderClsError(f"{folder} is not a demo dataset: name another folder, or an empty one.")
        lock = folder.with_name(f".{folder.name}.lock")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with held(lock, patient=True):
                if not _is_drawn(folder, settings):  # another process may have drawn it meanwhile
                    _replace(folder, settings, images=images, cue=cue, seed=seed)
        except OSError as error:
            raise GenderClsError(
                f"The demo dataset cannot be drawn into {folder} ({one_line(error)}): name another folder."
            ) from None
    return pd.read_csv(folder / MANIFEST)


def _is_drawn(folder: Path, settings: str) -> bool:
    written, manifest = folder / SETTINGS, folder / MANIFEST
    if not written.is_file() or written.read_text(encoding="utf-8") != settings or not manifest.is_file():
        return False
    return all((folder / path).is_file() for path in pd.read_csv(manifest)["path"])


def _replace(folder: Path, settings: str, *, images: int, cue: bool, seed: int) -> None:
    """Draws next to `folder` and moves the finished dataset there, so that a killed process leaves no half of one."""
    work = folder.with_name(f".{folder.name}.drawing")
    shutil.rmtree(work, ignore_errors=True)  # left by a killed process
    work.mkdir()
    try:
        _draw_images(work / "new", images=images, cue=cue, seed=seed)
        (work / "new" / SETTINGS).write_text(settings, encoding="utf-8")
        if folder.exists():
            folder.rename(work / "old")
        (work / "new").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _draw_images(folder: Path, *, images: int, cue: bool, seed: int) -> None:
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    cameras = list(CAMERAS.items())
    scenes = [build_scene(camera, np.random.default_rng([seed, SCENES, i])) for i, (_, camera) in enumerate(cameras)]
    people = max(4, 4 * round(images / 24))  # a multiple of 4: without the cue, both labels get half of each pattern
    cards = np.random.default_rng([seed, CASTING]).permutation(people)
    rows = []
    with working("Drawing the demo dataset", people, "people") as work:
        for number, card in enumerate(cards):
            identity, pattern = f"person{number + 1:03d}", card % 2
            label = CLASSES[pattern if cue else card // 2 % 2]
            person = random_person(np.random.default_rng([seed, PEOPLE, number]))
            rng = np.random.default_rng([seed, VISITS, number])
            passed = rng.permutation(len(CAMERAS))[: rng.integers(2, 4, endpoint=True)]  # two to four cameras
            for visit in range(images // people + (number < images % people)):
                place = passed[visit % len(passed)]
                name, camera = cameras[place]
                rng = np.random.default_rng([seed, SHOTS, number, visit])
                image, box = take_shot(scenes[place], camera, person, PATTERNS[pattern], rng)
                path = f"{label}/{identity}_{name}_{visit + 1:02d}.jpg"
                image.save(folder / path, quality=camera.quality)
                rows.append((path, label, identity, name, *box))
            work.advance()
    columns = ["path", "label", "identity", "camera", "cue_left", "cue_top", "cue_right", "cue_bottom"]
    pd.DataFrame(rows, columns=columns).sort_values("path").to_csv(folder / MANIFEST, index=False)
