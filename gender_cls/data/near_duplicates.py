"""Near duplicates: hashes that altered copies of an image nearly share, and all pairs of hashes a few bits apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gender_cls.errors import GenderClsError

SIDE = 32  # pixels of the luma grid
FLAT_DEVIATION = 2.0  # of luma (0 to 255); as small as one step of a JPEG's block means at quality 50
SILENT = 1e-3  # a wave's weight that counts as none; rounding and JPEG noise may give as much
CHUNKS, CHUNK_BITS = 4, 16
ROWS_PER_FLIP = 4  # with fewer rows, comparing all pairs is quicker than a search for each flip
BLOCK = 1 << 18  # pairs compared at once
MOST_PAIRS = 50_000_000  # of 8 bytes; chance makes far fewer, so many come from images that differ in noise only


def _lowest_waves() -> NDArray[np.float32]:
    """(64, SIDE * SIDE) the cosines of the lowest frequencies above zero, from low to high.

    A Gaussian window (standard deviation: half a side) reduces the weight of the border, which a crop cuts off. Each
    windowed wave sums to zero, so that the mean of the image has no influence.
    """
    position = (np.arange(SIDE) + 0.5) / SIDE
    cosines = np.cos(np.pi * np.arange(SIDE)[:, None] * position)
    vertical, horizontal = (grid.ravel() for grid in np.indices((SIDE, SIDE)))
    lowest = np.lexsort((vertical, vertical**2 + horizontal**2))[1:65]
    waves = cosines[vertical[lowest], :, None] * cosines[horizontal[lowest], None, :]
    profile = np.exp(-0.5 * (2 * position - 1) ** 2)
    window = np.outer(profile, profile) / profile.sum() ** 2
    waves = (waves - (waves * window).sum(axis=(1, 2), keepdims=True)) * window
    return waves.reshape(64, -1).astype(np.float32)


_WAVES = _lowest_waves()


def perceptual_hash(image: Image.Image) -> int:
    """Signs of the lowest cosine waves of the equalised luma: 64 bits, or 0 ("no hash") for a flat image.

    Follows pHash (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010) with three
    changes that find more cropped copies among CCTV crops at equally few false pairs: luma is replaced by its rank
    in the image (exposure and gamma no longer matter), the border weighs less, and the waves fill a quarter circle
    of frequencies instead of a square. Colour is ignored, because infrared cameras see none.
    """
    luma = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    if luma.std() < FLAT_DEVIATION:
        return 0
    counts = np.bincount(luma.ravel(), minlength=256)
    rank = ((counts.cumsum() - counts / 2) / luma.size).astype(np.float32)  # equal lumas share their middle rank
    bits = rank[luma].ravel() @ _WAVES.T > SILENT
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hash_texts(hashes: pd.Series) -> pd.Series:
    """The hashes as a table keeps them: 16 hexadecimal digits, empty for no hash."""
    return hashes.map(lambda value: f"{value:016x}" if value else "").astype(str)


def hashes_of(texts: pd.Series) -> NDArray[np.uint64]:
    """The hashes that these texts stand for; any other text is no hash."""
    valid = texts.str.fullmatch(r"[0-9a-f]{16}")
    digits = "".join(texts.where(valid, "0" * 16).tolist())
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


@dataclass(frozen=True)
class NearDuplicates:
    """Which rows have equal or near hashes; a row without a hash is near to no other row."""

    codes: NDArray[np.intp]  # (rows,) position of the row's hash in `hashes`, -1 for a row without a hash
    hashes: NDArray[np.uint64]  # (distinct,) ascending
    pairs: NDArray[np.int32]  # (pairs, 2) positions of near hashes, the smaller first; each pair once, in any order

    def clusters(self) -> NDArray[np.intp]:
        """(rows,) cluster of each row, numbered from 0 in the order of their first rows.

        Two rows are in one cluster if a chain of equal or near hashes leads from one to the other. A row without a
        hash is a cluster of its own.
        """
        cluster = np.arange(len(self.hashes))
        for first, second in islice(self._neighbours(), 0, None, 2):  # one direction is enough
            edges = (cluster[first], cluster[second])
            graph = coo_array((np.ones(len(first)), edges), shape=(len(cluster), len(cluster)))
            cluster = connected_components(graph, directed=False)[1][cluster]
        own = len(cluster) + np.arange(len(self.codes))  # of each row without a hash
        return pd.factorize(np.where(self.codes >= 0, np.append(cluster, -1)[self.codes], own))[0]

    def count(self) -> NDArray[np.intp]:
        """(rows,) how many other rows have an equal or near hash."""
        rows_of = np.bincount(self.codes[self.codes >= 0], minlength=len(self.hashes))
        others = np.append(rows_of - 1, 0)  # the last value is for code -1
        for code, near in self._neighbours():
            np.add.at(others, code, rows_of[near])
        return others[self.codes]

    def touches_other(self, values: ArrayLike) -> NDArray[np.bool_]:
        """(rows,) whether another row with an equal or near hash has another value, such as another label.

        Args:
            values: (rows,); a row whose value is "" or missing is ignored.
        """
        series = pd.Series(values)
        value = pd.factorize(series.mask(series == ""))[0]
        known = (self.codes >= 0) & (value >= 0)
        # All values near a hash are equal if the lowest and the highest are.
        lowest = np.full(len(self.hashes) + 1, len(value))
        highest = np.full(len(self.hashes) + 1, -1)
        np.minimum.at(lowest, self.codes[known], value[known])
        np.maximum.at(highest, self.codes[known], value[known])
        lowest_near, highest_near = lowest.copy(), highest.copy()
        for code, near in self._neighbours():
            np.minimum.at(lowest_near, code, lowest[near])
            np.maximum.at(highest_near, code, highest[near])
        return known & ((lowest_near[self.codes] < value) | (highest_near[self.codes] > value))

    def nearest(self, candidates: NDArray[np.bool_]) -> NDArray[np.intp]:
        """(rows,) the nearest other row among the candidates, the first of several; -1 if none is equal or near.

        Args:
            candidates: (rows,) mask.
        """
        rows = len(self.codes)
        none = np.iinfo(np.int64).max
        available = np.flatnonzero(candidates & (self.codes >= 0))
        first = _first_row(self.codes, available, len(self.hashes))
        others = available[first[self.codes[available]] != available]
        second = _first_row(self.codes, others, len(self.hashes))
        best = np.full(len(self.hashes) + 1, none)  # distance * rows + row: one number to minimise
        for code, near in self._neighbours():
            distance = np.bitwise_count(self.hashes[code] ^ self.hashes[near]).astype(np.int64)
            np.minimum.at(best, code, np.where(first[near] >= 0, distance * rows + first[near], none))
        row = np.arange(rows)
        equal = np.where(first[self.codes] == row, second[self.codes], first[self.codes])
        near_row = np.where(best[self.codes] < none, best[self.codes] % max(rows, 1), -1)
        return np.where(equal >= 0, equal, near_row)

    def _neighbours(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Blocks of pairs, each block in one direction and then in the other."""
        for start in range(0, len(self.pairs), 8 * BLOCK):
            first, second = self.pairs[start : start + 8 * BLOCK].T
            yield first, second
            yield second, first


