"""The figures of one run's report: the numbers of `metrics.json` and the probabilities of test, drawn."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.metrics import precision_recall_curve, roc_curve

from gender_cls.config.data import CLASSES
from gender_cls.drawing.chart_style import PALETTE, chart, charts, house_style, titled
from gender_cls.errors import noting_failure
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import CorruptionScores, Metrics
from gender_cls.evaluation.slices import largest_slices
from gender_cls.evaluation.wording import at_threshold, band_words, stated, words

MOST_DRAWN = 12  # values of a column that the chart of slices shows: those with the most images
LONGEST_NAME = 34  # letters of a name that a figure has room for

CLASS_COLOURS = {label: PALETTE[label.lower()] for label in CLASSES}
DASHED: dict[str, Any] = {"color": PALETTE["faint"], "linewidth": 0.8, "linestyle": (0, (3, 3))}
DOTTED: dict[str, Any] = {**DASHED, "linestyle": (0, (1, 2))}
POINT: dict[str, Any] = {"marker": "o", "color": PALETTE["ink"], "markersize": 4.5}
RANGE: dict[str, Any] = {"color": PALETTE["mark"], "linewidth": 1.1, "alpha": 0.7}  # the line of an interval
BAND: dict[str, Any] = {"color": PALETTE["mark"], "linewidth": 0, "alpha": 0.18}  # between the ends of many intervals
FROM_0_TO_1 = (-0.02, 1.02)


def report_figures(metrics: Metrics, test: pd.DataFrame, problems: dict[str, str]) -> dict[str, Figure]:
    """The figures that can be drawn of a run, by name; one whose numbers are missing is left out.

    Args:
        test: the predictions of the test split (`label`, and `p_FEMALE` of the softmax without temperature).
        problems: gets the reason for each figure whose drawing failed.
    """
    test = test[np.isfinite(test["p_FEMALE"])]
    female, probability = (test["label"] == "FEMALE").to_numpy(), test["p_FEMALE"].to_numpy(np.float64)
    calibrated = expit(logit(probability) / metrics["calibration"]["temperature"])
    drawings: dict[str, Callable[[], Figure | None]] = {}
    if female.any() and not female.all():
        drawings["roc"] = lambda: _roc(metrics, female, calibrated)
        drawings["precision_recall"] = lambda: _precision_recall(metrics, female, calibrated)
    drawings |= {
        "probabilities": lambda: _probabilities(metrics, female, calibrated) if len(test) else None,
        "reliability": lambda: _reliability(metrics),
        "risk_coverage": lambda: _risk_coverage(metrics),
        "slices": lambda: _slices(metrics),
        "shortcuts": lambda: _shortcuts(metrics),
        "stress": lambda: _stress(metrics),
    }
    figures: dict[str, Figure] = {}
    with house_style():
        for name, draw in drawings.items():
            with noting_failure(problems, f"figure of {name}"):
                if (figure := draw()) is not None:
                    figures[name] = figure
    return figures


def _roc(metrics: Metrics, female: NDArray, probability: NDArray) -> Figure:
    figure, axes = _square()
    false, true, _ = roc_curve(female, probability, drop_intermediate=True)
    axes.plot([0, 1], [0, 1], **DASHED)
    axes.plot(false, true, color=PALETTE["mark"], linewidth=1.6)
    chosen = metrics["operating_point"]
    ring = {**POINT, "markerfacecolor": "none", "markersize": 9}
    for threshold, style, name in (
        (0.5, ring, "at the threshold 0.5"),
        (chosen["threshold"], POINT, at_threshold(chosen)),
    ):
        says_female = probability >= threshold
        place = says_female[~female].mean(), says_female[female].mean()
        axes.plot(*place, **style, linestyle="", label=name)
    axes.set(xlabel="MALE answered FEMALE", ylabel="FEMALE answered FEMALE (recall)")
    titled(axes, f"ROC: AUROC {stated(metrics['test']['scores']['auroc'])}")
    return figure


def _precision_recall(metrics: Metrics, female: NDArray, probability: NDArray) -> Figure:
    scores = metrics["test"]["scores"]
    figure, axes = _square()
    for label, positive, score in (("FEMALE", female, probability), ("MALE", ~female, 1 - probability)):
        precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
        area = f"{label}, average precision {stated(scores[f'average_precision_{label}'])}"
        axes.plot(recall, precision, color=CLASS_COLOURS[label], linewidth=1.6, label=area)
        axes.axhline(positive.mean(), **{**DASHED, "color": CLASS_COLOURS[label]})
    axes.set(xlabel="recall", ylabel="precision")
    titled(axes, "Precision and recall, one class against the other")
    return figure


def _square() -> tuple[Figure, Axes]:
    """A chart from 0 to 100 % both ways."""
    figure, axes = chart(4.2, 3.6)
    axes.set(xlim=FROM_0_TO_1, ylim=FROM_0_TO_1)
    _in_percent(axes, "xy")
    return figure, axes


def _probabilities(metrics: Metrics, female: NDArray, probability: NDArray) -> Figure:
    figure, axes = chart(4.2, 3.4)
    band, point = metrics["abstention"]["band"], metrics["operating_point"]
    edges = np.linspace(0, 1, 21)
    for label, rows, sign, where in (("FEMALE", female, 1, "up"), ("MALE", ~female, -1, "down")):
        counts = np.histogram(probability[rows], edges)[0]
        name = f"labelled {label} ({where})"
        axes.bar(edges[:-1] + 0.025, sign * counts, 0.046, color=CLASS_COLOURS[label], label=name)
    if band is not None:
        axes.axvspan(*band, color=PALETTE["well"], zorder=0, label=band_words(metrics["abstention"]))
    axes.axhline(0, color=PALETTE["soft"], linewidth=0.8)
    axes.axvline(point["threshold"], color=PALETTE["ink"], linewidth=1, label=at_threshold(point))
    axes.set(xlim=(0, 1), xlabel="calibrated probability of FEMALE", ylabel="images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda number, _: f"{abs(number):,.0f}")
    _in_percent(axes, "x")
    titled(axes, "Test images by calibrated probability")
    return figure


def _reliability(metrics: Metrics) -> Figure | None:
    calibration = metrics["calibration"]
    bins = calibration["after"]["bins"]
    if all(each["share"]["value"] is None for each in bins):
        return None
    figure, ((upper,), (lower,)) = charts(4.2, 4.3, 2, 1, sharey=False, height_ratios=(5, 1))
    upper.plot([0, 1], [0, 1], **DASHED)
    for name, reliability, colour, face, width in (
        ("before", calibration["before"], PALETTE["faint"], PALETTE["paper"], 0.8),
        ("after", calibration["after"], PALETTE["mark"], PALETTE["mark"], 1.4),
    ):
        filled = [each for each in reliability["bins"] if each["share"]["value"] is not None]
        places, shares = _nan_for_null(each["probability"] for each in filled), [each["share"] for each in filled]
        if name == "after":
            upper.vlines(places, *_interval(shares), **RANGE)
        style = {"color": colour, "markerfacecolor": face, "markersize": 3.5, "linewidth": width}
        upper.plot(places, _values(shares), "o-", **style, label=f"{name}, ECE {stated(reliability['ece'])}")
    upper.set(ylabel="labelled FEMALE", xlim=FROM_0_TO_1, ylim=FROM_0_TO_1)
    titled(upper, f"Reliability before and after temperature {calibration['temperature']:.2f}")
    middles = [(each["low"] + each["high"]) / 2 for each in bins]
    widths = [0.88 * (each["high"] - each["low"]) for each in bins]
    lower.bar(middles, [each["images"] for each in bins], widths, color=PALETTE["mark"], alpha=0.35)
    lower.set(xlabel="probability of FEMALE", ylabel="images")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    _in_percent(upper, "xy")
    _in_percent(lower, "x")
    return figure


def _risk_coverage(metrics: Metrics) -> Figure | None:
    abstention = metrics["abstention"]
    curve, target, chosen = abstention["curve"], abstention["target_error"], abstention["test"]
    if not curve:
        return None
    figure, axes = chart(4.2, 3.5)
    coverage, low, high = (_nan_for_null(point[key] for point in curve) for key in ("coverage", "low", "high"))
    axes.fill_between(coverage, low, high, **BAND)
    axes.plot(coverage, [point["error"] for point in curve], color=PALETTE["mark"], linewidth=1.6)
    target_name = f"asked for: at most {100 * target:g} %"
    axes.axhline(target, color=PALETTE["ink"], linewidth=0.8, linestyle=(0, (4, 3)), label=target_name)
    if chosen["coverage"]["value"] is not None and chosen["error"]["value"] is not None:
        point = chosen["coverage"]["value"], chosen["error"]["value"]
        axes.vlines(point[0], *_interval([chosen["error"]]), color=PALETTE["ink"], linewidth=1.1)
        axes.plot(*point, **POINT, linestyle="", label=f"{band_words(abstention)}, as tested")
    axes.set(xlabel="images that get an answer (coverage)", ylabel="wrong answers among them", xlim=FROM_0_TO_1)
    axes.set_ylim(bottom=0)
    _in_percent(axes, "xy")
    titled(axes, f"Error by coverage: area (AURC) {stated(abstention['aurc'])}")
    return figure


IntervalRow = tuple[str, Estimate | None, bool]
"""Of a chart of intervals: its name; its score, None for a heading; whether it is of few people."""


def _slices(metrics: Metrics) -> Figure | None:
    rows: list[IntervalRow] = []
    for column, (shown, total) in largest_slices(metrics["slices"]["cells"], MOST_DRAWN).items():
        left_out = f", the {MOST_DRAWN} largest of {total}" if total > MOST_DRAWN else ""
        rows.append((f"{words(_shortened(column))}{left_out}", None, False))
        rows += [(_shortened(cell["value"]), cell["balanced_accuracy"], cell["few"]) for cell in shown]
    return _intervals("Slices; hollow: few people", rows, metrics["test"]["scores"]["balanced_accuracy"])


def _shortcuts(metrics: Metrics) -> Figure | None:
    whole = metrics["test"]["scores"]["balanced_accuracy"]
    rows = [(_shortened(test["title"]), test["balanced_accuracy"], False) for test in metrics["shortcuts"] or []]
    title = "Shortcut tests"
    return _intervals(title, [("as recorded", whole, False), *rows], whole) if rows else None


def _intervals(title: str, rows: Sequence[IntervalRow], whole: Estimate) -> Figure | None:
    """A dot with its interval in each row, hollow if of few people, and a line at the score of all test images."""
    if all(score is None or score["value"] is None for _, score, _ in rows):
        return None
    figure, axes = chart(4.2, 0.75 + 0.19 * len(rows))
    axes.axvline(0.5, **DOTTED)
    if whole["value"] is not None:
        axes.axvline(whole["value"], **DASHED)
    for place, (_, score, few) in enumerate(rows):
        if score is not None and score["value"] is not None:
            axes.hlines(place, *_interval([score]), **RANGE)
            face = PALETTE["paper" if few else "mark"]
            axes.plot(score["value"], place, "o", ms=4.5, color=PALETTE["mark"], markerfacecolor=face)
    axes.set(title=title, xlabel="balanced accuracy; dashed: all")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    for label, (_, score, _) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(PALETTE["ink" if score is None else "soft"])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return figure


def _stress(metrics: Metrics) -> Figure | None:
    corruptions = metrics["stress"]["corruptions"] if metrics["stress"] else []
    scores = [level["balanced_accuracy"] for corruption in corruptions for level in corruption["severities"]]
    if all(score["value"] is None for score in scores):
        return None
    rows = math.ceil(len(corruptions) / 3)
    figure, grid = charts(4.2, 0.45 + 1.25 * rows, rows, 3)
    for axes, corruption in zip(grid.flat, corruptions, strict=False):
        _stressed(axes, corruption, metrics["test"]["scores"]["balanced_accuracy"])
    for axes in grid.flat[len(corruptions) :]:
        axes.set_axis_off()
    lows = [score["low"] for score in scores if score["low"] is not None]
    grid[0, 0].set(xlim=(-0.3, 5.3), xticks=(0, 5), ylim=(min([0.48, *lows]) - 0.03, 1.0))
    grid[0, 0].set_yticks((0.5, 0.75, 1.0))
    figure.supxlabel("severity; 0 is as recorded, the dotted line is chance", fontsize=8, color=PALETTE["soft"])
    figure.set_label("Balanced accuracy by corruption and severity")
    return figure


def _stressed(axes: Axes, corruption: CorruptionScores, clean: Estimate) -> None:
    axes.axhline(0.5, **DOTTED)
    if clean["value"] is not None:
        axes.axhline(clean["value"], **DASHED)
    severities = [0, *(level["severity"] for level in corruption["severities"])]
    estimates = [clean, *(level["balanced_accuracy"] for level in corruption["severities"])]
    axes.fill_between(severities, *_interval(estimates), **BAND)
    axes.plot(severities, _values(estimates), "o-", color=PALETTE["mark"], markersize=2.5, linewidth=1.3)
    axes.set_title(_shortened(corruption["title"]), fontsize=8, pad=4)


def _values(estimates: Iterable[Estimate]) -> NDArray[np.float64]:
    return _nan_for_null(estimate["value"] for estimate in estimates)


def _interval(estimates: Sequence[Estimate]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Their low ends and their high ends."""
    return _nan_for_null(each["low"] for each in estimates), _nan_for_null(each["high"] for each in estimates)


def _nan_for_null(numbers: Iterable[float | None]) -> NDArray[np.float64]:
    """The numbers with NaN for null; matplotlib does not draw NaN."""
    return np.array(list(numbers), np.float64)


def _in_percent(axes: Axes, which: str) -> None:
    for axis in which:
        getattr(axes, f"{axis}axis").set_major_formatter(lambda share, _: f"{round(100 * share, 6):g} %")


def _shortened(name: str) -> str:
    """The name in printable letters; a long one is cut in its middle."""
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
