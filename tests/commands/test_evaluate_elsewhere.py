"""Runs that were trained once, tested on the data of others as often as one likes."""

import errno
import json
import logging
import os
import shlex
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.commands import EACH_ON_THE_OTHERS, ELSEWHERE, SMALL, command
from helpers.crops import ON_CPU, PATTERN, draw_folders, write_crop
from helpers.example_metrics import assert_matches

from gender_cls import evaluate as command_module
from gender_cls.config.evaluation import EvaluateConfig, EvaluationConfig, OperatingPointRule
from gender_cls.config.parsing import parse_config
from gender_cls.data import elsewhere as other_data
from gender_cls.errors import GenderClsError, error_sentence
from gender_cls.evaluate import evaluate
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.predictions import read_predictions
from gender_cls.evaluation.schema import Metrics
from gender_cls.reports import answers, result_pages
from gender_cls.reports import elsewhere as reports_elsewhere
from gender_cls.reports.final_test import evaluate_run
from gender_cls.runs import files
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run
from gender_cls.training.predictor import Predictor


def draw_station(root: Path) -> Path:
    """Other people from other cameras: `root/<LABEL>/person<i>_camera<c>_<k>.png`, 7 people a label."""
    for index, label in enumerate(("FEMALE", "MALE")):
        for person in range(7):
            for crop in range(3):
                name = f"person{50 + index * 7 + person}_camera{2 + crop % 2}_{crop}.png"
                seed = 1000 + index * 100 + person * 10 + crop
                write_crop(root / label / name, seed, size=(20, 44), bright=(label == "FEMALE") == (person < 5))
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over two folders of crops, `street` and `station`, which lie above it."""
    cwd = tmp_path_factory.mktemp("trained")
    street, station = draw_folders(cwd / "street"), draw_station(cwd / "station")
    sweep = ["-m", f"data.root={street},{station}", "name=sweep", "trainer.max_epochs=1", "explain=off"]
    command("train", *SMALL, *sweep, cwd=cwd)
    return cwd / "outputs" / "sweeps" / "sweep"


@pytest.fixture
def station(run: Run, tmp_path: Path) -> Path:
    """A copy of the other crops that a test may change."""
    return Path(shutil.copytree(run.data_root.parent / "station", tmp_path / "station"))


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write numbers only: pages and leaderboards take most of the time."""
    monkeypatch.setattr(result_pages, "_write_pages", lambda test, metrics: None)
    monkeypatch.setattr(command_module, "write_leaderboard", lambda sweep: None)


def settings(run: Path | list[Path], cache: Path, **changed: Any) -> EvaluateConfig:
    """A checked configuration, as the command line would make it."""
    folders = list(map(str, run)) if isinstance(run, list) else str(run)
    quickly = {
        "output_dir": str(cache),
        "resamples": 200,
        "num_workers": 0,
        "accelerator": "cpu",
        "progress_bar": False,
    }
    return parse_config({"run": folders, **quickly, **changed}, EvaluateConfig)


def named(root: Path, **changed: Any) -> dict[str, Any]:
    return {"data": {"root": str(root), "pattern": PATTERN, **changed}}


