"""What Optuna proposes and prunes, from the folders of the trials alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.searching import score_of, search_config, write_trial

from gender_cls.config.train import Config
from gender_cls.search.optimiser import first_epoch_to_prune, is_hopeless, propose
from gender_cls.search.study import COMPLETE, UNFINISHED, Search, Trial, ranked, read_trials, search_of

LR = {"recipe": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}}}


def go_on(sweep: Path, search: Search, config: Config, until: int, stopped_at: int | None = None) -> None:
    """Make the trials that have not ended; the one `stopped_at` is killed after it has its values."""
    for number in range(until):
        status = sweep / "trials" / f"{number}_net" / "status.json"
        kept: dict[str, Any] = json.loads(status.read_text()) if status.exists() else {}
        if kept.get("state") == "finished":
            continue
        values = kept.get("values") or propose(search, read_trials(sweep, search), number, config)
        write_trial(sweep, number, values, state="running")
        if number == stopped_at:
            return
        score = score_of(values)
        failed = number == 3
        write_trial(sweep, number, values, [] if failed else [score - 0.1, score], "failed" if failed else "finished")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_was_killed_goes_on_as_it_would_have(tmp_path: Path, sampler: str) -> None:
    config = search_config(sampler=sampler)
    search = search_of(config)
    go_on(tmp_path / "whole", search, config, 16)
    for stop in (0, 4, 12, 15):
        go_on(tmp_path / "killed", search, config, 16, stopped_at=stop)
    go_on(tmp_path / "killed", search, config, 16)
    whole, killed = (read_trials(tmp_path / name, search) for name in ("whole", "killed"))
    assert [trial.values for trial in whole] == [trial.values for trial in killed]
    assert len({json.dumps(trial.values) for trial in whole}) == 16
    assert propose(replace(search, seed=1), [], 1, config) != whole[1].values, "another seed"


def test_the_first_trial_has_the_settings_as_they_are() -> None:
    config = search_config()
    config.recipe.lr, config.recipe.weight_decay, config.recipe.frozen_epochs = 0.003, 0.05, 2
    first = propose(search_of(config), [], 0, config)
    assert first == {"recipe.lr": 0.003, "recipe.weight_decay": 0.05, "recipe.frozen_epochs": 2}
    config.recipe.lr = 0.5  # outside the range: proposed, and the others stay
    first = propose(search_of(config), [], 0, config)
    assert 1e-4 <= first["recipe.lr"] <= 0.1
    assert first["recipe.weight_decay"] == 0.05


def test_tpe_learns_from_trials_and_keeps_away_from_those_that_run() -> None:
    config = search_config(space=LR)
    search = search_of(config)
    # 20 trials between 1e-4 and 1e-1: the nearer to 3e-3, the better
    rates = [10 ** (-4 + 3 * number / 19) for number in range(20)]
    trials = [
        Trial(number, Path(f"{number}_net"), COMPLETE, {"recipe.lr": rate}, 1 - abs(rate - 3e-3) * 10)
        for number, rate in enumerate(rates)
    ]
    near = [propose(search, trials, number, config)["recipe.lr"] for number in range(20, 40)]
    assert sum(1e-3 < rate < 1e-2 for rate in near) >= 15, "7 by chance"
    running = [Trial(n, Path(f"{n}_net"), UNFINISHED, {"recipe.lr": 3e-3}) for n in range(40, 60)]
    away = [propose(search, trials + running, number, config)["recipe.lr"] for number in range(60, 80)]
    assert sum(2e-3 < rate < 4.5e-3 for rate in away) < sum(2e-3 < rate < 4.5e-3 for rate in near)


@pytest.mark.parametrize(("monitor", "sign"), [("balanced_accuracy", 1), ("loss", -1)])
def test_a_trial_below_the_median_of_the_others_at_its_epoch_is_hopeless(monitor: str, sign: int) -> None:
    config = search_config(space=LR)
    config.recipe.monitor = monitor
    search = search_of(config)
    curves = [(0.5, 0.6, 0.9), (0.5, 0.7, 0.9), (0.5, 0.8, 0.9), (0.6, 0.9, 0.9), (0.7, 0.95, 0.96)]
    trials = [
        Trial(
            number,
            Path(f"{number}_net"),
            COMPLETE,
            {"recipe.lr": 0.01},
            sign * curve[-1],
            tuple(sign * s for s in curve),
        )
        for number, curve in enumerate(curves)
    ]

    def hopeless(*scores: float, among: list[Trial] = trials, warmup: int = 2) -> bool:
        return is_hopeless(search, among, 9, [sign * score for score in scores], warmup)

    assert hopeless(0.5, 0.79), "the median after epoch 2 is 0.8"
    assert not hopeless(0.5, 0.81)
    assert not hopeless(0.85, 0.3), "its best counts"
    assert not hopeless(0.1), "the first epoch is too early"
    assert not hopeless(0.5, 0.1, warmup=3)
    assert not hopeless(0.5, 0.1, among=trials[1:]), "four trials are too few"
    assert not hopeless(
        0.5, 0.1, among=[*trials[1:], Trial(7, Path("7_net"), UNFINISHED, {"recipe.lr": 0.01}, None, (0.9, 0.9))]
    )


@pytest.mark.parametrize(
    ("epochs", "frozen", "warmup", "first"), [(20, 2, 1, 7), (6, 0, 1, 2), (6, 3, 1, 4), (20, None, 1, 7), (1, 0, 1, 1)]
)
def test_no_trial_is_judged_early(epochs: int, frozen: int | None, warmup: float, first: int) -> None:
    config = search_config()
    config.trainer.max_epochs, config.recipe.frozen_epochs, config.recipe.warmup_epochs = epochs, frozen, warmup
    assert first_epoch_to_prune(config) == first


def test_the_best_come_first_and_only_complete_ones(tmp_path: Path) -> None:
    config = search_config(space=LR)
    search = search_of(config)
    for number, (score, state, status) in enumerate(
        [(0.7, "finished", {}), (0.9, "finished", {}), (0.95, "finished", {"pruned": 2}), (0.9, "finished", {}),
         (0.99, "running", {}), (0.99, "failed", {"error": "Lost."})]
    ):  # fmt: skip
        write_trial(tmp_path, number, {"recipe.lr": 0.01}, [0.5, score], state, **status)
    assert [trial.number for trial in ranked(search, read_trials(tmp_path, search))] == [1, 3, 0]
