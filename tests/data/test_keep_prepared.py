"""A sweep prepares its data once; every job still says for itself what is wrong with them."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import python
from helpers.crops import PATTERN, draw_folders

from gender_cls.cli import sweep
from gender_cls.config.data import Balance, DataConfig
from gender_cls.config.model import ModelConfig
from gender_cls.config.train import Config
from gender_cls.data import prepare
from gender_cls.data.baselines import trivial_baselines
from gender_cls.data.near_duplicates import find_near_duplicates
from gender_cls.data.prepare import keep_prepared, prepared_data
from gender_cls.data.record import record_data
from gender_cls.data.scan import scan
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run, image_cache


def work(config: Config, run: Run) -> None:
    """What a job does before it trains."""
    with run.recording(model=config.model.title):
        record_data(config, run, prepared_data(config.data, image_cache(config.output_dir)))


def run_jobs(folder: Path, root: str, split_seeds: list[int]) -> None:
    """Each in a child; which functions ran, and in which process, is left in `calls.txt`."""

    def noted(function: Callable[..., Any], *arguments: Any) -> Any:
        with (folder / "calls.txt").open("a") as file:
            file.write(f"{function.__name__} {os.getpid() == parent}\n")
        return function(*arguments)

    parent = os.getpid()
    for function in (scan, find_near_duplicates, trivial_baselines):
        setattr(prepare, function.__name__, partial(noted, function))
    sweep.write_leaderboard = lambda _: None
    sweep.end_of = lambda run: run.state
    for number, split_seed in enumerate(split_seeds):
        data = DataConfig(root=root, pattern=PATTERN, num_workers=0, split_seed=split_seed, batch_size=8 + number)
        config = Config(output_dir=str(folder), data=data, model=ModelConfig(name="resnet18"))
        run = Run(folder / f"{number}_job")
        run.folder.mkdir()
        try:
            sweep.run_job(work, config, run, number=number)
        except GenderClsError as error:
            print(error)


@pytest.mark.skipif(sys.platform != "linux", reason="jobs are forked on Linux alone")
def test_jobs_with_the_same_data_prepare_them_once_and_each_notes_what_is_wrong(tmp_path: Path) -> None:
    """Three sweeps, in a process of their own, for this one may have threads, which do not outlive a fork."""

    def calls(sweep: str) -> list[str]:
        return sorted((tmp_path / sweep / "calls.txt").read_text().splitlines())

    draw_folders(tmp_path / "crops")
    python(__file__, str(tmp_path), cwd=tmp_path, PYTHONPATH=os.pathsep.join(sys.path))
    same, two = ([Run(tmp_path / sweep / f"{number}_job") for number in range(3)] for sweep in ("same", "two"))
    steps = ["find_near_duplicates True", "scan True", "trivial_baselines True"]
    assert calls("same") == steps
    assert [run.status["state"] for run in same] == ["finished"] * 3
    assert same[0].data == same[1].data == same[2].data
    assert {baseline["name"] for baseline in same[2].data["baselines"]} >= {"majority", "colour"}
    assert calls("two") == sorted(2 * steps)
    assert two[0].manifest.read_text() == two[2].manifest.read_text() != two[1].manifest.read_text()
    for number in range(2):
        status = Run(tmp_path / "wrong" / f"{number}_job").status
        assert status["state"] == "failed"
        assert status["error"].startswith(f"data.root is not a folder: {tmp_path / 'nowhere'}")
        assert "find_source" in status["traceback"]
    assert not (tmp_path / "wrong" / "calls.txt").exists()


def test_training_settings_do_not_matter(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_kept", {})
    data = DataConfig(root=str(folders), pattern=PATTERN, num_workers=0)
    alone = prepared_data(data, tmp_path)
    assert prepared_data(data, tmp_path) is not alone, "a single run keeps nothing"
    keep_prepared(data, tmp_path)
    kept = prepared_data(data, tmp_path)
    trained_otherwise = replace(data, num_workers=2, batch_size=4, balance=Balance.loss, licence="mine")
    assert prepared_data(trained_otherwise, tmp_path) is kept
    for changes in ({"split_seed": 1}, {"near_duplicate_distance": 2}, {"val_fraction": 0.2}, {"limit": 30}):
        assert prepared_data(replace(data, **changes), tmp_path) is not kept, changes
    assert prepared_data(data, tmp_path / "elsewhere") is not kept
    assert kept.manifest.to_csv() == alone.manifest.to_csv()
    assert json.dumps(kept.baselines) == json.dumps(alone.baselines)


def test_the_data_used_longest_ago_make_room(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_kept", {})
    monkeypatch.setattr(prepare, "MOST_KEPT_IMAGES", 100)  # of 48 each
    data = DataConfig(root=str(folders), pattern=PATTERN, num_workers=0)
    first, second, third = (replace(data, split_seed=seed) for seed in range(3))
    for data in (first, second, first, third):
        keep_prepared(data, tmp_path)
    kept = list(prepare._kept.values())
    assert len(kept) == 2
    assert all(prepared_data(data, tmp_path) is expected for data, expected in zip((first, third), kept, strict=True))


if __name__ == "__main__":
    sweeps = Path(sys.argv[1])
    jobs = {"same": ("crops", [0, 0, 0]), "two": ("crops", [0, 1, 0]), "wrong": ("nowhere", [0, 0])}
    for name, (root, split_seeds) in jobs.items():
        (sweeps / name).mkdir()
        run_jobs(sweeps / name, str(sweeps / root), split_seeds)
