"""What must lie on disk: annotation files, and the images they name."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from gender_cls.data.image_files import IMAGE_SUFFIXES
from gender_cls.errors import GenderClsError, first_few, require


def needed_file(root: Path, places: Sequence[str], terms: str) -> Path:
    """The first of `places` (relative to `root`) that is a file.

    Args:
        root: `data.root`.
        places: where the dataset's users keep the file.
        terms: where one gets the dataset and what its licence demands, as a part of a sentence.

    Raises:
        GenderClsError: none of them is there.
    """
    for place in places:
        if (root / place).is_file():
            return root / place
    raise GenderClsError(
        f"{places[0].rpartition('/')[2]} is missing: looked for {' and '.join(str(root / place) for place in places)}; "
        f"nothing is downloaded, so {terms}."
    )


def needed_folder(root: Path, places: Sequence[str], terms: str) -> str:
    """The first of `places` (relative to `root`) that is a folder, as it stands there.

    Raises:
        GenderClsError: none of them is there.
    """
    for place in places:
        if (root / place).is_dir():
            return place
    raise GenderClsError(
        f"The folder of images is missing: looked for {' and '.join(str(root / place) for place in places)}; nothing "
        f"is downloaded, so {terms}."
    )


def image_names(folder: Path) -> list[str]:
    """The images in a folder, sorted; hidden files and other kinds are passed over."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
        )


def check_images(root: Path, paths: Iterable[str], annotation: Path) -> None:
    """Refuse annotations of images that are not there. Each folder is listed once.

    Args:
        root: what `paths` are relative to.
        paths: with `/` between folders.
        annotation: the file that names them.

    Raises:
        GenderClsError: with how many are missing, and some of them.
    """
    by_folder = defaultdict(list)
    for path in paths:
        folder, _, name = path.rpartition("/")
        by_folder[folder].append(name)
    missing = []
    for folder, names in by_folder.items():
        present = set(os.listdir(root / folder)) if (root / folder).is_dir() else set()
        missing += [f"{folder}/{name}" for name in names if name not in present]
    require(
        not missing,
        f"{annotation} names {len(missing)} images that do not exist under {root}: {first_few(missing)}; unpack the "
        "dataset's images there, or point data.root to where they are.",
    )
