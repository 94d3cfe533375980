"""What an audit found, in sentences and in a short table: the first thing that a reader sees."""

from typing import Any

TELLING = 0.55
"""Balanced accuracy from which on a trivial baseline is worth a warning."""

Verdict = list[dict[str, str]]


def verdict(totals: dict[str, Any]) -> Verdict:
    """Sentences with their `level`, the gravest first: `stop` (scores would be worthless), `warn`, `fine`.

    Args:
        totals: the content of `audit.json`.
    """
    sentences = [*_leaks(totals), *_labels(totals), *_files(totals), *_baselines(totals)]
    return [
        {"level": level, "sentence": sentence}
        for wanted in ("stop", "warn", "fine")
        for level, sentence in sentences
        if level == wanted
    ]


def _leaks(totals: dict[str, Any]) -> list[tuple[str, str]]:
    data, duplicates = totals["data"], totals["duplicates"]
    across, exact, near = totals["identities"]["across_splits"], duplicates["exact"], duplicates["near"]
    found = []
    if data["split_problem"]:
        found.append(("stop", f"There is no usable split: {data['split_problem']}"))
    if across["identities"] or exact["across_splits"]:
        what = f"{across['identities']} people and {exact['across_splits']} exact copies stand in more than one split"
        share = f"{across['test_share']:.0%} of the test images show someone or something from train"
        found.append(("stop", f"The {data['split_origin']} split is leaky: {share} ({what})."))
    elif not data["split_problem"]:
        found.append(("fine", "No known person and no exact copy stands in more than one split."))
    if near["across_splits"]:
        found.append(
            ("warn", f"{near['across_splits']} images have a near duplicate in another split: look whether it matters.")
        )
    if not data["identities"]:
        found.append(
            (
                "warn",
                f"No identities are known: {data['groups']} groups of near duplicates and consecutive frames are kept "
                "together instead, and other pictures of one person may still stand on both sides of the split.",
            )
        )
    return found


def _labels(totals: dict[str, Any]) -> list[tuple[str, str]]:
    duplicates, both, suspects = totals["duplicates"], totals["identities"]["both_labels"], totals["suspects"]
    found = [("warn" if one["kind"] == "one_label" else "stop", one["sentence"]) for one in suspects["groups"]]
    contradictory = duplicates["exact"]["across_labels"]
    if contradictory:
        found.append(("warn", f"{contradictory} images have an exact copy with the other label: one of them is wrong."))
    if alike := duplicates["near"]["across_labels"]:
        found.append(
            ("warn", f"{alike} images have a near duplicate with the other label: look which of them is wrong.")
        )
    if both["identities"]:
        found.append(("warn", f"{both['identities']} people carry both labels, on {both['images']} images."))
    if suspects["problem"]:
        found.append(("warn", f"Suspect labels were not looked for: {suspects['problem']}"))
    elif suspects["images"]:
        accuracy = suspects["out_of_fold_balanced_accuracy"]
        judge = "a model that did not see them" if accuracy is None else f"a model that is right in {accuracy:.0%}"
        found.append(
            (
                "warn",
                f"{suspects['images']} labels contradict {judge}: review suspects.csv from the top, as far as it pays.",
            )
        )
    return found


def _files(totals: dict[str, Any]) -> list[tuple[str, str]]:
    faults, hidden = totals["faults"], totals["passed_over"].get("hidden", {"files": 0})["files"]
    found = []
    if broken := faults["unreadable"]["images"]:
        found.append(("warn", f"{broken} images cannot be read; training stops at them unless data.on_corrupt=drop."))
    if hidden:
        found.append(("warn", f"{hidden} images lie in hidden folders or are hidden files, and are not used."))
    if not broken and totals["duplicates"]["exact"]["images"] == 0:
        found.append(("fine", "Every image can be read, and none is there twice."))
    return found


def _baselines(totals: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    if single := totals["balance"]["single_label_groups"]:
        examples = [f"{one['column']} {one['value']} ({one['images']} {one['label']})" for one in single[:3]]
        more = f" and {len(single) - 3} more" if len(single) > 3 else ""
        found.append(("warn", f"One label only, so that the place gives it away: {', '.join(examples)}{more}."))
    scored = [one for one in totals["baselines"] if one["balanced_accuracy"] is not None]
    best = max(scored, key=lambda one: one["balanced_accuracy"], default=None)
    if best is not None:
        level = "warn" if best["balanced_accuracy"] >= TELLING else "fine"
        baseline = f"The best trivial baseline, {best['title']}, has a balanced accuracy"
        found.append((level, f"{baseline} of {best['balanced_accuracy']:.3f} on test: a model must beat it."))
    return found


def short_table(totals: dict[str, Any]) -> str:
    """Counts and verdict for the terminal."""
    data, duplicates, people, suspects = (totals[part] for part in ("data", "duplicates", "identities", "suspects"))
    counts = {
        "images": data["images"],
        "people": data["identities"] or "unknown",
        **{name.replace("_", " "): fault["images"] for name, fault in totals["faults"].items() if fault["images"]},
        "hidden": totals["passed_over"].get("hidden", {"files": 0})["files"],
        **{
            f"{kind} duplicates{where}": duplicates[kind][key]
            for kind in ("exact", "near")
            for key, where in (("images", ""), ("across_labels", " across labels"), ("across_splits", " across splits"))
        },
        "people in several splits": people["across_splits"]["identities"],
        "people with both labels": people["both_labels"]["identities"],
        "suspect labels": "-" if suspects["problem"] else suspects["images"],
    }
    scores = {one["title"]: one["balanced_accuracy"] for one in totals["baselines"]}
    known = {title: f"{score:.3f}" for title, score in scores.items() if score is not None}
    width = max(map(len, [*counts, *known]))
    rows = [f"  {name:<{width}}  {value:>8}" for name, value in [*counts.items(), *known.items()]]
    rows.insert(len(counts), "Trivial baselines, balanced accuracy on test")
    marks = {"stop": "!!", "warn": " !", "fine": "ok"}
    sentences = [f"{marks[one['level']]} {one['sentence']}" for one in totals["verdict"]]
    return "\n".join(["Counts", *rows, "", *sentences])
