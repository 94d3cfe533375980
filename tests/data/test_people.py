"""Which identities can be people: cameras and sources cannot, people of published datasets can."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.classifiers import prepare
from helpers.crops import write_crops

from gender_cls.data.people import few_images_sentence, many_images_sentence, mixed_people_sentence
from gender_cls.errors import GenderClsError

PATTERN = "(?P<identity>[^_]+)_"


def people(*counts: tuple[int, int], frame: str = "") -> pd.DataFrame:
    """Each with so many images as FEMALE and as MALE."""
    rows = [
        (f"p{number}", label, frame)
        for number, both in enumerate(counts)
        for label, images in zip(("FEMALE", "MALE"), both, strict=True)
        for _ in range(images)
    ]
    return pd.DataFrame(rows, columns=["identity", "label", "frame"])


def test_sources_that_a_pattern_takes_for_people_are_named() -> None:
    sentence = mixed_people_sentence(people((600, 400), (100, 900), (150, 850), (450, 550), (3, 500)), PATTERN)
    assert all(words in sentence for words in ("4 identities", "p0 (1,000 images)", "(?P<source>[^_]+)_"))
    assert "source" in mixed_people_sentence(people((60, 40)), None)


MARKET = [(int(images), 0) if person % 2 else (0, int(images)) for person, images in enumerate(range(2, 73))]


@pytest.mark.parametrize(
    "counts",
    [
        MARKET,
        [(1000, 0), (0, 900), (700, 0)],  # frames of videos
        [(980, 20), (0, 900), (30, 700)],  # of which few have a wrong label
        [(1, 1), (2, 1), (0, 2)] * 200,  # few images a person, a third of the labels wrong
        [*MARKET, (60, 60)],  # one odd identity among many
        [],
    ],
)
def test_people_are_not_stopped(counts: Sequence[tuple[int, int]]) -> None:
    assert mixed_people_sentence(people(*counts), PATTERN) == ""


def test_labels_that_are_wrong_by_chance_stop_nobody() -> None:
    table = people(*MARKET)
    swapped = np.random.default_rng(0).random(len(table)) < 0.05
    table["label"] = np.where(swapped, np.where(table["label"] == "MALE", "FEMALE", "MALE"), table["label"])
    assert mixed_people_sentence(table, None) == ""


def test_few_identities_with_very_many_images_are_asked_about_unless_they_are_frames() -> None:
    few = [(1000, 0), (0, 900), (0, 1000)]
    assert "3 identities" in many_images_sentence(people(*few))
    for table in (people(*few, frame="7"), people(*few * 11), people(*MARKET), people()):
        assert many_images_sentence(table) == ""


def test_a_small_training_set_is_said() -> None:
    table = people((4, 6)).assign(split="train")
    assert "Only 4 FEMALE and 6 MALE images" in few_images_sentence(table)
    assert few_images_sentence(people((50, 50)).assign(split="train")) == ""
    assert few_images_sentence(people((50, 50)).assign(split="val"))


def test_a_start_stops_unless_it_is_meant(tmp_path: Path) -> None:
    names = [
        f"{label}/s{source}_{image}.png" for label in ("MALE", "FEMALE") for source in range(3) for image in range(30)
    ]
    root = write_crops(tmp_path / "crops", *names)
    with pytest.raises(GenderClsError, match=r"3 identities .*data\.allow_doubtful_people=true"):
        prepare(root, pattern="/(?P<identity>[^_]+)_")
    assert len(prepare(root, pattern="/(?P<identity>[^_]+)_", allow_doubtful_people=True).manifest.table) == 180
    assert len(prepare(root, pattern="/(?P<source>[^_]+)_").manifest.table) == 180
