"""Whether the same people or the same images are in several splits."""

from dataclasses import dataclass

import pandas as pd

from gender_cls.config.data import SPLITS


@dataclass(frozen=True)
class Leaks:
    """What is in more than one split."""

    identities: int  # people in more than one split
    duplicates: int  # images with an exact copy in another split
    test_share: float  # share of the test images that show someone from train or equal an image there
    examples: str  # some of them, for a sentence

    def __bool__(self) -> bool:
        return bool(self.identities or self.duplicates)

    def sentence(self) -> str:
        """What leaks, in one sentence."""
        return (
            f"{self.identities} identities and {self.duplicates} exact copies stand in more than one split "
            f"({self.examples}): {self.test_share:.0%} of the test images show someone or something from train."
        )


def find_leaks(table: pd.DataFrame, pixels: pd.Series) -> Leaks:
    """Compare the splits.

    Args:
        table: one row per image, with path, identity and split; rows in no split are ignored.
        pixels: hash of each row's pixels (`scan`).
    """
    used = table["split"] != ""
    table, pixels = table[used], pixels[used]
    people = in_several(table["identity"].where(table["identity"] != ""), table["split"])
    copies = in_several(pixels, table["split"])
    train, test = table["split"] == "train", table["split"] == "test"
    seen = (people & table["identity"].isin(table["identity"][train])) | (copies & pixels.isin(pixels[train]))
    return Leaks(
        identities=int(table["identity"][people].nunique()),
        duplicates=int(copies.sum()),
        test_share=float(seen[test].mean()) if test.any() else 0.0,
        examples="; ".join([*_people(table[people]), *_copies(table[copies], pixels[copies])]),
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
