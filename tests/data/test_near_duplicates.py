import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from gender_cls.data import near_duplicates
from gender_cls.data.near_duplicates import NearDuplicates, find_near_duplicates, hash_texts, hashes_of
from gender_cls.errors import GenderClsError


def flipped(hashes: NDArray[np.uint64], bits: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Each hash with so many different bits turned over."""
    chosen = rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(hashes), 1)), axis=1)[:, :bits]
    return hashes ^ np.bitwise_or.reduce(np.uint64(1) << chosen, axis=1)


def crowd(rows: int, seed: int) -> NDArray[np.uint64]:
    """Random hashes, some equal, some missing, some 1 to 17 bits from another, some alike in all but a few bits."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(1, 2**64, rows, dtype=np.uint64)
    part = rows // 30
    for bits in range(1, 18):
        hashes[bits * part : (bits + 1) * part] = flipped(hashes[:part], bits, rng)
    hashes[18 * part : 20 * part] &= np.uint64(0xFF0000FF000000FF)
    hashes[20 * part : 22 * part] = hashes[:part].repeat(2)
    hashes[22 * part : 23 * part] = 0
    return rng.permutation(hashes)


def near_pairs(found: NearDuplicates) -> set[tuple[int, int]]:
    pairs = {(int(first), int(second)) for first, second in found.pairs}
    assert len(pairs) == len(found.pairs), "a pair came twice"
    return pairs


@pytest.mark.parametrize("rows_per_flip", [0, 10**9], ids=["chunks", "all pairs"])
@pytest.mark.parametrize("distance", range(17))
def test_pairs_are_those_of_comparing_all(distance: int, rows_per_flip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "ROWS_PER_FLIP", rows_per_flip)
    monkeypatch.setattr(near_duplicates, "BLOCK", 1000)
    hashes = crowd(1500, seed=distance)
    found = find_near_duplicates(hashes, distance)
    distinct = np.unique(hashes[hashes != 0])
    assert np.array_equal(found.hashes, distinct)
    near = np.triu(np.bitwise_count(distinct[:, None] ^ distinct) <= distance, 1) & (distance > 0)
    assert near_pairs(found) == set(zip(*np.nonzero(near), strict=True))
    assert near.sum() >= 45 * distance
    assert np.array_equal(found.codes == -1, hashes == 0)
    assert np.array_equal(found.hashes[found.codes[found.codes >= 0]], hashes[hashes != 0])


@pytest.mark.parametrize("distance", [1, 6])
def test_many_hashes_are_not_all_compared(distance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 2**64, 100_000, dtype=np.uint64)  # among these chance makes 0.02 pairs 6 bits apart
    near, far = flipped(hashes[::100], distance, rng), flipped(hashes[::100], distance + 1, rng)
    hashes[1::100], hashes[2::100] = near, far
    expected = len(near) + (np.bitwise_count(near ^ far) <= distance).sum()
    bitwise_count, compared = np.bitwise_count, 0

    def counted(bits: NDArray[np.uint64]) -> NDArray[np.uint8]:
        nonlocal compared
        compared += bits.size
        return bitwise_count(bits)

    monkeypatch.setattr(np, "bitwise_count", counted)
    assert len(find_near_duplicates(hashes, distance).pairs) == expected
    assert 0 < compared < 0.02 * len(hashes) ** 2 / 2


@pytest.mark.parametrize("distance", [0, 3, 8, 16])
def test_rows_by_comparing_all(distance: int) -> None:
    hashes = crowd(1200, seed=7)
    found = find_near_duplicates(hashes, distance)
    distances = np.bitwise_count(hashes[:, None] ^ hashes).astype(float)
    distances[(hashes == 0)[:, None] | (hashes == 0)] = np.inf
    np.fill_diagonal(distances, np.inf)
    near = distances <= distance
    assert np.array_equal(found.count(), near.sum(axis=1))
    assert np.array_equal(found.clusters(), connected_components(near)[1])

    rng = np.random.default_rng(distance)
    labels = pd.Series(rng.choice(["FEMALE", "MALE", "unknown", ""], len(hashes)))
    known = (labels != "").to_numpy()
    other = known[:, None] & known & (labels.to_numpy()[:, None] != labels.to_numpy())
    touched = found.touches_other(labels)
    assert np.array_equal(touched, (near & other).any(axis=1))
    assert 20 < touched.sum() < len(hashes)
    assert np.array_equal(found.touches_other(labels.replace("", None)), touched)
    people = rng.integers(3, size=len(hashes))
    assert np.array_equal(found.touches_other(people), (near & (people[:, None] != people)).any(axis=1))

    candidates = rng.random(len(hashes)) < 0.5
    allowed = np.where(near & candidates, distances, np.inf)
    expected = np.where(np.isfinite(allowed.min(axis=1)), allowed.argmin(axis=1), -1)
    assert np.array_equal(found.nearest(candidates), expected)
    assert (expected >= 0).sum() > 20


def test_clusters_follow_chains_and_are_numbered_by_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BLOCK", 1)  # pairs arrive eight at a time
    chain = np.array([(1 << length) - 1 for length in range(1, 61)], dtype=np.uint64)  # 1 bit from link to link
    rows = np.concatenate([[np.uint64(0x5555 << 48)], np.random.default_rng(0).permutation(chain), [np.uint64(0)]])
    found = find_near_duplicates(rows, 2)
    assert len(found.pairs) == 59 + 58
    assert found.clusters().tolist() == [0, *[1] * 60, 2]


@pytest.mark.parametrize(
    ("hashes", "distance", "clusters", "others", "nearest"),
    [
        *(([0] * rows, 16, list(range(rows)), 0, [-1] * rows) for rows in (0, 1, 5)),
        *(([2**64 - 1] * 10_000, distance, [0] * 10_000, 9_999, [1] + [0] * 9_999) for distance in (0, 5)),
    ],
    ids=["nothing", "no hash", "no hashes", "equal at 0", "equal at 5"],
)
def test_no_hashes_and_equal_ones(hashes: list, distance: int, clusters: list, others: int, nearest: list) -> None:
    found = find_near_duplicates(np.array(hashes, dtype=np.uint64), distance)
    assert found.pairs.shape == (0, 2)
    assert found.clusters().tolist() == clusters
    assert (found.count() == others).all()
    assert (found.touches_other([*["a"] * (len(hashes) - 1), "b"][: len(hashes)]) == (others > 0)).all()
    assert found.nearest(np.ones(len(hashes), dtype=bool)).tolist() == nearest


def test_too_many_pairs_end_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 1000)
    with pytest.raises(GenderClsError, match=r"data\.near_duplicate_distance=7 .*1,000 pairs .*among 100 "):
        find_near_duplicates(np.arange(1, 101, dtype=np.uint64), 7)


def test_hashes_come_back_from_a_table_to_the_last_bit() -> None:
    hashes = pd.Series([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    texts = hash_texts(hashes)
    assert texts.tolist() == ["", "0000000000000001", "8000000000000000", "f" * 16]
    assert hashes_of(texts).tolist() == hashes.tolist()
    assert hashes_of(pd.Series(["mine", "00", "F" * 16])).tolist() == [0, 0, 0], "a column of the user's"
    assert hashes_of(pd.Series([], dtype="str")).tolist() == []
