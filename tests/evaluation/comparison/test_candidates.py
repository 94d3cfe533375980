import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.comparing import write_run, write_yaml
from helpers.prediction_tables import table_of

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.comparison.candidates import Candidate, find_candidates, with_titles
from gender_cls.runs.run import Run, find_runs

TABLE = table_of("FMFM", [0.9, 0.4, 0.7, 0.6], split=["val", "val", "test", "test"])


def candidates_of(*runs: Run) -> list[Candidate]:
    return find_candidates(runs)[0]


def varied(*runs: Run) -> list[dict[str, str]]:
    return [one.varied for one in candidates_of(*runs)]


def titles(*runs: Run) -> list[str]:
    return [one.title for one in with_titles(candidates_of(*runs))]


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
    [candidate] = candidates_of(good, later)
    assert [one.runs for one in candidate.trained] == [[good]]
    assert candidate.problem is None
    assert candidate.repeated == [later]


def test_seeds_are_one_candidate_in_spite_of_settings_that_change_no_result(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", TABLE, seed=1, name="a", explain__images=8, data__num_workers=0)
    second = write_run(tmp_path / "b", TABLE, seed=0, name="b", explain__images=4, data__num_workers=2)
    third = write_run(tmp_path / "c", TABLE, seed=2, evaluation__stress=True, trainer__resume=True)
    (found,) = candidates_of(first, second, third)
    assert [one.seed for one in found.trained] == [0, 1, 2]
    assert found.runs == [first, second, third]
    assert (found.title, found.repeated, found.problem) == ("net", [], None)
    assert found.test["path"].tolist() == ["002.png", "003.png"]
    assert found.trained[0].correct.tolist() == [True, False]


def test_titles_tell_candidates_apart_and_settings_that_vary_are_named(tmp_path: Path) -> None:
    slow = write_run(tmp_path / "a", TABLE, recipe__lr=0.001)
    fast = write_run(tmp_path / "b", TABLE, recipe__lr=0.01)
    other = write_run(tmp_path / "c", TABLE, model="vit", recipe__lr=0.01)
    assert titles(slow, fast, other) == ["net #1", "net #2", "vit #3"]
    assert varied(slow, fast, other) == [{"recipe.lr": "0.001"}, {"recipe.lr": "0.01"}, {"recipe.lr": "0.01"}]
    assert titles(fast, other) == ["net", "vit"]
    assert varied(fast, other) == [{}, {}], "what is said of a model follows from it"


def test_numbers_follow_the_order_given_and_titles_are_unique_whatever_models_are_called(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(lr), TABLE, recipe__lr=lr) for lr in (1, 2)]
    first, second = candidates_of(*runs)
    assert [one.title for one in with_titles([second, first])] == ["net #1", "net #2"]
    evil = [write_run(tmp_path / name, TABLE, model=name) for name in ("net #1", "net #2")]
    assert len(set(titles(*runs, *evil))) == 4


def test_a_model_whose_file_leaves_the_network_open_is_called_by_its_network(tmp_path: Path) -> None:
    def run(name: str, model: str = "timm") -> Run:
        return write_run(tmp_path / name, TABLE, model=model, model__library="timm", model__name=name)

    assert titles(run("resnet18"), run("vit_tiny"), run("net050", "net")) == ["resnet18", "vit_tiny", "net"]
    assert varied(run("resnet18"), run("vit_tiny")) == [{}, {}]
    assert varied(run("net050", "net"), run("net100", "net")) == [{"model.name": "net050"}, {"model.name": "net100"}]


def test_a_chosen_file_stands_for_the_settings_that_follow_from_it(tmp_path: Path) -> None:
    def run(name: str, recipe: str, lr: float, frozen: int) -> Run:
        choices = {"recipe": recipe, "explain": name}
        return write_run(tmp_path / name, TABLE, choices=choices, recipe__lr=lr, recipe__frozen=frozen)

    runs = [run("a", "scratch", 0.1, 0), run("b", "finetune", 0.1, 2), run("c", "finetune", 0.01, 2)]
    assert varied(*runs[:2]) == [{"recipe": "scratch"}, {"recipe": "finetune"}]
    assert varied(*runs) == [
        {"recipe": "scratch", "recipe.lr": "0.1"},
        {"recipe": "finetune", "recipe.lr": "0.1"},
        {"recipe": "finetune", "recipe.lr": "0.01"},
    ]