ALL = {"elsewhere": {"datasets": "all"}}


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file below the folder but locks."""
    kept = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in kept}


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> Any:
        raise AssertionError("the network is asked")

    monkeypatch.setattr(Predictor, "classifier", property(asked))


def test_a_sweep_is_tested_on_the_test_parts_of_its_datasets(sweep: Path, tmp_path: Path) -> None:
    runs = [Run(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    own = [{name: (run.folder / name).read_bytes() for name in UNTOUCHED} for run in runs]
    asked = [*EACH_ON_THE_OTHERS.split()[3:], "adapt=[batchnorm,prior]", "resamples=200", "num_workers=0"]
    result = command("evaluate", *asked, "accelerator=cpu", "progress_bar=false", cwd=tmp_path)
    assert result.stdout.count("Open ") == 2
    for run, other, name, before in zip(runs, reversed(runs), ("station", "street"), own, strict=True):
        assert {file: (run.folder / file).read_bytes() for file in UNTOUCHED} == before
        assert list(run.tests_elsewhere) == [name]
        folder, home = run.elsewhere(name), run.metrics
        metrics = folder.metrics
        assert_matches(metrics, Metrics)
        assert DecisionRule.from_metrics(metrics) == DecisionRule.from_metrics(home)
        assert metrics["operating_point"]["validation"] == home["operating_point"]["validation"]
        assert metrics["validation"] == home["validation"]
        table, tested = read_predictions(folder.predictions), read_predictions(other.predictions)
        assert set(table["split"]) == {"test"}
        assert sorted(table["path"]) == sorted(tested["path"][tested["split"] == "test"])
        assert list(table.columns) == list(tested.columns)
        rule, answered = DecisionRule.from_metrics(home), pd.read_csv(folder.predictions)["answer"]
        assert list(answered) == list(rule.answers(table))
        assert (metrics["elsewhere"]["name"], metrics["elsewhere"]["part"]) == (name, "test")
        assert [one["method"] for one in metrics["elsewhere"]["adapted"]] == ["batchnorm", "prior"]
        assert list(pd.read_csv(folder.adapted)["path"]) == list(table["path"])
        assert (metrics["cost"], metrics["best_epoch"]) == (home["cost"], home["best_epoch"])
        assert metrics["data"]["root"] == str(other.data_root)
        assert (metrics["shortcuts"], metrics["stress"], metrics["explanations"]) == (None, None, None)
        assert {file.stem for file in folder.plots.iterdir()} >= {"roc", "reliability"}
        assert folder.report.is_file()
        assert not folder.begun.exists()
        assert name in run.report.read_text()
        assert name in run.model_card.read_text()
        assert len(list(run.folder.glob("events.out.tfevents.*.evaluation"))) == 1
        assert not list(folder.folder.glob("events*")), "TensorBoard would show it as a run of its own"
    assert (sweep / "leaderboard.json").stat().st_mtime > runs[0].report.stat().st_mtime


UNTOUCHED = ("checkpoints/best.ckpt", "predictions.csv", "manifest.csv", "data.json", "metrics.json")


def test_twice_asks_nothing_of_the_network(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "outputs" / "runs" / "NAME")
    run = Run(tmp_path / "outputs" / "runs" / "NAME")
    asked = [
        *shlex.split(ELSEWHERE)[3:],
        f"data.pattern={PATTERN}",
        "resamples=200",
        "num_workers=0",
        "accelerator=cpu",
    ]
    (tmp_path / "station").symlink_to(run.data_root.parent / "station")
    command("evaluate", *asked, "progress_bar=false", cwd=tmp_path)
    folder = run.elsewhere("station")
    tables = {file: file.read_bytes() for file in (folder.predictions, folder.adapted, folder.metrics_file)}
    assert json.loads(tables[folder.metrics_file])["elsewhere"]["part"] == "all"
    assert len(read_predictions(folder.predictions)) == 42
    run.best_checkpoint.unlink()
    command("evaluate", *asked[:2], *asked[3:], "progress_bar=false", cwd=tmp_path)
    assert {file: file.read_bytes() for file in tables} == tables, "also what was adapted before"


def test_what_is_asked_for_is_measured_as_at_home(run: Run, tmp_path: Path) -> None:
    data = named(run.data_root.parent / "station")
    named_so = {"elsewhere": {"name": "central.station"}}
    evaluate(settings(run.folder, tmp_path, **data, **named_so, shortcuts=True, explained_images=2))
    metrics = run.elsewhere("central.station").metrics
    assert len(metrics["shortcuts"]) == 5
    assert metrics["explanations"]["images"] == 2
    assert metrics["problems"] == {}
    assert run.elsewhere("central.station").gallery.is_file()
    assert run.metrics["explanations"] is None


def _kill_at_the_third_chunk(config: EvaluateConfig) -> None:
    asked = 0
    whole = Predictor.probabilities

    def killed(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments)

    Predictor.probabilities = killed  # type: ignore[method-assign, assignment]
    evaluate(config)


@pytest.mark.usefixtures("no_pages")
def test_a_killed_test_goes_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "FIRST_BATCHES", 1)
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_SAVES", 1e-9)
    data = named(run.data_root.parent / "station")
    process = get_context("fork").Process(
        target=_kill_at_the_third_chunk, args=(settings(run.folder, tmp_path, **data),)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    folder = run.elsewhere("station")
    assert len(pd.read_csv(folder.begun)) == 16, "two chunks of one batch"
    assert not folder.predictions.exists()
    assert run.tests_elsewhere == {}
    (folder.folder / ".predictions.csv.x.part").touch()  # as it may be left behind

    asked: list[int] = []
    whole = Predictor.probabilities
    monkeypatch.setattr(
        Predictor, "probabilities", lambda *arguments: (asked.append(len(arguments[1])), whole(*arguments))[1]
    )
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_SAVES", 20)
    evaluate(settings(run.folder, tmp_path, **data))
    assert asked == [8, 18], "not those that are answered"
    assert not list(folder.folder.rglob("*.part"))
    resumed = folder.predictions.read_bytes()
    assert not folder.begun.exists()
    shutil.rmtree(folder.folder)
    monkeypatch.setattr(answers, "FIRST_BATCHES", 100)
    evaluate(settings(run.folder, tmp_path, **data))
    assert (asked, folder.predictions.read_bytes()) == ([8, 18, 42], resumed)


@pytest.mark.usefixtures("no_pages")
def test_answers_for_images_or_labels_that_have_changed_are_new(
    run: Run, station: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    evaluate(settings(run.folder, tmp_path, **named(station), adapt="batchnorm"))
    folder = run.elsewhere("station")
    first = read_predictions(folder.predictions).set_index("path")
    changed = station / "MALE" / "person57_camera2_0.png"
    write_crop(changed, 77, bright=True)
    folder.variants.write_text("path,grey\n")
    evaluate(settings(run.folder, tmp_path, **named(station)))
    second = read_predictions(folder.predictions).set_index("path")
    differ = first.index[first["p_FEMALE"] != second["p_FEMALE"]]
    assert list(differ) == [str(changed.relative_to(station))]
    assert not folder.variants.exists()
    assert folder.metrics["problems"] == {}
    assert len(pd.read_csv(folder.adapted)) == 42, "it was asked for before"
    assert caplog.text.count("have changed since they were tested: all answers are new.") == 1

    (station / "FEMALE" / changed.name).write_bytes(changed.read_bytes())
    changed.unlink()
    evaluate(settings(run.folder, tmp_path, **named(station)))
    assert (read_predictions(folder.predictions)["label"] == "FEMALE").sum() == 22
    assert caplog.text.count("have changed since they were tested: all answers are new.") == 2


def test_without_predictions_no_other_answer_counts(run: Run, station: Path, tmp_path: Path) -> None:
    """Nothing else says which images they are of, and these have changed."""
    evaluate(settings(run.folder, tmp_path, **named(station), adapt="batchnorm"))
    folder = run.elsewhere("station")
    earlier = folder.adapted.read_bytes()
    write_crop(station / "MALE" / "person57_camera2_0.png", 77, bright=True)
    folder.variants.write_text("path,grey\n")
    folder.predictions.unlink()
    evaluate(settings(run.folder, tmp_path, **named(station)))
    assert folder.adapted.read_bytes() != earlier
    assert not folder.variants.exists()


def test_adaptation_leaves_the_checkpoint_and_the_plain_answers_as_they_are(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = named(run.data_root.parent / "station")
    files = (run.best_checkpoint, run.last_checkpoint, run.predictions)
    before, folder = [file.read_bytes() for file in files], run.elsewhere("station")
    evaluate(settings(run.folder, tmp_path, **data))
    plain, scores = folder.predictions.read_bytes(), folder.metrics["test"]
    evaluate(settings(run.folder, tmp_path, **data, adapt=["batchnorm", "prior"]))
    adapted = pd.read_csv(folder.adapted)
    assert (adapted["p_FEMALE_batchnorm"] - read_predictions(folder.predictions)["p_FEMALE"]).abs().max() > 1e-4
    assert (folder.predictions.read_bytes(), folder.metrics["test"]) == (plain, scores)

    shutil.rmtree(folder.folder)
    monkeypatch.setattr(reports_elsewhere, "has_batchnorm", lambda _: False)
    evaluate(settings(run.folder, tmp_path, **data, adapt="batchnorm"))
    [found] = folder.metrics["elsewhere"]["adapted"]
    assert "no BatchNorm" in found["sentence"]
    assert {one["value"] for one in found["scores"].values()} == {None}
    assert not folder.adapted.exists()
    assert folder.predictions.read_bytes() == plain
    assert [file.read_bytes() for file in files] == before


@pytest.mark.usefixtures("no_pages")
def test_another_threshold_at_home_holds_elsewhere_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(settings(run.folder, tmp_path, **named(run.data_root.parent / "station"), adapt="prior"))
    folder = run.elsewhere("station")
    before, table = folder.metrics, read_predictions(folder.predictions)
    without_network(monkeypatch)
    evaluate(settings(run.folder, tmp_path, operating_point="equal_recall", target_error=0.45, explained_images=0))
    metrics = folder.metrics
    assert metrics["operating_point"]["rule"] == "equal_recall"
    assert DecisionRule.from_metrics(metrics) == DecisionRule.from_metrics(run.metrics)
    assert [one["method"] for one in metrics["elsewhere"]["adapted"]] == ["prior"]
    assert metrics["test"] == before["test"]
    pd.testing.assert_frame_equal(read_predictions(folder.predictions), table)
    written = folder.metrics_file.stat().st_mtime_ns
    evaluate(settings(run.folder, tmp_path, explained_images=0, operating_point="equal_recall", target_error=0.45))
    assert folder.metrics_file.stat().st_mtime_ns == written


@pytest.mark.usefixtures("no_pages")
def test_another_precision_at_home_ends_tests_elsewhere(run: Run, tmp_path: Path) -> None:
    data = named(run.data_root.parent / "station")
    evaluate(settings(run.folder, tmp_path, **data))
    with pytest.raises(GenderClsError, match=r"are of precision 32-true, and those for other data must be too: leave"):
        evaluate(settings(run.folder, tmp_path, **data, precision="bf16-mixed"))
    half = Predictor(run.best_checkpoint, replace(ON_CPU, precision="bf16-mixed"))
    quickly = EvaluationConfig(shortcuts=False, explained_images=0, resamples=200)
    evaluate_run(run, quickly, half, cache=tmp_path / "cache")
    assert run.tests_elsewhere == {}
    assert "test it on station again" in run.metrics["problems"]["test on station"]
    evaluate(settings(run.folder, tmp_path, **data))
    assert run.elsewhere("station").answers_from["precision"] == "bf16-mixed"
    assert list(run.tests_elsewhere) == ["station"]


@pytest.mark.usefixtures("no_pages")
def test_each_dataset_is_read_once_for_all_runs(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = other_data.scan_for_answers

    def noted(rows: pd.DataFrame, root: Path, *others: Any) -> Any:
        read.append(root.name)
        return whole(rows, root, *others)

    monkeypatch.setattr(other_data, "scan_for_answers", noted)
    square = draw_station(tmp_path / "square")
    for number, file in enumerate(square.rglob("*.png")):
        write_crop(file, 5000 + number, bright="FEMALE" in str(file))
    evaluate(settings(sweep, tmp_path, **named(square), **ALL))
    assert sorted(read) == ["square", "station", "street"]
    tests = [list(Run(path.parent).tests_elsewhere) for path in sorted(sweep.glob("*/status.json"))]
    assert tests == [["square", "station"], ["square", "street"]]


@pytest.mark.usefixtures("no_pages")
def test_one_job_is_tested_on_the_datasets_of_its_sweep(run: Run, tmp_path: Path) -> None:
    evaluate(settings(run.folder, tmp_path, **ALL))
    assert list(run.tests_elsewhere) == ["station"]


@pytest.mark.usefixtures("no_pages")
def test_single_runs_can_be_named_together(sweep: Path, tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(path.parent, tmp_path / path.parent.name)) for path in sweep.glob("*/status.json")]
    evaluate(settings(folders, tmp_path, **ALL))
    assert {name for folder in folders for name in Run(folder).tests_elsewhere} == {"station", "street"}


@pytest.mark.usefixtures("no_pages")
def test_a_run_that_fails_does_not_stop_the_others(
    sweep: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (Run(path.parent) for path in sorted(sweep.glob("*/status.json")))
    first.metrics_file.write_text(json.dumps({**first.metrics, "schema_version": 4}))
    with pytest.raises(GenderClsError, match=rf"^1 test failed: {first.folder.name}; the reasons stand above"):
        evaluate(settings(sweep, tmp_path, **ALL))
    assert f"Not made: {first.folder.name}. {first.folder} was evaluated by another version: run" in caplog.text
    assert list(second.tests_elsewhere) == ["street"]
    assert not (first.folder / "elsewhere").exists()
    with locked(second.folder), pytest.raises(GenderClsError, match=r"^1 test failed: 1_"):
        evaluate(settings(sweep, tmp_path, shortcuts=False, explained_images=0))
    assert first.metrics["schema_version"] > 4


def stop_being_fitted(run: Run) -> None:
    run.note(fitted=None)


def lose_predictions(run: Run) -> None:
    run.predictions.unlink()


def become_older(run: Run) -> None:
    run.metrics_file.write_text(json.dumps({**run.metrics, "schema_version": 4}))


def lose_checkpoint(run: Run) -> None:
    run.best_checkpoint.unlink()


def link_out(run: Run) -> None:
    (run.folder.parent / "out").mkdir()
    (run.folder / "elsewhere").symlink_to(run.folder.parent / "out")


def link_one_out(run: Run) -> None:
    (run.folder.parent / "out").mkdir()
    (run.folder / "elsewhere").mkdir()
    (run.folder / "elsewhere" / "station").symlink_to(run.folder.parent / "out")


def put_a_file_there(run: Run) -> None:
    (run.folder / "elsewhere").write_text("notes")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (stop_being_fitted, r"has not been trained to its end: there is nothing to evaluate yet\.$"),
        (lose_predictions, r"was evaluated by another version: run python -m gender_cls\.evaluate run=|was not evalua"),
        (become_older, r"was evaluated by another version: run python -m gender_cls\.evaluate run=\S+\.$"),
        (lose_checkpoint, r"best\.ckpt"),
        (link_out, r"elsewhere or a folder in it is a link out of the run's folder, and nothing is written there"),
        (put_a_file_there, r"elsewhere must be a folder, and it is a file: move it away\.$"),
        (link_one_out, r"elsewhere or a folder in it is a link out of the run's folder, and nothing is written there"),
    ],
)
def test_a_run_that_cannot_be_tested_is_left_as_it_is(
    run: Run, tmp_path: Path, change: Callable[[Run], None], sentence: str
) -> None:
    change(run)
    before = contents(run.folder.parent)
    with pytest.raises(GenderClsError, match=sentence):
        evaluate(settings(run.folder, tmp_path / "cache", **named(run.data_root.parent / "station")))
    assert contents(run.folder.parent) == before


def test_a_run_in_use_is_not_tested(run: Run, tmp_path: Path) -> None:
    data = named(run.data_root.parent / "station")
    with locked(run.folder), pytest.raises(GenderClsError, match=f"^{run.folder} is in use by another process"):
        evaluate(settings(run.folder, tmp_path, **data))
    assert not (run.folder / "elsewhere").exists()


def test_a_read_only_folder_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def refused(path: Path, *arguments: Any, **named: Any) -> None:
        if path.is_relative_to(run.folder / "elsewhere"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        make(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(OSError, match="Read-only") as caught:
        evaluate(settings(run.folder, tmp_path, **named(run.data_root.parent / "station")))
    assert error_sentence(caught.value).startswith(f"{run.folder}/elsewhere cannot be used: the disk is read-only")


@pytest.mark.usefixtures("no_pages")
def test_a_full_disk_leaves_no_half_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files.replacing
    written: list[str] = []

    def full(path: Path) -> Any:
        written.append(path.name)
        if path.name == "metrics.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(path)

    monkeypatch.setattr(files, "replacing", full)
    data = named(run.data_root.parent / "station")
    with pytest.raises(OSError, match="No space left"):
        evaluate(settings(run.folder, tmp_path, **data))
    assert run.tests_elsewhere == {}
    monkeypatch.undo()
    without_network(monkeypatch)
    evaluate(settings(run.folder, tmp_path, **data))
    assert list(run.tests_elsewhere) == ["station"]


@pytest.mark.usefixtures("no_pages")
def test_moved_images_of_other_runs_are_named(sweep: Path, run: Run, station: Path, tmp_path: Path) -> None:
    other = Run(next(sweep.glob("1_*")))
    other.data_file.write_text(json.dumps({**other.data, "root": str(tmp_path / "gone")}))
    with pytest.raises(GenderClsError, match=r"^1 test failed: tests on station"):
        evaluate(settings(sweep, tmp_path, **ALL))
    assert list(other.tests_elsewhere) == ["street"], "the other direction needs only images that are there"
    assert run.tests_elsewhere == {}
    evaluate(settings(run.folder, tmp_path, **named(station)))
    assert list(run.tests_elsewhere) == ["station"]


@pytest.mark.usefixtures("no_pages")
def test_another_dataset_of_the_same_name_is_refused(run: Run, station: Path, tmp_path: Path) -> None:
    evaluate(settings(run.folder, tmp_path, **named(run.data_root.parent / "station")))
    folder = run.elsewhere("station")
    evaluate(settings(run.folder, tmp_path, **named(station)))
    assert folder.data["root"] == str(station), "the same images in another place"
    other = tmp_path / "other" / "station"
    draw_station(other)
    write_crop(other / "MALE" / "person57_camera2_0.png", 78)
    before = contents(folder.folder)
    with pytest.raises(
        GenderClsError, match=rf"^{folder.folder} is a test on other images, those in {station}: choose"
    ):
        evaluate(settings(run.folder, tmp_path, **named(other)))
    assert contents(folder.folder) == before


def test_a_damaged_test_elsewhere_does_not_stop_the_run_s_own(run: Run, tmp_path: Path) -> None:
    data = named(run.data_root.parent / "station")
    evaluate(settings(run.folder, tmp_path, **data))
    folder = run.elsewhere("station")
    folder.metrics_file.write_text(folder.metrics_file.read_text()[:-40])
    evaluate(settings(run.folder, tmp_path, explained_images=0))
    assert "metrics.json is not a JSON file" in run.metrics["problems"]["test on station"]
    assert run.report.is_file()
    evaluate(settings(run.folder, tmp_path, **data))
    assert_matches(folder.metrics, Metrics)
    assert run.metrics["problems"] == {}


@pytest.mark.usefixtures("no_pages")
def test_data_root_is_where_the_own_images_are(run: Run, tmp_path: Path) -> None:
    data = named(run.data_root.parent / "station")
    moved = Path(shutil.copytree(run.data_root, tmp_path / "moved"))
    run.data_file.write_text(json.dumps({**run.data, "root": str(tmp_path / "gone")}))
    evaluate(settings(run.folder, tmp_path, **data, data_root=str(moved)))
    assert list(run.tests_elsewhere) == ["station"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"elsewhere": {"name": "x"}}, "elsewhere.name is for tests on other data than the run's own: name them with"),
        ({"adapt": "prior"}, "adapt is for tests on other data than the run's own: name them with data=... and"),
        ({"adapt": ["prior", "wish"], **ALL}, "adapt must be one of batchnorm, prior, not wish"),
        ({"elsewhere": {"name": "x", "datasets": "all"}}, "elsewhere.name=x names one test, and elsewhere=all makes"),
        ({"elsewhere": {"name": "../x"}, **named(Path())}, "elsewhere.name becomes a folder"),
        ({"data": {"importer": "pa100k"}}, "Where pa100k lies is not known: give data.root=FOLDER"),
        (
            {"data": {"leave_out": "x", "split_by": "source"}, **ALL},
            "data.split_by, data.leave_out: these settings are",
        ),
        ({"operating_point": "equal_recall", **ALL}, "operating_point says what a run's own validation chooses, and"),
        ({"target_error": 0.2, **ALL}, "target_error says what a run's own validation chooses, and tests on"),
    ],
)
def test_settings_that_contradict_each_other_are_said(asked: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(GenderClsError) as caught:
        settings(tmp_path, tmp_path, **asked)
    assert str(caught.value).startswith(sentence)


def test_one_dataset_alone_is_no_elsewhere(run: Run, sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(GenderClsError, match=r"are both called station: leave out data="):
        evaluate(settings(sweep, tmp_path, **ALL, **named(run.data_root.parent / "station")))
    single = Path(shutil.copytree(run.folder, tmp_path / "single"))
    words = r"^elsewhere=all tests each run on the datasets of the others, and all were trained on street: name a sweep"
    with pytest.raises(GenderClsError, match=words):
        evaluate(settings(single, tmp_path, **ALL))
    shutil.rmtree(next(sweep.glob("1_*")))
    with pytest.raises(GenderClsError, match=words):
        evaluate(settings(sweep, tmp_path, **ALL))
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("leave_out: null", "leave_out: camera1").replace(": identity", ": camera"))
    with pytest.raises(GenderClsError, match=r"a test on other data, and python -m gender_cls\.compare"):
        evaluate(settings(sweep, tmp_path, **ALL))


def test_missing_data_are_said_before_anything_is_imported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "working", lambda what: pytest.fail(what))
    with pytest.raises(GenderClsError, match=f"{tmp_path}/nowhere"):
        evaluate(settings(run.folder, tmp_path, **named(tmp_path / "nowhere")))


def test_only_what_is_asked_for_here_is_measured_elsewhere() -> None:
    equal_recall = OperatingPointRule.equal_recall
    own = EvaluationConfig(True, equal_recall, 0.2, True, True, 3, 700)
    config = EvaluateConfig(run=".", stress=True, resamples=100)
    assert config.elsewhere_over(own) == EvaluationConfig(True, equal_recall, 0.2, False, True, 0, 100)
