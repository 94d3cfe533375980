"""What TensorBoard shows of the final test and of tests on other data: scores and tables, figures, and what compares
runs.
"""

from collections.abc import Mapping
from glob import escape
from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import pr_curve

from gender_cls.evaluation.elsewhere_schema import Elsewhere
from gender_cls.evaluation.elsewhere_wording import drop_rows, left_out_words
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.explanation_schema import Explanations
from gender_cls.evaluation.schema import SCORES, Metrics
from gender_cls.evaluation.untested import validation_score
from gender_cls.evaluation.wording import MISSING, capitalised, markdown_table, place_title, score_title, stated, words
from gender_cls.runs.run import HPARAMS_SCORES, Run
from gender_cls.training.run_events import DESCRIPTIONS, add, add_end, add_picture, add_scalar, add_text

SUFFIX = ".evaluation"

MAPS = "Yellow: speaks for the class that is explained; blue: against it; orange: matters, without a direction."
FIGURES = {
    "most_confident_mistakes": f"The wrong answers on test with the highest confidence, one image per person. {MAPS}",
    "least_certain": f"The least certain answers on test, one image per person. {MAPS}",
    "mean_maps_by_answer": f"Mean maps of the test images with the same answer. {MAPS}",
    "mean_maps_by_camera": f"Mean maps of each camera. {MAPS}",
}


ELSEWHERE = {
    "balanced_accuracy": "Balanced accuracy on {name}, at the threshold 0.5. 0.5 is chance.",
    "balanced_accuracy_drop": "Balanced accuracy at home minus that on {name}: above 0 it is worse there.",
    "auroc": "Area under the ROC curve on {name}: how well p(FEMALE) sorts the images, whatever the threshold.",
    "ece": "Expected calibration error on {name}, with the run's temperature. Lower is better.",
}
"""Scores of a test on other data: the last part of the tag, and what it means."""


def write_validation_event(run: Run) -> None:
    """Write what TensorBoard's tab HParams compares runs without a test by; the events of a test replace it."""
    score, tag = validation_score(run), HPARAMS_SCORES[0]
    with SummaryWriter(run.folder, filename_suffix=SUFFIX) as writer:
        if score is not None:
            add_scalar(writer, tag, score, run.status["best_step"], DESCRIPTIONS[tag])
        add_end(writer)


def write_events(folder: Path, metrics: Metrics, test: pd.DataFrame, figures: Mapping[str, bytes], step: int) -> None:
    """Write one event file; it replaces the file of an earlier evaluation.

    Args:
        folder: of the run.
        test: the predictions on test.
        figures: name -> PNG.
        step: of the checkpoint that was tested.
    """
    for earlier in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        earlier.unlink()
    female = (test["label"] == "FEMALE").to_numpy()
    scores = metrics["test"]["scores"]
    headline = (metrics["validation"]["scores"]["balanced_accuracy"], scores["balanced_accuracy"], scores["auroc"])
    with SummaryWriter(folder, filename_suffix=SUFFIX) as writer:
        for tag, estimate in zip(HPARAMS_SCORES, headline, strict=True):
            if estimate["value"] is not None:
                add_scalar(writer, tag, estimate["value"], step, DESCRIPTIONS[tag])
        add_end(writer)
        add_text(writer, "Verdict", metrics["standing"]["sentence"], step)
        add_text(writer, "test/scores", scores_table(metrics), step)
        if metrics["explanations"] is not None:
            add_text(writer, "test/explanations", maps_table(metrics["explanations"]), step)
        if np.isfinite(test["p_FEMALE"]).all() and female.any():
            tag = "test/precision_recall_FEMALE"
            (curve,) = pr_curve(tag, female, test["p_FEMALE"].to_numpy()).value
            add(writer, curve, step, "Precision and recall of FEMALE on test at every threshold.")
        for name, png in figures.items():
            figure = f"{capitalised(words(name))}, on test, as in report.html."
            add_picture(writer, f"test/{name}", png, step, FIGURES.get(name, figure))


