"""`predict` on images of a finished run and on others: the answers of its report, however the images are named."""

import io
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.bad_files import write_bad_files
from helpers.commands import command, start
from helpers.crops import write_crop
from helpers.predicting import QUICKLY, answer, rows_of
from PIL import Image, ImageOps

from gender_cls.config.parsing import parse_config
from gender_cls.config.predict import PredictConfig, TableFormat
from gender_cls.data.csv_text import read_csv_text
from gender_cls.errors import GenderClsError
from gender_cls.predict import answering
from gender_cls.predict.__main__ import predict
from gender_cls.predict.store import PredictionFolder
from gender_cls.predict.table import COLUMNS
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run
from gender_cls.system.processes import fork_context
from gender_cls.training.predictor import Predictor

PROBABILITIES = ["p_FEMALE", "p_MALE", "calibrated_p_FEMALE"]


@pytest.fixture(scope="session")
def crops(finished: Path) -> Path:
    return finished.parents[2] / "crops"


def never(*_: Any) -> Any:
    raise AssertionError("the network is asked")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_run_answers_for_its_own_images_as_in_its_report(
    run: Run, crops: Path, tmp_path: Path, elsewhere: bool
) -> None:
    report = read_csv_text(run.predictions)
    here = Path(shutil.copytree(crops, tmp_path / "elsewhere")) if elsewhere else crops
    paths = [here / path for path in report["path"]]
    table = rows_of(answer(run.folder, paths))
    assert list(table.columns) == list(COLUMNS)
    assert table["path"].tolist() == [*map(str, paths)]
    np.testing.assert_allclose(table[PROBABILITIES], report[PROBABILITIES].astype(float), rtol=0, atol=1e-6)
    for name in ("answer", "label", "identity", "camera"):
        assert table[name].tolist() == report[name].tolist(), name
    for name in ("native_height", "brightness", "sharpness"):
        assert table[name].astype(float).tolist() == report[name].astype(float).tolist(), name
    assert table["known_as"].tolist() == report["split"].tolist()
    threshold = run.metrics["operating_point"]["threshold"]
    np.testing.assert_allclose(table["distance"], table["calibrated_p_FEMALE"] - threshold, rtol=0, atol=1e-15)
    assert (table[["frame", "track", "left", "top", "width", "height", "fault", "reason"]] == "").all(axis=None)


def test_the_same_images_give_the_same_bytes_however_they_are_named(
    run: Run, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(map(str, crops.rglob("*.png")))
    listed = tmp_path / "listed.csv"
    listed.write_text("".join(f"{line}\n" for line in ["path", *paths]))
    ways: dict[str, Any] = {"folder": crops, "list": paths, "csv": listed, "glob": f"{crops}/*/*.png", "stdin": "-"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(paths).encode())))
    folders = {name: answer(run.folder, way, name=name).folder for name, way in ways.items()}
    contents = {name: (folder / "predictions.csv").read_bytes() for name, folder in folders.items()}
    assert len(set(contents.values())) == 1
    assert contents["folder"].count(b"\n") == 1 + 48


