"""What must lie on disk: annotation files, and the images they name."""

import os
from collections.abc import Collection
from pathlib import Path

from gender_cls.errors import GenderClsError, first_few, plural, require


def needed(root: Path, *places: str, terms: str) -> Path:
    """The first of `places` (files or folders relative to `root`, as users keep them) that exists, absolute.

    Args:
        terms: where to get the dataset and what its licence demands, as a part of a sentence.

    Raises:
        GenderClsError: none of them exists.
    """
    for place in places:
        if (root / place).exists():
            return root / place
    looked = " and ".join(str(root / place) for place in places)
    name = places[0].rpartition("/")[2]
    raise GenderClsError(f"{name} is missing: looked for {looked}; nothing is downloaded, so {terms}.")


def check_images(root: Path, paths: Collection[str], dataset: str) -> None:
    """Refuse annotations of images that do not exist. Each folder is listed once.

    Args:
        paths: relative to `root`, with `/` between folders.

    Raises:
        GenderClsError: with how many are missing, and some of them.
    """
    folders = [folder for folder in set(map(os.path.dirname, paths)) if os.path.isdir(root / folder)]
    present = {os.path.join(folder, name) for folder in folders for name in os.listdir(root / folder)}
    missing = [path for path in paths if path not in present]
    require(
        not missing,
        f"The annotations of {dataset} name {plural(len(missing), 'image that does', 'images that do')} not exist "
        f"under {root}: {first_few(missing)}; unpack the dataset's images there, or point data.root to where they are.",
    )
