import logging

import numpy as np
import pandas as pd
import pytest

from gender_cls.data.groups import group_images, one_person_sentence
from gender_cls.data.near_duplicates import find_near_duplicates
from gender_cls.errors import GenderClsError

FAR = [0x1, 0xFF00, 0xFF0000FF0000, 0xFFFF00000000FF00, 0xFFFFFFFF00FF, 0xAAAAAAAAAAAAAAAA, 0x5555555555555555]


def groups_of(hashes: list[int], gap: int = 1, pixels: list[str] | None = None, **columns: list[str]) -> list[int]:
    table = pd.DataFrame({name: [""] * len(hashes) for name in ("identity", "camera", "source")} | columns)
    near = find_near_duplicates(np.array(hashes, dtype=np.uint64), 2)
    pixels = [f"pixels {index}" for index in range(len(hashes))] if pixels is None else pixels
    return group_images(table, pd.Series(pixels), near, gap).tolist()


def test_people_near_duplicates_and_exact_copies_are_joined() -> None:
    assert groups_of(FAR) == [0, 1, 2, 3, 4, 5, 6]
    assert groups_of(FAR[:4], identity=["ann", "bob", "ann", ""]) == [0, 1, 0, 2]
    assert groups_of([FAR[0], FAR[1], FAR[0] ^ 0b110, FAR[2]]) == [0, 1, 0, 2]
    assert groups_of([FAR[0], FAR[1], FAR[0] ^ 0b1110, FAR[2]]) == [0, 1, 2, 3]  # three bits are too many
    assert groups_of([0, 0, 0], pixels=["black", "white", "black"]) == [0, 1, 0]  # flat ones have no perceptual hash
    # 0 and 1 are ann, 1 and 2 look alike, 2 and 3 are bob: one group; 4 is alone
    people = ["ann", "ann", "bob", "bob", ""]
    assert groups_of([FAR[0], FAR[1], FAR[1] ^ 1, FAR[2], FAR[3]], identity=people) == [0, 0, 0, 0, 1]


def test_consecutive_frames_of_one_recording_are_joined() -> None:
    frames = ["10", "11", "13", "12", "11", "9"]
    cameras = ["c1", "c1", "c1", "c1", "c2", ""]
    assert groups_of(FAR[:6], frame=frames, camera=cameras) == [0, 0, 0, 0, 1, 2]
    assert groups_of(FAR[:3], gap=1, frame=["1", "3", "4"]) == [0, 1, 1]
    assert groups_of(FAR[:3], gap=2, frame=["1", "3", "4"]) == [0, 0, 0]
    assert groups_of(FAR[:3], gap=0, frame=["1", "1", "2"]) == [0, 0, 1]
    assert groups_of(FAR[:3], frame=["1", "", "2"]) == [0, 1, 0]
    assert groups_of(FAR[:3], frame=["1", "2", "3"], sequence=["a", "b", "b"]) == [0, 1, 1]
    # Two known people in one frame stay apart.
    assert groups_of(FAR[:3], frame=["1", "1", "2"], identity=["ann", "bob", "ann"]) == [0, 1, 0]
    assert groups_of(FAR[:3], frame=["1", "2", "3"], identity=["ann", "", "bob"]) == [0, 0, 0]  # nobody knows


def test_a_frame_that_is_no_number_is_an_error() -> None:
    with pytest.raises(GenderClsError, match=r"frame .*'x' .*b\.png"):
        groups_of(FAR[:2], frame=["1", "x"], path=["a.png", "b.png"])


def test_one_large_group_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        groups_of([FAR[0]] * 60 + FAR)
    assert "60 of 67" in caplog.text or "61 of 67" in caplog.text


@pytest.mark.parametrize(("of_x", "others", "asked"), [(10, 20, True), (10, 21, False), (9, 0, False), (10, 0, True)])
def test_a_person_with_a_third_of_the_images_is_asked_about(of_x: int, others: int, asked: bool) -> None:
    table = pd.DataFrame({"identity": ["x"] * of_x + [str(number) for number in range(others)]})
    assert bool(one_person_sentence(table)) == asked
    assert not asked or f"{of_x} of {of_x + others} images have the identity x: is that" in one_person_sentence(table)
    assert not one_person_sentence(table.assign(identity=""))
