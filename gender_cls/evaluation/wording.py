"""How counts, shares, intervals and lists are written: the same in sentences, tables, charts and pages."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import Abstention, OperatingPoint

MISSING = "–"
PERCENT = "\u202f%"  # with a narrow space that does not break

ABOUT_DISTURBED = (
    "~: other processes computed while this was measured. On a CPU it is then the CPU time of the fastest call, which "
    "depends on them less. python -m gender_cls.evaluate measures such times again."
)


Level = Literal["stop", "warn", "fine", "note"]


@dataclass(frozen=True)
class Finding:
    """One sentence about a dataset or a model, and how serious it is."""

    # stop: do not rely on the scores; warn: read with care; fine: good news; note: a fact, neither good nor bad.
    level: Level
    sentence: str


def by_importance(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of the levels, the most serious first; those of one level keep their order."""
    return sorted(findings, key=lambda finding: get_args(Level).index(finding.level))


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def words(key: str) -> str:
    """A key as words: `native height`."""
    return key.replace("_", " ")


def place_title(place: str) -> str:
    """The name of one of PLACES in a table."""
    return "outside the person" if place == "outside" else words(place)


def capitalised(sentence: str) -> str:
    """The sentence with a capital first letter; `str.capitalize` would also change the other letters."""
    return sentence[:1].upper() + sentence[1:]


def score_title(score: str) -> str:
    """The name of a score as people write it."""
    special = {"auroc": "AUROC", "brier": "Brier score", "ece": "ECE"}
    return special.get(score, words(score).replace("f1", "F1"))


def decimal(value: float | None, digits: int = 3) -> str:
    """`0.801` or `−0.120`; a dash where there is no finite number."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """`+0.310` or `−0.120`; a dash where there is no number."""
    return MISSING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share as a percentage, with one decimal close to 0 or 100 %, where a whole number would say little."""
    return f"{100 * share:.{1 if 0 < share < 0.1 or 0.99 < share < 1 else 0}f}{PERCENT}"


def stated_percent(estimate: Estimate, digits: int = 1) -> str:
    """`11.3 % [8.2, 14.4]`, as far as the share and its interval are known."""
    return stated(estimate, digits, 100, PERCENT)


def stated(estimate: Estimate, digits: int = 3, scale: float = 1, unit: str = "") -> str:
    """`0.801 [0.771, 0.831]`, as far as the number and its interval are known."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return MISSING
    number = f"{scale * value:.{digits}f}{unit}"
    if low is None or high is None:
        return number
    return f"{number} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def stated_change(estimate: Estimate) -> str:
    """`+0.005 [−0.008, +0.017]`, as far as the difference and its interval are known."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    return signed(value) if low is None or high is None else f"{signed(value)} [{signed(low)}, {signed(high)}]"


def at_threshold(point: OperatingPoint) -> str:
    """`at the threshold 0.697, chosen on validation`; without the last words where none could be chosen."""
    value = point["threshold"]
    digits = 3 if 0.0005 <= value < 0.9995 else 6
    return f"at the threshold {value:.{digits}f}" + (", chosen on validation" if point["remark"] is None else "")


def band_words(abstention: Abstention) -> str:
    """`abstaining between 0.271 and 0.613`, or that there is no band."""
    band = abstention["band"]
    return "no band: every image is answered" if band is None else f"abstaining between {band[0]:.3f} and {band[1]:.3f}"


def debugging_sentence(settings: str) -> str:
    """What the scores of a debugging run are worth, by the settings that `Run.debugging` names."""
    return f"This is a debugging run ({settings}): its scores say nothing about the model."


def p_value(value: float | None) -> str:
    """`0.034`, or `< 0.001`."""
    return "< 0.001" if value is not None and value < 0.001 else decimal(value)


def duration(seconds: float | None) -> str:
    """`14.2 s`, `12 min` or `2.5 h`."""
    if seconds is None:
        return MISSING
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def three_digits(number: float | None) -> str:
    """`4.20`, `42.0` or `420`."""
    if number is None:
        return MISSING
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def timed(text: str, disturbed: str | None) -> str:
    """A time, with a `~` in front if other processes computed while it was measured (see ABOUT_DISTURBED)."""
    return f"~{text}" if disturbed and text != MISSING else text


def short(number: float | None) -> str:
    """A large number with three digits and its SI prefix: `4.20 M`."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number is not None and number >= size:
            return f"{three_digits(number / size)}\u202f{letter}"
    return three_digits(number)


def in_bytes(number: float | None) -> str:
    """An amount of memory: `1.25 GiB`."""
    if number is None:
        return MISSING
    return f"{three_digits(number / 2**30)}\u202fGiB" if number >= 2**30 else f"{number / 2**20:.0f}\u202fMiB"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], numbers: int = 0) -> str:
    """An aligned table in Markdown, readable as plain text, without a line break at its end.

    Args:
        rows: cells; a `|` in them must be escaped already.
        numbers: how many of the last columns are aligned to the right.
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[index]) for row in cells)) for index in range(len(header))]
    right = [index >= len(header) - numbers for index in range(len(header))]
    rule = ["-" * (width - 1) + ":" if flag else "-" * width for width, flag in zip(widths, right, strict=True)]
    lines = [
        [cell.rjust(width) if flag else cell.ljust(width) for cell, width, flag in zip(row, widths, right, strict=True)]
        for row in cells
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
