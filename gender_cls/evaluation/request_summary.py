"""What was answered, and whether the requested images look like those that the rule was chosen on: `summary.json`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import SPLITS
from gender_cls.errors import count, plural
from gender_cls.evaluation.bootstrap import SEED, Units, bootstrap_units
from gender_cls.evaluation.calibration import calibrated
from gender_cls.evaluation.combined import CombinedRule
from gender_cls.evaluation.decisions import ABSTAIN
from gender_cls.evaluation.schema import Shift
from gender_cls.evaluation.shift import compare_columns, why_not_compared
from gender_cls.evaluation.tracks import TrackRule, track_of
from gender_cls.evaluation.wording import decimal, listed, p_value, percent, words
from gender_cls.models.exported import ANSWERS

MOST_COMPARED = 10_000  # images, drawn at random; more would take minutes and show nothing else
PLACES = {"native_height": 0, "brightness": 1, "sharpness": 3}
"""The measured columns that are compared, and to how many decimals both tables have them."""


class Abstained(TypedDict):
    """The share of images that get no answer; null where it is not known."""

    here: float | None
    home: float | None
    of: str  # which images of the run are home: test, or validation where no answers for test are kept


class OfTracks(TypedDict):
    """The rows of `tracks.csv`."""

    tracks: int
    people: int  # whose images have no track
    answers: dict[str, int]
    unanswered: int  # none of their images can be read
    disagreeing: int  # at least one image is on the other side of the threshold
    correlation: float  # see TrackRule


class Spread(TypedDict):
    """Over images, of the standard deviation over models of their calibrated probabilities."""

    models: int
    median: float | None
    largest: float | None


class Summary(TypedDict):
    """The content of `summary.json`. Nothing in it has an effect on the answers."""

    images: int
    faults: dict[str, int]  # unreadable images, by fault
    answers: dict[str, int]
    abstained: Abstained
    known_as: dict[str, int]  # images of the run itself, by split
    shift: Shift  # of height, brightness, sharpness and calibrated probability against the run's validation
    alone: int  # readable images without a track and an identity: `shift` takes each for another person
    tracks: OfTracks | None  # null without tracks and known people
    spread: Spread | None  # null for one model
    rule: dict[str, Any]
    remarks: list[str]


def summarise(table: pd.DataFrame, tracks: pd.DataFrame, combined: CombinedRule, track_rule: TrackRule) -> Summary:
    """Counts, shares and comparisons.

    Args:
        table: the rows of `predict`.
        tracks: of the same rows, see `track_table`.
    """
    readable = table[table["fault"] == ""]
    answers = _counts(readable["answer"], ANSWERS)
    remarks = [*combined.remarks, *([track_rule.remark] if track_rule.remark and len(tracks) else [])]
    track, several = track_of(readable), len(combined.temperatures) > 1
    return Summary(
        images=len(table),
        faults={str(fault): int(found) for fault, found in table["fault"].value_counts().items() if fault},
        answers=answers,
        abstained=_abstained(answers, combined),
        known_as=_counts(table["known_as"], SPLITS),
        shift=_shift(readable, track, combined),
        alone=int((track < 0).sum()),
        tracks=_of_tracks(tracks, track_rule) if len(tracks) else None,
        spread=_spread(readable["spread"], len(combined.temperatures)) if several else None,
        rule=asdict(combined.rule),
        remarks=remarks,
    )


def _counts(names: pd.Series, wanted: tuple[str, ...]) -> dict[str, int]:
    found = names.value_counts()
    return {name: int(found.get(name, 0)) for name in wanted}


def _abstained(answers: Mapping[str, int], combined: CombinedRule) -> Abstained:
    answered = sum(answers.values())
    of, known = ("test", combined.test) if combined.test is not None else ("validation", combined.validation)
    if known is None or not len(known) or not combined.whole:
        home = None
    else:
        home = float((combined.rule.answers(known) == ABSTAIN).mean())
    return Abstained(here=answers[ABSTAIN] / answered if answered else None, home=home, of=of)


def _shift(readable: pd.DataFrame, track: NDArray[np.intp], combined: CombinedRule) -> Shift:
    validation = combined.validation
    if validation is None:
        return Shift(columns=[], shifted=[], remark="Nothing could be compared: no answers for validation are kept.")
    home, units = bootstrap_units(validation), np.where(track < 0, len(track) + np.arange(len(track)), track)
    (validation, home), (readable, units) = _some(validation, home), _some(readable, units)
    if problem := why_not_compared(home, units, "the request"):
        return Shift(columns=[], shifted=[], remark=problem)
    both = validation, readable
    compared = {
        name: np.concatenate([table[name].to_numpy(np.float64, na_value=np.nan).round(places) for table in both])
        for name, places in PLACES.items()
        if name in validation
    }
    if combined.whole:
        own = calibrated(validation, combined.rule.temperature)
        compared["probability"] = np.concatenate([own, readable["calibrated_p_FEMALE"].to_numpy(np.float64)])
        return compare_columns(compared, home, units)
    shift = compare_columns(compared, home, units) if compared else Shift(columns=[], shifted=[], remark=None)
    why = "Probabilities are not compared: the models have different validation images."
    return shift | {"remark": " ".join(filter(None, [shift["remark"], why]))}


def _some(table: pd.DataFrame, units: Units) -> tuple[pd.DataFrame, Units]:
    """At most MOST_COMPARED of the rows; the codes of their units without a gap."""
    if len(table) > MOST_COMPARED:
        rows = np.sort(np.random.default_rng(SEED).choice(len(table), MOST_COMPARED, replace=False))
        table, units = table.iloc[rows], units[rows]
    return table, np.unique(units, return_inverse=True)[1]


def _of_tracks(tracks: pd.DataFrame, track_rule: TrackRule) -> OfTracks:
    return OfTracks(
        tracks=int((tracks["track"] != "").sum()),
        people=int((tracks["track"] == "").sum()),
        answers=_counts(tracks["answer"], ANSWERS),
        unanswered=int((tracks["images"] == 0).sum()),
        disagreeing=int((tracks["share_disagreeing"] > 0).sum()),
        correlation=track_rule.correlation,
    )


def _spread(spread: pd.Series, models: int) -> Spread:
    known = spread.to_numpy(np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Spread(models=models, median=None, largest=None)
    return Spread(models=models, median=float(np.median(known)), largest=float(known.max()))


def summary_lines(summary: Summary) -> list[str]:
    """About ten sentences."""
    lines = [_of_images(summary), _of_abstained(summary), _of_known(summary["known_as"]), *_of_shift(summary)]
    if summary["tracks"] is not None:
        lines.append(_of_all_tracks(summary["tracks"]))
    spread = summary["spread"]
    if spread is not None and spread["median"] is not None:
        lines.append(
            f"The calibrated probabilities of the {spread['models']} models have a standard deviation of "
            f"{decimal(spread['median'])} in the median image, and of {decimal(spread['largest'])} where they differ "
            "most."
        )
    return [line for line in [*lines, *summary["remarks"]] if line]


def _of_images(summary: Summary) -> str:
    line = f"{plural(summary['images'], 'image')}: {_said(summary['answers'])}."
    if faults := summary["faults"]:
        kinds = listed(f"{count(number)} {words(fault)}" for fault, number in faults.items())
        line += f" {count(sum(faults.values()))} cannot be read: {kinds}."
    return line


def _said(answers: Mapping[str, int]) -> str:
    return listed(f"{count(answers[answer])} {answer}" for answer in ANSWERS)


def _of_abstained(summary: Summary) -> str:
    here, home = summary["abstained"]["here"], summary["abstained"]["home"]
    if here is None or summary["rule"]["band"] is None:
        return ""
    if home is None:
        return f"The answer is {ABSTAIN} for {percent(here)} of the images."
    return (
        f"The answer is {ABSTAIN} for {percent(here)} of the images, and for {percent(home)} of the run's own "
        f"{summary['abstained']['of']} images."
    )


def _of_known(known_as: Mapping[str, int]) -> str:
    names = {"train": "training", "val": "validation", "test": "test"}
    known = listed(f"{count(number)} of {names[split]}" for split, number in known_as.items() if number)
    if not known:
        return ""
    line = f"Images of the run itself are among them: {known}."
    if known_as["train"] or known_as["val"]:
        line += " Those of training and validation are not new to it, so its answers for them say little."
    return line


def _of_shift(summary: Summary) -> list[str]:
    shift = summary["shift"]
    lines = [shift["remark"]] if shift["remark"] else []
    if not shift["columns"]:
        return lines
    names = {column["column"]: words(column["column"]) for column in shift["columns"]}
    if shift["shifted"]:
        found = listed(
            f"{names[column['column']]} (p {_p(column['p_holm'])})"
            for column in shift["columns"]
            if column["column"] in shift["shifted"]
        )
        lines.insert(0, f"Not as on the run's validation: {found}. What validation chose may not fit these images.")
    else:
        lines.insert(0, f"No difference to the run's validation is shown: {listed(names.values())} were compared.")
    if summary["alone"]:
        lines[0] += (
            f" {plural(summary['alone'], 'image has', 'images have')} no track and no identity and count as one person "
            "each: if people come several times, differences are found too easily."
        )
    if summary["images"] > MOST_COMPARED:
        lines[0] += f" {count(MOST_COMPARED)} random images were compared."
    return lines


def _p(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _of_all_tracks(tracks: OfTracks) -> str:
    kinds = [plural(tracks["tracks"], "track")] * bool(tracks["tracks"])
    kinds += [plural(tracks["people"], "person", "people")] * bool(tracks["people"])
    line = f"{listed(kinds)}: {_said(tracks['answers'])}"
    if tracks["unanswered"]:
        line += f", and {count(tracks['unanswered'])} without a readable image"
    if tracks["disagreeing"]:
        line += f". In {count(tracks['disagreeing'])} of them, some images are on the other side of the threshold"
    return f"{line}."
