"""What the experiment behind a comparison was: what all candidates share, and where a few of them differ."""

from collections.abc import Sequence

from gender_cls.pages.experiment import experiment_facts
from gender_cls.runs.run import Run

MOST_VALUES = 3  # a fact with more different values is left out: the settings that vary are a table of their own
OF_ONE_RUN = ("model", "best epoch", "started")
"""Facts that say nothing about the whole."""


def compared_facts(candidates: Sequence[tuple[int, Sequence[Run]]]) -> list[tuple[str, str]]:
    """Names and values, as of a single run; where candidates differ, their numbers stand behind each value.

    Args:
        candidates: for each its number, and its runs.

    Raises:
        GenderClsError: a file of a run is damaged.
    """
    found: dict[str, dict[str, list[int]]] = {}
    runs = 0
    for number, of_candidate in candidates:
        for run in of_candidate:
            runs += 1
            for name, value in experiment_facts(run):
                found.setdefault(name, {}).setdefault(value, []).append(number)
    facts = []
    for name, numbers in found.items():
        if name in OF_ONE_RUN:
            continue
        if name == "seed":
            facts.append((name, ", ".join(numbers)))
        elif len(numbers) == 1 and sum(map(len, numbers.values())) == runs:
            facts.append((name, next(iter(numbers))))
        elif len(numbers) <= MOST_VALUES:
            facts.append((name, "; ".join(f"{value} ({_listed(of)})" for value, of in numbers.items())))
    return facts


def _listed(numbers: Sequence[int]) -> str:
    """`1, 3`: each number once."""
    return ", ".join(map(str, dict.fromkeys(numbers)))