def _first_row(codes: NDArray[np.intp], rows: NDArray[np.intp], distinct: int) -> NDArray[np.intp]:
    """(distinct + 1,) the first of the ascending rows with each code, or -1; the last value, for code -1, is -1."""
    first = np.full(distinct + 1, -1)
    first[codes[rows[::-1]]] = rows[::-1]  # backwards, so that the first of several rows is written last
    return first


def find_near_duplicates(hashes: NDArray[np.uint64], distance: int) -> NearDuplicates:
    """All pairs of hashes that differ in at most `distance` bits.

    Args:
        hashes: (rows,) from `perceptual_hash`; 0 means no hash.
        distance: from 0 to 16 of 64 bits; above 8 the search takes much longer.

    Raises:
        GenderClsError: there are more than MOST_PAIRS pairs.
    """
    codes = np.full(len(hashes), -1)
    valid = hashes != 0
    distinct, codes[valid] = np.unique(hashes[valid], return_inverse=True)
    found = bytearray()  # grows in place; joining a list of arrays would need twice the memory
    for pairs in _near_pairs(distinct, distance):
        found += pairs.tobytes()
        if len(found) > 8 * MOST_PAIRS:
            raise GenderClsError(
                f"data.near_duplicate_distance={distance} makes more than {MOST_PAIRS:,} pairs of near duplicates "
                f"among {len(distinct):,} different images: lower it, 0 to find equal hashes only."
            )
    return NearDuplicates(codes, distinct, np.frombuffer(found, dtype=np.int32).reshape(-1, 2))


