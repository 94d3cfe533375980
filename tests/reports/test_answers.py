"""Answers that are kept while they come, with a predictor that counts what it is asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.predictions import answers_of
from gender_cls.reports import answers
from gender_cls.reports.answers import answer_images
from gender_cls.runs.result_folder import ResultFolder

ROWS = pd.DataFrame(
    {
        "path": [f"{number:02}.png" for number in range(20)],
        "label": ["FEMALE", "MALE"] * 10,
        "identity": "",
        "split": "test",
        "pixels": [f"{number:032x}" for number in range(20)],
    }
)


class Counting:
    """Answers each image by its name, and stops at a given number of images."""

    batch_size = 3

    def __init__(self, most: int = 100) -> None:
        self.asked: list[int] = []
        self.most = most

    def probabilities(self, rows: pd.DataFrame, images: ImageStore) -> NDArray[np.float64]:
        assert list(rows.index) == list(range(len(rows)))
        if sum(self.asked) + len(rows) > self.most:
            raise KeyboardInterrupt
        self.asked.append(len(rows))
        p_female = np.array([1 / (int(path[:2]) + 3) for path in rows["path"]])
        return np.column_stack([p_female, 1 - p_female])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultFolder:
    """Of a test that is saved after each batch."""
    monkeypatch.setattr(answers, "FIRST_BATCHES", 1)
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_SAVES", 1e-12)
    return ResultFolder(tmp_path)


def ask(folder: ResultFolder, predictor: Counting, rows: pd.DataFrame = ROWS) -> list[int]:
    answer_images(folder, rows, ImageStore(folder.folder), predictor)
    return predictor.asked


def test_what_was_answered_before_an_interruption_is_kept_to_the_last_bit(folder: ResultFolder) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(folder, Counting(most=8))
    assert not folder.predictions.exists()
    assert ask(folder, Counting()) == [3, 3, 3, 3, 2], "six were there"
    table = answers_of(folder)
    assert table["p_FEMALE"].tolist() == [1 / (number + 3) for number in range(20)]
    assert list(table["path"]) == list(ROWS["path"])
    assert not folder.begun.exists()


def test_saves_take_a_small_part_of_the_time(folder: ResultFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_SAVES", 3600)
    assert ask(folder, Counting()) == [3, 17]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.assign(pixels=["f" * 32, *rows["pixels"][1:]]),
        lambda rows: rows[1:].reset_index(drop=True),
        lambda rows: rows[::-1].reset_index(drop=True),
    ],
)
def test_what_was_begun_for_other_images_does_not_count(
    folder: ResultFolder, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(folder, Counting(most=6))
    rows = change(ROWS)
    assert sum(ask(folder, Counting(), rows)) == len(rows)


def test_rows_of_an_earlier_version_are_known_by_their_paths(folder: ResultFolder) -> None:
    rows = ROWS.drop(columns="pixels")
    with pytest.raises(KeyboardInterrupt):
        ask(folder, Counting(most=6), rows)
    assert sum(ask(folder, Counting(), rows)) == 14


def test_a_damaged_file_is_named(folder: ResultFolder) -> None:
    folder.begun.write_text("path,pixels,p_FEMALE,p_MALE\n00.png,0,x,1\n")
    with pytest.raises(GenderClsError, match=r"^\S+predictions_begun\.csv is damaged .*: remove it and evaluate"):
        ask(folder, Counting())
