"""MATLAB files -> Python: structs whose fields are asked for by name, cells of text, published splits."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError, mat_struct

from gender_cls.errors import GenderClsError, require

SPLIT_OF_FIELD = {"train": "train", "trainval": "train", "val": "val", "test": "test"}


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a .mat file: structs as `mat_struct`, cells as arrays of objects, axes of length 1 dropped.

    Raises:
        GenderClsError: it is a MATLAB 7.3 (HDF5) file, or none that can be read.
    """
    try:
        return loadmat(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:  # what scipy raises for HDF5
        raise GenderClsError(
            f"{path} is a MATLAB 7.3 (HDF5) file, which is not read here: open it in MATLAB or Octave and save it "
            "again with save('-v7', ...)."
        ) from None
    except (MatReadError, ValueError, TypeError, OSError, zlib.error) as error:
        raise GenderClsError(f"{path} cannot be read as a MATLAB file ({error}): get it again.") from None


def variable(mat: dict[str, Any], name: str, path: Path) -> Any:
    """One of the variables of a file.

    Raises:
        GenderClsError: with those that are there.
    """
    there = [key for key in mat if not key.startswith("__")]
    require(name in mat, f"{path} has no variable '{name}', only {', '.join(there) or 'none'}: is it another file?")
    return mat[name]


def field(struct: Any, name: str, path: Path) -> Any:
    """A field of a struct.

    Raises:
        GenderClsError: with those that are there.
    """
    fields = struct._fieldnames if isinstance(struct, mat_struct) else []
    require(name in fields, f"{path} has no field '{name}', only {', '.join(fields) or 'none'}: is it another version?")
    return getattr(struct, name)


def texts(cell: Any, path: Path) -> list[str]:
    """The texts of a cell array.

    Raises:
        GenderClsError: it holds something else.
    """
    values = np.atleast_1d(np.asarray(cell, dtype=object)).ravel().tolist()
    values = [value.item() if isinstance(value, np.ndarray) and value.size == 1 else value for value in values]
    for value in values:
        require(isinstance(value, str), f"{path} holds {value!r} where a text was expected: is it another version?")
    return [value.strip() for value in values]


def matrix(value: Any, rows: int, path: Path) -> NDArray:
    """Numbers as (rows, columns).

    Raises:
        GenderClsError: they are no numbers, or another number of rows.
    """
    numbers = np.asarray(value)
    if rows == 1 and numbers.ndim == 1:
        numbers = numbers[None]  # the axis that reading dropped
    require(
        numbers.dtype.kind in "biuf" and numbers.ndim == 2 and len(numbers) == rows,
        f"{path} holds values of shape {numbers.shape} for {rows} images: it must be ({rows}, attributes).",
    )
    return numbers


def published_splits(partitions: Any, number: str, images: int, path: Path) -> NDArray[np.object_]:
    """Which split each image is in, in one of several published partitions.

    Args:
        partitions: cell or array of structs with the fields train (or trainval), val and test, with or without
            `_index` behind; each holds row numbers from 1.
        number: which partition, from 1.
        images: how many there are.
        path: the file, for errors.

    Returns:
        (images,) train, val, test, or empty for images that are in none.

    Raises:
        GenderClsError: there are fewer partitions, train or test is missing, or a row number is out of range or used
            twice.
    """
    entries: Sequence[Any] = np.atleast_1d(np.asarray(partitions, dtype=object)).ravel().tolist()
    require(
        1 <= int(number) <= len(entries), f"{path} holds {len(entries)} published splits: there is no number {number}."
    )
    entry = entries[int(number) - 1]
    while isinstance(entry, np.ndarray) and entry.size == 1:
        entry = entry.item()
    fields = entry._fieldnames if isinstance(entry, mat_struct) else []
    by_stem = {name.lower().removesuffix("_index"): name for name in fields}
    if "train" in by_stem:
        by_stem.pop("trainval", None)
    parts = {SPLIT_OF_FIELD[stem]: getattr(entry, name) for stem, name in by_stem.items() if stem in SPLIT_OF_FIELD}
    require(
        {"train", "test"} <= set(parts),
        f"The published split {number} of {path} has the fields {', '.join(fields) or 'none'}: expected train and "
        "test.",
    )
    split = np.full(images, "", dtype=object)
    for name, numbers in parts.items():
        rows = np.atleast_1d(np.asarray(numbers)).astype(np.int64) - 1
        require(
            rows.size == 0 or (rows.min() >= 0 and rows.max() < images),
            f"The published split {number} of {path} names image {rows.max(initial=0) + 1} in {name}, but there are "
            f"{images}.",
        )
        require(
            bool((split[rows] == "").all()) and len(np.unique(rows)) == len(rows),
            f"The published split {number} of {path} names images twice, some of them in {name}.",
        )
        split[rows] = name
    return split
