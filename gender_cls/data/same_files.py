"""One row per image: the same file under another name, by a link, another spelling or another form of a letter."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.errors import GenderClsError, visible

UNKNOWN_FILE = (0, 0)


def file_identity(path: str | Path) -> tuple[int, int]:
    """Device and inode, which all names of a file share; UNKNOWN_FILE if there is no regular file."""
    try:
        status = os.stat(path)
    except OSError:
        return UNKNOWN_FILE
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else UNKNOWN_FILE


def one_row_per_file(
    table: pd.DataFrame, root: Path, files: Sequence[tuple[int, int]], where: object
) -> tuple[pd.DataFrame, list[str]]:
    """The table without rows whose image another row names too, and the sorted paths of those rows.

    Two paths name one image if they lead to one file, or if they differ only in the form of their letters (Unicode NFC,
    NFD) and the files hold the same bytes. A real file stays rather than a link to it, else the first name.

    Args:
        table: with `path`, relative to `root`, and further columns.
        files: the `file_identity` of each row; a wrong one does no harm where the path itself leads elsewhere.
        where: what names the images, for errors.

    Raises:
        GenderClsError: two rows of one image have different labels, or differ in another column.
    """
    paths = table["path"].tolist()
    normal = [path if path.isascii() else unicodedata.normalize("NFC", path) for path in paths]
    alike = pd.Series(normal).duplicated(keep=False).to_numpy()
    known = np.array(files, dtype=np.uint64).reshape(-1, 2)
    shared = pd.DataFrame(known).duplicated(keep=False).to_numpy() & (known != UNKNOWN_FILE).all(axis=1)
    first: dict[Hashable, int] = {}
    repeated = []
    candidates = [(row, str(root / paths[row])) for row in np.flatnonzero(alike | shared).tolist()]
    for row, file in sorted(candidates, key=lambda candidate: (os.path.islink(candidate[1]), *candidate[::-1])):
        if not os.path.isfile(file):  # reading it says so
            continue
        status = os.stat(file)  # size and time too, because some network storage invents inodes
        keys: list[Hashable] = [(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)]
        if alike[row]:
            keys.append((normal[row], hashlib.sha256(Path(file).read_bytes()).digest()))
        same = next((first[key] for key in keys if key in first), row)
        first.update(dict.fromkeys(keys, same))
        if same != row:
            _check_agreement(table.iloc[same], table.iloc[row], where)
            repeated.append(row)
    return table.drop(index=table.index[repeated]), sorted(paths[row] for row in repeated)


def _check_agreement(one: pd.Series, other: pd.Series, where: object) -> None:
    for column in one.index.drop("path"):
        if one[column] != other[column]:
            what = f"two {column}s" if column in ("label", "split") else f"two values of {column}"
            names = " and ".join(f"{visible(row['path'])} ({visible(row[column])})" for row in (one, other))
            raise GenderClsError(f"{names} are one image with {what} in {where}: keep the right one.")
