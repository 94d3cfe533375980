"""A comparison -> `compare.html`: which model is better, on one page that fetches nothing and runs nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.drawing.chart_style import figure_image
from gender_cls.drawing.comparison_figures import CANDIDATE_COLOURS, DASHES, accuracy_against_cost, roc_overlay
from gender_cls.drawing.thumbnails import Gallery, Thumbnail
from gender_cls.evaluation.comparison.compare_json import Comparison, Pair, WrongImage
from gender_cls.evaluation.comparison.sentences import best_on_validation, short_verdict
from gender_cls.evaluation.comparison.transfer_lines import rows_by_candidate
from gender_cls.pages.axes import axis_around, end_of_differences
from gender_cls.pages.compare_findings import findings_of, headline
from gender_cls.pages.compare_maps import MOST_MAPPED, MapTable, ModelMaps, scores_by_method, side_by_side
from gender_cls.pages.comparison_table import MOST_VARIED
from gender_cls.pages.page import page_environment
from gender_cls.pages.transfer_map import home_of, transfer_parts

MOST_AGREEING = 12  # candidates in the agreement matrix: the best by validation
MOST_OPEN_PAIRS = 10  # with more pairs, those without the best candidate are folded away
MOST_WRONG_PATHS = 50  # images without a picture that are named, of those that all candidates get wrong


@dataclass(frozen=True)
class Surroundings:
    """What is around a comparison: what the page says about it, and what it links to."""

    title: str  # of the page, such as the name of the sweep
    created: str  # when, in ISO 8601
    facts: Sequence[tuple[str, str]] = ()  # what all compared runs share: `compared_facts`
    links: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)  # by folder of a run: `run_links`
    files: Sequence[tuple[str, str]] = ()  # names and addresses of the files with the same numbers
    tensorboard: str = ""  # the command that shows the runs


def render_comparison(
    comparison: Comparison,
    around: Surroundings,
    *,
    root: Path | None,
    thumbnails: int,
    models: Sequence[ModelMaps] = (),
    without_maps: Sequence[str] = (),
) -> str:
    """The page, as HTML.

    Args:
        comparison: the content of `compare.json`.
        around: what else the page says.
        root: the folder that the images' paths are relative to; None where it is not known.
        thumbnails: most pictures shown; maps are shown of a third as many images.
        models: the compared candidates that have kept maps, best first, at most MOST_MAPPED.
        without_maps: sentences about those that have not.
    """
    environment = page_environment()
    environment.filters.update(short_verdict=short_verdict, home_of=home_of)
    rows = comparison["candidates"]
    compared = [row for row in rows if row["compared"]]
    cost_chart = accuracy_against_cost(compared, comparison["ensemble"])
    curves = comparison["roc"][: len(CANDIDATE_COLOURS)]
    roc, side = roc_overlay(curves) if curves else (None, 1.0)
    open_pairs, folded_pairs = _pairs(comparison)
    wrong_pictures, wrong_paths = _wrong(comparison["all_wrong"], root, thumbnails)
    maps, missing = _maps(models, root, thumbnails // 3, len(compared))
    return environment.get_template("compare.html.jinja").render(
        comparison=comparison,
        around=around,
        classes=CLASSES,
        headline=_unbroken(headline(comparison)),
        findings=[replace(one, sentence=_unbroken(one.sentence)) for one in findings_of(comparison)],
        chosen=best_on_validation(comparison["candidates"]),
        compared=compared,
        pareto=[row for row in compared if row["pareto"]],
        names={row["title"]: (number, row) for number, row in enumerate(rows, 1)},
        colours=CANDIDATE_COLOURS[: len(compared)],
        varied=list(rows[0]["varied"]) if rows else [],
        most_varied=MOST_VARIED,
        devices=sorted({row["cost"]["device"] for row in rows if row["cost"]["device"]}),
        seeds=max((len(row["seeds"]) for row in compared), default=0),
        covered=sorted({row["test"]["covers"] for row in compared if row["test"]["covers"]}),
        repeated=[folder for row in rows for folder in row["repeated"]],
        score_axis=_score_axis(comparison),
        largest_difference=end_of_differences(
            pair[key] for pair in comparison["pairs"] for key in ("low", "difference", "high")
        ),
        cost_chart=None if cost_chart is None else figure_image(cost_chart),
        roc=None if roc is None else figure_image(roc),
        side=side,
        curves=[(curve, style != "-") for curve, style in zip(curves, DASHES, strict=False)],
        open_pairs=open_pairs,
        folded_pairs=folded_pairs,
        agreement=_agreement(comparison),
        methods=scores_by_method(comparison),
        transfer=comparison["transfer"],
        elsewhere=rows_by_candidate(comparison["transfer"]),
        **({} if comparison["transfer"] is None else transfer_parts(comparison["transfer"])),
        maps=maps,
        most_mapped=MOST_MAPPED,
        without_maps=[*without_maps, *missing],
        wrong_pictures=wrong_pictures,
        wrong_paths=wrong_paths,
    )


def _maps(
    models: Sequence[ModelMaps], root: Path | None, images: int, compared: int
) -> tuple[MapTable | None, list[str]]:
    """The maps side by side, if there are enough; and why not."""
    if not images or not models or len(models) < min(2, compared):
        return None, []
    found = side_by_side(models, root, images)
    if found is None:
        return None, ["The candidates have kept maps of different images, so none can be compared."]
    return found, []


def _score_axis(comparison: Comparison) -> tuple[float, float]:
    """The ends of an axis that holds every test score with its interval and its baseline."""
    rows, ensemble = comparison["candidates"], comparison["ensemble"]
    values = [row["test"][key] for row in rows for key in ("low", "mean", "high")]
    values += [score for row in rows for score in row["test"]["seed_scores"]]
    values += [row["baseline"]["balanced_accuracy"] for row in rows if row["baseline"]]
    values += [ensemble["balanced_accuracy"][key] for key in ("low", "value", "high")] if ensemble else []
    return axis_around(values)


def _pairs(comparison: Comparison) -> tuple[list[Pair], list[Pair]]:
    """The pairs to be shown at once, and those that are folded away."""
    pairs = comparison["pairs"]
    if len(pairs) <= MOST_OPEN_PAIRS:
        return pairs, []
    best = comparison["candidates"][0]["title"]
    with_best = [pair for pair in pairs if best in (pair["a"], pair["b"])]
    return with_best, [pair for pair in pairs if pair not in with_best]


def _agreement(comparison: Comparison) -> list[tuple[str, list[tuple[float, int]]]]:
    """For each row of the matrix, its title and cells: the share of agreement, and percent of colour behind it."""
    found = comparison["agreement"]
    if found is None:
        return []
    shares = [row[:MOST_AGREEING] for row in found["shares"][:MOST_AGREEING]]
    others = [share for i, row in enumerate(shares) for j, share in enumerate(row) if i != j]
    low, span = min(others), (max(others) - min(others)) or 1.0
    cells = [[(share, round(8 + 37 * max(0.0, share - low) / span)) for share in row] for row in shares]
    return list(zip(found["candidates"], cells, strict=False))


def _wrong(images: list[WrongImage], root: Path | None, thumbnails: int) -> tuple[list[Thumbnail], list[WrongImage]]:
    """Of the images that all candidates get wrong, those that are shown and those that are named instead."""
    thumbs: list[Thumbnail] = []
    if root is not None and images:
        thumbs = Gallery(root, thumbnails).take(pd.DataFrame(images), lambda row: f"p {row['p_label']:.2f}")
    shown = [thumb for thumb in thumbs if thumb.uri]
    missing = {thumb.path for thumb in thumbs if not thumb.uri}
    return shown, [image for image in images if not shown or image["path"] in missing][:MOST_WRONG_PATHS]


def _unbroken(sentence: str) -> str:
    """The sentence with no-break spaces inside intervals and p-values."""
    return re.sub(r"\[[-−+.\d]+, [-−+.\d]+\]|p [=<] [.\d]+", lambda found: found[0].replace(" ", "\u00a0"), sentence)
