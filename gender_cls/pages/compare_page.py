"""A comparison -> `compare.html`: which model is better, on one page with nothing to fetch and nothing to run."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gender_cls.drawing.chart_style import figure_image
from gender_cls.drawing.comparison_figures import CANDIDATE_COLOURS, DASHES, accuracy_against_cost, roc_overlay
from gender_cls.drawing.thumbnails import Gallery, Thumbnail
from gender_cls.evaluation.comparison.schema import Comparison, Pair, WrongImage
from gender_cls.evaluation.wording import plural
from gender_cls.pages.compare_maps import MOST_MODELS, ModelMaps, what_they_look_at
from gender_cls.pages.page import page_environment

MOST_SENTENCES = 4
"""Pairs that the verdict at the top speaks of; all of them stand below."""

MOST_AGREEING = 12
"""Candidates in the agreement matrix: the best by validation."""

MOST_PAIRS = 10
"""With more pairs than these, those without the best candidate fold away."""

MOST_PATHS = 50
"""Images named of those that all candidates get wrong and that have no picture."""


def render_comparison(
    comparison: Comparison,
    title: str,
    created: str,
    root: Path | None,
    thumbnails: int,
    models: Sequence[ModelMaps] = (),
    without_maps: Sequence[str] = (),
) -> str:
    """The page, as HTML.

    Args:
        comparison: what was found; the page repeats it and computes pictures alone.
        title: of the page, such as the name of the sweep.
        created: when, in ISO 8601.
        root: the folder that the images' paths are relative to; None where it is not known.
        thumbnails: most pictures shown; a third as many images have their maps shown side by side.
        models: the compared candidates that have kept maps, best first, at most MOST_MODELS.
        without_maps: sentences about those that have not.
    """
    environment = page_environment()
    environment.filters.update(whole_numbers=_whole_numbers, in_percent=_in_percent)
    rows = comparison["candidates"]
    compared = [row for row in rows if row["compared"]]
    cost_chart = accuracy_against_cost(compared, comparison["ensemble"])
    curves = comparison["roc"][: len(CANDIDATE_COLOURS)]
    roc, side = roc_overlay(curves) if curves else (None, 1.0)
    named_pairs, other_pairs = _pairs(comparison)
    return environment.get_template("compare.html.jinja").render(
        comparison=comparison,
        title=title,
        created=created,
        answer=_answer(comparison),
        compared=compared,
        pareto=[row for row in compared if row["pareto"]],
        numbers={row["title"]: number for number, row in enumerate(rows, 1)},
        colours=CANDIDATE_COLOURS[: len(compared)],
        devices=sorted({row["cost"]["device"] for row in rows if row["cost"]["device"]}),
        seeds=sorted({len(row["seeds"]) for row in compared}),
        unfinished=[(row["title"], run) for row in rows for run in row["runs"] if run["state"] != "finished"],
        repeated=[folder for row in rows for folder in row["repeated"]],
        scores=_score_axis(comparison),
        differences=_difference_axis(comparison["pairs"]),
        cost_chart=None if cost_chart is None else figure_image(cost_chart),
        roc=None if roc is None else figure_image(roc),
        side=side,
        curves=[(curve, style != "-") for curve, style in zip(curves, DASHES, strict=False)],
        pairs=named_pairs,
        other_pairs=other_pairs,
        agreement=_agreement(comparison),
        looks=what_they_look_at(comparison, models, root, thumbnails // 3),
        most_mapped=MOST_MODELS,
        without_maps=without_maps,
        wrong=_wrong(comparison["all_wrong"], root, thumbnails),
    )


def _answer(comparison: Comparison) -> list[str]:
    """The verdict; of many sentences about pairs, the first few, so that what to be careful with is still read."""
    told = {pair["verdict"] for pair in comparison["pairs"]}
    about_pairs = [sentence for sentence in comparison["verdict"] if sentence in told]
    hidden = about_pairs[MOST_SENTENCES:]
    sentences = [sentence for sentence in comparison["verdict"] if sentence not in hidden]
    if hidden:
        after = sentences.index(about_pairs[MOST_SENTENCES - 1]) + 1
        sentences.insert(after, f"{plural(len(hidden), 'more pair')} with it can be seen below, pair by pair.")
    return sentences


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`, in steps that read well."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a value lies, in percent of the way; what lies beyond an end is put there."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _score_axis(comparison: Comparison) -> Axis:
    """Holds every test score with its interval and its baseline."""
    tests = [row["test"] for row in comparison["candidates"]]
    values = _known(test[key] for test in tests for key in ("low", "mean", "high"))
    values += [row["baseline"]["balanced_accuracy"] for row in comparison["candidates"] if row["baseline"]]
    if comparison["ensemble"] is not None:
        found = comparison["ensemble"]["balanced_accuracy"]
        values += _known((found["low"], found["value"], found["high"]))
    low, high = min(values, default=0.5), max(values, default=1.0)
    low = math.floor(20 * low + 1e-9) / 20
    return Axis(low, max(math.ceil(20 * high - 1e-9) / 20, low + 0.05))


def _difference_axis(pairs: list[Pair]) -> Axis:
    """With 0 in its middle."""
    most = max(
        (abs(value) for pair in pairs for value in _known((pair["low"], pair["difference"], pair["high"]))), default=0
    )
    step = 0.01 if most <= 0.1 else 0.05
    end = step * max(1, math.ceil(most / step - 1e-9))
    return Axis(-end, end)


def _pairs(comparison: Comparison) -> tuple[list[Pair], list[Pair]]:
    """Those to be shown at once, and those that fold away."""
    pairs = comparison["pairs"]
    if len(pairs) <= MOST_PAIRS:
        return pairs, []
    best = comparison["candidates"][0]["title"]
    with_best = [pair for pair in pairs if best in (pair["a"], pair["b"])]
    return with_best, [pair for pair in pairs if pair not in with_best]


@dataclass(frozen=True)
class Matrix:
    """Titles and shares of agreement, (titles, titles); `shades` are percent of colour behind them."""

    titles: list[str]
    shares: list[list[float]]
    shades: list[list[int]]


def _agreement(comparison: Comparison) -> Matrix | None:
    found = comparison["agreement"]
    if found is None:
        return None
    titles = found["candidates"][:MOST_AGREEING]
    shares = [row[:MOST_AGREEING] for row in found["shares"][:MOST_AGREEING]]
    apart = [share for i, row in enumerate(shares) for j, share in enumerate(row) if i != j]
    low, span = min(apart), (max(apart) - min(apart)) or 1.0
    return Matrix(titles, shares, [[round(8 + 37 * max(0.0, share - low) / span) for share in row] for row in shares])


@dataclass(frozen=True)
class Wrong:
    """Images that all candidates get wrong: as pictures, by name where there is none, and how many are left out."""

    pictures: list[Thumbnail]
    named: list[WrongImage]
    hidden: int


def _wrong(images: list[WrongImage], root: Path | None, thumbnails: int) -> Wrong:
    pictures: list[Thumbnail] = []
    if root is not None:
        gallery = Gallery(root, thumbnails)
        pictures = gallery.take(pd.DataFrame(images), lambda row: f"p {row['p_label']:.2f}") if images else []
    shown = [picture for picture in pictures if picture.uri]
    gone = {picture.path for picture in pictures if not picture.uri}
    named = [image for image in images if not shown or image["path"] in gone][:MOST_PATHS]
    return Wrong(shown, named, hidden=len(images) - len(shown) - len(named))


def _whole_numbers(sentence: str) -> str:
    """With spaces that do not break, where a line's end would cut an interval or a p-value in two."""
    return re.sub(r"\[[-−+.\d]+, [-−+.\d]+\]|p [=<] [.\d]+", lambda found: found[0].replace(" ", "\u00a0"), sentence)


def _in_percent(share: float) -> str:
    return f"{100 * share:.1f}"