def _near_pairs(hashes: NDArray[np.uint64], distance: int) -> Iterator[NDArray[np.int32]]:
    """Blocks (pairs, 2) of positions of near hashes, each pair once.

    Multi-index hashing (Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012):
    the 64 bits are four chunks of 16. Two hashes that differ in few bits differ in very few bits of some chunk. These
    are found in tables of each chunk's values, at the own value with every choice of so few bits flipped.
    """
    if distance == 0 or len(hashes) < 2:
        return
    rows, masks = np.arange(len(hashes)), np.arange(1 << CHUNK_BITS)
    # If every chunk differed in more bits than its radius, the hashes would differ in more bits than `distance`.
    radii = np.array([(distance - number) // CHUNKS for number in range(CHUNKS)])
    flips = [masks[np.bitwise_count(masks) <= radius] for radius in radii]
    if len(hashes) < ROWS_PER_FLIP * sum(map(len, flips)):
        for first, second in _products(rows, rows + 1, np.full(len(hashes), len(hashes)), hashes, distance):
            yield np.column_stack([first, second]).astype(np.int32)
        return
    for number in range(CHUNKS):
        keys = _chunks(hashes)[:, number].astype(np.intp)
        order = np.argsort(keys, kind="stable")
        keys, by_key = keys[order], hashes[order]
        starts = np.concatenate([[0], np.bincount(keys, minlength=len(masks)).cumsum()])
        for flip in flips[number].tolist():
            # Each pair of table entries from one side: the one that lacks the highest flipped bit.
            highest = (1 << flip.bit_length()) >> 1
            own = np.flatnonzero((keys & highest) == 0)
            partner = keys[own] ^ flip
            begin = starts[partner] if flip else own + 1
            for left, right in _products(own, begin, starts[partner + 1], by_key, distance):
                earlier = np.bitwise_count(_chunks(by_key[left] ^ by_key[right])[:, :number])
                new = (earlier > radii[:number]).all(axis=1)  # not found by an earlier chunk
                yield np.sort(np.column_stack([order[left[new]], order[right[new]]]), axis=1).astype(np.int32)


def _chunks(hashes: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """(rows, CHUNKS)"""
    return hashes.view(np.uint16).reshape(-1, CHUNKS)


def _products(
    rows: NDArray[np.intp], begin: NDArray[np.intp], end: NDArray[np.intp], hashes: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Near pairs of each row and a hash between its `begin` and its `end`."""
    partnered = np.flatnonzero(end > begin)
    rows, begin, counts = rows[partnered], begin[partnered], (end - begin)[partnered]
    total = np.concatenate([[0], counts.cumsum()])
    start = 0
    while start < len(rows):
        # At least one row, which has at most all hashes as partners.
        stop = max(start + 1, int(np.searchsorted(total, total[start] + BLOCK, side="right")) - 1)
        block = slice(start, stop)
        right = np.arange(total[start], total[stop]) + np.repeat(begin[block] - total[block], counts[block])
        left = np.repeat(hashes[rows[block]], counts[block])
        near = np.flatnonzero(np.bitwise_count(left ^ hashes[right]) <= distance)
        if len(near):
            owner = np.searchsorted(total, near + total[start], side="right") - 1
            yield rows[owner], right[near]
        start = stop
