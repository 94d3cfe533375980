"""conf/experiment/: each preset composes into the jobs that its head promises, and says what it costs."""

import re
from pathlib import Path

import pytest
from helpers.peta import peta_mat
from hydra.errors import HydraException

from gender_cls.cli.command_line import check_jobs, count_jobs, read_command_line, with_sweep_of_files
from gender_cls.cli.last_sentence import last_sentence
from gender_cls.config.data import SplitBy
from gender_cls.config.parsing import CONFIG_FOLDER
from gender_cls.config.train import Config
from gender_cls.data.importers.peta import SUBSETS, read_peta
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.comparison.settings import MISSING, describe, varied_settings
from gender_cls.pages.experiment import experiment_facts
from gender_cls.runs.run import Run

FILES = {path.stem: path for path in sorted((CONFIG_FOLDER / "experiment").glob("*.yaml"))}
PUBLISHED = {"peta": 5, "peta_zero_shot": 1, "pa100k": 1, "rap_v1": 5, "rap_v2": 5, "market1501": 1}
"""Presets of published protocols, and how many splits each has."""


def jobs_of(preset: str, *arguments: str) -> list[Config]:
    line = read_command_line([f"experiment={preset}", "data.root=x", *arguments])
    jobs = check_jobs(line, "train", Config)
    command = with_sweep_of_files(line, jobs[0][1])
    assert len(jobs) == (count_jobs(command) or 1)
    return [config for config, _ in jobs]


@pytest.mark.parametrize("preset", FILES)
def test_the_head_of_each_preset_shows_its_command_its_cost_and_its_score(preset: str) -> None:
    head = FILES[preset].read_text().partition("defaults:")[0]
    assert f"experiment={preset}" in head
    assert "Cost: " in head
    assert "Score" in head


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_protocol_is_trained_on_its_splits_by_the_recipe_that_it_names(preset: str) -> None:
    jobs = jobs_of(preset)
    splits = [job.data.published_split for job in jobs]
    assert len(jobs) == PUBLISHED[preset]
    assert splits == list("12345") if len(jobs) > 1 else splits[0] in ("official", "zero_shot")
    for job in jobs:
        assert job.data.importer is not None
        assert job.data.importer.value == preset.removesuffix("_zero_shot")
        assert job.data.image_size == ([288, 144] if preset == "market1501" else [256, 192])
        assert (job.model.name, job.data.batch_size, job.trainer.max_epochs) == ("resnet50.tv_in1k", 64, 30)
        assert (job.recipe.optimizer, job.recipe.lr, job.recipe.weight_decay) == ("adam", 1e-4, 5e-4)
        assert job.data.allow_leaks == (len(jobs) > 1), "the five random splits share people"


def test_the_presets_of_peta_read_its_published_parts_and_share_nobody_where_they_say_so(tmp_path: Path) -> None:
    peta_mat(tmp_path)
    shared = []
    for preset in ("peta", "peta_zero_shot"):
        jobs = jobs_of(preset)
        for job in jobs[1:] or jobs:  # the first of the helper's five splits is of one image each
            table = read_peta(tmp_path, job.data)
            parts = table.groupby("identity")["split"].nunique()
            shared.append(bool((parts > 1).any()))
            assert set(table["split"]) == {"train", "val", "test"}
    assert shared == [True] * 4 + [False]


def test_the_four_models_and_the_sources_of_peta_are_sweeps() -> None:
    names = [job.model.name for job in jobs_of("four_models")]
    assert names == ["custom_cnn", "mobilenetv2_100", "resnet152.a1h_in1k", "convnext_xlarge.fb_in22k_ft_in1k"]
    held_out = jobs_of("leave_one_source_out")
    assert [job.data.leave_out for job in held_out] == SUBSETS
    assert {(job.data.split_by, job.data.val_by) for job in held_out} == {(SplitBy.source, SplitBy.source)}


