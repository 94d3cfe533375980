"""A run's numbers and configuration -> `MODEL_CARD.md`, after Mitchell et al. 2019 (arXiv:1810.03993).

Every number comes from `metrics.json`; what is null there is named as not measured, with the reason.
"""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from gender_cls.config.data import CLASSES, SPLITS
from gender_cls.data.variant_names import CORRUPTIONS, SEVERITIES
from gender_cls.evaluation.estimate import Estimate, beats, best_baseline
from gender_cls.evaluation.schema import SCORES, CorruptionScores, MethodScores, Metrics, Scored, Slice
from gender_cls.evaluation.wording import capitalised, count, duration, percent, plural, score_title, words
from gender_cls.pages.explanation_words import explanation_sentences
from gender_cls.pages.markdown import markdown_table

WIDTH = 120

NOT_MEASURED = "not measured"

CONDITIONS = {
    "skin tone": "skin",
    "age": "age",
    "the direction from which a person is seen": "view",
    "country": "country",
    "season": "season",
    "clothing": "clothing",
}
"""What errors may depend on -> a word in the name of a column that would show it."""

STATISTICS = {"ks": "Kolmogorov-Smirnov", "tv": "total variation"}


def render_model_card(metrics: Metrics, config: Mapping[str, Any]) -> str:
    """The card, as Markdown.

    Args:
        metrics: the content of `metrics.json`.
        config: the run's configuration as plain values (`parsing.to_plain`).
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,  # and no autoescape: `text` and `code` do what Markdown needs
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(code=_code, count=count, estimate=_estimate, duration=duration)
    environment.filters.update(number=_number, percent=percent, reason=_reason, text=_text, words=words)
    environment.globals.update(plural=plural, settings=_settings, table=markdown_table)
    explanations = metrics["explanations"]
    columns = {word for cell in metrics["slices"]["cells"] for word in cell["column"].split("_")}
    card = environment.get_template("model_card.md.jinja").render(
        metrics=metrics,
        config=config,
        data=metrics["data"],
        test=metrics["test"],
        verdict=_verdict(metrics),
        sentences=[sentence for _, sentence in explanation_sentences(explanations)] if explanations else [],
        severities=list(SEVERITIES),
        titles=CORRUPTIONS,
        unmeasured=[condition for condition, word in CONDITIONS.items() if word not in columns],
        **_rows(metrics),
    )
    return _wrapped(card)


def _text(value: object) -> str:
    """A name from the data, so that it is read as it is and breaks no table."""
    escaped = re.sub(r"([\\|*<`\[\]#])", r"\\\1", " ".join(str(value).split()))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)  # within a word an underscore is only itself


def _code(value: object) -> str:
    """A path or settings, in a code span; not for tables."""
    content = " ".join(str(value).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", content)), default=0) + 1)
    return f"{fence} {content} {fence}" if len(fence) > 1 else f"`{content}`"


def _number(value: float | None, digits: int = 3, unit: str = "") -> str:
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}{unit}"


def _reason(remark: str | None) -> str:
    """A remark in brackets, behind what it explains."""
    return f" ({_text(remark).rstrip('.')})" if remark else ""


def _estimate(estimate: Estimate) -> str:
    """`0.801 (0.771 to 0.831)`."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return NOT_MEASURED + _reason(estimate["remark"])
    if low is None or high is None:
        return f"{value:.3f}{_reason(estimate['remark'] or 'no interval')}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _settings(section: Mapping[str, Any]) -> str:
    """What of a section of the configuration is set or switched on."""
    return ", ".join(f"{key}={value}" for key, value in section.items() if value is not None and value != 0)


def _wrapped(card: str) -> str:
    """Paragraphs, list items and quotes filled to WIDTH; headings and tables as they are."""
    blocks = re.split(r"\n\s*\n", card.strip())
    return "\n\n".join("\n".join(map(_filled, re.split(r"\n(?=- )", block))) for block in blocks) + "\n"


