"""What the numbers in `metrics.json` mean, in sentences: the same in the report and in the model card."""

from collections.abc import Iterator

from gender_cls.errors import plural
from gender_cls.evaluation.estimate import beats, best_baseline
from gender_cls.evaluation.schema import Metrics, Scored
from gender_cls.evaluation.wording import Finding, listed, percent, stated, stated_percent, words
from gender_cls.pages.explanation_findings import explanation_findings

LARGE_ECE = 0.05  # above it, probabilities are further off than readers expect of a percentage

WITHOUT_THE_PERSON = {
    "person_masked": ("With the person masked", "the surroundings or the colours"),
    "background_only": ("With the background only", "the surroundings"),
}
"""Shortcut test -> how its sentence begins, and what would give the label away."""


def run_findings(metrics: Metrics) -> list[Finding]:
    """Sentences that a reader should know first. Those of level `stop` come before the rest."""
    parts = (_leaks, _headline, _baselines, _worst_slice, _shift, _calibration, _abstention, _shortcuts, _stress)
    found = [finding for part in parts for finding in part(metrics)]
    found += explanation_findings(metrics["explanations"]) if metrics["explanations"] else ()
    found += [Finding("warn", f"Not made: {words(part)}. {why}") for part, why in metrics["problems"].items()]
    return sorted(found, key=lambda finding: finding.level != "stop")


def column_title(name: str) -> str:
    """A column of slices or shift as people write it."""
    return "probability of FEMALE" if name == "probability" else words(name)


def resampled(scored: Scored) -> str:
    """What the bootstrap of these scores draws from, counted: `216 people`."""
    people = plural(scored["identities"], "person", "people")
    if scored["identities"]:
        return people if scored["identities"] == scored["units"] else f"{people} and the images of unknown people"
    if scored["units"] < scored["images"]:
        return plural(scored["units"], "group of images", "groups of images")
    return plural(scored["images"], "image")


def _leaks(metrics: Metrics) -> Iterator[Finding]:
    leaks = metrics["data"]["leaks"]
    if metrics["data"]["leaky"]:
        people = plural(leaks["identities"], "person", "people")
        copies = plural(leaks["duplicates"], "exact copy", "exact copies")
        alike = plural(leaks.get("near_duplicates", 0), "near duplicate")  # earlier versions did not count them
        yield Finding(
            "stop",
            f"The splits leak: {people}, {copies} and {alike} are in more than one split. "
            f"{percent(leaks['test_share'])} of the test images show a person or an image from train, so the scores "
            "say little about new people.",
        )


def _headline(metrics: Metrics) -> Iterator[Finding]:
    test = metrics["test"]
    score, people = test["scores"]["balanced_accuracy"], test["identities"]
    images = plural(test["images"], "test image")
    if score["value"] is None:
        yield Finding("stop", f"There is no balanced accuracy on {images}: {score['remark']}")
    else:
        known = f" of {plural(people, 'person', 'people')}" if people else "; who is on them is not known"
        yield Finding("fine" if people else "warn", f"Balanced accuracy {stated(score)} on {images}{known}.")


def _baselines(metrics: Metrics) -> Iterator[Finding]:
    score, best = metrics["test"]["scores"]["balanced_accuracy"], best_baseline(metrics["baselines"])
    if best is None or score["value"] is None:
        return
    baseline = f"the best trivial baseline ({best['title']}, {best['balanced_accuracy']:.3f})"
    better = beats(score["value"], score["low"], best["balanced_accuracy"])
    if better:
        yield Finding("fine", f"It beats {baseline}: the whole interval is above it.")
    elif better is False:
        yield Finding("stop", f"It does not beat {baseline}, which never looks at the person.")
    elif score["low"] is None:
        yield Finding("warn", f"Whether it beats {baseline} is unknown, because there is no interval.")
    else:
        yield Finding("warn", f"It is not shown to beat {baseline}: the interval includes that score.")


