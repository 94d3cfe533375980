"""What one run is worth, as `report.html`: one file to send to a colleague, nothing to fetch, nothing to run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from matplotlib.figure import Figure

from gender_cls.drawing.canvas import data_uri
from gender_cls.drawing.chart_style import figure_image
from gender_cls.evaluation.estimate import Estimate, beats, best_baseline
from gender_cls.evaluation.schema import SCORES, Metrics, Slice
from gender_cls.evaluation.wording import (
    Finding,
    listed,
    percent,
    plural,
    score_title,
    stated,
    stated_percent,
    words,
)
from gender_cls.pages.explanation_words import GONE, explanation_sentences
from gender_cls.pages.page import page_environment
from gender_cls.pages.report_explanations import explained, placed

LARGE_ECE = 0.05
"""From here on, probabilities are off by more than a reader would expect of a percentage."""

MOST_CELLS = 30
"""Slices shown of a column: those with the most images. metrics.json has them all."""

LOWER_IS_BETTER = ("brier", "log_loss", "ece")
WITHOUT_THE_PERSON = {
    "person_masked": ("With the person masked", "surroundings, or mere colour, tell the label in part."),
    "background_only": ("With the background only", "the surroundings tell the label in part."),
}


def render_report(
    metrics: Mapping[str, Any],
    figures: Mapping[str, Figure],
    title: str,
    folder: str,
    created: str,
    pictures: Mapping[str, bytes],
) -> str:
    """The page, as HTML.

    Args:
        metrics: `schema.Metrics`.
        figures: `report_figures` of the same.
        title: the name of the run.
        folder: the run's folder, as a command would name it.
        created: an ISO 8601 date and time.
        pictures: of maps, PNG or WebP, by name: most_confident_mistakes, least_certain, mean_maps_by_answer and
            mean_maps_by_camera, as far as they were made.
    """
    environment = page_environment()
    environment.filters.update(column=_column, lost=_remarks, placed=placed)
    content = cast(Metrics, metrics)
    lines = verdict(content)
    cells = content["slices"]["cells"]
    tests = [test["balanced_accuracy"] for test in content["shortcuts"] or []]
    return environment.get_template("report.html.jinja").render(
        metrics=content,
        title=title,
        folder=folder,
        created=created,
        lines=lines,
        heading=_heading({line.level for line in lines}),
        figures={name: figure_image(figure) for name, figure in figures.items()},
        scores=[(score_title(name), name, name in LOWER_IS_BETTER) for name in SCORES],
        slices={name: _largest(cells, name) for name in dict.fromkeys(cell["column"] for cell in cells)},
        slices_from=_axis_from([cell["balanced_accuracy"] for cell in cells]),
        shortcuts_from=_axis_from(tests),
        explained=content["explanations"] and explained(content["explanations"]),
        gone=GONE,
        pictures={name: data_uri(picture) for name, picture in pictures.items()},
    )


def verdict(metrics: Metrics) -> list[Finding]:
    """What a reader should know first; what forbids to believe the scores comes before the rest."""
    lines = [
        _leaks(metrics),
        _headline(metrics),
        _against_baselines(metrics),
        _worst_slice(metrics),
        _shift(metrics),
        _calibration(metrics),
        _abstention(metrics),
        *_shortcuts(metrics),
        _stress(metrics),
        *_explanations(metrics),
    ]
    return sorted((line for line in lines if line is not None), key=lambda line: line.level != "stop")


def _heading(levels: set[str]) -> str:
    if "stop" in levels:
        return "Do not rely on these scores"
    return "Read with care" if "warn" in levels else "Nothing measured speaks against these scores"


def _leaks(metrics: Metrics) -> Finding | None:
    if not metrics["data"]["leaky"]:
        return None
    leaks = metrics["data"]["leaks"]
    people, copies = (
        plural(leaks["identities"], "person", "people"),
        plural(leaks["duplicates"], "exact copy", "exact copies"),
    )
    sentence = (
        f"The splits leak: {people} and {copies} stand in more than one. {percent(leaks['test_share'])} of the test "
        "images show someone or something from train, so the scores say little about new people."
    )
    return Finding("stop", sentence)


def _headline(metrics: Metrics) -> Finding:
    test = metrics["test"]
    score, people = test["scores"]["balanced_accuracy"], test["identities"]
    images = plural(test["images"], "test image")
    if score["value"] is None:
        return Finding("stop", f"There is no balanced accuracy on {images}: {score['remark']}")
    known = f" of {plural(people, 'person', 'people')}." if people else "; who is on them is not known."
    return Finding("fine" if people else "warn", f"Balanced accuracy {stated(score)} on {images}{known}")


def _against_baselines(metrics: Metrics) -> Finding | None:
    score = metrics["test"]["scores"]["balanced_accuracy"]
    best = best_baseline(metrics["baselines"])
    if best is None or score["value"] is None:
        return None
    baseline = f"the best trivial baseline ({best['title']}, {best['balanced_accuracy']:.3f})"
    won = beats(score["value"], score["low"], best["balanced_accuracy"])
    if won:
        return Finding("fine", f"It beats {baseline}: the whole interval lies above it.")
    if won is False:
        return Finding("stop", f"It does not beat {baseline}, which never looks at the person.")
    if score["low"] is None:
        return Finding("warn", f"Whether it beats {baseline} cannot be said without an interval.")
    return Finding("warn", f"Not shown to beat {baseline}: the interval reaches down to it.")


def _worst_slice(metrics: Metrics) -> Finding | None:
    worst = metrics["slices"]["worst"]
    if worst is None:
        return None
    of_all = metrics["test"]["scores"]["balanced_accuracy"]["value"]
    key = (worst["column"], worst["value"])
    score = next(
        cell["balanced_accuracy"] for cell in metrics["slices"]["cells"] if (cell["column"], cell["value"]) == key
    )
    below = of_all is not None and score["high"] is not None and score["high"] < of_all
    where = f"{words(worst['column'])} {worst['value']}"
    of_whom = "people" if metrics["test"]["identities"] else "images"
    return Finding(
        "warn" if below else "fine",
        f"Weakest slice with 50 {of_whom} or more: {where}, with {stated(score)}; "
        + (
            "the whole interval lies below the score of all test images."
            if below
            else "its interval holds the score of all test images."
        ),
    )


def _shift(metrics: Metrics) -> Finding | None:
    shift = metrics["shift"]
    if shift["shifted"]:
        names = listed([_column(name) for name in shift["shifted"]])
        return Finding(
            "warn",
            f"Test differs from validation in {names}: temperature, threshold and band, chosen on validation, may not "
            "hold.",
        )
    if not shift["columns"]:
        return None
    return Finding("fine", f"Test looks like validation in the {plural(len(shift['columns']), 'column')} compared.")


def _calibration(metrics: Metrics) -> Finding | None:
    before, after = (metrics["calibration"][when]["ece"] for when in ("before", "after"))
    if before["value"] is None or after["value"] is None:
        return None
    large = after["value"] > LARGE_ECE
    return Finding(
        "warn" if large else "fine",
        f"Calibrated probabilities miss the observed share of FEMALE by {stated(after)} on average (ECE; "
        f"{before['value']:.3f} before calibration).",
    )


def _abstention(metrics: Metrics) -> Finding | None:
    abstention = metrics["abstention"]
    test, target = abstention["test"], f"{100 * abstention['target_error']:g}\u202f%"
    if test is None:
        return Finding("warn", f"No band of abstention reaches an error of {target}: {abstention['remark']}")
    coverage, error = test["coverage"]["value"], test["error"]["value"]
    if coverage is None or error is None:
        return None
    end = f"the target was {target}." if abstention["reached"] else f"the target of {target} is missed."
    return Finding(
        "fine" if abstention["reached"] else "warn",
        f"Answering {percent(coverage)} of the images it is wrong in {stated_percent(test['error'])}; {end}",
    )


def _shortcuts(metrics: Metrics) -> list[Finding]:
    lines = []
    for test in metrics["shortcuts"] or []:
        score = test["balanced_accuracy"]
        if test["name"] not in WITHOUT_THE_PERSON or score["value"] is None:
            continue
        begin, lesson = WITHOUT_THE_PERSON[test["name"]]
        if score["low"] is not None and score["low"] > 0.5:
            lines.append(Finding("warn", f"{begin} it still scores {stated(score)}, more than chance: {lesson}"))
        else:
            lines.append(Finding("fine", f"{begin} it scores {stated(score)}: not shown to be more than chance."))
    return lines


def _stress(metrics: Metrics) -> Finding | None:
    stress = metrics["stress"]
    if stress is None or stress["worst"] is None:
        return None
    worst = stress["worst"]
    named = {corruption["name"]: corruption for corruption in stress["corruptions"]}[worst["name"]]
    score = next(each for each in named["severities"] if each["severity"] == worst["severity"])["balanced_accuracy"]
    mean = f", {stress['mean']:.3f} on average" if stress["mean"] is not None else ""
    return Finding(
        "warn" if score["low"] is not None and score["low"] <= 0.5 else "fine",
        f"Under corruption {stated(score)} at worst ({named['title']}, severity {worst['severity']}){mean}.",
    )


def _explanations(metrics: Metrics) -> list[Finding]:
    explanations = metrics["explanations"]
    return [Finding(level, sentence) for level, sentence in explanation_sentences(explanations)] if explanations else []


def _largest(cells: Sequence[Slice], column: str) -> dict[str, Any]:
    """Of one column, the slices with the most images in the order of the table, and how many there are."""
    every = [cell for cell in cells if cell["column"] == column]
    kept = sorted(cell["images"] for cell in every)[-MOST_CELLS:]
    return {"shown": [cell for cell in every if cell["images"] >= kept[0]][:MOST_CELLS], "total": len(every)}


def _axis_from(estimates: Sequence[Estimate]) -> float:
    """Where an axis of balanced accuracies begins: at 0.5, or at a tenth below every interval."""
    lows = [low for low in (estimate["low"] for estimate in estimates) if low is not None]
    return math.floor(10 * min([0.5, *lows])) / 10


def _remarks(estimates: Sequence[Estimate]) -> list[str]:
    """Why numbers are missing, each reason once."""
    return list(dict.fromkeys(each["remark"] for each in estimates if each["value"] is None and each["remark"]))


def _column(name: str) -> str:
    return "probability of FEMALE" if name == "probability" else words(name)