def write_events_elsewhere(folder: Path, metrics: Metrics, figures: Mapping[str, bytes], step: int) -> None:
    """Write one event file of a test on other data; it replaces that of an earlier test on data of the same name.

    Args:
        folder: of the run.
        metrics: of the test on other data.
        figures: name -> PNG.
        step: of the checkpoint that was tested.
    """
    found = metrics["elsewhere"]
    assert found is not None
    name, scores = found["name"], found["scores"]
    suffix = f".@{name}.elsewhere"  # no name has an @, so none ends like another
    for earlier in folder.glob(f"events.out.tfevents.*{escape(suffix)}"):
        earlier.unlink()
    values = {score: scores[score]["here"] for score in ("balanced_accuracy", "auroc", "ece")}
    values["balanced_accuracy_drop"] = scores["balanced_accuracy"]["drop"]
    with SummaryWriter(folder, filename_suffix=suffix) as writer:
        for score, description in ELSEWHERE.items():
            value = values[score]["value"]
            if value is not None:
                add_scalar(writer, f"elsewhere/{name}/{score}", value, step, description.format(name=name))
        add_text(writer, f"elsewhere/{name}/drop", drop_text(found), step)
        add_text(writer, f"elsewhere/{name}/scores", scores_table(metrics), step)
        for figure, png in figures.items():
            where = f"on {name}, as in the report of that test"
            described = FIGURES.get(figure, f"{capitalised(words(figure))}, on test").replace("on test", where)
            add_picture(writer, f"elsewhere/{name}/{figure}", png, step, described)


def drop_text(found: Elsewhere) -> str:
    """The drop on other data and its reasons, what was left out, and what adapting changed, in Markdown."""
    rows = [
        [part * (row is of_part[0]), row.title, *(stated(one) if one else "" for one in (row.home, row.here, row.drop))]
        for part, of_part in drop_rows(found).items()
        for row in of_part
    ]  # fmt: skip
    adapted = [one["sentence"] for one in found["adapted"]]
    sentences = [*found["sentences"], *adapted, left_out_words(found["left_out"])]
    said = "".join(f"- {sentence}\n" for sentence in sentences if sentence)
    return f"{said}\n{markdown_table(('', '', 'home', 'here', 'drop'), rows)}"


def scores_table(metrics: Metrics) -> str:
    """Every score by image and by person, in Markdown."""
    columns = {"by image": metrics["test"]["scores"]}
    if metrics["test"]["by_identity"] is not None:
        columns["by person"] = metrics["test"]["by_identity"]["scores"]
    columns["validation, by image"] = metrics["validation"]["scores"]
    rows = [(score_title(name), *(stated(column[name]) for column in columns.values())) for name in SCORES]
    on = "test" if metrics["elsewhere"] is None else metrics["elsewhere"]["name"]
    return (
        f"Scores on {on}, with 95 % intervals. The answer is the more probable label (threshold 0.5).\n\n"
        f"{markdown_table(('', *columns), rows)}"
    )


def maps_table(explanations: Explanations) -> str:
    """What was measured of the maps, one column per method, in Markdown."""
    measured: dict[str, dict[str, Estimate]] = {}
    for method in explanations["methods"]:
        title = method["title"]
        for place in method["places"]:
            measured.setdefault(f"share of the map: {place_title(place['name'])}", {})[title] = place["share"]
        for label, cue in (method["cue"] or {}).items():
            by_chance = f"{label} (by chance {cue['area']:.2f})"
            measured.setdefault(f"highest point in the box of the cue, {by_chance}", {})[title] = cue["hit"]
            measured.setdefault(f"share of the map in the box of the cue, {by_chance}", {})[title] = cue["mass"]
        for game in method["games"]:
            removed = f"pixels removed: {game['baseline']}"
            measured.setdefault(f"deletion, {removed} (lower is better)", {})[title] = game["deletion"]
            measured.setdefault(f"insertion, {removed} (higher is better)", {})[title] = game["insertion"]
            measured.setdefault(f"random order, {removed}", {})[title] = game["random"]
        if method["randomisation"] is not None:
            left = method["randomisation"]["stages"][-1]["similarity"]
            measured.setdefault("rank correlation left when all weights are random", {})[title] = left
    titles = [method["title"] for method in explanations["methods"]]
    rows = [
        (name, *(stated(of_methods[title]) if title in of_methods else MISSING for title in titles))
        for name, of_methods in measured.items()
    ]
    return f"Maps of {explanations['images']} test images.\n\n{markdown_table(('', *titles), rows)}"
