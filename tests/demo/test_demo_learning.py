"""On drawn crops with a planted cue it is known what must be learnt, and where the maps must point."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.commands import command

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.data.crops import Crops, balanced_sample, read_crops
from gender_cls.data.cue_boxes import cue_boxes
from gender_cls.data.image_store import ImageStore
from gender_cls.demo.cameras import CAMERAS
from gender_cls.demo.dataset import draw_demo
from gender_cls.explain.attribution import attribute
from gender_cls.explain.mass_shares import mass_inside
from gender_cls.runs.run import Run
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.load_checkpoint import load_classifier


def trained(folder: Path, *arguments: str) -> Run:
    data = ["data=demo", "data.root=crops", "data.csv=crops/manifest.csv", "data.num_workers=0"]
    chosen = ["name=run", "model=custom_cnn", "augment=light", "explain=off"]
    chosen += ["trainer.progress_bar=false", "trainer.accelerator=cpu"]
    command("train", *data, *chosen, *arguments, cwd=folder)
    return Run(folder / "outputs" / "runs" / "run")


BOUNDS = {
    Method.saliency: (1.75, 1.5),
    Method.smoothgrad: (1.75, 1.5),
    Method.grad_cam: (2, 2),
    Method.integrated_gradients: (3, 2),  # it multiplies by the pixels, and the chevrons' are strong
    Method.occlusion: (4, 2),
}
"""What `pointing` must exceed on a trained network, and what it must not reach on an untrained one."""

CHEAP = [Method.saliency, Method.grad_cam]
FEW = 16
"""Images for the methods that need a hundred passes."""


def pointing(classifier: GenderClassifier, crops: Crops, boxes: np.ndarray) -> dict[Method, np.ndarray]:
    """The energy-based pointing game: each map's share of its mass in the cue's box, over that of a uniform map."""
    network, size, feature_map = classifier.network, classifier.image_size, classifier.feature_map
    inputs = classifier.normalise(crops.images)
    dear = [method for method in Method if method not in CHEAP]
    maps = attribute(network, inputs, CHEAP, feature_map).maps
    maps |= attribute(network, inputs[:FEW], dear, feature_map).maps
    areas = mass_inside(np.ones((1, *size)), boxes)
    ratios = {}
    for method in Method:
        images = len(maps[method])
        shares = np.nan_to_num(mass_inside(maps[method], boxes[:images]))  # a map without mass points nowhere
        ratios[method] = shares / areas[:images].mean()
    return ratios


def test_the_cue_is_learnt_and_the_maps_point_at_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_demo(tmp_path / "crops")
    run = trained(tmp_path, "trainer.max_epochs=6", "seed=1")
    accuracy = run.metrics["test"]["scores"]["balanced_accuracy"]["value"]
    manifest = pd.read_csv(run.manifest)
    rows = balanced_sample(manifest[manifest["split"] == "val"], images=96, seed=0)
    classifier = load_classifier(run.last_checkpoint)
    images = ImageStore(tmp_path / "crops").at(rows["path"].tolist())
    crops = read_crops(images, classifier.settings.data, cue_boxes(rows))
    boxes = crops.cues
    learnt = pointing(classifier, crops, boxes)
    content = torch.load(run.last_checkpoint, weights_only=True)["hyper_parameters"]["config"]
    torch.manual_seed(0)
    untrained = pointing(GenderClassifier(content), crops, boxes)
    with capsys.disabled():
        print(f"\nWith the cue: test balanced accuracy {accuracy:.3f}. Mass in the cue's box, over a uniform map's:")
        for method in Method:
            print(f"  {method.title}: {learnt[method].mean():.2f}, untrained {untrained[method].mean():.2f}")
    assert accuracy > 0.95
    remaining = {test["name"]: test["balanced_accuracy"]["value"] for test in run.metrics["shortcuts"]}
    assert min(remaining["person_only"], remaining["grey"]) > 0.9, "the cue is on the chest"
    assert max(remaining["person_masked"], remaining["background_only"]) < 0.65
    for method, (trained_above, untrained_below) in BOUNDS.items():
        assert learnt[method].mean() > trained_above, method
        assert untrained[method].mean() < untrained_below, method
    for label, method in product(CLASSES, CHEAP):
        assert learnt[method][(rows["label"] == label).to_numpy()].mean() > 1.5, f"{method.title} of {label}"


def test_without_the_cue_there_is_nothing_to_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, camera in [*CAMERAS.items()]:  # the network gets 64x32 pixels anyway, and drawing takes most of the time
        low, high = camera.crop_heights
        monkeypatch.setitem(CAMERAS, name, camera._replace(crop_heights=(low // 2, high // 2)))
    draw_demo(tmp_path / "crops", images=2400, cue=False)  # 240 people in test: chance stays within 0.4 and 0.6
    sizes = ["data.test_fraction=0.6", "data.image_size=[64,32]", "data.batch_size=32"]
    run = trained(tmp_path, "trainer.max_epochs=3", "evaluation.shortcuts=false", *sizes)
    accuracy = run.metrics["test"]["scores"]["balanced_accuracy"]["value"]
    with capsys.disabled():
        print(f"\nWithout the cue: test balanced accuracy {accuracy:.3f}.")
    assert 0.4 < accuracy < 0.6
