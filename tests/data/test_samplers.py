"""Several ranks share the images of each step."""

from itertools import chain

import pytest

from gender_cls.data.samplers import FILLER, EpochSampler, StepBatchSampler


def batches_of(images: int, size: int, accumulate: int, ranks: int, least: int = 1, skip: int = 0) -> list[list[list]]:
    """For each rank, its batches of an epoch."""
    found = []
    for rank in range(ranks):
        sampler = EpochSampler([0] * images, seed=3, balanced=False)
        batches = StepBatchSampler(sampler, size, accumulate, rank=rank, ranks=ranks, least=least)
        batches.skip = skip
        found.append(list(batches))
        assert skip or len(batches) == len(found[-1])
    return found


def counted(batch: list) -> list:
    return [item for item in batch if item[2] != FILLER]


def steps_of(ranks: list[list[list]], passes: int) -> list[set]:
    """The images of each step, from all ranks; a full step has so many batches of each rank."""
    assert len({len(batches) for batches in ranks}) == 1, "each rank makes as many passes"
    steps = []
    for start in range(0, len(ranks[0]), passes):
        images = [item for batches in ranks for batch in batches[start : start + passes] for item in counted(batch)]
        assert len(set(images)) == len(images), "no image comes twice"
        steps.append(set(images))
    return steps


@pytest.mark.parametrize("ranks", [2, 3, 8, 64])
@pytest.mark.parametrize("images", [64, 65, 66, 67, 80, 95, 127, 150])
@pytest.mark.parametrize(("size", "accumulate"), [(32, 1), (8, 4), (2, 16), (1, 32)])
def test_a_step_has_the_same_images_for_any_number_of_ranks(images, ranks, size, accumulate) -> None:
    expected = steps_of(batches_of(images, size, accumulate, 1), accumulate)
    found = batches_of(images, size, accumulate, ranks, least=min(size, 2))
    assert steps_of(found, -(-32 // (size * ranks))) == expected
    lengths = [len(batch) for batch in chain(*found)]
    assert min(size, 2) <= min(lengths) <= max(lengths) <= size


def test_pieces_of_a_step_worked_out_by_hand() -> None:
    def lengths(*arguments: int) -> list[list[tuple[int, int]]]:
        """Of each batch of each rank: images that count, images that fill it up."""
        return [
            [(len(counted(batch)), len(batch) - len(counted(batch))) for batch in batches]
            for batches in batches_of(*arguments)
        ]

    # 21 images, 8 in a step: 8 + 8 + 5
    assert lengths(21, 4, 2, 2) == [[(4, 0), (4, 0), (2, 0)], [(4, 0), (4, 0), (3, 0)]]
    assert lengths(21, 4, 2, 3, 2) == [[(2, 0), (2, 0), (1, 1)], [(3, 0), (3, 0), (2, 0)], [(3, 0), (3, 0), (2, 0)]]
    # 13 images, 12 in a step, at most 2 at once, on 2 ranks: three passes; the last image alone is left out
    assert lengths(13, 2, 6, 2) == [[(2, 0)] * 3] * 2
    # 10 images, 8 in a step: the last step has fewer images than there are ranks
    assert lengths(10, 8, 1, 4) == [[(2, 0), (0, 1)], [(2, 0), (1, 0)], [(2, 0), (0, 1)], [(2, 0), (1, 0)]]


def test_images_that_fill_up_a_batch_are_of_its_step_and_come_last() -> None:
    for batch in chain(*batches_of(10, 8, 1, 8, least=3)):
        assert len(batch) == 3
        assert [item[2] == FILLER for item in batch] == sorted(item[2] == FILLER for item in batch)
    *_, last = zip(*batches_of(10, 8, 1, 4, least=2), strict=True)
    rows = {item[1] for batch in last for item in counted(batch)}
    assert len(rows) == 2
    assert {item[1] for batch in last for item in batch} == rows


@pytest.mark.parametrize(("ranks", "passes"), [(1, 4), (2, 2), (3, 2)])
def test_an_epoch_can_begin_after_some_steps(ranks, passes) -> None:
    whole, rest = batches_of(150, 8, 4, ranks), batches_of(150, 8, 4, ranks, skip=3)
    assert rest == [batches[3 * passes :] for batches in whole]
    assert batches_of(150, 8, 4, ranks, skip=5) == [[] for _ in range(ranks)]


def test_only_the_next_epoch_begins_later() -> None:
    batches = StepBatchSampler(EpochSampler([0] * 12, seed=0, balanced=False), 4)
    batches.skip = 2
    assert [len(list(batches)) for _ in range(2)] == [1, 3]