def test_bad_files_have_rows_with_a_reason_and_leave_the_others_as_they_are(
    run: Run, crops: Path, tmp_path: Path
) -> None:
    good = [*sorted(crops.glob("*/*.png")), tmp_path / "with space" / "crop.png"]
    write_crop(good[-1], seed=5)
    (tmp_path / "bad").mkdir()
    faults = {name: fault for name, fault in write_bad_files(tmp_path / "bad").items() if name.isprintable()}
    assert len(faults) >= 30
    bad = [tmp_path / "bad" / name for name in faults]
    mixed = [path for pair in zip(bad, good, strict=False) for path in pair] + good[len(bad) :]
    listed = tmp_path / "listed.csv"
    listed.write_text("".join(f"{line}\n" for line in ["path,label", *[f"{path},MALE" for path in mixed]]))
    small = ["resamples=200", "data.max_megapixels=1"]
    result = command("predict", f"run={run.folder}", f"images={listed}", *small, cwd=tmp_path)
    assert f"{len(faults)} cannot be read" in result.stdout
    assert result.stderr == ""
    table = rows_of(PredictionFolder(run.folder / "predictions" / "listed"))
    assert table["path"].tolist() == [*map(str, mixed)]
    unreadable = table[table["fault"] != ""]
    assert {Path(row.path).name: row.fault for row in unreadable.itertuples()} == faults
    assert (unreadable["reason"].str.len() > 20).all()
    assert unreadable[[*PROBABILITIES, "distance", "brightness"]].isna().all(axis=None)
    assert (unreadable[["answer", "native_height", "known_as"]] == "").all(axis=None)
    listed.write_text("".join(f"{line}\n" for line in ["path,label", *[f"{path},MALE" for path in good]]))
    without = answer(run.folder, listed, data={"max_megapixels": 1})
    lines = (run.folder / "predictions" / "listed" / "predictions.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{tmp_path}/bad/")]
    assert kept == (without.folder / "predictions.csv").read_text().splitlines()


def test_a_bad_file_stops_it_where_that_is_wanted_and_what_was_answered_stays(
    run: Run, crops: Path, tmp_path: Path
) -> None:
    paths = sorted(map(str, crops.rglob("*.png")))
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    named = [*paths[:20], str(tmp_path / "bad.jpg"), *paths[20:]]
    with pytest.raises(GenderClsError, match=f"{tmp_path}/bad.jpg"):
        answer(run.folder, named, on_corrupt="stop")
    folder = PredictionFolder(run.folder / "predictions" / "x")
    assert (folder.rows_done, folder.finished) == (16, None), "two whole batches"
    write_crop(tmp_path / "bad.jpg", seed=3)
    stamped = rows_of(answer(run.folder, named, on_corrupt="stop"))
    assert len(stamped) == 49