def _filled(item: str) -> str:
    if re.match(r"[#|]|---", item):
        return item
    first, later = {"> ": ("> ", "> "), "- ": ("- ", "  ")}.get(item[:2], ("", ""))
    content = " ".join(line.removeprefix(first).strip() for line in item.splitlines())
    return textwrap.fill(
        content, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def _verdict(metrics: Metrics) -> str:
    """Whether the model beats the best baseline."""
    best = best_baseline(metrics["baselines"])
    if best is None:
        return "No baseline could be computed, so nothing says whether the model beats one."
    name = f"the best baseline ({_text(best['title'])}, {best['balanced_accuracy']:.3f})"
    model = metrics["test"]["scores"]["balanced_accuracy"]
    won = beats(model["value"], model["low"], best["balanced_accuracy"])
    if won:
        return f"The model beats {name}, which lies below the interval."
    if won is False:
        return f"The model does not beat {name}."
    if model["low"] is None:
        return f"Whether the model beats {name} cannot be said without an interval."
    return f"Whether the model beats {name} is open: the interval reaches down to it."


def _rows(metrics: Metrics) -> dict[str, list[list[str]]]:
    """The rows of each table, by the table's name in the template."""
    data, test, point, shift = metrics["data"], metrics["test"], metrics["operating_point"], metrics["shift"]
    before, after = metrics["calibration"]["before"], metrics["calibration"]["after"]
    whole = ["whole picture", _estimate(test["scores"]["balanced_accuracy"])]
    return {
        "splits": [
            [split, *(count(data[split][key]) for key in ("images", "identities", *CLASSES))] for split in SPLITS
        ],
        "scores": _score_rows(test, test["by_identity"]),
        "confusion": [
            [f"labelled {label}", *map(count, counts)]
            for label, counts in zip(CLASSES, test["confusion_matrix"], strict=True)
        ],
        "baselines": [
            [
                _text(baseline["title"]),
                _number(baseline["balanced_accuracy"]) + _reason(baseline["remark"]),
                NOT_MEASURED if baseline["answered"] is None else percent(baseline["answered"]),
            ]
            for baseline in metrics["baselines"]
        ],
        "calibration_rows": [
            ["Brier score", _estimate(before["brier"]), _estimate(after["brier"])],
            ["log loss", _estimate(before["log_loss"]), _estimate(after["log_loss"])],
            ["ECE", _estimate(before["ece"]), _estimate(after["ece"])],
        ],
        "point_rows": [
            [score_title(score), _estimate(estimate), _estimate(point["test"][score])]
            for score, estimate in point["validation"].items()
        ],
        "accepted": [
            [split, _estimate(accepted["coverage"]), _estimate(accepted["error"])]
            for split, accepted in (
                ("validation", metrics["abstention"]["validation"]),
                ("test", metrics["abstention"]["test"]),
            )
            if accepted is not None
        ],
        "slices": [_slice_row(cell) for cell in metrics["slices"]["cells"]],
        "shift": [
            [
                _text(words(column["column"])),
                STATISTICS[column["statistic"]],
                *(_number(number) for number in (column["value"], column["p_value"], column["p_holm"])),
            ]
            for column in shift["columns"]
        ],
        "shortcuts": [
            whole,
            *([_text(row["title"]), _estimate(row["balanced_accuracy"])] for row in metrics["shortcuts"] or []),
        ],
        "stress": [] if metrics["stress"] is None else [_stress_row(row) for row in metrics["stress"]["corruptions"]],
        "maps": [] if metrics["explanations"] is None else list(map(_map_row, metrics["explanations"]["methods"])),
    }


def _score_rows(by_image: Scored, by_person: Scored | None) -> list[list[str]]:
    """A row a score; with a column for people where they are known."""
    levels = [level for level in (by_image, by_person) if level is not None]
    return [[score_title(score), *(_estimate(level["scores"][score]) for level in levels)] for score in SCORES]


def _slice_row(cell: Slice) -> list[str]:
    estimates = (cell["balanced_accuracy"], cell["recall_FEMALE"], cell["recall_MALE"], cell["recall_gap"])
    return [
        _text(words(cell["column"])),
        _text(cell["value"]) + (" (few)" if cell["few"] else ""),
        count(cell["images"]),
        count(cell["identities"]),
        *map(_estimate, estimates),
    ]


def _stress_row(stressed: CorruptionScores) -> list[str]:
    """Its balanced accuracy by severity, and the mean."""
    severities = (severity["balanced_accuracy"]["value"] for severity in stressed["severities"])
    return [_text(stressed["title"]), *map(_number, severities), _number(stressed["mean"])]


def _map_row(method: MethodScores) -> list[str]:
    """Its gains with the first baseline, two of the places, and what is left of its maps without training."""
    game, shares = method["games"][0], {place["name"]: place["share"] for place in method["places"]}
    check = method["randomisation"]
    left = NOT_MEASURED if check is None else _estimate(check["stages"][-1]["similarity"])
    estimates = (game["deletion_gain"], game["insertion_gain"], shares["head"], shares["border"])
    return [_text(capitalised(method["title"])), *map(_estimate, estimates), left]
