"""Whether the test split shows what was seen in training: the same people, the same pictures."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from gender_cls.config.data import SPLITS
from gender_cls.errors import GenderClsError


@dataclass(frozen=True)
class Leaks:
    """What stands in more than one split.

    Attributes:
        identities: people in more than one split.
        duplicates: images with an exact copy in another split.
        test_share: share of the test images that show someone from train or equal an image there.
        examples: some of them, for a sentence.
    """

    identities: int
    duplicates: int
    test_share: float
    examples: str

    def __bool__(self) -> bool:
        return bool(self.identities or self.duplicates)

    def sentence(self) -> str:
        """What leaks, in one sentence."""
        return (
            f"{self.identities} identities and {self.duplicates} exact copies stand in more than one split "
            f"({self.examples}): {self.test_share:.0%} of the test images show someone or something from train."
        )

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def find_leaks(table: pd.DataFrame, pixels: pd.Series) -> Leaks:
    """Compare the splits.

    Args:
        table: a row an image, with path, identity and split; rows in no split do not count.
        pixels: hash of each row's pixels (`scan`).
    """
    dealt = table["split"] != ""
    table, pixels = table[dealt], pixels[dealt]
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
    """Whether each row's key occurs with more than one value; missing keys and values do not count."""
    pairs = pd.DataFrame({"key": key, "value": value}).dropna().drop_duplicates()
    return key.isin(pairs["key"][pairs["key"].duplicated()]) & value.notna()


def _people(table: pd.DataFrame) -> list[str]:
    first = table[table["identity"].isin(table["identity"].unique()[:3])]
    splits = first.groupby("identity")["split"].agg(set)
    return [
        f"{identity} in {' and '.join(split for split in SPLITS if split in seen)}" for identity, seen in splits.items()
    ]


def _copies(table: pd.DataFrame, pixels: pd.Series) -> list[str]:
    paths = table.assign(pixels=pixels).drop_duplicates(["pixels", "split"]).groupby("pixels", sort=False)["path"]
    return [f"{one} = {other}" for one, other, *_ in paths.agg(list).head(2)]


def stop_on_leak(leaks: Leaks, allowed: bool) -> None:
    """Refuse a split that would make the numbers worthless.

    Raises:
        GenderClsError: something leaks, and that is not allowed.
    """
    if leaks and not allowed:
        raise GenderClsError(
            f"{leaks.sentence()} The scores would measure memory: remove the given split and let whole people be "
            "dealt, or keep it with data.allow_leaks=true, which marks the results as leaky."
        )