def _worst_slice(metrics: Metrics) -> Iterator[Finding]:
    worst, everything = metrics["slices"]["worst"], metrics["test"]["scores"]["balanced_accuracy"]["value"]
    if worst is None:
        return
    place = (worst["column"], worst["value"])
    cell = next(cell for cell in metrics["slices"]["cells"] if (cell["column"], cell["value"]) == place)
    score = cell["balanced_accuracy"]
    below = everything is not None and score["high"] is not None and score["high"] < everything
    yield Finding(
        "warn" if below else "fine",
        f"Weakest slice with at least 50 {'people' if metrics['test']['identities'] else 'images'}: "
        f"{column_title(worst['column'])} {worst['value'] or 'unknown'}, {stated(score)}; "
        + ("the whole interval is" if below else "it is not clearly")
        + " below the score of all test images.",
    )


def _shift(metrics: Metrics) -> Iterator[Finding]:
    shift = metrics["shift"]
    if shift["shifted"]:
        names = listed(map(column_title, shift["shifted"]))
        yield Finding(
            "warn",
            f"Validation and test differ in {names}: temperature, threshold and abstention band were chosen on "
            "validation and may not fit test.",
        )
    elif shift["columns"]:
        compared = plural(len(shift["columns"]), "compared column")
        yield Finding("fine", f"Validation and test do not differ significantly in the {compared}.")


def _calibration(metrics: Metrics) -> Iterator[Finding]:
    before, after = (metrics["calibration"][when]["ece"] for when in ("before", "after"))
    if before["value"] is not None and after["value"] is not None:
        yield Finding(
            "warn" if after["value"] > LARGE_ECE else "fine",
            f"Calibrated probabilities differ from the observed share of FEMALE by {stated(after)} on average (ECE; "
            f"{before['value']:.3f} before calibration).",
        )


def _abstention(metrics: Metrics) -> Iterator[Finding]:
    abstention = metrics["abstention"]
    test, target = abstention["test"], f"{100 * abstention['target_error']:g}\u202f%"
    if test is None:
        yield Finding("warn", f"Every image is answered (the target was an error of {target}). {abstention['remark']}")
    elif test["coverage"]["value"] is not None and test["error"]["value"] is not None:
        yield Finding(
            "fine" if abstention["reached"] else "warn",
            f"With abstention it answers {percent(test['coverage']['value'])} of the images, "
            f"{stated_percent(test['error'])} of them wrongly; "
            + (f"the target was {target}." if abstention["reached"] else f"the target of {target} is missed."),
        )


def _shortcuts(metrics: Metrics) -> Iterator[Finding]:
    for test in metrics["shortcuts"] or []:
        score = test["balanced_accuracy"]
        if test["name"] not in WITHOUT_THE_PERSON or score["value"] is None:
            continue
        begin, clue = WITHOUT_THE_PERSON[test["name"]]
        if score["low"] is not None and score["low"] > 0.5:
            end = f"still scores {stated(score)}, above chance: {clue} reveal part of the label."
            yield Finding("warn", f"{begin} it {end}")
        else:
            yield Finding("fine", f"{begin} it scores {stated(score)}, not shown to be above chance.")


def _stress(metrics: Metrics) -> Iterator[Finding]:
    stress = metrics["stress"]
    if stress is None or stress["worst"] is None:
        return
    worst = stress["worst"]
    named = next(one for one in stress["corruptions"] if one["name"] == worst["name"])
    score = next(each for each in named["severities"] if each["severity"] == worst["severity"])["balanced_accuracy"]
    mean = "" if stress["mean"] is None else f" and {stress['mean']:.3f} on average"
    yield Finding(
        "warn" if score["low"] is not None and score["low"] <= 0.5 else "fine",
        f"Under corruptions it scores {stated(score)} at worst ({named['title']}, severity {worst['severity']}){mean}.",
    )
