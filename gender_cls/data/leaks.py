"""Whether the same people, the same images or nearly the same ones are in several splits."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import SPLITS
from gender_cls.data.near_duplicates import NearDuplicates
from gender_cls.errors import plural

NEAR_TOLERATED = 0.01  # share of val or of test; among very many images a few look alike by chance


@dataclass(frozen=True)
class Leaks:
    """What is in more than one split."""

    identities: int  # people in more than one split
    duplicates: int  # images with an exact copy in another split
    near_duplicates: int  # other images with a near duplicate in another split
    near_share: float  # share of such images in val or in test, whichever is larger; below NEAR_TOLERATED it is no leak
    test_share: float  # share of the test images that show someone from train, or are exact or near copies from there
    examples: str  # some of them, for a sentence

    def __bool__(self) -> bool:
        return bool(self.identities or self.duplicates or self.near_share >= NEAR_TOLERATED)

    def sentence(self) -> str:
        """What is in more than one split, in one sentence."""
        people = plural(self.identities, "identity", "identities")
        copies, alike = (
            plural(self.duplicates, "exact copy", "exact copies"),
            plural(self.near_duplicates, "near duplicate"),
        )
        return (
            f"{people}, {copies} and {alike} are in more than one split ({self.examples}): {self.test_share:.1%} of "
            "the test images show someone or something from train."
        )


def find_leaks(table: pd.DataFrame, pixels: pd.Series, near: NearDuplicates) -> Leaks:
    """Compare the splits.

    Args:
        table: one row per image, with path, identity and split; rows in no split are ignored.
        pixels: hash of each row's pixels (`scan`).
        near: near duplicates among the rows.
    """
    used = (table["split"] != "").to_numpy()
    held_out = table["split"].where(table["split"].isin(["train", "test"]), "")
    alike, alike_in_train = near.touches_other(table["split"])[used], near.touches_other(held_out)[used]
    whole, table, pixels = table, table[used], pixels[used]
    people = in_several(table["identity"].where(table["identity"] != ""), table["split"])
    copies = in_several(pixels, table["split"])
    train, test = table["split"] == "train", table["split"] == "test"
    seen = (people & table["identity"].isin(table["identity"][train])) | (copies & pixels.isin(pixels[train]))
    alike &= ~copies.to_numpy()
    seen |= alike_in_train
    shares = pd.Series(alike, index=table.index).groupby(table["split"]).mean().reindex(["val", "test"], fill_value=0)
    return Leaks(
        identities=int(table["identity"][people].nunique()),
        duplicates=int(copies.sum()),
        near_duplicates=int(alike.sum()),
        near_share=float(shares.max()),
        test_share=float(seen[test].mean()) if test.any() else 0.0,
        examples="; ".join(
            [
                *_people(table[people]),
                *_copies(table[copies], pixels[copies]),
                *_alike(whole, near, np.flatnonzero(used)[alike & ~(train.to_numpy())]),
            ]
        ),
    )


def in_several(key: pd.Series, value: pd.Series) -> pd.Series:
    """(rows,) whether the key occurs with more than one value; missing keys and values are ignored."""
    pairs = pd.DataFrame({"key": key, "value": value}).dropna().drop_duplicates()
    return key.isin(pairs["key"][pairs["key"].duplicated()]) & value.notna()


def _people(table: pd.DataFrame) -> list[str]:
    first = table[table["identity"].isin(table["identity"].unique()[:3])]
    splits = first.groupby("identity")["split"].agg(lambda seen: " and ".join(sorted(set(seen), key=SPLITS.index)))
    return [f"{identity} in {names}" for identity, names in splits.items()]


def _copies(table: pd.DataFrame, pixels: pd.Series) -> list[str]:
    paths = table.assign(pixels=pixels).drop_duplicates(["pixels", "split"]).groupby("pixels", sort=False)["path"]
    return [f"{one} = {other}" for one, other, *_ in paths.agg(list).head(2)]


def _alike(table: pd.DataFrame, near: NearDuplicates, rows: NDArray[np.intp]) -> list[str]:
    """The first two of these rows, each with its nearest row of another split."""
    examples = []
    for row in rows[:2]:
        other = near.nearest(((table["split"] != "") & (table["split"] != table["split"].iloc[row])).to_numpy())[row]
        examples.append(f"{table['path'].iloc[other]} looks like {table['path'].iloc[row]}")
    return examples
