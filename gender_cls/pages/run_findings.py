"""What the numbers in `metrics.json` mean, in sentences: the same in the report and in the model card."""

from collections.abc import Iterator, Sequence

from gender_cls.errors import plural
from gender_cls.evaluation.estimate import Estimate, best_baseline, is_above_0
from gender_cls.evaluation.schema import Metrics, Scored
from gender_cls.evaluation.wording import (
    PERCENT,
    Finding,
    Level,
    at_threshold,
    band_words,
    by_importance,
    capitalised,
    decimal,
    listed,
    percent,
    stated,
    stated_percent,
    words,
)
from gender_cls.pages.elsewhere import ResultElsewhere
from gender_cls.pages.explanation_findings import explanation_findings

WITHOUT_THE_PERSON = {
    "person_masked": ("With the person masked", "the surroundings or the colours"),
    "background_only": ("With the background only", "the surroundings"),
}
"""Shortcut test -> how its sentence begins, and what would give the label away."""
LARGE_ECE = 0.05  # the sentence says why
SMALL_SHARE = 0.1  # of the lead over guessing, which may remain without the person; the sentence says how much does


def run_findings(metrics: Metrics, elsewhere: Sequence[ResultElsewhere] = ()) -> list[Finding]:
    """Sentences that a reader should know first, the most serious ones before the rest.

    What the test score is worth comes first among equally serious ones. Nothing is `fine` while a reason says not to
    rely on the scores.
    """
    parts = (_leaks, _standing, _people, _threshold, _worst_slice, _shift, _calibration, _shortcuts, _stress)
    found = [*_drop(metrics), *(finding for part in parts for finding in part(metrics)), *_elsewhere(elsewhere)]
    found += explanation_findings(metrics["explanations"]) if metrics["explanations"] else ()
    found += [Finding("warn", f"Not made: {words(part)}. {why}") for part, why in metrics["problems"].items()]
    if any(one.level == "stop" for one in found):
        found = [Finding("note", one.sentence) if one.level == "fine" else one for one in found]
    return by_importance(found)


def column_title(name: str) -> str:
    """A column of slices or shift as people write it."""
    return "probability of FEMALE" if name == "probability" else words(name)


def resampled(scored: Scored) -> str:
    """What the intervals of these scores cover the chance in, counted: `216 people`."""
    people = plural(scored["identities"], "person", "people")
    if scored["identities"]:
        return people if scored["identities"] == scored["units"] else f"{people} and the images of unknown people"
    if scored["units"] < scored["images"]:
        return plural(scored["units"], "group of images", "groups of images")
    return plural(scored["images"], "image")


def _leaks(metrics: Metrics) -> Iterator[Finding]:
    if metrics["data"]["leaky"]:
        leaks = metrics["data"]["leaks"]
        people = plural(leaks["identities"], "person", "people")
        copies = plural(leaks["duplicates"], "exact copy", "exact copies")
        alike = plural(leaks.get("near_duplicates", 0), "near duplicate")  # earlier versions did not count them
        yield Finding(
            "stop",
            f"The splits leak: {people}, {copies} and {alike} are in more than one split. "
            f"{percent(leaks['test_share'])} of the test images show a person or an image from train, so the scores "
            "say little about new people.",
        )


def _standing(metrics: Metrics) -> Iterator[Finding]:
    standing = metrics["standing"]
    yield Finding(standing["level"], standing["sentence"])


def _people(metrics: Metrics) -> Iterator[Finding]:
    if metrics["test"]["images"] and not metrics["test"]["identities"]:
        yield Finding(
            "warn",
            "Who is on the tested images is not known: the same people may be in train, and the intervals too narrow.",
        )


def _threshold(metrics: Metrics) -> Iterator[Finding]:
    """What the model scores with the decisions that validation chose, and how often it is wrong with them."""
    point, abstention = metrics["operating_point"], metrics["abstention"]
    score, error = point["test"]["balanced_accuracy"], abstention["test"]["error"]
    coverage, target = abstention["test"]["coverage"]["value"], abstention["target_error"]
    if score["value"] is None or coverage is None or error["value"] is None:
        return
    answers = "" if abstention["band"] is None else f", it answers {percent(coverage)} of the images"
    missed, met = abstention["reached"] is False, error["value"] <= target
    how = "" if met else ", missed" if missed else ", inside that interval"
    yield Finding(
        "warn" if missed else "fine" if met else "note",
        f"{capitalised(at_threshold(point))}, balanced accuracy is {stated(score)}; {band_words(abstention)}{answers}, "
        f"{stated_percent(error)} of them wrongly (target {100 * target:g}{PERCENT}{how}).",
    )


def _worst_slice(metrics: Metrics) -> Iterator[Finding]:
    worst, everything = metrics["slices"]["worst"], metrics["test"]["scores"]["balanced_accuracy"]["value"]
    if worst is None:
        return
    place = (worst["column"], worst["value"])
    cell = next(cell for cell in metrics["slices"]["cells"] if (cell["column"], cell["value"]) == place)
    score = cell["balanced_accuracy"]
    below = everything is not None and score["high"] is not None and score["high"] < everything
    units = "people" if metrics["test"]["identities"] else "images"
    yield Finding(
        "warn" if below else "note",
        f"Weakest slice with at least 50 {units} (fewer say too little): "
        f"{column_title(worst['column'])} {worst['value'] or 'unknown'}, {stated(score)}; "
        + ("the whole interval is" if below else "it is not clearly")
        + " below the score of all tested images.",
    )


