"""A search on the command line: its errors, its two sweeps, and what becomes of trials that fail or are killed."""

import logging
import math
import os
import signal
import sys
from pathlib import Path

import pytest
from helpers.searching import search_config, write_trial
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from gender_cls.cli.command import run_command
from gender_cls.cli.search import finalist_config, run_trial, search_sweeps
from gender_cls.config.parsing import CONFIG_FOLDER, recorded_config
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.files import write_atomically
from gender_cls.runs.run import Run
from gender_cls.search.study import keep_search, read_search, read_trials, search_of
from gender_cls.train import choose_folder, refuse_early

LR = {"recipe": {"lr": [0.001, 0.01, 0.1]}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search=optuna"], "search=optuna trains many times: add -m."),
        (["-m", "search=optuna", "model=custom_cnn,mobilenetv2"], "model has several values"),
        (["-m", "search=optuna", "search.trials=0"], "search.trials must lie between 1 and 10,000, not 0."),
        (["-m", "search=optuna", "~search.space.recipe"], "search.space is empty"),
        (["-m", "search=optuna", "search.space={}"], "search.space as a whole cannot be changed"),
        (["-m", "search.trials=3"], "search.trials changes a search, and there is none: add search=optuna."),
        (["-m", "+search.space.recipe.lr=[1,2]"], "search.space.recipe.lr changes a search"),
        (["-m", "search/space=scratch"], "search/space cannot be chosen here: it belongs to another choice of search."),
        (["-m", "search=optuna", "search.space.recipe.lr.low=-1"], "search.space.recipe.lr: recipe.lr must be above 0"),
        (["-m", "search=optuna", "search.space.recipe.lr.step=1"], "write +search.space.recipe.lr.step=... to add it"),
        (["-m", "search=optuna", "search.sampler=cmaes"], "search.sampler must be one of tpe, random, not cmaes."),
        (["-m", "search=optuna", "search/space=finetun"], "did you mean finetune? There are finetune, scratch"),
        (["search.trial=1"], "search.trial is set by the command itself"),
        (["-m", "search.finalist=1,2"], "search.finalist is set by the command itself"),
    ],
)
def test_errors_come_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "data.root=nowhere", *arguments])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        run_command(print, "train", Config, before=refuse_early, claim=choose_folder, when_interrupted="")
    assert words in str(caught.value.code)
    assert "\n" not in str(caught.value.code)
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_without_optuna_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(sys, "argv", ["train", "data.root=nowhere", "-m", "search=optuna"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)  # a command of another test may have set it
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        run_command(print, "train", Config, before=refuse_early, claim=choose_folder, when_interrupted="")
    assert "search=optuna needs optuna, which is not installed: pip install" in str(caught.value.code)


def test_trials_come_first_and_then_the_best_with_new_seeds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = search_config(trials=5, best=3, seeds=2, space=LR)
    first = next(search_sweeps(config, tmp_path))
    assert first == ["search.trial=0,1,2,3,4", "hydra.sweep.subdir='trials/${job_folder:}'"]
    write_trial(tmp_path, 0, {"recipe.lr": 0.001}, [0.7])
    write_trial(tmp_path, 2, {"recipe.lr": 0.01}, [0.8])
    write_trial(tmp_path, 3, {"recipe.lr": 0.1}, [0.6], pruned=1)
    write_trial(tmp_path, 4, {"recipe.lr": 0.1}, [0.6], state="running")
    sweeps = search_sweeps(config, tmp_path)  # as after a kill
    assert next(sweeps)[0] == "search.trial=1,4"
    with pytest.raises(GenderClsError, match=r"1 trial did not end \(4_net\).*trainer\.resume=true"):
        next(sweeps)
    write_trial(tmp_path, 1, {"recipe.lr": 0.01}, [0.9])
    write_trial(tmp_path, 4, {"recipe.lr": 0.1}, state="failed", error="The loss became nan.")
    sweeps = search_sweeps(config, tmp_path)
    assert next(sweeps)[0] == "search.trial=4", "a failed one is tried again"
    caplog.set_level(logging.INFO, logger="gender_cls")
    last = next(sweeps)
    assert last == [
        "search.finalist=1,2", "seed=1,2", "hydra.sweep.subdir='${job_folder:search.finalist,seed}'"
    ]  # fmt: skip
    assert "fewer than search.best=3" in caplog.text, "trials 1 and 2 have the same settings"
    search = read_search(tmp_path)
    assert search is not None
    assert [(one["trial"], one["values"]) for one in search.chosen] == [
        (1, {"recipe.lr": 0.01}),
        (0, {"recipe.lr": 0.001}),
    ]
    (tmp_path / ".search.csv.a1.part").touch()
    assert list(search_sweeps(config, tmp_path)) == [last], "after a kill of the second sweep"
    assert not list(tmp_path.glob(".*.part"))
    for changes in ({"trials": 9}, {"best": 2}, {"seeds": 3}):
        config = search_config(**{"trials": 5, "best": 3, "seeds": 2, "space": LR, **changes})
        [(key, value)] = changes.items()
        with pytest.raises(GenderClsError, match=rf"search\.{key}=\d, not {value}"):
            next(search_sweeps(config, tmp_path))
    config.search.finalist = 2
    job = finalist_config(config, Run(tmp_path / "0_net"))
    assert (job.recipe.lr, job.search.space, job.evaluation.test) == (0.001, {}, True)


def test_a_search_may_be_asked_for_more_or_fewer_trials_until_the_choice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        write_trial(tmp_path, number, {"recipe.lr": (0.001, 0.01, 0.1)[number]}, [0.7 + number / 100])
    write_trial(tmp_path, 3, {"recipe.lr": 0.1}, [0.6], state="running")
    keep_search(search_of(search_config(trials=4, best=1, space=LR)), tmp_path)
    assert next(search_sweeps(search_config(trials=6, best=1, space=LR), tmp_path))[0] == "search.trial=3,4,5"
    assert "search.best" not in caplog.text
    sweeps = search_sweeps(search_config(trials=2, best=3, seeds=1, space=LR), tmp_path)
    finalists = next(sweeps)
    assert "search.best=3 is more than search.trials" in caplog.text
    assert finalists[0] == "search.finalist=1,2,3", "trial 3 is given up"
    search = read_search(tmp_path)
    assert search is not None
    assert [one["trial"] for one in search.chosen] == [2, 1, 0], "what has ended counts"


def test_a_search_without_a_success_and_one_with_other_settings_are_errors(tmp_path: Path) -> None:
    config = search_config(trials=2, space=LR)
    for number in range(2):
        write_trial(tmp_path, number, {"recipe.lr": 0.1}, state="failed", error="The loss became nan.")
    sweeps = search_sweeps(config, tmp_path)
    next(sweeps)
    with pytest.raises(GenderClsError, match=r"None of 2 trials succeeded.*The loss became nan"):
        next(sweeps)
    for changes, words in (
        ({"seed": 3}, r"search\.seed: 0, not 3"),
        ({"space": {"recipe": {"lr": [0.1, 0.2]}}}, r"another search\.space:"),
    ):
        with pytest.raises(GenderClsError, match=words):
            next(search_sweeps(search_config(**{"trials": 2, "space": LR, **changes}), tmp_path))


def trains(config: Config, run: Run) -> None:
    """Scores 0.5 + the learning rate."""
    with run.recording(model="net"):
        assert (config.evaluation.test, config.explain.enabled) == (False, False)
        score = 0.5 + config.recipe.lr
        run.last_checkpoint.parent.mkdir()
        run.last_checkpoint.touch()
        write_atomically(run.epochs, f"epoch,val_balanced_accuracy\n1,{score}\n")
        run.note(fitted=True, best_validation=score)


def fails(config: Config, run: Run) -> None:
    with run.recording(model="net"):
        raise GenderClsError("The loss became nan.")


def is_killed_once(config: Config, run: Run) -> None:
    killed = run.folder / "killed"
    if not killed.exists():
        killed.touch()
        is_killed(config, run)
    trains(config, run)


def is_killed(config: Config, run: Run) -> None:
    with run.recording(model="net"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_trials_that_fail_or_are_killed_are_recorded_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        composed = compose("train", ["model=custom_cnn", "name=run"], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", composed)
    monkeypatch.setattr("gender_cls.data.prepare.keep_prepared", lambda *_: None)
    caplog.set_level(logging.INFO, logger="gender_cls")
    config = search_config(trials=5, space=LR)
    search = search_of(config)
    keep_search(search, tmp_path)
    scores = []
    for number, work in enumerate((trains, fails, is_killed_once, is_killed)):
        config.search.trial = number
        folder = tmp_path / "trials" / f"{number}_net"
        folder.mkdir(parents=True)
        scores.append(run_trial(work, config, Run(folder)))
    first, failed, killed_once, killed = read_trials(tmp_path, search)
    assert [one.state for one in (first, failed, killed_once, killed)] == ["complete", "failed", "complete", "failed"]
    assert first.values == {"recipe.lr": 0.001}, "the settings as they are"
    assert (failed.reason, failed.score) == ("The loss became nan.", None)
    assert killed.reason is not None
    assert "SIGKILL" in killed.reason
    assert scores[0] == 0.501
    assert scores[2] == 0.5 + killed_once.values["recipe.lr"]
    assert math.isnan(scores[1])
    assert math.isnan(scores[3])
    recorded = recorded_config(Run(first.folder).config_file)
    assert (recorded.recipe.lr, recorded.search.trial, recorded.search.space) == (0.001, 0, {})
    assert not Run(first.folder).checkpoints.exists()
    assert len((tmp_path / "search.csv").read_text().splitlines()) == 5
    assert f"best so far {max(scores[0], scores[2]):.4f}" in caplog.text
    config.search.trial = 0
    assert run_trial(fails, config, Run(first.folder)) == 0.501, "a finished trial is not repeated"
    Run(first.folder).checkpoints.mkdir()
    Run(first.folder).status_file.unlink()  # as a sentence about a damaged one says
    assert run_trial(trains, config, Run(first.folder)) == 0.501, "from the beginning, with no checkpoint of before"