def test_a_killed_command_goes_on_to_the_same_table(
    run: Run, crops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At each moment that something is written, and in each forward pass, in a process that nothing can clean up."""
    images = crops / "MALE"
    expected = (answer(run.folder, images, name="whole").folder / "predictions.csv").read_bytes()
    monkeypatch.setattr(answering, "SECONDS_BETWEEN_SAVES", 0)
    folder = PredictionFolder(run.folder / "predictions" / "x")
    for what, times in {"os.fsync": 7, "Predictor.answer": 3}.items():
        for moment in range(times):
            shutil.rmtree(folder.folder, ignore_errors=True)
            process = fork_context().Process(target=_killed, args=(run.folder, images, what, moment))
            process.start()
            process.join()
            assert process.exitcode == -signal.SIGKILL, f"{what} is called {moment + 1} times"
            done = 24 if folder.finished else folder.rows_done
            assert what == "os.fsync" or done == 8 * moment, "all batches before"
            passes = _counted(monkeypatch, Predictor, "answer")
            answer(run.folder, images)
            assert (folder.folder / "predictions.csv").read_bytes() == expected
            assert len(passes) == 3 - done // 8
            assert not folder.begun.exists()
            monkeypatch.setattr(Predictor, "answer", passes.original)


class _Calls(list[None]):
    original: Callable[..., Any]


def _counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> _Calls:
    """Gets an item for each call of the function from now on."""
    calls = _Calls()
    calls.original = original = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        calls.append(None)
        return original(*arguments)

    monkeypatch.setattr(owner, name, call)
    return calls


def _killed(run: Path, images: Path, what: str, moment: int) -> None:
    """Answer in a process that is killed in the call number `moment` of `what`."""
    owner: Any = os if what == "os.fsync" else Predictor
    original, calls = getattr(owner, what.partition(".")[2]), iter(range(1000))

    def call(*arguments: Any) -> Any:
        if next(calls) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(owner, what.partition(".")[2], call)
    answer(run, images)


def test_an_interrupted_command_goes_on(
    run: Run, crops: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    many = tmp_path / "many.csv"
    many.write_text("".join(f"{line}\n" for line in ["path", *sorted(map(str, crops.rglob("*.png"))) * 30]))
    settings = [f"{key}={value}" for key, value in QUICKLY.items()]
    process = start("predict", f"run={run.folder}", f"images={many}", *settings, "name=x", cwd=tmp_path)
    folder = PredictionFolder(run.folder / "predictions" / "x")
    while process.poll() is None and not folder.rows_done:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "The same command goes on" in errors
    assert 0 < folder.rows_done < 48 * 30
    table = rows_of(answer(run.folder, many))
    assert table["p_MALE"].tolist() == table["p_MALE"].tolist()[:48] * 30


def test_the_folder_takes_one_command_and_the_run_keeps_its_files(run: Run, crops: Path) -> None:
    before = {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}
    folder = run.folder / "predictions" / "x"
    with locked(folder), pytest.raises(GenderClsError, match=f"^{folder} is in use by another process"):
        answer(run.folder, crops)
    answer(run.folder, crops)
    after = {file: file.read_bytes() for file in run.folder.rglob("*") if file.is_file() and folder not in file.parents}
    assert after == before


def test_a_finished_request_is_not_answered_again_and_another_has_its_own_folder(
    run: Run, crops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images = crops / "MALE"
    folder = answer(run.folder, images)
    whole = folder.table(TableFormat.csv).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Predictor, "answer", never)
        answer(run.folder, images, format="jsonl", overlay=True)
        assert (folder.folder / "doubtful.png").is_file()
        assert folder.table(TableFormat.jsonl).read_bytes().count(b"\n") == 24
        assert folder.table(TableFormat.csv).read_bytes() == whole
        folder.table(TableFormat.csv).unlink()
        answer(run.folder, images)
        assert folder.table(TableFormat.csv).read_bytes() == whole
    assert caplog.text == ""

    caplog.set_level(logging.INFO)
    changes = [lambda: answer(run.folder, crops), lambda: _change_weights(run) or answer(run.folder, crops)]
    others = [change() for change in changes]
    assert [other.folder.name for other in others] == ["x_2", "x_3"]
    assert all(other.folder.name in caplog.text for other in others)
    assert len({one.table(TableFormat.csv).read_bytes() for one in (folder, *others)}) == 3
    assert folder.table(TableFormat.csv).read_bytes() == whole


def test_a_run_with_an_abstention_band_goes_on_too(
    run: Run, crops: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = run.metrics
    metrics["abstention"]["band"] = [0.0, 1.0]
    run.metrics_file.write_text(json.dumps(metrics))
    assert set(rows_of(answer(run.folder, crops))["answer"]) == {"abstain"}
    monkeypatch.setattr(Predictor, "answer", never)
    answer(run.folder, crops)
    assert caplog.text == ""


def _change_weights(run: Run) -> None:
    checkpoint = torch.load(run.best_checkpoint, weights_only=True)
    checkpoint["state_dict"]["network.head.bias"] += 1
    torch.save(checkpoint, run.best_checkpoint)


def test_files_without_a_row_are_named(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_crop(tmp_path / "a" / "x.png", seed=2)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    assert len(rows_of(answer(run.folder, tmp_path / "a"))) == 1
    assert "notes.txt" in caplog.text


def test_a_changed_image_is_read_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"")
    write_crop(tmp_path / "a" / "y.png", seed=1)
    assert rows_of(answer(run.folder, tmp_path / "a"))["fault"].tolist() == ["empty", ""]
    write_crop(tmp_path / "a" / "x.png", seed=2)
    assert rows_of(answer(run.folder, tmp_path / "a"))["fault"].tolist() == ["", ""]


def test_a_sweep_answers_together_and_reads_each_image_once(
    sweep: Path, crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gender_cls.data.requests import crops as reading

    read = _counted(monkeypatch, reading, "read_image")
    resized = _counted(monkeypatch, reading, "resize_into")
    table = rows_of(answer(sweep, crops))
    assert (len(read), len(resized)) == (48, 48), "both networks take the same size"
    each = [rows_of(answer(path.parent, crops)) for path in sorted(sweep.glob("*/status.json"))]
    logits = [np.log(one["p_FEMALE"] / one["p_MALE"]) for one in each]
    np.testing.assert_allclose(np.log(table["p_FEMALE"] / table["p_MALE"]), sum(logits) / 2, atol=1e-9)
    spread = np.std([one["calibrated_p_FEMALE"] for one in each], axis=0, ddof=1)
    np.testing.assert_allclose(table["spread"], spread, atol=1e-12)
    assert each[0]["spread"].isna().all()
    both = [str(path.parent) for path in sorted(sweep.glob("*/status.json"))]
    config = {"run": both, "images": str(crops), "output_dir": str(sweep / "out"), **QUICKLY}
    predict(parse_config(config, PredictConfig))
    assert (sweep / "out" / "predictions" / "crops" / "predictions.csv").read_bytes() == (
        sweep / "predictions" / "x" / "predictions.csv"
    ).read_bytes()


@pytest.mark.parametrize("batch", [3, 16])
def test_an_answer_does_not_depend_on_the_images_around_it(
    run: Run, crops: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(crops.rglob("*.png"))[:20]
    monkeypatch.setattr("gender_cls.training.predictor.images_per_step", lambda *_, **__: batch)
    table = rows_of(answer(run.folder, paths))
    turned = rows_of(answer(run.folder, paths[::-1]))
    assert table["p_MALE"].tolist() == turned["p_MALE"].tolist()[::-1]
    fewer = rows_of(answer(run.folder, paths[: batch + 1]))
    assert fewer["p_MALE"].tolist() == table["p_MALE"].tolist()[: batch + 1]
    alone = rows_of(answer(run.folder, paths[7]))
    assert alone["p_MALE"].tolist() == pytest.approx([table["p_MALE"][7]], abs=1e-6), "a batch of one"


def test_flip_is_the_mean_of_both_sides_with_a_rule_of_its_own(run: Run, crops: Path, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored"
    for path in sorted(crops.rglob("*.png")):
        (mirrored / path.parent.name).mkdir(parents=True, exist_ok=True)
        ImageOps.mirror(Image.open(path)).save(mirrored / path.parent.name / path.name)
    sides = [rows_of(answer(run.folder, images)) for images in (crops, mirrored)]
    flipped = rows_of(answer(run.folder, crops, tta="flip", output_dir=str(tmp_path)))
    logits = [np.log(side["p_FEMALE"] / side["p_MALE"]) for side in sides]
    np.testing.assert_allclose(np.log(flipped["p_FEMALE"] / flipped["p_MALE"]), sum(logits) / 2, atol=1e-5)


def test_a_dataset_is_answered_with_its_own_labels(run: Run, crops: Path) -> None:
    config = {"run": str(run.folder), "data": {"root": str(crops), "pattern": None}, **QUICKLY, "name": "x"}
    predict(parse_config(config, PredictConfig))
    table = rows_of(PredictionFolder(run.folder / "predictions" / "x"))
    assert table["path"].tolist() == sorted(map(str, crops.rglob("*.png")))
    assert table["label"].tolist() == ["FEMALE"] * 24 + ["MALE"] * 24
    assert (table["identity"] == "").all()
    scores = json.loads((run.folder / "predictions" / "x" / "scores.json").read_text())
    assert scores["images"]["images"] == (table["known_as"] == "test").sum(), "the others have shaped the run"


def test_a_run_that_is_not_evaluated_and_wrong_images_are_named(run: Run, crops: Path) -> None:
    with pytest.raises(GenderClsError, match="Name the images"):
        parse_config({"run": str(run.folder)}, PredictConfig)
    with pytest.raises(GenderClsError, match="images names no file or folder: /nowhere"):
        parse_config({"run": str(run.folder), "images": "/nowhere"}, PredictConfig)
    run.metrics_file.unlink()
    with pytest.raises(GenderClsError, match=f"gender_cls.evaluate run={run.folder}"):
        answer(run.folder, crops)
