"""Images that must stay in one split: of one person, near duplicates, consecutive frames."""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gender_cls.data.near_duplicates import NearDuplicates
from gender_cls.errors import GenderClsError, visible

log = logging.getLogger(__name__)

GIANT = 1 / 3  # share of all images; one person rarely has so many
FEWEST_OF_GIANT = 10  # images
LARGE = 0.1  # share of all images; with a larger group the sizes of the splits may be wrong


def group_images(table: pd.DataFrame, pixels: pd.Series, near: NearDuplicates, frame_gap: int) -> NDArray[np.intp]:
    """(rows,) the group of each image, numbered in the order of first appearance.

    Two images are linked if they show the same identity, are exact or near duplicates, or are consecutive frames (see
    `_consecutive`). Images that a chain of links connects are one group.

    Args:
        table: one row per image, with identity, camera and source; `frame` and `sequence` if known.
        pixels: (rows,) hash of each image's pixels.
        near: near duplicates among the rows.
        frame_gap: frames at most this far apart are consecutive.
    """
    rows = np.arange(len(table))
    edges = [_consecutive(table, frame_gap)]
    nodes = len(table)  # one per image, then one per person, per hash of pixels and per cluster of near duplicates
    for keys in (table["identity"].mask(table["identity"] == ""), pixels, near.clusters()):
        codes, names = pd.factorize(keys)
        known = codes >= 0
        edges.append(np.stack([rows[known], nodes + codes[known]]))
        nodes += len(names)
    start, end = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(nodes, nodes))
    components = connected_components(graph, directed=False)[1][: len(table)]
    groups = pd.factorize(components)[0]
    largest = np.bincount(groups).max(initial=0)
    if largest > max(LARGE * len(groups), 50):
        log.warning(
            "One group of images that belong together (a person, near duplicates, consecutive frames) holds "
            f"{largest} of {len(groups)}: the splits may get wrong sizes. A smaller data.near_duplicate_distance or "
            "data.frame_gap makes groups smaller."
        )
    return groups


def one_person_sentence(table: pd.DataFrame) -> str:
    """A question about an identity of at least a third of the images, which may mean nobody; empty if there is none."""
    people = table["identity"][table["identity"] != ""].value_counts()
    if people.empty or people.iloc[0] < max(GIANT * len(table), FEWEST_OF_GIANT):
        return ""
    return (
        f"{people.iloc[0]} of {len(table)} images have the identity {visible(people.index[0])}: is that one person? If "
        "it stands for nobody, leave the identity of these images empty."
    )


def _consecutive(table: pd.DataFrame, gap: int) -> NDArray[np.intp]:
    """(2, pairs) rows that follow each other in one recording (source, camera, sequence), at most `gap` frames apart.

    Two images whose identities are both known are not linked: people in one frame may differ.
    """
    if "frame" not in table or not (table["frame"] != "").any():
        return np.empty((2, 0), dtype=np.intp)
    known = table[table["frame"] != ""]
    frames = pd.to_numeric(known["frame"], errors="coerce")
    for row in known[frames.isna()].itertuples():
        raise GenderClsError(
            f"The column frame holds '{row.frame}' for {row.path}: it must be a whole number; correct data.pattern or "
            "the table."
        )
    where = [column for column in ("source", "camera", "sequence") if column in known]
    recording = known.groupby(where, sort=False).ngroup().to_numpy()
    order = np.lexsort((frames, recording))
    first, second = order[:-1], order[1:]
    named, near = (known["identity"] != "").to_numpy(), np.diff(frames.to_numpy()[order]) <= gap
    linked = (recording[first] == recording[second]) & near & ~(named[first] & named[second])
    return known.index.to_numpy()[np.stack([first[linked], second[linked]])]
