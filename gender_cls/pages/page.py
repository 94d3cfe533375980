"""The environment of the templates of pages."""

from pathlib import Path

import jinja2

from gender_cls.errors import count, of_people, plural
from gender_cls.evaluation import wording

FILTERS = (
    *(wording.capitalised, count, wording.decimal, wording.duration, wording.in_bytes, wording.listed),
    *(wording.p_value, wording.percent, wording.place_title, wording.short, wording.signed, wording.stated),
    *(wording.three_digits, wording.timed, wording.words, wording.at_threshold, wording.band_words),
)

MOST_FINDINGS = 5  # on the first screen; the others are folded


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
    environment.globals.update(
        plural=plural, of_people=of_people, ABOUT_DISTURBED=wording.ABOUT_DISTURBED, MOST_FINDINGS=MOST_FINDINGS
    )
    return environment
