from typing import Any

import pytest
from helpers.example_comparison import candidate, compared, example_comparison, many, pair

from gender_cls.evaluation.comparison.compare_json import CandidateRow
from gender_cls.evaluation.comparison.sentences import best_on_validation
from gender_cls.pages.compare_findings import findings_of, headline


def worth(kind: str, level: str) -> Any:
    return {"kind": kind, "level": level, "sentence": f"It is {kind}."}


def told(record: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.sentence) for finding in findings_of(record)]


def test_warnings_come_first_and_a_tick_is_for_what_is_good() -> None:
    record = example_comparison()
    assert [level for level, _ in told(record)] == ["warn", "fine", "note", "note"]
    assert told(record)[0] == ("warn", "Not compared: old_net. It was evaluated by another version.")
    assert told(record)[2] == ("note", "convnext_tiny is better.")
    assert "1 run did not finish" in told(record)[3][1]
    assert headline(record) == "convnext_tiny is the best of 2 candidates on validation."


@pytest.mark.parametrize(
    ("standings", "chosen"),
    [
        ([worth("constant", "stop"), worth("useful", "fine")], 1),
        ([worth("undefined", "stop"), worth("chance", "stop")], 1),
        ([worth("constant", "stop"), worth("constant", "stop")], None),
        ([None, worth("baseline", "warn")], 1),
    ],
)
def test_the_chosen_candidate_has_a_score_that_says_something(standings: list[Any], chosen: int | None) -> None:
    rows = [candidate(f"net{n}", 0.8 - n / 10, 5.0, standing=standing) for n, standing in enumerate(standings)]
    record = compared(rows)
    found = best_on_validation(rows)
    assert (found and found["title"]) == (None if chosen is None else f"net{chosen}")
    if chosen is None:
        assert headline(record) == record["verdict"][0]
    else:
        assert headline(record).startswith(f"net{chosen} is the best of 2")
        assert ("do not rely" in headline(record)) == (standings[chosen]["level"] == "stop")
        assert told(record)[0] == ("stop" if standings[chosen]["level"] == "stop" else "warn", told(record)[0][1])


def test_many_pairs_are_one_sentence() -> None:
    def against(*outcomes: float) -> str:
        rows: list[CandidateRow] = [candidate(f"net{n}", 0.8, 5.0) for n in range(len(outcomes) + 1)]
        record: Any = compared(rows)
        pairs = [pair(rows[0], row, 0.01 if outcome else 0.5) for row, outcome in zip(rows[1:], outcomes, strict=True)]
        for one, outcome in zip(pairs, outcomes, strict=True):
            one["difference"] = outcome
        return told({**record, "pairs": pairs})[-1][1]

    assert "no significant difference between net0 and any of the 4 other" in against(0, 0, 0, 0)
    assert "net0 is worse than 1 of the 4 other candidates on test; with 3" in against(0, 0, 0, -0.1)
    assert "better than 4 of the 4 other candidates on test." in against(0.1, 0.1, 0.1, 0.1)
    assert "better than 2 and worse than 1 of the 5 other candidates on test; with 2" in against(0.1, 0.1, 0, 0, -0.1)
    assert told(many(2))[-1][1] == "No significant difference."
