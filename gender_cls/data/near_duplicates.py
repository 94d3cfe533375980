"""64-bit hashes of a million pictures -> which of them are at most a few bits apart, exactly."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gender_cls.errors import GenderClsError

BITS = 64
BLOCK = 1 << 18  # pairs compared at once: a few arrays of 2 MiB
WIDEST = 22  # bits of a chunk: its table of 2^22 buckets takes 32 MiB
MOST_PAIRS = 50_000_000  # 400 MB; chance makes far fewer: so many mean a crowd of pictures that differ in noise


@dataclass(frozen=True)
class NearDuplicates:
    """Which rows have equal or near hashes.

    Rows without a hash resemble nothing, not even each other.

    Attributes:
        codes: (rows,) position of the row's hash in `hashes`, -1 for a row without one.
        hashes: (distinct,) the different hashes, ascending.
        pairs: (pairs, 2) positions of two hashes that are near, the smaller first; every such pair once, in no order.
    """

    codes: NDArray[np.intp]
    hashes: NDArray[np.uint64]
    pairs: NDArray[np.int32]

    def clusters(self) -> NDArray[np.intp]:
        """(rows,) cluster of each row, from 0 in order of their first rows.

        Rows share a cluster when a chain of equal or near hashes leads from one to the other: its ends may lie
        further apart. A row without a hash is a cluster of its own.
        """
        cluster = np.arange(len(self.hashes))
        for first, second in self._blocks():
            edges = (cluster[first], cluster[second])
            graph = coo_array((np.ones(len(first)), edges), shape=(len(cluster), len(cluster)))
            cluster = connected_components(graph, directed=False)[1][cluster]
        hashed = self.codes >= 0
        of_row = len(cluster) + np.arange(len(self.codes))  # no hash: a number of its own
        of_row[hashed] = cluster[self.codes[hashed]]
        return pd.factorize(of_row)[0]

    def count(self) -> NDArray[np.intp]:
        """(rows,) how many other rows have an equal or near hash."""
        rows_of = np.bincount(self.codes[self.codes >= 0], minlength=len(self.hashes))
        others = np.append(rows_of - 1, 0)  # the last place is for code -1
        for code, near in self._neighbours():
            np.add.at(others, code, rows_of[near])
        return others[self.codes]

    def touches_other(self, values: ArrayLike) -> NDArray[np.bool_]:
        """(rows,) whether another row with an equal or near hash has another value, such as another label.

        Args:
            values: (rows,) A row whose value is "" or missing takes no part: it is not touched and touches none.
        """
        series = pd.Series(values)
        value = pd.factorize(series.mask(series == ""))[0]
        known = (self.codes >= 0) & (value >= 0)
        # All values around a hash agree with a row's when the smallest and the largest do.
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
        """(rows,) the other row among the candidates at the smallest distance, -1 where none is equal or near.

        The first such row wins a tie.

        Args:
            candidates: (rows,) which rows may be named; a row never names itself.
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

    def _blocks(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        for start in range(0, len(self.pairs), 8 * BLOCK):
            block = self.pairs[start : start + 8 * BLOCK]
            yield block[:, 0], block[:, 1]

    def _neighbours(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Every pair from both sides."""
        for first, second in self._blocks():
            yield first, second
            yield second, first


def _first_row(codes: NDArray[np.intp], rows: NDArray[np.intp], distinct: int) -> NDArray[np.intp]:
    """(distinct + 1,) the first of the ascending rows with each code, or -1; the last place, for code -1, stays -1."""
    first = np.full(distinct + 1, -1)
    first[codes[rows[::-1]]] = rows[::-1]  # of several rows the last one written stays: the first
    return first


def find_near_duplicates(hashes: NDArray[np.uint64], distance: int) -> NearDuplicates:
    """All pairs of hashes that differ in at most `distance` bits.

    Args:
        hashes: (rows,) of `perceptual_hash`; 0 stands for no hash.
        distance: of 64 bits; up to 8 the search stays far from comparing all pairs.

    Raises:
        GenderClsError: there are more near pairs than memory should hold.
    """
    codes = np.full(len(hashes), -1)
    valid = hashes != 0
    distinct, codes[valid] = np.unique(hashes[valid], return_inverse=True)
    found = bytearray()  # grows in place, where joining a list of arrays would need twice the memory
    for pairs in _near_pairs(distinct, distance):
        found += pairs.tobytes()
        if len(found) > 8 * MOST_PAIRS:
            raise GenderClsError(
                f"data.near_duplicate_distance={distance} makes more than {MOST_PAIRS:,} pairs of near duplicates "
                f"among {len(distinct):,} different pictures: lower it, 0 to find equal hashes only."
            )
    return NearDuplicates(codes, distinct, np.frombuffer(found, dtype=np.int32).reshape(-1, 2))


@dataclass(frozen=True)
class _Chunk:
    """`width` bits of a hash from bit `shift` on, and how many of them may differ in the pairs it looks for."""

    shift: int
    width: int
    radius: int

    def of(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        return ((hashes >> np.uint64(self.shift)) & np.uint64((1 << self.width) - 1)).astype(np.intp)

    def flips(self) -> Iterator[int]:
        """All masks of at most `radius` bits."""
        for size in range(self.radius + 1):
            for bits in itertools.combinations(range(self.width), size):
                yield sum(1 << bit for bit in bits)


def _near_pairs(hashes: NDArray[np.uint64], distance: int) -> Iterator[NDArray[np.int32]]:
    """Blocks (pairs, 2) of positions of near hashes, each pair once.

    Multi-index hashing (Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012):
    two hashes that differ in few bits differ in very few bits of some chunk, and those are found by looking up each
    hash's chunk with every choice of so few bits flipped.
    """
    if distance == 0 or len(hashes) < 2:
        return
    chunks = _cheapest_chunks(hashes, distance)
    for number, chunk in enumerate(chunks):
        keys = chunk.of(hashes)
        order = np.argsort(keys, kind="stable")
        keys, by_key = keys[order], hashes[order]
        starts = np.concatenate([[0], np.bincount(keys, minlength=1 << chunk.width).cumsum()])
        for flip in chunk.flips():
            # Each pair of buckets from one side: the one that lacks the highest flipped bit.
            highest = (1 << flip.bit_length()) >> 1
            rows = np.flatnonzero((keys & highest) == 0)
            partner = keys[rows] ^ flip
            begin = starts[partner] if flip else rows + 1
            for left, right in _products(rows, begin, starts[partner + 1], by_key, distance):
                difference = by_key[left] ^ by_key[right]
                new = np.ones(len(difference), dtype=bool)
                for earlier in chunks[:number]:
                    new &= np.bitwise_count(earlier.of(difference)) > earlier.radius
                yield np.sort(np.column_stack([order[left[new]], order[right[new]]]), axis=1).astype(np.int32)


def _products(
    rows: NDArray[np.intp], begin: NDArray[np.intp], end: NDArray[np.intp], hashes: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Near pairs among each row and the hashes from its `begin` to its `end`."""
    partnered = np.flatnonzero(end > begin)
    rows, begin, counts = rows[partnered], begin[partnered], (end - begin)[partnered]
    total = np.concatenate([[0], counts.cumsum()])
    start = 0
    while start < len(rows):
        # At least one row, whose partners are at most all hashes.
        stop = max(start + 1, int(np.searchsorted(total, total[start] + BLOCK, side="right")) - 1)
        block = slice(start, stop)
        right = np.arange(total[start], total[stop]) + np.repeat(begin[block] - total[block], counts[block])
        near = np.flatnonzero(
            np.bitwise_count(np.repeat(hashes[rows[block]], counts[block]) ^ hashes[right]) <= distance
        )
        if len(near):
            owner = np.searchsorted(total, near + total[start], side="right") - 1
            yield rows[owner], right[near]
        start = stop


def _cheapest_chunks(hashes: NDArray[np.uint64], distance: int) -> list[_Chunk]:
    """A few wide chunks with neighbours looked up, or many narrow ones: what these hashes are searched quickest with.

    Depends on how many hashes there are and how unevenly they fill the buckets. One chunk of no bits compares all
    pairs.
    """
    fewest = -(-BITS // WIDEST)
    most = max(fewest, distance + 1)  # enough for one of them to be equal
    plans = [[_Chunk(0, 0, 0)]] + [_split(number, distance) for number in range(fewest, most + 1)]
    return min(plans, key=lambda plan: sum(_cost(chunk, hashes) for chunk in plan))


def _split(number: int, distance: int) -> list[_Chunk]:
    """All bits in so many chunks of about equal width.

    Were every chunk to differ in more bits than its radius, the hashes would differ in more bits than `distance`.
    """
    edges = np.linspace(0, BITS, number + 1).astype(int).tolist()
    least, spare = divmod(distance, number)
    radii = [least if place <= spare else least - 1 for place in range(number)]
    ranges = zip(itertools.pairwise(edges), radii, strict=True)
    return [_Chunk(low, high - low, radius) for (low, high), radius in ranges if radius >= 0]


def _cost(chunk: _Chunk, hashes: NDArray[np.uint64]) -> float:
    """About how many nanoseconds a chunk takes: its table, then for each flip the look-ups and the pairs compared."""
    sizes = np.bincount(chunk.of(hashes), minlength=1 << chunk.width).astype(float)
    collisions = sizes @ sizes - len(hashes)  # pairs in one bucket, counted twice; a flip brings about as many
    flips = sum(comb(chunk.width, size) for size in range(chunk.radius + 1))
    return 4 * len(sizes) + flips * (5e4 + 6 * len(hashes) + 1.5 * collisions)
