"""Annotated attributes, found by name -> the labels and slices of a table."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gender_cls.config.data import DataConfig
from gender_cls.errors import GenderClsError, first_few, require


def check_published_split(data: DataConfig, choices: Sequence[str]) -> None:
    """Refuse a `data.published_split` that the dataset does not have.

    Raises:
        GenderClsError: with the choices.
    """
    assert data.importer is not None
    require(
        data.published_split is None or data.published_split in choices,
        f"data.published_split={data.published_split} is no split of {data.importer.value}: it must be "
        f"{', '.join(choices)} or null (the images are dealt anew).",
    )


def column(names: Sequence[str], values: NDArray, wanted: Sequence[str], annotation: Path) -> NDArray:
    """The values of one attribute, by its name.

    Args:
        names: (attributes,) of the columns.
        values: (images, attributes).
        wanted: the name, and other spellings of it.
        annotation: the file they come from, for errors.

    Returns:
        (images,) values.

    Raises:
        GenderClsError: no column, or more than one, has that name; or there are more names than columns.
    """
    check_shape(names, values, annotation)
    found = [index for index, name in enumerate(names) if name in wanted]
    require(
        len(found) == 1,
        f"{annotation} has {len(found)} attributes named {' or '.join(wanted)}, expected 1 among "
        f"{first_few(names, most=8)}.",
    )
    return values[:, found[0]]


def check_shape(names: Sequence[str], values: NDArray, annotation: Path) -> None:
    """Refuse annotations whose names and columns are not as many.

    Raises:
        GenderClsError: with both numbers.
    """
    require(
        values.ndim == 2 and values.shape[1] == len(names),
        f"{annotation} names {len(names)} attributes but holds values of shape {values.shape}: it must be (images, "
        f"{len(names)}).",
    )


def meanings(values: ArrayLike, meaning: Mapping[int, str], field: str, annotation: Path) -> NDArray[np.object_]:
    """What each value stands for.

    Args:
        values: (images,) numbers, or digits.
        meaning: of every value that may occur.
        field: the attribute's name, for errors.
        annotation: the file it comes from, for errors.

    Returns:
        (images,) strings.

    Raises:
        GenderClsError: a value has no meaning.
    """
    series = pd.Series(np.asarray(values))
    numbers = pd.to_numeric(series, errors="coerce")
    strange = ~numbers.isin(list(meaning))
    if strange.any():
        row = int(np.argmax(strange.to_numpy()))
        raise GenderClsError(
            f"{annotation} holds {field} = '{series[row]}' in row {row + 1}, the first of {strange.sum()} values that "
            f"mean nothing: it must be {' or '.join(map(str, meaning))}."
        )
    return numbers.astype(int).map(meaning).to_numpy(dtype=object)


def flagged(names: Sequence[str], values: NDArray, pattern: str, none: str = "") -> list[str]:
    """Which of a family of attributes each image has: `carryingBackpack` and `carryingOther` -> `backpack;other`.

    Args:
        names: (attributes,).
        values: (images, attributes); 1 means that the image has it.
        pattern: matches the names of the family; its group is the plain name.
        none: for images that have none of them.

    Returns:
        (images,) plain names in lower case, joined by semicolons.
    """
    matches = [re.fullmatch(pattern, name) for name in names]
    family = [(index, match[1].lower()) for index, match in enumerate(matches) if match]
    has = values[:, [index for index, _ in family]] == 1
    combinations, inverse = np.unique(has, axis=0, return_inverse=True)
    texts = [
        ";".join(name for (_, name), flag in zip(family, flags, strict=True) if flag) or none for flags in combinations
    ]
    return [texts[index] for index in inverse.ravel()]
