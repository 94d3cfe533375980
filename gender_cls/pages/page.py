"""What pages are made with: the environment of their templates, and tables in Markdown."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from gender_cls.errors import count, plural
from gender_cls.evaluation import wording

FILTERS = (
    *(wording.capitalised, count, wording.decimal, wording.duration, wording.in_bytes, wording.listed),
    *(wording.p_value, wording.percent, wording.place_title, wording.short, wording.signed, wording.stated),
    *(wording.three_digits, wording.words, wording.at_threshold, wording.band_words),
)


def page_environment(autoescape: bool = True) -> jinja2.Environment:
    """Jinja for HTML: every value is escaped, and a template that uses an undefined name fails."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({filter_.__name__: filter_ for filter_ in FILTERS})
    environment.globals.update(plural=plural)
    return environment


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
