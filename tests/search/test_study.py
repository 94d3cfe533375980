"""A search as its folder tells it, and as tables and Optuna's plots read it."""

import json
from pathlib import Path

import pytest
from helpers.searching import search_config, write_trial

from gender_cls.data.csv_text import read_csv_text
from gender_cls.errors import GenderClsError
from gender_cls.search.study import keep_search, optuna_study, read_search, read_trials, search_of, write_trials

VALUES = {"recipe.lr": 0.01, "recipe.weight_decay": 0.5, "recipe.frozen_epochs": None}


def test_trials_of_all_states_are_read_in_order_and_written_as_a_table(tmp_path: Path) -> None:
    search = search_of(search_config())
    write_trial(tmp_path, 10, VALUES, [0.6, 0.7], state="interrupted")
    write_trial(tmp_path, 2, VALUES, [0.6, 0.8, 0.7], seconds=12.5, best_validation=0.8000001)
    write_trial(tmp_path, 3, VALUES, [0.4, 0.5], pruned=2)
    write_trial(tmp_path, 4, VALUES, state="failed", error="The loss became nan.")
    write_trial(tmp_path, 5, {}, state="running")
    trials = read_trials(tmp_path, search)
    assert [(trial.number, trial.state, trial.score, len(trial.scores), trial.reason) for trial in trials] == [
        (2, "complete", 0.8000001, 3, None),
        (3, "pruned", 0.5, 2, None),
        (4, "failed", None, 0, "The loss became nan."),
        (5, "unfinished", None, 0, None),
        (10, "unfinished", 0.7, 2, None),
    ]
    write_trials(tmp_path, search, trials)
    table = read_csv_text(tmp_path / "search.csv")
    assert list(table.columns) == [
        "number", "state", "score", "recipe.lr", "recipe.weight_decay", "recipe.frozen_epochs",
        "epochs", "seconds", "folder", "reason",
    ]  # fmt: skip
    assert table.iloc[0].tolist() == [
        "2",
        "complete",
        "0.8000001",
        "0.01",
        "0.5",
        "null",
        "3",
        "12.5",
        "trials/2_net",
        "",
    ]
    study = optuna_study(search, trials)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"], "5 has no values"
    assert study.best_value == 0.8000001
    assert study.best_params == {"recipe.lr": 0.01, "recipe.weight_decay": 0.5, "recipe.frozen_epochs": "null"}
    assert study.trials[1].intermediate_values == {1: 0.4, 2: 0.5}


def test_lower_is_better_for_the_loss(tmp_path: Path) -> None:
    config = search_config()
    config.recipe.monitor = "loss"
    search = search_of(config)
    write_trial(tmp_path, 0, VALUES, [-0.4, -0.3, -0.5], state="running")  # losses of 0.4, 0.3, 0.5
    [trial] = read_trials(tmp_path, search)
    assert (trial.scores, trial.score) == ((0.4, 0.3, 0.5), 0.3)
    assert optuna_study(search, [trial]).direction.name == "MINIMIZE"


def test_what_a_search_looks_for_is_kept(tmp_path: Path) -> None:
    search = search_of(search_config())
    assert read_search(tmp_path) is None
    keep_search(search, tmp_path)
    assert read_search(tmp_path) == search
    kept = json.loads((tmp_path / "search.json").read_text())
    for damage in (
        {"space": []},
        {"space": {"recipe.lr": {"lo": 1}}},
        {"chosen": [{"trial": 1}]},
        {"chosen": 3},
        {"a": 1},
    ):
        (tmp_path / "search.json").write_text(json.dumps({**kept, **damage}))
        with pytest.raises(GenderClsError, match=r"search\.json"):
            read_search(tmp_path)
