from typing import Any

import pytest
from helpers.example_comparison import candidate, pair

from gender_cls.evaluation.comparison.compare_json import CandidateRow
from gender_cls.evaluation.comparison.means import cost_of_all, mark_pareto, mean_cost

Given = tuple[str, float, float, float]
"""A candidate: its title, its score, and its fastest and slowest milliseconds."""


def row(title: str, score: float, low: float, high: float, **changed: Any) -> CandidateRow:
    found: Any = candidate(title, score, (low + high) / 2)
    return found | {"cost": found["cost"] | {"milliseconds_batch_32_spread": [low, high]}, "pareto": None} | changed


def front(*rows: CandidateRow, clear: float = 0.05) -> dict[str, bool | None]:
    """What is marked, where scores differ significantly from `clear` on."""
    pairs = []
    for index, a in enumerate(rows):
        for b in rows[index + 1 :]:
            difference = abs((a["test"]["mean"] or 0) - (b["test"]["mean"] or 0))
            pairs.append(pair(a, b, p_holm=0.001 if difference >= clear - 1e-9 else 0.4))
    mark_pareto(rows, pairs)
    return {one["title"]: one["pareto"] for one in rows}


@pytest.mark.parametrize(
    ("given", "off"),
    [
        # Identical networks: 9.96 and 10.1 ms, a hair's breadth apart in the score.
        ([("a", 0.90, 9.8, 10.2), ("twin", 0.91, 9.9, 10.4)], ""),
        # The same times, a clear difference of scores.
        ([("good", 0.90, 9.8, 10.2), ("poor", 0.80, 9.9, 10.4)], "poor"),
        # Clearly faster and not worse by its value; clearly faster and a little worse.
        ([("fast", 0.90, 5, 6), ("slow", 0.90, 9, 10)], "slow"),
        ([("fast", 0.89, 5, 6), ("slow", 0.90, 9, 10)], ""),
        # Better and slower: both are worth their cost.
        ([("fast", 0.80, 5, 6), ("slow", 0.90, 9, 10)], ""),
        # Clearly better and faster than both; the two others are out for one reason each.
        ([("best", 0.95, 5, 6), ("worse", 0.85, 5.5, 6.5), ("slower", 0.95, 8, 9)], "worse slower"),
        # Faster by value only, within noise: the clear difference of scores decides.
        ([("good", 0.90, 5.1, 6), ("poor", 0.80, 5, 5.9)], "poor"),
        # Spreads that touch overlap.
        ([("fast", 0.90, 5, 6), ("slow", 0.89, 6, 7)], ""),
    ],
    ids=["twins", "score", "time", "a little worse", "trade", "two reasons", "within noise", "touching"],
)
def test_a_candidate_is_off_the_front_only_beyond_noise(given: list[Given], off: str) -> None:
    found = front(*(row(*one) for one in given))
    assert found == {title: title not in off.split() for title, *_ in given}
    assert front(*(row(*one) for one in reversed(given))) == found, "in any order"


@pytest.mark.parametrize("kind", ["undefined", "constant", "chance"])
def test_what_has_shown_nothing_is_never_on_the_front_and_pushes_none_off(kind: str) -> None:
    nothing: Any = {"kind": kind, "level": "stop", "sentence": ""}
    found = front(row("empty", 0.95, 1, 2, standing=nothing), row("net", 0.8, 5, 6))
    assert found == {"empty": False, "net": True}
    assert front(row("empty", 0.95, 1, 2, standing=nothing)) == {"empty": False}


def test_without_times_or_on_other_devices_the_front_is_not_known() -> None:
    untimed: Any = row("untimed", 0.9, 1, 2)
    untimed["cost"]["milliseconds_batch_32_spread"] = None
    assert front(untimed, row("net", 0.8, 5, 6)) == {"untimed": None, "net": True}
    elsewhere = row("elsewhere", 0.9, 1, 2)
    elsewhere["cost"]["device"] = "cuda"
    assert front(elsewhere, row("net", 0.8, 5, 6)) == {"elsewhere": None, "net": None}


class Costly:
    """Stands for a run, or for a candidate's seed with one run."""

    def __init__(self, low: float | None, high: float | None, **changed: Any) -> None:
        found: Any = candidate("", 0.9, 1.0)["cost"]
        spread = None if low is None else [low, high]
        self.metrics = {"cost": found | {"milliseconds_batch_32_spread": spread} | changed}
        self.runs = self.trained = [self]


@pytest.mark.parametrize(
    ("spreads", "of_runs", "of_all"),
    [
        ([(9.8, 10.1)], [9.8, 10.1], [9.8, 10.1]),
        ([(9.8, 10.1), (9.5, 9.7), (9.9, 10.6)], [9.5, 10.6], [29.2, 30.4]),
        ([(9.8, 10.1), (None, None)], None, None),
    ],
)
def test_the_spread_of_several_runs_is_that_of_all(spreads: Any, of_runs: Any, of_all: Any) -> None:
    runs: Any = [Costly(*one) for one in spreads]
    key = "milliseconds_batch_32_spread"
    assert mean_cost(runs)[key] == of_runs
    assert mean_cost([])[key] is None
    assert cost_of_all(runs)[key] == (of_all and pytest.approx(of_all))


def test_times_are_of_the_fastest_run_that_nothing_disturbed() -> None:
    loud = Costly(9.0, 480.0, milliseconds_batch_32=9.0, disturbed="others computed", parameters=1.0)
    quiet = [Costly(10.6, 11.0, milliseconds_batch_32=time, parameters=4.0) for time in (10.8, 10.6)]
    runs: Any = [loud, *quiet]
    of_quiet = {"milliseconds_batch_32": 10.6, "milliseconds_batch_32_spread": [10.6, 11.0], "disturbed": None}
    of_loud = {
        "milliseconds_batch_32": 9.0,
        "milliseconds_batch_32_spread": [9.0, 480.0],
        "disturbed": "others computed",
    }
    assert mean_cost(runs).items() >= {**of_quiet, "parameters": 3.0}.items()
    assert mean_cost(runs[:1]).items() >= of_loud.items()
    assert cost_of_all(runs)["disturbed"] == "others computed"
    assert cost_of_all(runs)["milliseconds_batch_32"] == pytest.approx(9.0 + 10.8 + 10.6)
