import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.comparing import write_run, write_yaml
from helpers.prediction_tables import table_of

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.comparison.candidates import find_candidates
from gender_cls.runs.run import Run, find_runs

TABLE = table_of("FMFM", [0.9, 0.4, 0.7, 0.6], split=["val", "val", "test", "test"])


def titles(*runs: Run) -> list[str]:
    return [one.title for one in find_candidates(runs)]


def test_runs_are_found_at_any_depth_once_and_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("sweeps/s/10_net", "sweeps/s/2_net", "runs/r"):
        write_run(tmp_path / name, TABLE)
    audit = Run(tmp_path / "audits" / "a")
    audit.folder.mkdir(parents=True)
    audit.note(state="finished")
    write_yaml(audit.config_file, {"audit": {}, "model": {}})
    killed = Run(tmp_path / "sweeps" / "s" / "11_net")  # before it could write more
    killed.folder.mkdir()
    killed.note(state="failed", error="The process was killed by SIGKILL.")
    write_yaml(killed.config_file, {"trainer": {}})
    found = find_runs([tmp_path, tmp_path / "runs" / "r"])
    assert [run.folder.name for run in found] == ["r", "2_net", "10_net", "11_net"]
    assert [run.folder.name for run in find_runs([tmp_path / "sweeps" / "s" / "2_net"])] == ["2_net"]


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(GenderClsError, match=str(folder)):
            find_runs([folder])


def test_a_good_run_is_not_superseded_by_a_later_one_without_results(tmp_path: Path) -> None:
    good = write_run(tmp_path / "a", TABLE, started="2026-01-01")
    later = write_run(tmp_path / "b", TABLE, started="2026-01-02")
    later.metrics_file.unlink()
    [candidate] = find_candidates([good, later])
    assert [one.runs for one in candidate.trained] == [[good]]
    assert candidate.problem is None
    assert candidate.repeated == [later]


def test_seeds_are_one_candidate_in_spite_of_settings_that_change_no_result(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", TABLE, seed=1, name="a", explain__images=8, data__num_workers=0)
    second = write_run(tmp_path / "b", TABLE, seed=0, name="b", explain__images=4, data__num_workers=2)
    third = write_run(tmp_path / "c", TABLE, seed=2, evaluation__stress=True, trainer__resume=True)
    (found,) = find_candidates([first, second, third])
    assert [one.seed for one in found.trained] == [0, 1, 2]
    assert found.runs == [first, second, third]
    assert (found.title, found.repeated, found.problem) == ("net", [], None)
    assert found.test["path"].tolist() == ["002.png", "003.png"]
    assert found.trained[0].correct.tolist() == [True, False]


def test_titles_tell_candidates_of_one_model_apart(tmp_path: Path) -> None:
    slow = write_run(tmp_path / "a", TABLE, recipe__lr=0.001)
    fast = write_run(tmp_path / "b", TABLE, recipe__lr=0.01)
    other = write_run(tmp_path / "c", TABLE, model="vit", recipe__lr=0.1)
    assert titles(slow, fast, other) == ["net (recipe.lr=0.001)", "net (recipe.lr=0.01)", "vit"]
    assert titles(slow, other) == ["net", "vit"]


def test_a_chosen_file_stands_for_the_settings_that_follow_from_it(tmp_path: Path) -> None:
    def run(name: str, recipe: str, lr: float, frozen: int) -> Run:
        choices = {"recipe": recipe, "explain": name}
        return write_run(tmp_path / name, TABLE, choices=choices, recipe__lr=lr, recipe__frozen=frozen)

    runs = [run("a", "scratch", 0.1, 0), run("b", "finetune", 0.1, 2), run("c", "finetune", 0.01, 2)]
    assert titles(*runs[:2]) == ["net (recipe=scratch)", "net (recipe=finetune)"]
    assert titles(*runs) == [
        "net (recipe=scratch, recipe.lr=0.1)",
        "net (recipe=finetune, recipe.lr=0.1)",
        "net (recipe=finetune, recipe.lr=0.01)",
    ]


def test_folds_are_pooled_into_one_table_a_seed(tmp_path: Path) -> None:
    runs = []
    for fold, (test, val) in enumerate([([3, 0], [1]), ([1], [2]), ([2], [3, 0])]):
        split = np.full(4, "train", dtype=object)
        split[test], split[val] = "test", "val"
        table = TABLE.assign(split=split)
        runs.append(write_run(tmp_path / str(fold), table[table["split"] != "train"], data__folds=3, data__fold=fold))
    (found,) = find_candidates(runs)
    (trained,) = found.trained
    assert trained.runs == runs
    assert trained.test["path"].tolist() == trained.validation["path"].tolist() == TABLE["path"].tolist()

    runs[1].note(state="running")
    (found,) = find_candidates(runs)
    assert (found.trained, found.problem) == ([], "No seed has finished.")  # a seed counts once all its folds are there


def test_of_repeated_runs_the_latest_finished_counts(tmp_path: Path) -> None:
    old = write_run(tmp_path / "a", TABLE, started="2026-01-01")
    new = write_run(tmp_path / "b", TABLE, started="2026-02-01")
    failed = write_run(tmp_path / "c", TABLE, started="2026-03-01", state="failed", error="No.")
    (found,) = find_candidates([new, old, failed])
    assert [one.runs for one in found.trained] == [[new]]
    assert found.repeated == [old]
    assert found.runs == [new, old, failed]


def test_without_configuration_a_run_is_known_by_its_model(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, TABLE, model=None) for name in "ab"]
    (found,) = find_candidates(runs)
    assert found.title == "timm/net"
    assert [one.seed for one in found.trained] == [None, None]


def test_another_version_and_no_evaluation_are_said(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", TABLE, version=0)
    for change, what in (
        (lambda: None, "another version"),
        (lambda: old.metrics_file.write_text(json.dumps({"model": "timm/net"})), "another version"),  # without a number
        (old.metrics_file.unlink, "not evaluated"),
    ):
        change()
        (found,) = find_candidates([old])
        assert found.trained == []
        assert re.search(f"{what}.*python -m gender_cls.evaluate run={old.folder}", found.problem or "")


def test_predictions_that_say_nothing_are_a_problem(tmp_path: Path) -> None:
    diverged = write_run(tmp_path / "a", TABLE.assign(p_FEMALE=[0.1, np.nan, np.inf, 0.2]))
    assert find_candidates([diverged])[0].problem == "2 predictions of a are not numbers."
    empty = write_run(tmp_path / "b", TABLE[TABLE["split"] == "val"])
    assert find_candidates([empty])[0].problem == f"{empty.predictions} lacks validation or test images."
