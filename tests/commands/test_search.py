"""A search from its trials to the leaderboard of the best settings."""

import json
from pathlib import Path

import yaml
from helpers.commands import SMALL, command
from helpers.crops import draw_folders

from gender_cls.data.csv_text import read_csv_text
from gender_cls.runs.run import Run, find_runs

WIDTHS = "model.options.widths"


def test_trials_stay_untested_and_the_best_is_tested_with_another_seed(tmp_path: Path) -> None:
    space = {"recipe": {"lr": [5e-4, 1e-4]}, "model": {"options": {"widths": [[4, 8], [4, 0]]}}}  # 0: cannot be built
    own = tmp_path / "own" / "search" / "space" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(yaml.safe_dump(space, sort_keys=False))
    arguments = ["-m", "--config-dir", "own", "search=optuna", "search/space=mine", f"+{WIDTHS}=[4,8]", "name=search"]
    few = ["search.trials=3", "search.best=1", "search.seeds=1", "trainer.max_epochs=1"]
    few += ["explain.images=1", "evaluation.explained_images=0"]
    result = command("train", f"data.root={draw_folders(tmp_path / 'crops')}", *SMALL, *arguments, *few, cwd=tmp_path)

    sweep = tmp_path / "outputs" / "sweeps" / "search"
    table = read_csv_text(sweep / "search.csv").set_index("number")
    failing = table[WIDTHS] == "[4, 0]"
    assert list(table.index) == ["0", "1", "2"]
    assert 0 < failing.sum() < 3
    assert (table["state"] == failing.map({True: "failed", False: "complete"})).all()
    assert table["reason"].str.contains("widths").equals(failing), "why it failed"
    for folder in table["folder"][~failing]:
        trial = Run(sweep / folder)
        assert not trial.tested
        assert not trial.explanations.exists(), "trials are cheap"
        assert f"{trial.folder.name}, " in result.stdout
    assert f"Trial 2 of 3: recipe.lr={table['recipe.lr']['2']}, {WIDTHS}=" in result.stdout

    [best] = find_runs([sweep])
    assert best.folder.name == "0_custom_cnn_finalist-1_seed-1"
    assert best.tested
    assert best.explanations.exists(), "finalists are whole"
    chosen = table.loc[table["score"][~failing].astype(float).idxmax()]
    assert (best.settings["seed"], best.settings["recipe"]["lr"]) == (1, float(chosen["recipe.lr"]))
    assert best.settings["model"]["options"]["widths"] == json.loads(chosen[WIDTHS])
    [candidate] = json.loads((sweep / "leaderboard.json").read_text())["candidates"]
    assert candidate["seeds"] == [1]
    assert (sweep / "search.html").is_file()
