from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.events import Events, read_events
from helpers.example_elsewhere import metrics_elsewhere
from helpers.example_metrics import example_metrics
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gender_cls.drawing.events import write_events, write_events_elsewhere
from gender_cls.evaluation.schema import SCORES


def events_of(folder: Path, metrics: Any) -> Events:
    picture = BytesIO()
    Image.new("RGB", (6, 4), "red").save(picture, "PNG")
    test = pd.DataFrame({"label": ["MALE", "FEMALE"], "p_FEMALE": [0.2, 0.7]})
    write_events(folder, metrics, test, {"least_certain": picture.getvalue(), "roc": picture.getvalue()}, 42)
    return read_events(folder)


def table(text: str) -> dict[str, list[str]]:
    """The rows of the only table in a text, by their first cell."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]
    return {first: cells for first, *cells in rows[2:]}


def test_the_only_points_are_those_that_compare_runs(tmp_path: Path) -> None:
    events, metrics = events_of(tmp_path, example_metrics()), example_metrics()
    scores, validation = metrics["test"]["scores"], metrics["validation"]["scores"]
    assert events.scalars == {
        "hp/validation_balanced_accuracy": {42: pytest.approx(validation["balanced_accuracy"]["value"])},
        "hp/test_balanced_accuracy": {42: pytest.approx(scores["balanced_accuracy"]["value"])},
        "hp/test_auroc": {42: pytest.approx(0.8934)},
    }
    assert "_hparams_/session_end_info" in EventAccumulator(str(tmp_path)).Reload().PluginTagToContent("hparams")


def test_scores_stand_in_one_table_by_image_and_by_person(tmp_path: Path) -> None:
    metrics = example_metrics()
    assert metrics["test"]["by_identity"] is not None
    text = events_of(tmp_path, metrics).texts["test/scores"][42]
    rows = table(text)
    assert len(rows) == len(SCORES)
    assert "threshold 0.5" in text
    by_image, by_person = metrics["test"]["scores"]["auroc"], metrics["test"]["by_identity"]["scores"]["auroc"]
    for cell, score in zip(rows["AUROC"], (by_image, by_person), strict=False):
        assert cell.startswith(f"{score['value']:.3f}")
    metrics["test"]["by_identity"] = None
    assert len(table(events_of(tmp_path, metrics).texts["test/scores"][42])["AUROC"]) == 2


def test_the_verdict_is_that_of_the_report(tmp_path: Path) -> None:
    metrics = example_metrics()
    assert events_of(tmp_path, metrics).texts["Verdict"] == {42: metrics["standing"]["sentence"]}


def test_scores_of_maps_stand_in_a_table_by_method(tmp_path: Path) -> None:
    rows = table(events_of(tmp_path, example_metrics()).texts["test/explanations"][42])
    assert rows["share of the map: outside the person"][0].startswith("0.353")
    assert rows["share of the map: head"][1].startswith("0.240")
    assert rows["deletion, pixels removed: blurred (lower is better)"][0].startswith("0.487")
    assert rows["insertion, pixels removed: mean (higher is better)"][0].startswith("0.618")
    assert rows["random order, pixels removed: mean"][1].startswith("0.561")
    (left,) = (cells for name, cells in rows.items() if name.startswith("rank correlation left"))
    assert [cell[:5] for cell in left] == ["0.180", "0.060"]


def test_what_was_not_measured_of_maps_is_no_row(tmp_path: Path) -> None:
    metrics = example_metrics()
    assert metrics["explanations"] is not None
    for method in metrics["explanations"]["methods"]:
        method["randomisation"] = None
        method["games"] = []
        method["cue"] = None
    rows = table(events_of(tmp_path, metrics).texts["test/explanations"][42])
    assert [name.removeprefix("share of the map: ") for name in rows] == [
        "head", "upper body", "lower body", "outside the person",
    ]  # fmt: skip
    assert "test/explanations" not in events_of(tmp_path, example_metrics(explanations=False)).texts


def test_pictures_and_curves_are_described_and_replace_those_of_an_earlier_test(tmp_path: Path) -> None:
    for _ in range(2):
        events = events_of(tmp_path, example_metrics())
    assert {tag: list(steps) for tag, steps in events.images.items()} == {"test/least_certain": [42], "test/roc": [42]}
    assert events.images["test/roc"][42].shape == (4, 6, 3)
    assert "Yellow" in events.descriptions["test/least_certain"]
    assert len(list(tmp_path.glob("events.*"))) == 1
    tags = {*events.scalars, *events.images, "test/precision_recall_FEMALE"}
    assert all(events.descriptions[tag] for tag in tags)


def test_a_test_on_other_data_replaces_only_that_of_the_same_name(tmp_path: Path) -> None:
    picture = BytesIO()
    Image.new("RGB", (6, 4), "red").save(picture, "PNG")
    figures = {"roc": picture.getvalue(), "least_certain": picture.getvalue()}
    events_of(tmp_path, example_metrics())
    for name, step in (("rap", 7), ("pa[1]", 7), ("2.rap", 3), ("rap", 9)):
        write_events_elsewhere(tmp_path, metrics_elsewhere(name), figures, step)
    assert len(list(tmp_path.glob("events.*"))) == 4
    events = read_events(tmp_path)
    scores = {"balanced_accuracy": 0.6421, "balanced_accuracy_drop": 0.1592, "auroc": 0.7412, "ece": 0.1873}
    for name, step in (("rap", 9), ("pa[1]", 7), ("2.rap", 3)):
        tags = [tag for tag in (*events.scalars, *events.images) if tag.startswith(f"elsewhere/{name}/")]
        assert sorted(tags) == sorted(f"elsewhere/{name}/{key}" for key in (*scores, *figures))
        assert all(name in events.descriptions[tag] for tag in tags)
        for score, value in scores.items():
            assert events.scalars[f"elsewhere/{name}/{score}"] == {step: pytest.approx(value)}
    lost, scores_text = (events.texts[f"elsewhere/rap/{text}"][9] for text in ("drop", "scores"))
    (auroc,) = (line for line in lost.splitlines() if " AUROC " in line)
    assert "0.893 [0.863, 0.923] | 0.741 [0.721, 0.761] | 0.152 [0.112, 0.192]" in auroc
    assert "- Most of it is ranking: no threshold repairs that.\n" in lost
    assert "- With BatchNorm of the images here it scores 0.683.\n" in lost
    assert "- 37 images are left out" in lost
    assert "Scores on rap, with 95 % intervals." in scores_text
    assert "test/roc" in events.images, "the run's own test stays"
