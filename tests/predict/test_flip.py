"""The mean of image and mirror image, with a network that looks at one side of the images."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.classifiers import config_of, prepare
from helpers.crops import decode, resize
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as log_odds_of
from torch import Tensor

from gender_cls.config.data import ResizeMode
from gender_cls.config.evaluation import EvaluationConfig, OperatingPointRule
from gender_cls.config.parsing import to_plain
from gender_cls.data.csv_text import csv_text, read_csv_text
from gender_cls.data.input_form import InputForm
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.combined import Member, choose_rule
from gender_cls.evaluation.conclusions import draw_conclusions
from gender_cls.evaluation.predictions import answers_of, predictions_table
from gender_cls.predict import flip
from gender_cls.predict.flip import FlipModel
from gender_cls.reports import answers
from gender_cls.runs.run import Run

SIZE = (32, 16)


class OneSided:
    """A network whose logit is the brightness of the left half of an image."""

    form, batch_size = InputForm(*SIZE, ResizeMode.stretch), 5

    def __init__(self, run: Run, checkpoint: str = "1") -> None:
        self.run, self.checkpoint, self.asked, self.most = run, checkpoint, 0, 1000
        self.member = Member.of_run(run.metrics, answers_of(run))

    def probabilities(self, images: Tensor) -> NDArray[np.float64]:
        if self.asked + len(images) > self.most:
            raise KeyboardInterrupt
        self.asked += len(images)
        return probabilities_of(images)

    def origin(self) -> dict[str, str]:
        return {"sha256": self.checkpoint}


def probabilities_of(images: Tensor) -> NDArray[np.float64]:
    """(B, 2) of images (B, 3, H, W) uint8."""
    logits = left_brightness(images) / 40 - 3
    return np.stack([expit(logits), expit(-logits)], axis=1)


def left_brightness(images: Tensor) -> NDArray[np.float64]:
    return images[..., : SIZE[1] // 2].double().mean(dim=(1, 2, 3)).numpy()


@pytest.fixture
def run(folders: Path, tmp_path: Path) -> Run:
    """A run of that network, as training and its test leave it."""
    config = config_of(folders)
    table = prepare(folders).manifest.table
    rows = table[table["split"] != "train"].sort_values("split", ascending=False, kind="stable")
    pixels = torch.stack([resize(decode(folders / path), SIZE, ResizeMode.stretch) for path in rows["path"]])
    predictions = predictions_table(rows, probabilities_of(pixels))
    conclusions = draw_conclusions(predictions, predictions[["path"]], EvaluationConfig(resamples=20))
    run = Run(tmp_path / "run")
    run.record_settings(to_plain(config), {})
    run.predictions.write_text(csv_text(predictions))
    run.metrics_file.write_text(json.dumps(conclusions))
    run.data_file.write_text(json.dumps({"root": str(folders)}))
    return run


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Callable[..., FlipModel]:
    def make(network: OneSided | None = None, data_root: Path | None = None) -> FlipModel:
        return FlipModel(network or OneSided(run), run, tmp_path / "cache", data_root)

    return make


def test_both_sides_count_alike(made: Callable[..., FlipModel]) -> None:
    images = torch.randint(0, 256, (7, 3, *SIZE), dtype=torch.uint8)
    found = made().probabilities(images)
    logits = (left_brightness(images) + left_brightness(images.flip(3))) / 2 / 40 - 3
    assert found[:, 0] == pytest.approx(expit(logits), rel=1e-12)
    assert found.sum(axis=1) == pytest.approx(np.ones(7))
    assert np.array_equal(made().probabilities(images.flip(3)), found)


def test_the_rule_is_chosen_on_the_mean_over_validation(
    run: Run, folders: Path, made: Callable[..., FlipModel]
) -> None:
    member = made().member
    own = answers_of(run)
    validation = own[own["split"] == "val"].reset_index(drop=True)
    assert member.validation is not None
    assert member.validation["path"].tolist() == validation["path"].tolist()
    images = torch.stack([resize(decode(folders / path), SIZE, ResizeMode.stretch) for path in validation["path"]])
    logits = (left_brightness(images) + left_brightness(images.flip(3))) / 2 / 40 - 3
    assert log_odds_of(member.validation["p_FEMALE"].to_numpy()) == pytest.approx(logits, rel=1e-9)
    metrics = run.metrics
    rule, remarks = choose_rule(
        member.validation, OperatingPointRule(metrics["operating_point"]["rule"]), metrics["abstention"]["target_error"]
    )
    assert (member.rule, list(member.remarks)) == (rule, remarks)
    assert member.rule != OneSided(run).member.rule


def test_answers_are_kept_until_the_checkpoint_changes(run: Run, made: Callable[..., FlipModel]) -> None:
    first, again, other = OneSided(run), OneSided(run), OneSided(run, checkpoint="2")
    rule = made(first).member.rule
    images = len(read_csv_text(run.folder / flip.FLIP / "predictions.csv"))
    assert first.asked == 2 * images
    assert made(again).member.rule == rule
    assert again.asked == 0
    made(other)
    assert other.asked == 2 * images


def test_an_interrupted_one_goes_on(run: Run, made: Callable[..., FlipModel], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made().member.validation
    shutil.rmtree(run.folder / flip.FLIP)
    monkeypatch.setattr(answers, "FIRST_BATCHES", 1)
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_SAVES", 1e-12)
    stopped, rest = OneSided(run), OneSided(run)
    stopped.most = 2 * OneSided.batch_size
    with pytest.raises(KeyboardInterrupt):
        made(stopped)
    found = made(rest).member.validation
    assert found is not None
    assert expected is not None
    assert rest.asked == 2 * (len(found) - OneSided.batch_size)
    assert found["p_FEMALE"].tolist() == expected["p_FEMALE"].tolist()


def test_moved_images_are_found_by_data_root_and_missing_ones_named(
    run: Run, folders: Path, tmp_path: Path, made: Callable[..., FlipModel]
) -> None:
    folders.rename(tmp_path / "moved")
    with pytest.raises(GenderClsError, match=rf"{folders}.*data_root"):
        made()
    assert made(data_root=tmp_path / "moved").member.validation is not None
    assert made().member.validation is not None  # kept


def test_a_changed_image_is_no_validation_image(run: Run, folders: Path, made: Callable[..., FlipModel]) -> None:
    own = answers_of(run)
    changed = own[own["split"] == "val"]["path"].iloc[0]
    shutil.copy(folders / own[own["split"] == "test"]["path"].iloc[0], folders / changed)
    with pytest.raises(GenderClsError, match=changed):
        made()
