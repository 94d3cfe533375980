"""On drawn crops with a planted cue it is known what must be learnt, and where the maps must point."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from gender_cls.data.demo import draw_demo
from gender_cls.data.transforms import decode, resize
from gender_cls.explain.attribution import grad_cam, saliency
from gender_cls.models.classifier import GenderClassifier, load_classifier
from gender_cls.models.feature_map import find_feature_map
from gender_cls.run import Run


def trained(folder: Path, *arguments: str) -> Run:
    command = [
        sys.executable, "-m", "gender_cls.train", "data=demo", "data.root=crops", "data.csv=crops/manifest.csv",
        "name=run", "model=custom_cnn", "augment=light", "explain=off", "data.num_workers=0",
        "trainer.progress_bar=false", "trainer.accelerator=cpu", *arguments,
    ]  # fmt: skip
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ})
    assert result.returncode == 0, result.stderr
    return Run(folder / "outputs" / "runs" / "run")


def mass_in_box(maps: Tensor, boxes: np.ndarray) -> float:
    """Mean share of a map's mass inside its box (the energy-based pointing game of Wang et al. 2020, Score-CAM).

    Args:
        maps: (N, H, W), at least 0.
        boxes: (N, 4) left, top, right, bottom in pixels of the maps.
    """
    shares = []
    for values, (left, top, right, bottom) in zip(maps, boxes.round().astype(int), strict=True):
        shares.append((values[top:bottom, left:right].sum() / values.sum().clamp(min=1e-12)).item())
    return float(np.mean(shares))


def pointing(classifier: GenderClassifier, crops: Path, rows: pd.DataFrame) -> dict[str, float]:
    height, width = classifier.image_size
    mode = classifier.settings.data.resize_mode
    pictures = [decode(crops / path) for path in rows["path"]]
    scale = np.array([[width / p.shape[2], height / p.shape[1]] * 2 for p in pictures])
    boxes = rows[["cue_left", "cue_top", "cue_right", "cue_bottom"]].to_numpy(dtype=float) * scale
    inputs = classifier.normalise(torch.stack([resize(p, (height, width), mode) for p in pictures]))
    with torch.no_grad():
        predicted = classifier.network.eval()(inputs).argmax(dim=1)
    feature_map = find_feature_map(classifier.network, (height, width), classifier.heads, None)
    return {
        "area": mass_in_box(torch.ones(len(rows), height, width), boxes),
        "saliency": mass_in_box(saliency(classifier.network, inputs, predicted), boxes),
        "grad_cam": mass_in_box(grad_cam(classifier.network, inputs, predicted, feature_map), boxes),
    }


def test_the_cue_is_learnt_and_the_maps_point_at_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_demo(tmp_path / "crops")
    run = trained(tmp_path, "trainer.max_epochs=6")
    accuracy = run.metrics["test"]["scores"]["balanced_accuracy"]["value"]
    manifest = pd.read_csv(run.manifest)
    rows = manifest[manifest["split"] == "val"].reset_index(drop=True)
    shares = pointing(load_classifier(run.last_checkpoint), tmp_path / "crops", rows)
    content = torch.load(run.last_checkpoint, weights_only=True)["hyper_parameters"]["config"]
    torch.manual_seed(0)
    untrained = pointing(GenderClassifier(content), tmp_path / "crops", rows)
    with capsys.disabled():
        print(f"\nWith the cue: test balanced accuracy {accuracy:.3f}. Share of the maps' mass in the cue's box:")
        print(json.dumps({"last epoch": shares, "untrained": untrained}, indent=2))
    assert accuracy > 0.95
    remaining = {test["name"]: test["balanced_accuracy"]["value"] for test in run.metrics["shortcuts"]}
    assert remaining["person_only"] > 0.9, "the cue is on the chest"
    assert remaining["grey"] > 0.9
    assert remaining["person_masked"] < 0.65
    assert remaining["background_only"] < 0.65
    assert shares["saliency"] > 1.5 * shares["area"]
    assert shares["grad_cam"] > 2 * shares["area"]
    assert untrained["saliency"] < 1.5 * shares["area"]
    assert untrained["grad_cam"] < 2 * shares["area"]


def test_without_the_cue_there_is_nothing_to_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_demo(tmp_path / "crops", images=2400, cue=False)  # 240 people in test: chance stays within 0.4 and 0.6
    run = trained(
        tmp_path,
        "trainer.max_epochs=3",
        "data.test_fraction=0.6",
        "data.image_size=[64,32]",
        "evaluation.shortcuts=false",
    )
    accuracy = run.metrics["test"]["scores"]["balanced_accuracy"]["value"]
    with capsys.disabled():
        print(f"\nWithout the cue: test balanced accuracy {accuracy:.3f}.")
    assert 0.4 < accuracy < 0.6