def test_folders_that_all_paths_share_are_not_repeated_and_what_is_not_set_is_a_dash(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", TABLE, data__root="/data/crops/day", model__weights=None),
        write_run(tmp_path / "b", TABLE, data__root="/data/crops/night", model__weights="/w/net.pth", trainer__new=1),
        write_run(tmp_path / "c", TABLE, model=None),
    ]
    assert varied(*runs) == [
        {"trainer.new": "–", "model.weights": "null", "data.root": "day"},
        {"trainer.new": "1", "model.weights": "net.pth", "data.root": "night"},
        {"trainer.new": "–", "model.weights": "–", "data.root": "–"},
    ]


def test_failed_and_empty_starts_are_no_candidates_and_are_no_news_once_they_were_made_up_for(tmp_path: Path) -> None:
    done = write_run(tmp_path / "done", TABLE, recipe__lr=0.1)
    runs = [
        write_run(tmp_path / "before", TABLE, recipe__lr=0.1, state="failed", started="2025-12-31"),
        done,
        write_run(tmp_path / "again", TABLE, recipe__lr=0.1, state="failed", started="2026-01-02"),
        write_run(tmp_path / "seed", TABLE, recipe__lr=0.1, seed=1, state="failed"),
        write_run(tmp_path / "typo", TABLE, model="nett", state="failed", error="No such model."),
        write_run(tmp_path / "empty", TABLE, trainer__max_epochs=99, state="running"),
    ]
    (candidate,), unfinished = find_candidates(runs)
    assert [run.folder.name for run in unfinished] == ["seed", "typo", "empty"]
    assert [run.folder.name for run in candidate.runs] == ["done", "seed"]
    assert candidate.varied == {}, "settings of runs that failed make no columns"


def test_folds_are_pooled_into_one_table_a_seed(tmp_path: Path) -> None:
    runs = []
    for fold, (test, val) in enumerate([([3, 0], [1]), ([1], [2]), ([2], [3, 0])]):
        split = np.full(4, "train", dtype=object)
        split[test], split[val] = "test", "val"
        table = TABLE.assign(split=split)
        runs.append(write_run(tmp_path / str(fold), table[table["split"] != "train"], data__folds=3, data__fold=fold))
    (found,) = candidates_of(*runs)
    (trained,) = found.trained
    assert trained.runs == runs
    assert trained.test["path"].tolist() == trained.validation["path"].tolist() == TABLE["path"].tolist()

    runs[1].note(state="running")
    (found,) = candidates_of(*runs)
    assert (found.trained, found.problem) == ([], "No seed has finished.")  # a seed counts once all its folds are there


def test_of_repeated_runs_the_latest_finished_counts(tmp_path: Path) -> None:
    old = write_run(tmp_path / "a", TABLE, started="2026-01-01")
    new = write_run(tmp_path / "b", TABLE, started="2026-02-01")
    failed = write_run(tmp_path / "c", TABLE, started="2026-03-01", state="failed", error="No.")
    (found,) = candidates_of(new, old, failed)
    assert [one.runs for one in found.trained] == [[new]]
    assert found.repeated == [old]
    assert found.runs == [new, old]


def test_without_configuration_a_run_is_known_by_its_model(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, TABLE, model=None) for name in "ab"]
    (found,) = candidates_of(*runs)
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
        (found,) = candidates_of(old)
        assert found.trained == []
        assert re.search(f"{what}.*python -m gender_cls.evaluate run={old.folder}", found.problem or "")


def test_predictions_that_say_nothing_are_a_problem(tmp_path: Path) -> None:
    diverged = write_run(tmp_path / "a", TABLE.assign(p_FEMALE=[0.1, np.nan, np.inf, 0.2]))
    assert candidates_of(diverged)[0].problem == "2 predictions of a are not numbers."
    empty = write_run(tmp_path / "b", TABLE[TABLE["split"] == "val"])
    assert candidates_of(empty)[0].problem == f"{empty.predictions} lacks validation or test images."
