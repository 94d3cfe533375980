"""A run's numbers and configuration as `MODEL_CARD.md`, after Mitchell et al. 2019 (arXiv:1810.03993).

The card states facts and limits; the report has the tables and figures. Every number comes from `metrics.json`; if it
is null there, the card says that it was not measured, and why.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from gender_cls.config.data import CLASSES, SPLITS
from gender_cls.errors import count, unbroken
from gender_cls.evaluation.elsewhere_wording import left_out_words
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import SCORES, Baseline, Metrics
from gender_cls.evaluation.wording import decimal, markdown_table, percent, score_title, stated
from gender_cls.pages.elsewhere import ResultElsewhere
from gender_cls.pages.page import page_environment
from gender_cls.pages.run_findings import resampled, run_findings

WIDTH = 120
NOT_MEASURED = "not measured"
NO_BREAK = "\x00"  # a blank at which no line may break, until all lines are filled

USE = (
    "Research on such classifiers, and aggregate statistics: shares among many people, reported with their error.",
    "Not for decisions about a person, access control, alerts about individuals, or law enforcement.",
)
LABELS = (
    "FEMALE and MALE say how annotators perceived a person's appearance in an image, not what the person's gender "
    "identity is."
)
LIMITS = " ".join((*USE, LABELS))
"""What a model is for and not for; an exported file says it too."""

CONDITIONS = {
    "skin tone": "skin",
    "age": "age",
    "the direction from which a person is seen": "view",
    "country": "country",
    "season": "season",
    "clothing": "clothing",
}
"""What errors may depend on -> a word in the name of a column that would show it."""


def render_model_card(
    metrics: Metrics,
    config: Mapping[str, Any],
    facts: Sequence[tuple[str, str]] = (),
    links: Sequence[tuple[str, str]] = (),
    elsewhere: Sequence[ResultElsewhere] = (),
) -> str:
    """The card, as Markdown.

    Args:
        metrics: the content of `metrics.json`.
        config: the run's configuration as plain values (`parsing.to_plain`).
        facts: what the experiment was, from `experiment_facts`.
        links: names and addresses of the run's other files.
        elsewhere: the run's tests on other data.
    """
    environment = page_environment(autoescape=False)  # `text` and `code` do what Markdown needs
    environment.filters.update(code=_code, estimate=_estimate, number=_number, reason=_reason, text=_text)
    environment.filters.update(left_out_words=left_out_words)
    environment.globals.update(settings=_settings, table=markdown_table, USE=USE, LABELS=LABELS)
    levels = [level for level in (metrics["test"], metrics["test"]["by_identity"]) if level is not None]
    slice_words = {word for cell in metrics["slices"]["cells"] for word in cell["column"].split("_")}
    card = environment.get_template("model_card.md.jinja").render(
        metrics=metrics,
        config=config,
        facts=[(name, _text(value)) for name, value in facts if name != "command"],
        command=next((unbroken(value) for name, value in facts if name == "command"), ""),
        links=[f"[{name}]({address})" for name, address in links],
        data=metrics["data"],
        test=metrics["test"],
        findings=run_findings(metrics, elsewhere),
        elsewhere=elsewhere,
        tests_elsewhere=[_row_elsewhere(one) for one in elsewhere],
        resampled=resampled(metrics["test"]),
        splits=[
            [split, *(count(metrics["data"][split][key]) for key in ("images", "identities", *CLASSES))]
            for split in SPLITS
        ],
        scores=[[score_title(score), *(_estimate(level["scores"][score]) for level in levels)] for score in SCORES],
        baselines=[_baseline_row(baseline) for baseline in metrics["baselines"]],
        unmeasured=[condition for condition, word in CONDITIONS.items() if word not in slice_words],
    )
    return filled_card(card)


def _baseline_row(baseline: Baseline) -> list[str]:
    answered = NOT_MEASURED if baseline["answered"] is None else percent(baseline["answered"])
    return [_text(baseline["title"]), _number(baseline["balanced_accuracy"]) + _reason(baseline["remark"]), answered]


def _row_elsewhere(result: ResultElsewhere) -> list[str]:
    found, test = result.found, result.metrics["test"]
    score, ranking, calibration = found["scores"]["balanced_accuracy"], found["ranking"], found["calibration"]
    estimates = (score["here"], score["drop"], ranking["auroc"]["here"], calibration["ece"]["here"])
    return [_text(found["name"]), count(test["images"]), *map(_estimate, estimates)]


def _text(value: object) -> str:
    """A name from the data, escaped so that Markdown shows it as it is: no HTML, link, list, heading or formula."""
    text = unbroken(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\|*`#~$]|\](?=[(\[:]))", r"\\\1", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word an underscore has no meaning
    text = re.sub(r"(?i)\b(https?|ftp)(?=://)|\b(www)(?=\.)", r"\g<0>\\", text)  # GitHub makes links of addresses
    return re.sub(r"(?<!\S)([-+=]+(?!\S)|1(?=[.)](?!\S)))", _at_a_line_start, text)


def _at_a_line_start(found: re.Match) -> str:
    """A word that would begin a list or underline a heading if `filled_card` put it at the start of a line."""
    return "1\\" if found[0] == "1" else f"\\{found[0]}"


def _code(value: object) -> str:
    """A path or settings, in a code span; not for tables."""
    content = re.sub(r" (?=[-+*>#=|~`]|\d+[.)])", NO_BREAK, unbroken(value))  # a line must not begin with these
    fence = "`" * (max((len(run) for run in re.findall("`+", content)), default=0) + 1)
    return f"{fence} {content} {fence}" if len(fence) > 1 else f"`{content}`"


def _number(value: float | None, digits: int = 3, unit: str = "") -> str:
    return NOT_MEASURED if value is None else f"{decimal(value, digits)}{unit}"


def _reason(remark: str | None) -> str:
    """A remark in brackets, after what it explains."""
    return f" ({_text(remark).rstrip('.')})" if remark else ""


def _estimate(estimate: Estimate) -> str:
    """`0.801 [0.771, 0.831]`, or why there is no number or no interval."""
    if estimate["value"] is None:
        return NOT_MEASURED + _reason(estimate["remark"])
    if estimate["low"] is None or estimate["high"] is None:
        return stated(estimate) + _reason(estimate["remark"] or "no interval")
    return stated(estimate)


def _settings(section: Mapping[str, Any]) -> str:
    """The settings of a section of the configuration that are neither null nor 0 nor empty."""
    return ", ".join(f"{key}={value}" for key, value in section.items() if value)


def filled_card(card: str) -> str:
    """Paragraphs, list items and quotes filled to WIDTH; headings, tables and code as they are."""
    blocks = re.split(r"\n\s*\n", card.strip())
    lines = ("\n".join(map(_filled, re.split(r"\n(?=- )", block))) for block in blocks)
    return "\n\n".join(lines).replace(NO_BREAK, " ") + "\n"


def _filled(item: str) -> str:
    if re.match(r"[#|]|---|```", item):
        return item
    first, later = {"> ": ("> ", "> "), "- ": ("- ", "  ")}.get(item[:2], ("", ""))
    content = " ".join(line.removeprefix(first).strip() for line in item.splitlines())
    return textwrap.fill(
        content, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
