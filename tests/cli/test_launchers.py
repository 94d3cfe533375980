"""Sweeps whose jobs run elsewhere: what the launcher is asked for, which jobs end how, and what the command says."""

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.stub_job import ending_quietly, stub_job
from hydra.errors import MissingConfigException

from gender_cls.cli import jobs_elsewhere, launchers
from gender_cls.cli.command import run_command
from gender_cls.cli.last_sentence import last_sentence
from gender_cls.config.launcher import RayConfig, SlurmConfig, SlurmLocalConfig
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run
from gender_cls.train import choose_folder, sweeps

Sweep = Callable[..., tuple[dict[int, Run], str]]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Starts a sweep of stub jobs; returns their runs by seed, and the sentence that the command ends with."""

    def run(name: str, *arguments: str) -> tuple[dict[int, Run], str]:
        argv = ["train", "-m", "data.root=nowhere", "model=custom_cnn", f"name={name}", "trainer.accelerator=cpu"]
        monkeypatch.setattr(sys, "argv", [*argv, *arguments])
        with pytest.raises(SystemExit) as ended:
            run_command(
                stub_job, "train", Config, claim=choose_folder, sweeps=sweeps, around=ending_quietly,
                when_interrupted="Go on.",
            )  # fmt: skip
        folders = (tmp_path / "outputs" / "sweeps" / name).glob("*_custom_cnn_seed-*")
        return {int(folder.name.rpartition("-")[2]): Run(folder) for folder in folders}, str(ended.value.code)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the jobs import this helper
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the command sets it, which is to be undone
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    return run


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that stand for Slurm's, and come first in PATH."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for program in ("sbatch", "srun", "scontrol", "sacct", "squeue"):
        shutil.copy(Path(__file__).parents[1] / "helpers" / "fake_slurm.sh", folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def test_slurm_is_asked_for_what_the_keys_say_and_a_preempted_job_is_queued_again(
    sweep: Sweep,
    slurm: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    asked = ["partition=gpu", "account=ours", "constraint=a100", "minutes=90", "gpus=0", "cpus=3"]
    asked += ["memory_gigabytes=7", "jobs_at_once=5", "grace_seconds=60", "setup=[module load cuda]"]
    caplog.set_level(logging.INFO)
    runs, sentence = sweep("preempted", "seed=0,1", "launcher=slurm", *(f"launcher.{one}" for one in asked))
    text = (slurm / "asked").read_text().splitlines()
    assert {
        *("#SBATCH --partition=gpu", "#SBATCH --account=ours", "#SBATCH --constraint=a100", "#SBATCH --time=90"),
        *("#SBATCH --gpus-per-node=0", "#SBATCH --cpus-per-task=3", "#SBATCH --nodes=1", "#SBATCH --mem=7GB"),
        *("#SBATCH --array=0-1%2", "#SBATCH --signal=USR2@60", "#SBATCH --ntasks-per-node=1", "module load cuda"),
        "#SBATCH --job-name=preempted",
    } <= {*text}
    assert (slurm / "requeued").read_text() == "requeue 77_0\n"
    assert [runs[seed].status["state"] for seed in (0, 1)] == ["finished", "failed"]
    assert runs[0].status["sessions"] == 2
    assert "seed=1 fails" in sentence
    assert "Error executing" not in capfd.readouterr().err
    for words in ("squeue -j 77 ", "0_custom_cnn_seed-0, ", "1_custom_cnn_seed-1 failed: seed=1 fails"):
        assert words in caplog.text
    assert "launcher" not in runs[0].choices


def test_a_refusal_of_slurm_is_one_sentence(sweep: Sweep, slurm: Path) -> None:
    refusal = 'echo "sbatch: error: invalid partition specified: gpuu\nsbatch: error: Batch job submission failed" >&2'
    (slurm / "sbatch").write_text(f"#!/bin/sh\n{refusal}\nexit 1\n", encoding="utf-8")
    runs, sentence = sweep("refused", "seed=0", "launcher=slurm", "launcher.gpus=0", "launcher.partition=gpuu")
    assert runs == {}
    assert "invalid partition specified: gpuu." in sentence
    assert "\n" not in sentence
    assert "unexpected" not in sentence


def test_a_job_that_reached_its_time_limit_too_often_is_said(tmp_path: Path, slurm: Path) -> None:
    import submitit

    limit = submitit.core.utils.UncompletedJobError("Job not requeued because: timed-out too many times.")
    with (
        pytest.raises(GenderClsError, match=r"launcher\.minutes=7,.*trainer\.resume=true"),
        jobs_elsewhere.following_jobs(tmp_path, SlurmConfig(minutes=7)),
    ):
        raise limit


class Forgotten(subprocess.Popen):  # type: ignore[type-arg]
    """A process as submitit starts it; another one warns when it is forgotten before it has ended."""

    def __del__(self) -> None:
        pass


def test_a_killed_job_costs_only_itself(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import submitit

    monkeypatch.setattr(subprocess, "Popen", Forgotten)
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 0)  # seconds that it waits for a result on a slow disk
    caplog.set_level(logging.INFO)
    runs, sentence = sweep("killed", "seed=2,0,1", "launcher=slurm_local")
    assert [runs[seed].state for seed in (0, 1, 2)] == ["finished", "failed", "killed"]
    assert "1_custom_cnn_seed-0, " in caplog.text
    submitted = runs[0].sweep / ".submitit"
    killed = [
        path.parent.name for path in submitted.glob("*/*_submitted.pkl") if not [*path.parent.glob("*_result.pkl")]
    ]
    assert len(killed) == 1
    assert killed[0] in sentence
    assert str(submitted) in sentence
    assert "A message of a job" in next(submitted.glob(f"{killed[0]}/*.out")).read_text()


def test_jobs_of_joblib_print_nothing_on_the_screen_that_they_share(
    sweep: Sweep, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    runs, sentence = sweep("several", "seed=0,1", "launcher=joblib", "launcher.jobs_at_once=1")
    assert [runs[seed].state for seed in (0, 1)] == ["finished", "failed"]
    assert "seed=1 fails" in sentence
    assert "Error executing" not in capfd.readouterr().err
    assert "1_custom_cnn_seed-1 failed: seed=1 fails" in caplog.text
    assert "A message of a job" not in capfd.readouterr().out


@pytest.fixture
def ray() -> Iterator[None]:
    """End Ray's dozen processes, which would compute next to all later tests."""
    yield
    importlib.import_module("ray").shutdown()


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
@pytest.mark.usefixtures("ray")
def test_ray_runs_the_jobs(sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    runs, sentence = sweep("rays", "seed=0,1", "launcher=ray", "+hydra.launcher.ray.init.include_dashboard=false")
    assert [runs[seed].state for seed in (0, 1)] == ["finished", "failed"]
    assert "seed=1 fails" in sentence
    assert "launcher.gpus=" not in caplog.text
    jobs_elsewhere._warn_of_jobs_that_wait_forever(RayConfig(gpus=99))
    assert "launcher.gpus=99, " in caplog.text


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_what_ray_cannot_do_is_one_sentence(tmp_path: Path, sweep: Sweep) -> None:
    assert "launcher.gpus=0.5 " in sweep("nothing", "seed=0", "launcher=ray", "launcher.gpus=0.5")[1]
    assert not (tmp_path / "outputs").exists()
    with (
        pytest.raises(GenderClsError, match=r"launcher\.address=nowhere .*nobody is there"),
        jobs_elsewhere.following_jobs(tmp_path, RayConfig(address="nowhere")),
    ):
        raise ConnectionError("nobody is there")


def test_a_stop_ends_the_jobs_of_this_machine_and_says_how_to_end_those_of_slurm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    jobs_elsewhere._stop(SlurmLocalConfig(), [str(job.pid) for job in jobs])
    for job in jobs:
        with pytest.raises(ProcessLookupError):
            os.kill(job.pid, 0)
        job.wait()
    jobs_elsewhere._stop(SlurmConfig(), ["12_0", "12_1"])
    assert "scancel 12 " in caplog.text


def test_what_a_launcher_lacks_is_said_before_any_work(
    tmp_path: Path, sweep: Sweep, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm / "srun").unlink()
    monkeypatch.setenv("PATH", str(slurm))
    assert "needs Slurm's srun, " in sweep("nothing", "seed=0", "launcher=slurm", "launcher.gpus=0")[1]
    assert not (tmp_path / "outputs").exists()
    monkeypatch.setattr(launchers, "find_spec", lambda _: None)
    missing = MissingConfigException("", "hydra/launcher/submitit_slurm", ["basic"])
    sentence = last_sentence(missing, Config)
    assert "needs hydra_submitit_launcher" in sentence
    assert re.search("pip install '?hydra.submitit", sentence)
