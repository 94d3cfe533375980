"""Shifts whose drop is known by construction, from drawn crops to `metrics.json`; `adapt` repairs what it should.

A crop shows its label in one number s, drawn from a normal distribution around 1 for FEMALE and around -1 for MALE: how
much redder than blue the middle is. The best balanced accuracy is then Phi(1) = 0.841 and the best AUROC Phi(sqrt(2)) =
0.921, whoever answers, and a network of 4,000 weights comes close.
"""

import json
from collections.abc import Sequence
from math import log1p, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from helpers.commands import command
from PIL import Image

from gender_cls.runs.run import Run

HEIGHT, WIDTH = 32, 16
PHI = NormalDist().cdf
BALANCED_ACCURACY, AUROC = PHI(1), PHI(sqrt(2))
HERE = 600  # images of each shift: standard errors are 0.015; twice as many where a share is estimated, too
FEW = 0.1  # share of FEMALE where it is another one than at home


def draw(
    root: Path,
    images: int,
    seed: int,
    *,
    share: float = 0.5,
    cue: int = 0,
    gain: Sequence[float] = (1, 1, 1),
    offset: Sequence[float] = (0, 0, 0),
) -> Path:
    """Draw `root/<LABEL>/*.png`.

    Args:
        share: of FEMALE.
        cue: 1 paints the upper edge green for FEMALE and violet for MALE, -1 the other way round, 0 not at all.
        gain, offset: of the camera, for red, green and blue.
    """
    rng = np.random.default_rng(seed)
    females = rng.permutation(images) < round(share * images)
    for number, female in enumerate(females):
        sign = 1 if female else -1
        background = Image.fromarray(rng.uniform(80, 176, (8, 4)).astype(np.float32))
        soft = np.asarray(background.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        pixels = soft[..., None] + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
        red = 14 * rng.normal(sign)
        pixels[8:24, 4:12] += (red, 0, -red)
        pixels[:4, :, 1] += 60 * sign * cue
        file = root / ("FEMALE" if female else "MALE") / f"{seed}_{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        seen = np.clip(np.rint(pixels * gain + offset), 0, 255).astype(np.uint8)
        Image.fromarray(seen).save(file, compress_level=1)
    return root


def train(root: Path, cwd: Path) -> Run:
    options = [
        f"name={root.name}", "model=custom_cnn", "+model.options.widths=[8,16]", "augment=none", "recipe=scratch",
        "recipe.lr=0.005", "recipe.monitor=loss", "trainer.max_epochs=6", "trainer.progress_bar=false",
        "trainer.accelerator=cpu", "trainer.precision=32-true", f"data.image_size=[{HEIGHT},{WIDTH}]",
        "data.num_workers=0", "data.val_fraction=0.2", "data.test_fraction=0.3", "explain=off",
        "evaluation.shortcuts=false", "evaluation.resamples=200",
    ]  # fmt: skip
    command("train", f"data.root={root}", *options, cwd=cwd)
    return Run(cwd / "outputs" / "runs" / root.name)


def elsewhere(run: Run, root: Path) -> dict[str, Any]:
    """`metrics.json` of the run's test on these crops, with both ways to adapt."""
    asked = [f"run={run.folder}", f"data.root={root}", f"elsewhere.name={root.name}", "adapt=[batchnorm,prior]"]
    command("evaluate", *asked, "num_workers=0", "progress_bar=false", cwd=root.parent)
    metrics = json.loads((run.folder / "elsewhere" / root.name / "metrics.json").read_text())
    found = metrics["elsewhere"]
    assert found["left_out"]["images"] == 0
    assert metrics["test"]["images"] == len([*root.rglob("*.png")])
    return found


def adapted(found: dict[str, Any], method: str) -> dict[str, Any]:
    [one] = [one for one in found["adapted"] if one["method"] == method]
    assert one["remark"] is None
    return one


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shifts")


@pytest.fixture(scope="module")
def run(cwd: Path) -> Run:
    return train(draw(cwd / "home", 1800, seed=1), cwd)


def test_the_colour_of_the_camera_is_repaired_by_batchnorm_only(run: Run, cwd: Path) -> None:
    found = elsewhere(run, draw(cwd / "colour", HERE, seed=2, gain=(0.6, 0.8, 0.7), offset=(80, 10, 30)))
    balanced = found["scores"]["balanced_accuracy"]
    assert balanced["home"]["value"] == pytest.approx(BALANCED_ACCURACY, abs=0.04)
    assert balanced["drop"]["low"] > 0.2
    repaired = adapted(found, "batchnorm")
    assert repaired["scores"]["balanced_accuracy"]["value"] == pytest.approx(BALANCED_ACCURACY, abs=0.04)
    assert repaired["difference"]["balanced_accuracy"]["low"] > 0.2
    assert repaired["difference"]["log_loss"]["high"] < 0
    assert "better in balanced accuracy, accuracy" in repaired["sentence"]
    assert "share of labels" not in repaired["sentence"]
    [not_repaired] = [one for one in found["adapted"] if one["method"] == "prior"]
    assert not_repaired["scores"]["balanced_accuracy"]["value"] is None
    assert "labels only" in not_repaired["remark"], "in these colours nearly every answer is the same"


def test_another_share_of_labels_is_repaired_by_the_prior_only(run: Run, cwd: Path) -> None:
    found = elsewhere(run, draw(cwd / "share", 2 * HERE, seed=3, share=FEW))
    ranking = found["ranking"]["auroc"]
    assert ranking["here"]["value"] == pytest.approx(AUROC, abs=0.04)
    assert ranking["drop"]["low"] < 0 < ranking["drop"]["high"]
    shares = found["share_of_labels"]
    assert shares["trained_on"] == pytest.approx(0.5, abs=0.01)
    assert shares["here"]["value"] == pytest.approx(FEW)
    assert shares["from_answers"]["value"] == pytest.approx(FEW, abs=0.03)
    accuracy, log_loss = (found["scores"][score]["here"]["value"] for score in ("accuracy", "log_loss"))
    best = scores_at(np.log(FEW / (1 - FEW)))
    plain = scores_at(0)
    assert (accuracy, log_loss) == pytest.approx((plain["accuracy"], plain["log_loss"]), abs=0.04)
    repaired = adapted(found, "prior")
    for score in ("accuracy", "log_loss"):
        assert repaired["scores"][score]["value"] == pytest.approx(best[score], abs=0.03)
    assert repaired["difference"]["accuracy"]["low"] > 0.04
    assert repaired["difference"]["log_loss"]["high"] < -0.08
    # The mean of s is lower here, 2 * FEW - 1 instead of 0, and adapted layers take it for the middle of both labels.
    hurt = adapted(found, "batchnorm")
    middle = 2 * FEW - 1
    expected = FEW * PHI(1 - middle) + (1 - FEW) * PHI(1 + middle)
    assert hurt["scores"]["accuracy"]["value"] == pytest.approx(expected, abs=0.08)
    assert hurt["difference"]["accuracy"]["high"] < -0.1
    assert "accuracy" in hurt["sentence"].partition("worse in")[2]
    assert "share of labels" in hurt["sentence"]


def test_a_cue_of_the_source_is_repaired_by_nothing(cwd: Path) -> None:
    run = train(draw(cwd / "cue", 900, seed=4, cue=1), cwd)
    found = elsewhere(run, draw(cwd / "reversed", HERE, seed=5, cue=-1))
    balanced = found["scores"]["balanced_accuracy"]
    assert balanced["home"]["value"] > 0.97
    assert balanced["here"]["value"] < 0.1
    assert balanced["drop"]["low"] > 0.85
    assert found["ranking"]["auroc"]["here"]["value"] < 0.1
    for method in ("batchnorm", "prior"):
        difference = adapted(found, method)["difference"]["balanced_accuracy"]
        assert abs(difference["value"]) < 0.05, method


def scores_at(shift: float) -> dict[str, float]:
    """Accuracy and log loss where FEW are FEMALE, of the best log odds, 2 s, with this shift added."""
    s = np.linspace(-8, 8, 4001)
    scores = {"accuracy": 0.0, "log_loss": 0.0}
    for sign, share in ((1, FEW), (-1, 1 - FEW)):
        density = np.exp(-((s - sign) ** 2) / 2)
        weights = share * density / density.sum()
        odds = sign * (2 * s + shift)
        scores["accuracy"] += float(weights @ (odds > 0))
        scores["log_loss"] += sum(weight * log1p(np.exp(-one)) for weight, one in zip(weights, odds, strict=True))
    return scores
