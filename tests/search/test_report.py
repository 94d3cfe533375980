"""What a search shows, from folders that were made up: trials, finalists, and what the choice is worth."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.comparing import simulated
from helpers.example_search import write_example, write_finalists, write_trial
from helpers.html_page import Page, linked_files

from gender_cls.reports.comparison import write_comparison
from gender_cls.runs.files import read_json
from gender_cls.runs.run import Run
from gender_cls.search.report import importances_of, settings_of, write_search_page
from gender_cls.search.space import Choices, Range
from gender_cls.search.study import COMPLETE, Trial, ranked, read_trials


def page_of(sweep: Path) -> Page:
    return Page((sweep / "search.html").read_text())


def test_trials_come_best_first_and_charts_and_failures_are_shown(tmp_path: Path) -> None:
    write_example(tmp_path)
    lines = write_search_page(tmp_path)
    assert lines[0] == "Trial 1 is the best of 13 trials (balanced accuracy on validation 0.900)."
    assert any("11 complete, 1 pruned and 1 failed" in line for line in lines)
    page = page_of(tmp_path)
    table = page.text[page.text.index("Finalists are bold") :]
    order = [
        table.index(f" {number} complete {score}") for number, score in ((1, "0.900"), (3, "0.896"), (10, "0.896"))
    ]
    order += [table.index(words) for words in ("11 pruned 0.550 0.01", "12 failed –", "<b>lower</b> recipe.lr")]
    assert order == sorted(order)
    assert "recipe.lr=0.001 recipe.label_smoothing=0.05 augment.flip=0.5" in page.text
    assert [image["alt"] for image in page.all("img")] == [
        "balanced accuracy on validation of each trial", "Importance of each setting",
        "Settings and score of each trial",
    ]  # fmt: skip
    assert page.policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    linked = linked_files(tmp_path / "search.html")
    assert {file.name for file in linked} >= {"search.csv", "search_score.svg", "search_settings.svg"}
    assert all(file.is_file() for file in linked)


def test_the_setting_that_the_score_follows_from_is_the_important_one(tmp_path: Path) -> None:
    search = write_example(tmp_path)
    importances, _ = importances_of(search, ranked(search, read_trials(tmp_path, search)))
    assert next(iter(importances)) == "recipe.lr"
    assert importances["recipe.lr"] > 0.5
    assert sum(importances.values()) == pytest.approx(1)


def test_a_folder_that_was_carried_to_a_machine_without_optuna_has_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example(tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    lines = write_search_page(tmp_path)
    text = page_of(tmp_path).text
    assert lines[0].startswith("Trial 1 ")
    assert "optuna" in text[text.rindex("What mattered") : text.rindex("Settings side by side")]
    assert (tmp_path / "search_settings.svg").is_file()
    assert not (tmp_path / "search_importance.svg").exists()


def test_a_search_of_which_nothing_has_ended_says_so(tmp_path: Path) -> None:
    assert write_search_page(tmp_path) == []
    write_example(tmp_path, trials=0)
    assert write_search_page(tmp_path) == ["No trial of 2 is complete.", "- Of 2 trials: 1 pruned and 1 failed."]
    text = page_of(tmp_path).text
    assert "None is chosen yet." in text
    assert text.count("Too few trials are complete: 0") == 2, "neither importance nor side by side"


def test_settings_that_change_nothing_have_no_importance(tmp_path: Path) -> None:
    """Networks that always give the same answer all have 0.5."""
    write_example(tmp_path, trials=0)
    for number in range(10, 20):
        write_trial(
            tmp_path, number, {"recipe.lr": 1e-4 * number, "recipe.label_smoothing": 0.0, "augment.flip": 0.5}, [0.5]
        )
    assert (
        write_search_page(tmp_path)[0] == "Trial 10 is the best of 12 trials (balanced accuracy on validation 0.500)."
    )
    assert "the same score" in page_of(tmp_path).text
    assert (tmp_path / "search_settings.svg").is_file()


def test_an_axis_has_a_mark_for_each_power_of_ten_and_values_as_they_are_written(tmp_path: Path) -> None:
    values = {"recipe.lr": Range(3e-4, 0.2, log=True), "recipe.frozen_epochs": Choices((None, 2))}
    search = replace(write_example(tmp_path, trials=0), space=values)
    trials = [
        Trial(0, tmp_path, COMPLETE, {"recipe.lr": 0.003, "recipe.frozen_epochs": None}, 0.6),
        Trial(1, tmp_path, COMPLETE, {"recipe.lr": 0.2, "recipe.frozen_epochs": 2}, 0.8),
    ]
    epochs, lr, score = settings_of(search, trials, list(values))
    assert epochs.ticks == [(0.0, "null"), (1.0, "2")]
    assert [text for _, text in lr.ticks] == ["0.0003", "0.001", "0.01", "0.1", "0.2"]
    assert lr.places == pytest.approx([math.log(10) / math.log(0.2 / 3e-4), 1])
    assert score.places == [0, 1]


@pytest.mark.parametrize(("skills", "differ"), [((0.0, 0.0), False), ((2.0, 0.2), True)])
def test_the_finalists_say_what_the_choice_is_worth_and_whether_they_differ(
    tmp_path: Path, skills: tuple[float, float], differ: bool
) -> None:
    """Without any skill, as on the demo without its cue, no choice among settings is better than another one."""
    rng = np.random.default_rng(1)
    tables = [[simulated(rng, skill) for _ in range(3)] for skill in skills]
    search = write_example(tmp_path, trials=3)
    write_finalists(tmp_path, search, tables)
    lines = write_search_page(tmp_path)

    def mean(place: int, split: str) -> float:
        return float(np.mean([balanced_accuracy(table[table["split"] == split]) for table in tables[place]]))

    chosen, validation, test = search.chosen[0]["score"], mean(0, "val"), mean(0, "test")
    assert chosen == pytest.approx(0.9)
    (optimism,) = [line for line in lines if "too good" in line]
    assert optimism.endswith(
        f"3 other seeds have balanced accuracy {validation:.3f} on validation and {test:.3f} on test."
    )
    rows = read_json(tmp_path / "leaderboard.json")["candidates"]
    assert [len(row["seeds"]) for row in rows] == [3, 3]
    (pair,) = read_json(tmp_path / "leaderboard.json")["pairs"]
    assert pair["significant"] is differ
    assert any(("no two finalists" if not differ else pair["verdict"]) in line for line in lines)
    verdict = f"No significant difference between {pair['a']} and {pair['b']}"
    assert (verdict in (tmp_path / "leaderboard.md").read_text().replace("\\", "")) is not differ
    assert (verdict in Page((tmp_path / "leaderboard.html").read_text()).text) is not differ
    text = page_of(tmp_path).text
    assert all(f"{mean(place, 'test'):.3f}" in text for place in range(2))

    write_comparison(tmp_path, [], name="leaderboard", resamples=200, thumbnails=0)
    assert tmp_path / "search.html" in linked_files(tmp_path / "leaderboard.html")


def test_finalists_that_failed_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    search = write_example(tmp_path, trials=3)
    write_finalists(tmp_path, search, [[simulated(rng, 1.0) for _ in range(2)] for _ in search.chosen])
    assert not any("did not end" in line for line in write_search_page(tmp_path))
    runs = [Run(folder) for folder in sorted(tmp_path.glob("*_net_best-*"))]
    for run in runs[:3]:
        run.note(state="failed", error="The loss is not a number.")
        run.metrics_file.unlink()
    write_comparison(tmp_path, runs, name="leaderboard", resamples=200, thumbnails=0)
    assert any("3 jobs" in line and "leaderboard.html" in line for line in write_search_page(tmp_path))


def balanced_accuracy(table: pd.DataFrame) -> float:
    right = table["prediction"] == table["label"]
    return float(np.mean([right[table["label"] == label].mean() for label in ("FEMALE", "MALE")]))
