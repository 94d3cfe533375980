"""Images from anywhere, for a finished run -> a table."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.columns import label_names
from gender_cls.data.folders import FoundImage, Place, images_in, left_out_sentence
from gender_cls.data.same_files import file_identity, one_row_per_file
from gender_cls.errors import GenderClsError, has_odd_letters, visible

COLUMNS = ("path", "label", "identity", "camera", "source", "group")


class LooseImages(NamedTuple):
    """Images from anywhere, and the files that were left out."""

    rows: pd.DataFrame  # one per image with COLUMNS, sorted by path; "" where a value is unknown
    odd_names: list[str]  # images whose names cannot be written into a table
    left_out: Mapping[str, Sequence[str]]  # see `folders.LEFT_OUT`


def loose_images(paths: Sequence[Path], data: DataConfig, manifest: pd.DataFrame, root: Path) -> LooseImages:
    """What is known about images in files and folders.

    An image of the manifest has its row there. For another image, a folder around it with the name of a label, up to
    the named folder, gives the label (else `unknown`). `data.pattern` finds identity and camera as it does in training:
    in the path below `root`, or for an image elsewhere in the path below the named folder.

    Args:
        paths: absolute, of files and folders.
        root: the folder that the manifest's paths are relative to.

    Raises:
        GenderClsError: a folder cannot be read or holds no images, or an image has two labels.
    """
    images: dict[str, FoundImage] = {}  # by absolute path
    left_out: dict[str, list[str]] = {}
    for named in paths:
        if named.is_dir():
            found = images_in(named, data)
            for kind, names in found.left_out.items():
                left_out.setdefault(kind, []).extend(f"{named}/{name}" for name in names)
            if not found.images:
                raise GenderClsError(
                    f"There are no images under {named}: expected files such as .jpg, .png or .bmp. "
                    f"{left_out_sentence(found.left_out)}"
                )
            for image in found.images:
                images.setdefault(f"{named}/{image.path}", image)
        elif named.is_file():
            label = label_names(data).get(named.parent.name.lower(), "")
            images.setdefault(str(named), FoundImage(named.name, Place(label), file_identity(named)))
        else:
            raise GenderClsError(f"{visible(named)} is neither a file nor a folder: name images, or a folder of them.")
    odd = sorted(path for path in images if has_odd_letters(path))
    for path in odd:
        del images[path]
    table = pd.DataFrame({"path": list(images), "label": [image.place.label or UNKNOWN for image in images.values()]})
    table, again = one_row_per_file(table, Path("/"), [image.file for image in images.values()], "images")
    left_out["again"] = sorted([*left_out.get("again", []), *again])
    below = f"{root}/"
    if data.pattern is not None:
        groups = [group for group in re.compile(data.pattern).groupindex if group in COLUMNS[2:]]
        searched = [path[len(below) :] if path.startswith(below) else images[path].path for path in table["path"]]
        parts = pd.Series(searched, table.index, dtype="str").str.extract(data.pattern)
        table[groups] = parts[groups].fillna("")
    known = manifest.reindex(columns=list(COLUMNS[1:]), fill_value="")
    known.index = pd.Index([below + path for path in manifest["path"]], dtype="str")
    table = table.reindex(columns=list(COLUMNS), fill_value="").set_index("path").sort_index()
    table.update(known)
    return LooseImages(table.reset_index(), odd, left_out)
