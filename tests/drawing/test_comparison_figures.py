import pytest
from helpers.example_comparison import candidate

from gender_cls.drawing.comparison_figures import accuracy_against_cost


@pytest.mark.parametrize(("scores", "half"), [((0.998, 0.99), 0.002), ((0.01, 0.04), 0.01), ((0.2, 0.9), 0.3)])
def test_no_score_outside_0_and_1_is_on_the_axis(scores: tuple[float, float], half: float) -> None:
    rows = [candidate(f"net{score}", score, 5.0) for score in scores]
    for row in rows:
        mean = row["test"]["mean"] or 0.0
        row["test"] |= {"low": max(0.0, mean - half), "high": min(1.0, mean + half)}
    figure = accuracy_against_cost(rows, None)
    assert figure is not None
    (axes,) = figure.axes
    ticks = axes.get_yticks()
    assert len(ticks) >= 3
    assert 0 <= min(ticks) < max(ticks) <= 1
    assert -0.03 < axes.get_ylim()[0] < axes.get_ylim()[1] < 1.03
