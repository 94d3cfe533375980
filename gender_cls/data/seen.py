"""Which images of other data a run has seen already: copies of its own, and the same people."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.config.parsing import recorded_config
from gender_cls.data.image_store import HASH_BYTES
from gender_cls.data.near_duplicates import find_near_duplicates, hash_texts, hashes_of
from gender_cls.data.run_images import recorded_rows
from gender_cls.data.scan import scan
from gender_cls.errors import first_few, plural
from gender_cls.runs.run import Run

PERSON = ["identity", "source"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """(images,) masks; an image is in one of them at most."""

    copies: Mask  # the very same pixels
    near_copies: Mask  # near duplicates
    people: Mask  # further images of people whom the run knows
    remark: str | None  # what could not be looked for, and why

    @property
    def any(self) -> Mask:
        """(images,) whether the run has seen the image or the person."""
        return self.copies | self.near_copies | self.people

    def counts(self) -> dict[str, int | str | None]:
        """How many images of each kind, as plain values."""
        kinds = {name: int(getattr(self, name).sum()) for name in ("copies", "near_copies", "people")}
        return {"images": sum(kinds.values()), **kinds, "remark": self.remark}

    def sentence(self) -> str:
        """How many images of each kind."""
        return (
            f"{plural(int(self.copies.sum()), 'exact copy', 'exact copies')}, "
            f"{plural(int(self.near_copies.sum()), 'near copy', 'near copies')} and "
            f"{plural(int(self.people.sum()), 'further image')} of people whom the run knows"
        )


def find_seen(
    table: pd.DataFrame, root: Path, data: DataConfig, run: Run, cache: Path, data_root: Path | None = None
) -> Seen:
    """Compare images with those of the run's train and validation split: both have shaped its answers.

    A person is known by the same identity of the same source, or by a copy of one of the images. Where no source is
    known, equal identities mean one person only if both data lie in one folder or are read by the same importer:
    elsewhere, 0001 may be another person.

    Args:
        table: as `prepare.with_groups` makes it.
        root: the folder of these images.
        data: their configuration.
        cache: folder for the facts of images that were read before.
        data_root: where the run's images are now; None: where they were in training. They are read only if an earlier
            version did not record their hashes.
    """
    recorded = recorded_rows(run)
    rows = recorded[recorded["split"].isin(["train", "val"])].reset_index(drop=True)
    home = data_root or run.data_root
    trained = recorded_config(run.config_file).data
    known, remarks = _with_hashes(rows, trained, home, cache)
    copies = table["pixels"].isin(set(known["pixels"]) - {""}).to_numpy()
    hashes = np.concatenate([hashes_of(one["perceptual_hash"]) for one in (known, table)])
    where = np.repeat(["home", "here"], [len(known), len(table)])
    near = find_near_duplicates(hashes, data.near_duplicate_distance).touches_other(where)[len(known) :] & ~copies
    people, unclear = _known_people(table, known)
    if share_names(data, root, trained, [home, run.data_root]):
        people |= unclear
    named = (table["identity"] != "").to_numpy()
    people |= _persons(table).isin(_persons(table[(copies | near) & named])) & named
    people &= ~copies & ~near
    if (unclear := unclear & ~(copies | near | people)).any():
        names = first_few(table["identity"][unclear].unique())
        remarks.append(
            f"{plural(int(unclear.sum()), 'image')} of people called as in training ({names}) are tested: no source "
            "tells whether they are the same people."
        )
    own = table["pixels"].isin(set(recorded["pixels"][recorded["split"] == "test"]) - {""})
    if (own := own & ~(copies | near | people)).any():
        found = plural(int(own.sum()), "tested image is", "tested images are")
        remarks.append(f"{found} in the run's own test split, which is no other data.")
    return Seen(copies, near, people, " ".join(remarks) or None)


def share_names(data: DataConfig, root: Path, trained: DataConfig, homes: list[Path]) -> bool:
    """Whether the same name means the same here and at home: one folder, or one published dataset."""
    if data.importer is not None and data.importer is trained.importer:
        return True
    return any(root.is_relative_to(home) or home.is_relative_to(root) for home in homes)


def _persons(table: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[PERSON])


def _known_people(table: pd.DataFrame, known: pd.DataFrame) -> tuple[Mask, Mask]:
    """(images,) whether the run knows the person, and whether only the identity is the same."""
    known = known[known["identity"] != ""]
    sure = (_persons(table).isin(_persons(known))) & (table[PERSON] != "").all(axis=1).to_numpy()
    without = known["identity"][known["source"] == ""]
    here_without = table["identity"].isin(known["identity"]) & (table["source"] == "")
    return sure, (here_without | table["identity"].isin(without)).to_numpy() & ~sure


def _with_hashes(rows: pd.DataFrame, data: DataConfig, root: Path, cache: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows with the hashes of their images, and what is to be said of it.

    An earlier version recorded no perceptual hash, and one before it no hash of the pixels. Then the images are looked
    up again, as far as they are what they were.
    """
    rows = rows.assign(pixels=rows["pixels"].where(rows["pixels"].str.fullmatch(f"[0-9a-f]{{{2 * HASH_BYTES}}}"), ""))
    if (rows["perceptual_hash"] != "").any() or rows.empty:
        return rows, []
    there = rows[[(root / path).is_file() for path in rows["path"]]]
    facts = scan(there["path"].tolist(), root, cache, replace(data, cache=PixelCache.none)).facts.set_axis(there.index)
    same = (facts["fault"] == "") & ((there["pixels"] == "") | (there["pixels"] == facts["pixels"]))
    facts = facts[same]
    rows.loc[facts.index, "pixels"] = facts["pixels"]
    rows.loc[facts.index, "perceptual_hash"] = hash_texts(facts["perceptual_hash"])
    gone = len(rows) - len(facts)
    if not gone:
        return rows, []
    kinds = "Near copies" if (rows["pixels"] != "").all() else "Exact and near copies"
    return rows, [
        f"{kinds} of {gone} of the {plural(len(rows), 'image')} that the run was trained on cannot be found: an "
        f"earlier version did not record how they look, and they are no longer in {root}."
    ]
