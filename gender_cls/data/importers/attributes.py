"""Annotated attributes, found by name -> the labels and slices of a table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.errors import GenderClsError, first_few, require


@dataclass(frozen=True)
class Attributes:
    """A table of attributes.

    Raises:
        GenderClsError: there are more or fewer names than columns.
    """

    names: Sequence[str]
    values: NDArray  # (images, attributes): numbers, or texts of numbers
    annotation: Path  # the file they come from, for errors

    def __post_init__(self) -> None:
        require(
            self.values.ndim == 2 and self.values.shape[1] == len(self.names),
            f"{self.annotation} names {len(self.names)} attributes but holds values of shape {self.values.shape}: it "
            f"must be (images, {len(self.names)}).",
        )

    def column(self, *spellings: str) -> NDArray:
        """(images,) values of the attribute that has one of these names, in any capitals.

        Raises:
            GenderClsError: there is no such column, or more than one.
        """
        wanted = {name.lower() for name in spellings}
        found = [index for index, name in enumerate(self.names) if name.lower() in wanted]
        require(
            len(found) == 1,
            f"{self.annotation} has {len(found)} attributes named {' or '.join(spellings)}, expected 1 among "
            f"{first_few(self.names, most=8)}.",
        )
        return self.values[:, found[0]]

    def meanings(self, meaning: Mapping[int, str], *spellings: str) -> NDArray[np.object_]:
        """(images,) the text that each value of an attribute stands for.

        Args:
            meaning: of every value that may occur.
            spellings: possible names of the attribute; errors use the first.

        Raises:
            GenderClsError: a value has no meaning, or as for `column`.
        """
        series = pd.Series(self.column(*spellings))
        numbers = pd.to_numeric(series, errors="coerce")
        strange = series[~numbers.isin(list(meaning))]
        for row, value in zip(strange.index.tolist(), strange, strict=True):
            raise GenderClsError(
                f"{self.annotation} holds {spellings[0]} = '{value}' in row {row + 1}, the first of {len(strange)} "
                f"values that mean nothing: it must be {' or '.join(map(str, meaning))}."
            )
        return numbers.astype(int).map(meaning).to_numpy(dtype=object)

    def flagged(self, pattern: str, none: str = "", flag: int = 1) -> list[str]:
        """(images,) which attributes of a family have the value `flag`: `carryingBag`, `carryingCap` -> `bag;cap`.

        Args:
            pattern: matches the names of the family, in any capitals; its group is the plain name.
            none: for images that have none of them.
        """
        matches = [re.fullmatch(pattern, name, re.IGNORECASE) for name in self.names]
        names = np.array([match[1].lower() for match in matches if match], dtype=object)
        family = pd.DataFrame(self.values[:, [match is not None for match in matches]])
        has = family.apply(pd.to_numeric, errors="coerce").to_numpy() == flag
        combinations, inverse = np.unique(has, axis=0, return_inverse=True)
        texts = [";".join(names[flags]) or none for flags in combinations]
        return [texts[index] for index in inverse.ravel()]
