"""A run and a comparison as the terminal shows them: in 80 columns, with what the reader wants first."""

from typing import Any

import numpy as np
import pytest
from helpers.comparing import compare, simulated, write_run
from helpers.example_elsewhere import metrics_elsewhere
from helpers.example_metrics import changed_metrics

from gender_cls.errors import plural
from gender_cls.pages.on_screen import LEAKY, comparison_on_screen, elsewhere_on_screen, run_on_screen, score_on_screen
from gender_cls.system import terminal
from gender_cls.system.terminal import show


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    of_width(80, monkeypatch)


def of_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_console", None)  # it has read its width
    monkeypatch.setenv("COLUMNS", str(columns))


def shown(capsys: pytest.CaptureFixture[str], *parts: Any) -> list[str]:
    show(*parts)
    return [line.rstrip() for line in capsys.readouterr().out.split("\n")]


def test_a_run_says_its_scores_and_what_they_are_worth(capsys: pytest.CaptureFixture[str]) -> None:
    changes = {
        "validation.scores.balanced_accuracy.value": 0.75, "validation.scores.auroc.value": None,
        "test.scores.balanced_accuracy": {"value": 0.5, "low": 0.25, "high": 0.875, "remark": None},
        "test.scores.auroc": {"value": 0.625, "low": None, "high": None, "remark": "few"},
        "data.leaky": True, "problems": {"cost": "No\x1b[2J [red]clock."},
    }  # fmt: skip
    metrics = changed_metrics(changes)
    lines = shown(capsys, *run_on_screen(metrics))
    assert lines[2].split() == ["validation", "test", "[95", "%]", "best", "trivial", "baseline"]
    assert lines[4].split()[:6] == ["balanced", "accuracy", "0.750", "0.500", "[0.250,", "0.875]"]
    assert lines[5].split() == ["AUROC", "–", "0.625"]
    assert lines[7] == metrics["standing"]["sentence"]
    assert lines[8] == LEAKY
    assert lines[9] == "Not made: cost. No\\x1b[2J [red]clock."
    assert max(map(len, lines[2:6])) <= 80
    assert f"on {plural(metrics['test']['images'], 'image')}" in lines[0]
    assert score_on_screen(metrics) == "bal. acc. 0.750 on validation, 0.500 [0.250, 0.875] on test"


def test_a_test_on_other_data_says_the_drop_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    metrics: Any = metrics_elsewhere()
    lines = shown(capsys, *elsewhere_on_screen(metrics))
    assert lines[0] == "Tested on the test part of pa100k: 10,000 images."
    assert lines[1].startswith("37 images are left out")
    assert lines[3].split() == ["home", "here", "[95", "%]", "drop", "[95", "%]"]
    assert lines[5:11] == [
        "balanced accuracy         0.801   0.642 [0.622, 0.662]   0.159 [0.119, 0.199]",
        "AUROC                     0.893   0.741 [0.721, 0.761]   0.152 [0.112, 0.192]",
        "at the threshold 0.431    0.807   0.629 [0.609, 0.649]   0.179 [0.139, 0.219]",
        "at the best threshold *           0.679 [0.659, 0.700]",
        "ECE (lower is better)     0.029   0.187 [0.167, 0.207]   0.158 [0.118, 0.198]",
        "share of FEMALE                   0.501 [0.481, 0.521]",
    ]
    assert lines[11].startswith("* It needs labels")
    assert metrics["standing"]["sentence"] in lines
    for sentence in (*metrics["elsewhere"]["sentences"], *(one["sentence"] for one in metrics["elsewhere"]["adapted"])):
        assert f"- {sentence}" in lines


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three candidates, two of which share a model."""
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    runs = [
        write_run(folder / f"{number}", simulated(rng, skill), name, recipe__lr=rate)
        for number, (name, rate, skill) in enumerate(
            [("mobilenetv4_small", 0.1, 1.0), ("mobilenetv4_small", 0.01, 1.5), ("[red]net[/red]", 0.1, 0.5)]
        )
    ]
    return compare(*runs)


def test_a_comparison_fits_and_shows_markup_as_text(comparison: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, *comparison_on_screen(comparison, "leaderboard.html"))
    assert lines[0].split()[0] == "candidate"
    assert all(heading in lines[0] for heading in ("validation", "test [95 %]"))
    table = lines[: lines.index("")]
    assert "\n".join(lines).count("[red]net[/red]") >= 1
    assert max(map(len, table[:5])) <= 80
    assert all(f"- {sentence}" in lines for sentence in comparison["verdict"])
    assert not any(line.startswith("|") for line in lines)


@pytest.mark.parametrize(("columns", "there"), [(200, True), (60, False)])
def test_a_narrow_terminal_gets_fewer_columns(
    columns: int, there: bool, comparison: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_width(columns, monkeypatch)
    lines = shown(capsys, *comparison_on_screen(comparison, "leaderboard.html"))
    assert ("ms/image" in lines[0].split()) == there
    assert "test [95 %]" in lines[0]
    assert max(map(len, lines[:5])) <= columns


def test_a_seed_that_failed_is_named_once(comparison: Any, capsys: pytest.CaptureFixture[str]) -> None:
    failed = {"folder": "/sweeps/a/net-1", "state": "failed", "error": "The disk is full."}
    comparison["candidates"][0]["runs"][1] = failed
    comparison["unfinished"] = [failed]
    lines = shown(capsys, *comparison_on_screen(comparison, "leaderboard.html"))
    assert lines[lines.index("Not finished:") + 1 :].count("- net-1: The disk is full.") == 1


def test_what_a_sweep_varies_stays_where_the_terminal_is_narrow(
    comparison: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone tells the candidates of one model apart."""
    of_width(70, monkeypatch)
    for row in comparison["candidates"]:
        row["varied"] = {"lr": "0.01"}
    titles = shown(capsys, *comparison_on_screen(comparison, "leaderboard.html"))[0].split()
    assert "lr" in titles
    assert "AUROC" not in titles
