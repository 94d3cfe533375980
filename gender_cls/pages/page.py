"""The environment that every page is rendered in: its templates, filters and safeguards."""

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


def minutes(seconds: float) -> str:
    """A duration."""
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
