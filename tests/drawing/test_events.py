from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.example_metrics import example_metrics
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gender_cls.drawing.events import write_events


def events_of(folder: Path, metrics: Any) -> EventAccumulator:
    picture = BytesIO()
    Image.new("RGB", (6, 4), "red").save(picture, "PNG")
    test = pd.DataFrame({"label": ["MALE", "FEMALE"], "p_FEMALE": [0.2, 0.7]})
    write_events(folder, metrics, test, {"least_certain": picture.getvalue()}, 42)
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_scores_of_maps_stand_at_the_step_that_was_tested(tmp_path: Path) -> None:
    events = events_of(tmp_path, example_metrics())
    for tag, value in {
        "saliency/deletion_blurred": 0.487,
        "saliency/insertion_mean": 0.618,
        "grad_cam/random_mean": 0.561,
        "grad_cam/head": 0.24,
        "saliency/outside": 0.353,
        "grad_cam/randomisation": 0.06,
        "saliency/randomisation": 0.18,
    }.items():
        (event,) = events.Scalars(f"test_explanations/{tag}")
        assert event.value == pytest.approx(value, rel=1e-6)
        assert event.step == 42
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("test_explanations/")]
    assert len(tags) == 2 * (6 + 4 + 4 + 1)
    assert events.Scalars("test/auroc")[0].value == pytest.approx(0.8934)
    assert events.Images("test/least_certain")[0].width == 6


def test_what_was_not_measured_of_maps_is_no_scalar(tmp_path: Path) -> None:
    metrics = example_metrics()
    assert metrics["explanations"] is not None
    for method in metrics["explanations"]["methods"]:
        method["randomisation"] = None
        method["games"] = []
        method["cue"] = None
    tags = events_of(tmp_path, metrics).Tags()["scalars"]
    assert [tag for tag in tags if tag.startswith("test_explanations/saliency")] == [
        f"test_explanations/saliency/{place}" for place in ("head", "upper_body", "lower_body", "outside")
    ]
    tags = events_of(tmp_path, example_metrics(explanations=False)).Tags()["scalars"]
    assert "test/auroc" in tags
    assert not [tag for tag in tags if tag.startswith("test_explanations/")]
