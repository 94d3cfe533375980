"""A search -> `search.html`: its trials, what it chose, and what the choice is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gender_cls.evaluation.comparison.compare_json import CandidateRow
from gender_cls.evaluation.wording import Finding
from gender_cls.pages.axes import axis_around
from gender_cls.pages.page import page_environment

SEARCH_PAGE = "search.html"


@dataclass(frozen=True)
class TrialRow:
    """One trial, as the table shows it."""

    number: int
    state: str
    score: float | None
    values: Sequence[str]  # in the order of `SearchPage.keys`
    epochs: int
    seconds: float | None
    reason: str | None  # why it failed
    place: int | None  # among the finalists, from 1


@dataclass(frozen=True)
class Finalist:
    """Settings that were chosen, and what the test of their new trainings says, if it is there."""

    place: int  # from 1
    trial: int
    score: float  # on validation, by which it was chosen
    settings: str  # as overrides of a command line
    row: CandidateRow | None


@dataclass(frozen=True)
class SearchPage:
    """What the page says."""

    title: str
    created: str  # when, in ISO 8601
    links: Sequence[tuple[str, str]]
    headline: str
    findings: Sequence[Finding]
    score: str  # what the score is called
    keys: Sequence[str]
    trials: Sequence[TrialRow]  # the best first
    finalists: Sequence[Finalist]
    charts: Mapping[str, Markup]  # score, importance, settings: those that could be drawn
    notes: Mapping[str, str]  # below a chart, or in its place


def render_search(page: SearchPage) -> str:
    """The page, as HTML."""
    tests = [one.row["test"] for one in page.finalists if one.row is not None]
    ends = axis_around(test[key] for test in tests for key in ("low", "mean", "high"))
    return page_environment().get_template("search.html.jinja").render(page=page, score_axis=ends)
