"""Places and their looks, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from gender_cls.config.data import CLASSES
from gender_cls.quality.places import FEWEST_PEOPLE, looks_of_places, number_places

FEMALE, MALE = CLASSES


def test_a_place_is_a_camera_or_its_source_or_the_rest() -> None:
    seen = [("a", "1", FEWEST_PEOPLE), ("a", "2", FEWEST_PEOPLE - 1), ("a", "3", 1), ("b", "", FEWEST_PEOPLE)]
    seen += [("c", "1", 2), ("", "1", 3), ("d", "1", FEWEST_PEOPLE)]
    rows = [(source, camera) for source, camera, people in seen for _ in range(people) for _ in range(2)]
    table = pd.DataFrame(rows, columns=["source", "camera"]).assign(group=np.arange(len(rows)) // 2)
    numbers = pd.Series(number_places(table)).groupby([table["source"], table["camera"]])
    assert (numbers.nunique() == 1).all()
    of = numbers.first()
    assert of["a", "2"] == of["a", "3"]
    assert of["c", "1"] == of["", "1"]
    assert of.nunique() == of.max() + 1 == 5


def look(features: list[float], labels: list[str], places: list[int], count: int) -> np.ndarray:
    values = np.array(features, dtype=np.float32)[:, None]
    return looks_of_places(values, np.array(labels, dtype=object), np.array(places), count)[:, 0]


def test_the_look_of_a_place_is_its_mean_without_its_labels() -> None:
    """Men lie 2 above women in both places, and the second place 10 above the first.

    The balance of labels is 0 in the first and -0.5 in the second, -0.25 overall; half of each gives -0.125 and -0.375.
    """
    features, labels = [0, 2, 0, 2, 10, 12, 10, 10], [FEMALE, MALE] * 3 + [FEMALE] * 2
    found = look(features, labels, [0] * 4 + [1] * 4, 3)
    assert found == pytest.approx([1 + 0.125, 10.5 + 0.375, (4 + 42) / 8 + 0.25])  # nobody was seen in the third


def test_a_place_with_one_label_keeps_that_label_apart() -> None:
    """The mean alone would make its men the zero between men and women."""
    found = look([-1, 1, -1, 1, 6, 6], [FEMALE, MALE] * 2 + [MALE] * 2, [0] * 4 + [1] * 2, 2)
    assert found == pytest.approx([0 - 1 / 6, 6 - (1 + 1 / 3) / 2])


def test_without_a_place_of_both_labels_nothing_is_subtracted() -> None:
    assert (look([0, 1, 5, 6], [FEMALE] * 2 + [MALE] * 2, [0, 0, 1, 1], 2) == 0).all()