def _shift(metrics: Metrics) -> Iterator[Finding]:
    shift = metrics["shift"]
    test = "test" if metrics["elsewhere"] is None else metrics["elsewhere"]["name"]
    if shift["shifted"]:
        names = listed(map(column_title, shift["shifted"]))
        yield Finding(
            "warn",
            f"Validation and {test} differ in {names}: temperature, threshold and abstention band were chosen on "
            f"validation and may not fit {test}.",
        )
    elif shift["columns"]:
        compared = plural(len(shift["columns"]), "compared column")
        yield Finding("note", f"Validation and {test} do not differ significantly in the {compared}.")


def _drop(metrics: Metrics) -> Iterator[Finding]:
    """The drop, if this is a test on other data."""
    found = metrics["elsewhere"]
    if found is not None and found["sentences"]:
        worse = is_above_0(found["scores"]["balanced_accuracy"]["drop"])
        yield Finding("warn" if worse else "note", found["sentences"][0])


def _elsewhere(results: Sequence[ResultElsewhere]) -> Iterator[Finding]:
    """The largest drop on other data among those that are shown, or else among all."""
    scores = {one.found["name"]: one.found["scores"]["balanced_accuracy"] for one in results}
    drops = {name: score["drop"]["value"] for name, score in scores.items() if score["drop"]["value"] is not None}
    if not drops:
        return
    shown = {name: drop for name, drop in drops.items() if is_above_0(scores[name]["drop"])}
    name = max(shown or drops, key=lambda name: drops[name])
    where = f"{name}, {stated(scores[name]['here'])}"
    drop, tests = stated(scores[name]["drop"]), plural(len(drops), "test")
    mean = f"; the mean over {tests} on other data is {decimal(sum(drops.values()) / len(drops))}" * (len(drops) > 1)
    if shown:
        sentence = f"On data that it was not trained on, balanced accuracy drops by up to {drop} ({where}){mean}."
        yield Finding("warn", sentence)
    else:
        shown_not = f"no drop of balanced accuracy is shown: home minus elsewhere is at most {drop} ({where}){mean}."
        yield Finding("note", f"On data that it was not trained on, {shown_not}")


def _calibration(metrics: Metrics) -> Iterator[Finding]:
    before, after = (metrics["calibration"][when]["ece"] for when in ("before", "after"))
    if before["value"] is None or after["value"] is None:
        return
    sentence = (
        f"Calibrated probabilities differ from the observed share of FEMALE by {stated(after)} on average (ECE; "
        f"{before['value']:.3f} before calibration)"
    )
    if after["value"] > LARGE_ECE:
        below, above = (100 * (0.8 + side * after["value"]) for side in (-1, 1))
        yield Finding("warn", f"{sentence}: 80{PERCENT} may stand for {below:.0f} or {min(above, 100):.0f}{PERCENT}.")
    else:
        small = after["high"] is not None and after["high"] <= LARGE_ECE
        yield Finding("fine" if small else "note", f"{sentence}.")


def _shortcuts(metrics: Metrics) -> Iterator[Finding]:
    for test in metrics["shortcuts"] or []:
        score = test["balanced_accuracy"]
        if test["name"] not in WITHOUT_THE_PERSON or score["value"] is None:
            continue
        begin, clue = WITHOUT_THE_PERSON[test["name"]]
        if score["low"] is not None and score["low"] > 0.5:
            end = f"still scores {stated(score)}, above chance: {clue} reveal part of the label."
            yield Finding("warn", f"{begin} it {end}")
            continue
        remains = _remains(score, metrics["test"]["scores"]["balanced_accuracy"])
        end = "" if remains is None else f": at most {percent(remains)} of the lead over guessing remains"
        little = remains is not None and remains <= SMALL_SHARE
        yield Finding("fine" if little else "note", f"{begin} it scores {stated(score)}{end}.")


def _remains(without: Estimate, whole: Estimate) -> float | None:
    """The largest plausible share of the model's lead over guessing that it has without the person, 0 to 1.

    None if that is not known, or there is no lead.
    """
    if without["high"] is None or whole["value"] is None or whole["value"] <= 0.5:
        return None
    return min(max(without["high"] - 0.5, 0.0) / (whole["value"] - 0.5), 1.0)


def _stress(metrics: Metrics) -> Iterator[Finding]:
    stress, baseline = metrics["stress"], best_baseline(metrics["baselines"])
    if stress is None or stress["worst"] is None:
        return
    worst = stress["worst"]
    named = next(one for one in stress["corruptions"] if one["name"] == worst["name"])
    score = next(each for each in named["severities"] if each["severity"] == worst["severity"])["balanced_accuracy"]
    mean = "" if stress["mean"] is None else f" and {stress['mean']:.3f} on average"
    level: Level
    low, to_beat = score["low"], 0.5 if baseline is None else baseline["balanced_accuracy"]
    if low is None or low <= 0.5:
        level, against = "warn", "is not shown to be better than guessing"
    elif low <= to_beat:
        level, against = "note", f"is not shown to beat the best trivial baseline ({to_beat:.3f})"
    else:
        level, against = "fine", "still beats the best trivial baseline"
    yield Finding(
        level,
        f"Under corruptions it scores {stated(score)} at worst ({named['title']}, severity {worst['severity']}){mean}; "
        f"at worst it {against}.",
    )