def test_the_command_line_wins_over_a_preset() -> None:
    own = jobs_of("leave_one_source_out", "data=folders", "data.leave_out=A,B", "data.pattern='(?P<source>[^_]+)_'")
    assert [(job.data.leave_out, job.data.importer) for job in own] == [("A", None), ("B", None)]
    [only] = jobs_of("four_models", "model=custom_cnn", "data.batch_size=4")
    assert (only.model.name, only.recipe.lr, only.data.batch_size) == ("custom_cnn", 5e-4, 4)
    smoke = jobs_of("smoke", "-m", "seed=3,4", "trainer.max_epochs=1")
    assert [(job.seed, job.trainer.max_epochs) for job in smoke] == [(3, 1), (4, 1)]


def test_presets_are_swept_over_and_those_that_are_sweeps_are_refused() -> None:
    line = read_command_line(["-m", "experiment=pa100k,peta_zero_shot", "data.root=x"])
    jobs = [config for config, _ in check_jobs(line, "train", Config)]
    assert [job.data.published_split for job in jobs] == ["official", "zero_shot"]
    for several in ("glob(*o*)", "smoke,four_models", "four_models,smoke"):
        line = read_command_line(["-m", f"+experiment={several}", "data.root=x"])
        with pytest.raises(GenderClsError, match=r"experiment=four_models is a sweep itself"):
            check_jobs(line, "train", Config)


def test_a_preset_of_ones_own_is_found_and_may_be_a_sweep_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /model: custom_cnn\n"
        "hydra:\n  mode: MULTIRUN\n  sweep: {dir: '/swept/${name}'}\n  sweeper: {params: {seed: 'range(2,4)'}}\n"
    )
    line = read_command_line(["--config-dir", str(tmp_path), "experiment=mine", "data.root=x", "recipe.lr=1e-3,1e-2"])
    jobs = check_jobs(line, "train", Config)
    assert [(job.seed, job.recipe.lr) for job, _ in jobs] == [(2, 1e-3), (2, 1e-2), (3, 1e-3), (3, 1e-2)]
    command = with_sweep_of_files(line, jobs[0][1])
    assert command.multirun
    assert command.swept == ["seed", "recipe.lr"]
    assert command.overrides == line.overrides, "what resume compares"


def test_a_preset_is_in_the_record_of_its_run_and_tells_candidates_apart(tmp_path: Path) -> None:
    runs = [Run(tmp_path / name) for name in ("smoke", "none")]
    for run, preset in zip(runs, ("smoke", None), strict=True):
        run.record_settings({"seed": 0}, {"model": "custom_cnn", "experiment": preset})
    assert [run.choices for run in runs] == [{"model": "custom_cnn", "experiment": "smoke"}, {"model": "custom_cnn"}]
    assert ("preset", "smoke") in experiment_facts(runs[0])
    assert [one.get("experiment") for one in varied_settings(list(map(describe, runs)))] == ["smoke", MISSING]


def test_callbacks_are_compared_by_their_keys(tmp_path: Path) -> None:
    watching = {"seed": 0, "callbacks": {"rates": {"_target_": "a.B"}}}
    runs = [Run(tmp_path / name) for name in "ab"]
    for run, settings, chosen in zip(
        runs, (watching, {"seed": 0, "callbacks": {}}), ({}, {"callbacks": "none"}), strict=True
    ):
        run.record_settings(settings, {"model": "custom_cnn", **chosen})
    assert varied_settings(list(map(describe, runs))) == [
        {"callbacks.rates._target_": "a.B"},
        {"callbacks.rates._target_": MISSING},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defaults: [", r"cannot be read as YAML: .*broken\.yaml"),
        ("# @package _global_\ndefaults: [{/model: custom_cnn}]\n", "write `override /model: custom_cnn`"),
    ],
)
def test_a_preset_that_cannot_be_read_ends_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "broken.yaml").write_text(text)
    with pytest.raises(Exception, match=r".") as caught:
        jobs_of("broken", f"--config-dir={tmp_path}")
    assert re.search(words, last_sentence(caught.value, Config))


def test_a_value_for_a_section_ends_in_a_sentence() -> None:
    with pytest.raises(HydraException) as caught:
        jobs_of("smoke", "trainer=gpu")
    assert "write trainer.NAME=VALUE" in last_sentence(caught.value, Config)
