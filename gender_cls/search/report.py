"""What a search shows: its page, its charts and its table, from the folders of its trials."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from gender_cls.drawing.chart_style import figure_image, figure_svg
from gender_cls.drawing.search_figures import Dimension, importance_bars, score_by_trial, settings_side_by_side
from gender_cls.errors import GenderClsError, plural
from gender_cls.evaluation.comparison.compare_json import CandidateRow, Comparison
from gender_cls.evaluation.wording import Finding, decimal, listed, p_value, score_title
from gender_cls.pages.links import relative_link
from gender_cls.pages.search_page import SEARCH_PAGE, Finalist, SearchPage, TrialRow, render_search
from gender_cls.runs.files import read_json, timestamp, write_atomically
from gender_cls.runs.run import Run
from gender_cls.search.space import Choices, Range
from gender_cls.search.study import (
    COMPLETE,
    FAILED,
    PRUNED,
    UNFINISHED,
    Search,
    Trial,
    import_optuna,
    optuna_study,
    ranked,
    read_search,
    read_trials,
    write_trials,
    written,
)

FEWEST_FOR_IMPORTANCE = 10  # complete trials
MOST_DIMENSIONS = 7  # settings that are drawn side by side: the most important ones


def write_search_page(sweep: Path) -> list[str]:
    """Write `search.html`, `search.csv` and a chart for each question; return lines for the screen.

    Nothing is written where the folder holds no search. The importance of settings needs Optuna; without it, the page
    says so.
    """
    search = read_search(sweep)
    if search is None:
        return []
    trials = read_trials(sweep, search)
    complete = ranked(search, trials)
    finalists = _finalists(sweep, search)
    importances, notes = importances_of(search, complete)
    figures = {}
    if complete:
        scores = {
            name: {one.number: _number(one.score) for one in trials if one.state == name} for name in (COMPLETE, PRUNED)
        }
        failed = [one.number for one in trials if one.state == FAILED]
        figures["score"] = score_by_trial(scores[COMPLETE], scores[PRUNED], failed, _score(search), search.minimises)
    else:
        notes["score"] = "No trial is complete."
    if importances:
        figures["importance"] = importance_bars(importances)
    if len(complete) > 1:
        keys = list(importances or search.space)[:MOST_DIMENSIONS]
        figures["settings"] = settings_side_by_side(settings_of(search, complete, keys), _marks(complete, finalists))
        notes["settings"] = (
            "Each line is a complete trial: its settings, and at the right its score. Blue: the finalists. The others "
            "are grey, stronger where the score is better."
        )
    else:
        notes["settings"] = f"Too few trials are complete: {len(complete)} of at least 2."
    for name, figure in figures.items():
        write_atomically(sweep / f"search_{name}.svg", figure_svg(figure))
    write_trials(sweep, search, trials)
    comparison = cast(Comparison, read_json(sweep / "leaderboard.json"))
    findings = _findings(search, trials, complete, finalists, comparison)
    files = ["leaderboard.html", "search.csv", "search.json", *(f"search_{name}.svg" for name in figures)]
    page = SearchPage(
        title=sweep.name,
        created=timestamp(),
        links=[(name, relative_link(sweep, sweep / name)) for name in files if (sweep / name).is_file()],
        headline=_headline(search, trials, complete),
        findings=findings,
        score=_score(search),
        keys=list(search.space),
        trials=_rows(search, trials, finalists),
        finalists=finalists,
        charts={name: figure_image(figure) for name, figure in figures.items()},
        notes=notes,
    )
    write_atomically(sweep / SEARCH_PAGE, render_search(page))
    return [_headline(search, trials, complete), *(f"- {finding.sentence}" for finding in findings)]


def _score(search: Search) -> str:
    return f"{score_title(search.monitor)} on validation"


def _finalists(sweep: Path, search: Search) -> list[Finalist]:
    """The chosen settings, each with its row in the leaderboard, if its jobs have begun."""
    rows: dict[Any, CandidateRow] = {}
    for row in read_json(sweep / "leaderboard.json").get("candidates", []):
        for run in row["runs"]:
            recorded = Run(sweep / Path(run["folder"]).name).settings  # the folder may have been copied
            rows[recorded.get("search", {}).get("finalist")] = row
    return [
        Finalist(place, one["trial"], one["score"], _overrides(one["values"]), rows.get(place))
        for place, one in enumerate(search.chosen, start=1)
    ]


def _overrides(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={json.dumps(value)}" for key, value in values.items())


def importances_of(search: Search, complete: Sequence[Trial]) -> tuple[dict[str, float], dict[str, str]]:
    """The share of each setting in the variance of the score, the largest first, and a note about it or why not."""
    if len(complete) < FEWEST_FOR_IMPORTANCE:
        return {}, {"importance": f"Too few trials are complete: {len(complete)} of at least {FEWEST_FOR_IMPORTANCE}."}
    if len({trial.score for trial in complete}) == 1:
        return {}, {"importance": "All complete trials have the same score: no setting changed it."}
    try:
        importance = import_optuna().importance
        study = optuna_study(search, complete)
        evaluator = importance.FanovaImportanceEvaluator(seed=0)
        found = importance.get_param_importances(study, evaluator=evaluator)
    except GenderClsError as error:
        return {}, {"importance": str(error)}
    note = (
        "The share of the differences in score that each setting explains by itself, by a random forest over the "
        f"{len(complete)} complete trials (fANOVA, Hutter et al. 2014). With so few trials, small shares are noise."
    )
    return {key: float(value) for key, value in found.items()}, {"importance": note}


def settings_of(search: Search, trials: Sequence[Trial], keys: Sequence[str]) -> list[Dimension]:
    """The settings of the trials, and their score."""
    found = [_dimension(key, search.space[key], [trial.values[key] for trial in trials]) for key in reversed(keys)]
    scores = [_number(trial.score) for trial in trials]
    low, high = min(scores), max(scores)
    alike = Dimension(_score(search), [0.5] * len(scores), [(0.5, f"{low:.3g}")])
    return [*found, alike if low == high else _dimension(_score(search), Range(low, high), scores)]


def _dimension(title: str, values: Range | Choices, taken: Sequence[Any]) -> Dimension:
    if isinstance(values, Choices):
        last = max(len(values.values) - 1, 1)
        ticks = [(index / last, str(written(value))) for index, value in enumerate(values.values)]
        return Dimension(title, [values.values.index(value) / last for value in taken], ticks)
    scale = math.log10 if values.log else float
    low, high = scale(values.low), scale(values.high)

    def place(value: float) -> float:
        return (scale(value) - low) / (high - low)

    decades = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)] if values.log else []
    between = [mark for mark in decades or [(values.low + values.high) / 2] if 0.06 < place(mark) < 0.94]
    ticks = [(place(mark), f"{mark:.3g}") for mark in (values.low, *between, values.high)]
    return Dimension(title, [place(value) for value in taken], ticks)


def _marks(trials: Sequence[Trial], finalists: Sequence[Finalist]) -> dict[int, str]:
    chosen = {one.trial for one in finalists}
    return {index: str(trial.number) for index, trial in enumerate(trials) if trial.number in chosen}


def _rows(search: Search, trials: Sequence[Trial], finalists: Sequence[Finalist]) -> list[TrialRow]:
    """All trials: complete, ended early, unfinished, failed; in each state the best first."""
    places, states = {one.trial: one.place for one in finalists}, (COMPLETE, PRUNED, UNFINISHED, FAILED)
    sign = 1 if search.minimises else -1
    by_score = sorted(
        trials, key=lambda one: (states.index(one.state), one.score is None, sign * (one.score or 0), one.number)
    )
    return [
        TrialRow(
            number=one.number,
            state=one.state,
            score=one.score,
            values=[str(written(one.values[key])) if key in one.values else "" for key in search.space],
            epochs=len(one.scores),
            seconds=one.seconds,
            reason=one.reason,
            place=places.get(one.number),
        )
        for one in by_score
    ]


def _headline(search: Search, trials: Sequence[Trial], complete: Sequence[Trial]) -> str:
    if not complete:
        return f"No trial of {len(trials)} is complete."
    best = complete[0]
    return (
        f"Trial {best.number} is the best of {plural(len(trials), 'trial')} ({_score(search)} {decimal(best.score)})."
    )


def _findings(
    search: Search,
    trials: Sequence[Trial],
    complete: Sequence[Trial],
    finalists: Sequence[Finalist],
    comparison: Comparison,
) -> list[Finding]:
    """What the choice is worth, whether the finalists differ, and which trials did not end."""
    findings = []
    if len(complete) > 1:
        findings.append(Finding("note", _optimism(search, len(complete), finalists)))
        as_they_are = next((one for one in complete if one.number == 0), None)
        if as_they_are is not None and as_they_are is not complete[0]:
            first = "Trial 0, with the settings from before the search as far as its space holds them, has"
            findings.append(Finding("note", f"{first} {decimal(as_they_are.score)}."))
    pairs = comparison.get("pairs", [])
    if pairs:
        significant = [pair["verdict"] for pair in pairs if pair["significant"]]
        smallest = min((pair["p_holm"] for pair in pairs if pair["p_holm"] is not None), default=None)
        none = f"On test no two finalists differ significantly (smallest p by Holm: {p_value(smallest)})."
        findings += [Finding("note", sentence) for sentence in significant or [none]]
    if unfinished := comparison.get("unfinished", []):
        lost = (
            f"{plural(len(unfinished), 'job')} with the chosen settings did not end: leaderboard.html has the reasons."
        )
        findings.append(Finding("warn", lost))
    words = {COMPLETE: "complete", PRUNED: "pruned", UNFINISHED: "not finished", FAILED: "failed"}
    counts = {state: sum(one.state == state for one in trials) for state in words}
    if len(trials) > counts[COMPLETE]:
        told = listed(f"{number} {words[state]}" for state, number in counts.items() if number)
        findings.append(Finding("warn" if counts[FAILED] else "note", f"Of {plural(len(trials), 'trial')}: {told}."))
    return findings


def _optimism(search: Search, complete: int, finalists: Sequence[Finalist]) -> str:
    """That the best score was chosen and is therefore too good, and by how much, as far as that is known."""
    sentence = (
        f"The best score of {plural(complete, 'complete trial')} was chosen because it is high, so it is too good"
    )
    row = finalists[0].row if finalists else None
    if row is None or row["test"]["mean"] is None:
        return f"{sentence}: only a test of settings trained anew says what they are worth."
    anew = f"the same settings with {plural(len(row['seeds']), 'other seed')} have balanced accuracy"
    return (
        f"{sentence}: {anew} {decimal(row['validation']['mean'])} on "
        f"validation and {decimal(row['test']['mean'])} on test."
    )


def _number(score: float | None) -> float:
    return math.nan if score is None else score
