"""The audit's findings in sentences and in a short table: the first thing that a reader sees."""

from collections.abc import Iterator
from typing import Any

from gender_cls.data.folders import LEFT_OUT
from gender_cls.data.split import missing_splits_sentence
from gender_cls.errors import first_few, plural
from gender_cls.evaluation.estimate import best_baseline
from gender_cls.evaluation.wording import Finding, by_importance, words

TELLING = 0.55  # a trivial baseline with this balanced accuracy or more is worth a warning


def audit_findings(totals: dict[str, Any]) -> list[Finding]:
    """The findings, most serious first.

    Args:
        totals: the content of `audit.json`.
    """
    found = [*_leaks(totals), *_labels(totals), *_files(totals), *_baselines(totals)]
    return by_importance(found)


def _leaks(totals: dict[str, Any]) -> Iterator[Finding]:
    data, duplicates = totals["data"], totals["duplicates"]
    across, exact, near = totals["identities"]["across_splits"], duplicates["exact"], duplicates["near"]
    if data["split_problem"]:
        yield Finding("stop", f"There is no usable split: {data['split_problem']}")
    if data["leaky"]:
        yield Finding(
            "stop",
            f"The {data['split_origin']} split is leaky: {across['test_share']:.0%} of the test images show someone or "
            f"something from train ({across['identities']} people, {exact['across_splits']} exact copies and "
            f"{near['across_splits']} near duplicates are in more than one split).",
        )
    elif not data["split_problem"]:
        yield Finding("fine", "No known person and no exact copy is in more than one split.")
    if near["across_splits"] and not data["leaky"]:
        yield Finding(
            "warn", f"{near['across_splits']} images have a near duplicate in another split: check whether it matters."
        )
    if data["missing_splits"] and not data["split_problem"]:
        yield Finding("warn", missing_splits_sentence(data["missing_splits"]))
    if data["one_person"]:
        yield Finding("warn", data["one_person"])
    if not data["identities"]:
        yield Finding(
            "warn",
            f"No identities are known. {data['groups']} groups of near duplicates and consecutive frames are kept "
            "together instead; other images of one person may still stand on both sides of the split.",
        )


def _labels(totals: dict[str, Any]) -> Iterator[Finding]:
    duplicates, both, suspects = totals["duplicates"], totals["identities"]["both_labels"], totals["suspects"]
    for group in suspects["groups"]:
        yield Finding("warn" if group["kind"] == "one_label" else "stop", group["sentence"])
    if copies := duplicates["exact"]["across_labels"]:
        yield Finding("warn", f"{copies} images have an exact copy with the other label: one of the two is wrong.")
    if alike := duplicates["near"]["across_labels"]:
        yield Finding("warn", f"{alike} images have a near duplicate with the other label: check which one is wrong.")
    if both["identities"]:
        yield Finding("warn", f"{both['identities']} people carry both labels, on {both['images']} images.")
    if suspects["problem"]:
        yield Finding("warn", f"The search for suspect labels did not run: {suspects['problem']}")
    elif suspects["images"]:
        accuracy = suspects["out_of_fold_balanced_accuracy"]
        judge = "that did not see them" if accuracy is None else f"with a balanced accuracy of {accuracy:.0%}"
        yield Finding(
            "warn", f"{suspects['images']} labels contradict a model {judge}: review suspects.csv, from the top."
        )


def _files(totals: dict[str, Any]) -> Iterator[Finding]:
    broken = totals["faults"]["unreadable"]["images"]
    cut_out = totals["faults"]["transparent"]["images"]
    if broken:
        yield Finding(
            "warn", f"{plural(broken, 'image')} cannot be read; training stops at them unless data.on_corrupt=drop."
        )
    if cut_out:
        yield Finding(
            "warn",
            f"{plural(cut_out, 'image is', 'images are')} transparent in places, which the network sees as grey: if "
            "only one label or one source has such images, the grey tells it.",
        )
    for kind, found in _images_left_out(totals):
        such = ", ".join(found["examples"][:3])
        yield Finding("warn", f"Not used: {plural(found['files'], *LEFT_OUT[kind])}, such as {such}.")
    if not broken and totals["duplicates"]["exact"]["images"] == 0:
        yield Finding("fine", "Every image can be read, and no image is an exact copy of another.")


def _images_left_out(totals: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    kinds = ("without_label", "hidden", "system")
    return [(kind, totals["left_out"][kind]) for kind in kinds if kind in totals["left_out"]]


def _baselines(totals: dict[str, Any]) -> Iterator[Finding]:
    if single := totals["balance"]["single_label_groups"]:
        groups = first_few(f"{one['column']} {one['value']} ({one['images']} {one['label']})" for one in single)
        yield Finding("warn", f"{plural(len(single), 'group')} with one label only, so the place tells it: {groups}.")
    if best := best_baseline(totals["baselines"]):
        score = best["balanced_accuracy"]
        yield Finding(
            "warn" if score >= TELLING else "fine",
            f"The best trivial baseline, {best['title']}, has a balanced accuracy of {score:.3f} on test: a model must "
            "beat it.",
        )


def short_table(totals: dict[str, Any]) -> str:
    """Counts, baselines and findings for the terminal."""
    data, duplicates, people, suspects = (totals[part] for part in ("data", "duplicates", "identities", "suspects"))
    counts = {
        "images": data["images"],
        "people": data["identities"] or "unknown",
        **{words(name): fault["images"] for name, fault in totals["faults"].items() if fault["images"]},
        "left out": sum(found["files"] for _, found in _images_left_out(totals)),
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
