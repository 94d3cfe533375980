"""Sheets of maps: strips of a few images, or of the means of groups, with what a page writes below each strip.

They are made once, when a run is tested; a report shows them each time that it is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gender_cls.drawing.canvas import webp_bytes
from gender_cls.drawing.map_grid import MapColumn
from gender_cls.drawing.map_overviews import map_strip
from gender_cls.errors import GenderClsError
from gender_cls.explain.image_maps import STRIP_HEIGHT, SUBFOLDER
from gender_cls.runs.files import read_json, write_atomically
from gender_cls.runs.result_folder import ResultFolder


@dataclass(frozen=True)
class Sheet:
    """Strips of the same maps."""

    maps: list[str]  # what stands above each map; the picture that it explains comes first
    strips: list[tuple[bytes, dict[str, Any]]]  # WebP, and its caption: what `write_sheet` was given


def write_sheet(
    folder: ResultFolder,
    name: str,
    images: Tensor | Sequence[NDArray],
    columns: Sequence[MapColumn],
    captions: Sequence[Mapping[Any, Any]],
) -> None:
    """Write the strips and, last, the JSON file that says that they are complete.

    Args:
        images: (N, 3, H, W), uint8.
        columns: the maps, (N, H, W) each.
        captions: for each strip, `path`, `label`, `prediction` and `p_FEMALE` of an image, or `group` and `images`.
    """
    entries = []
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        maps = [(np.asarray(column.maps)[index], column.signed) for column in columns]
        picture = f"{name}_{index + 1:02d}.webp"
        strip = Image.fromarray(map_strip(np.asarray(image), maps, STRIP_HEIGHT))
        write_atomically(_folder(folder) / picture, webp_bytes(strip))
        entries.append({"picture": picture, **caption})
    content = {"maps": [column.title for column in columns], "strips": entries}
    write_atomically(sheet_file(folder, name), json.dumps(content, indent=2) + "\n")


def sheet_file(folder: ResultFolder, name: str) -> Path:
    """The file that is there once the sheet is complete."""
    return _folder(folder) / f"{name}.json"


def read_sheet(folder: ResultFolder, name: str) -> Sheet | None:
    """The sheet; None if there is none.

    Raises:
        GenderClsError: it is damaged, or a strip is missing.
    """
    file = sheet_file(folder, name)
    if not file.exists():
        return None
    content = read_json(file)
    try:
        strips = [(_folder(folder).joinpath(one.pop("picture")).read_bytes(), one) for one in content["strips"]]
        return Sheet(list(content["maps"]), strips)
    except (KeyError, TypeError, AttributeError, FileNotFoundError):
        raise GenderClsError(f"{file} or one of its strips is damaged: remove this file and evaluate again.") from None


def _folder(folder: ResultFolder) -> Path:
    return folder.folder / SUBFOLDER
