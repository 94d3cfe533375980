"""The environment that every page is rendered in: its templates, filters and safeguards."""

from collections.abc import Sequence
from pathlib import Path

import jinja2


def page_environment() -> jinja2.Environment:
    """Jinja for HTML: every name is escaped, and a template that asks for what is not there fails."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, percent=percent, words=words, minutes=minutes)
    environment.filters.update(capitalised=capitalised, listed=listed)
    environment.filters.update(short=short, digits=digits, bytes=in_bytes)
    environment.globals.update(plural=plural)
    return environment


def count(number: float) -> str:
    """A whole number with commas."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.0f}"


def percent(share: float) -> str:
    """With one digit after the point where the whole number would say little."""
    return f"{100 * share:.{1 if 0 < share < 0.1 or 0.99 < share < 1 else 0}f}\u202f%"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 image`, `1,200 images`; `many` where an s is not enough."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def words(key: str) -> str:
    """A key as words."""
    return key.replace("_", " ")


def capitalised(sentence: str) -> str:
    """Its first letter a capital, the others as they are."""
    return sentence[:1].upper() + sentence[1:]


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def minutes(seconds: float) -> str:
    """A duration."""
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def score_title(score: str) -> str:
    """A score's name as people write it."""
    special = {"auroc": "AUROC", "brier": "Brier score", "ece": "ECE"}
    return special.get(score, words(score).replace("f1", "F1"))


def short(number: float | None) -> str:
    """Three digits and a unit: `4.20 M`."""
    if number is None:
        return "–"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{digits(number / size)}\u202f{letter}"
    return digits(number)


def digits(number: float | None) -> str:
    """Three digits."""
    if number is None:
        return "–"
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def in_bytes(number: float | None) -> str:
    """Memory: `1.25 GiB`."""
    if number is None:
        return "–"
    return f"{digits(number / 2**30)}\u202fGiB" if number >= 2**30 else f"{number / 2**20:.0f}\u202fMiB"
