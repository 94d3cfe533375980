"""A search from its trials to the leaderboard of the best settings."""

import json
from pathlib import Path

import pytest
from helpers.commands import SMALL, command
from helpers.crops import draw_folders

from gender_cls.data.csv_text import read_csv_text
from gender_cls.runs.run import Run, find_runs


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a search with a trial that fails, and what it printed."""
    cwd = tmp_path_factory.mktemp("searched")
    widths = "+search.space.model.options.widths=[[4,8],[4,0],[4,4]]"  # a network without channels cannot be built
    space = ["search/space=scratch", "search.space.recipe.lr.high=0.005", widths, "+model.options.widths=[4,8]"]
    arguments = ["-m", "search=optuna", *space, "search.trials=4", "search.best=1", "search.seeds=2", "name=search"]
    once = ["trainer.max_epochs=1", "explain.images=1", "evaluation.explained_images=0"]
    result = command("train", f"data.root={draw_folders(cwd / 'crops')}", *SMALL, *arguments, *once, cwd=cwd)
    return cwd / "outputs" / "sweeps" / "search", result.stdout


def test_trials_are_not_tested_and_the_best_are_tested_with_other_seeds(searched: tuple[Path, str]) -> None:
    sweep, screen = searched
    table = read_csv_text(sweep / "search.csv").set_index("number")
    failing = table["model.options.widths"] == "[4, 0]"
    assert 0 < failing.sum() < 4
    assert (table["state"] == failing.map({True: "failed", False: "complete"})).all()
    assert (table["reason"] != "").equals(failing), "why it failed"
    for folder in table["folder"][~failing]:
        trial = Run(sweep / folder)
        assert not trial.tested
        assert not trial.explanations.exists(), "trials are cheap"
    best = (
        table[~failing]
        .sort_values(["score", "number"], ascending=[False, True], key=lambda one: one.astype(float))
        .iloc[0]
    )
    [first, second] = find_runs([sweep])
    assert [first.folder.name, second.folder.name] == [
        "0_custom_cnn_finalist-1_seed-1", "1_custom_cnn_finalist-1_seed-2"
    ]  # fmt: skip
    for run, seed in ((first, 1), (second, 2)):
        assert run.tested
        assert (run.settings["seed"], run.settings["recipe"]["lr"]) == (seed, float(best["recipe.lr"]))
        assert run.settings["model"]["options"]["widths"] == json.loads(best["model.options.widths"])
    [candidate] = json.loads((sweep / "leaderboard.json").read_text())["candidates"]
    assert candidate["seeds"] == 2
    assert (sweep / "search.html").is_file()
    assert f"Trial 3 of 4: recipe.lr={table['recipe.lr']['3']}" in screen
