"""A run and its exported files: the same answers, or no file; the run itself stays as it is."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.commands import command
from helpers.example_metrics import assert_matches
from helpers.exporting import ALL, config_of
from torch import Tensor

from gender_cls.data.csv_text import read_csv_text
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.export_schema import Parity
from gender_cls.evaluation.wording import stated_change
from gender_cls.export import float32_files
from gender_cls.export.graph import ExportedGraph
from gender_cls.export.one_run import export_run
from gender_cls.export.pt2_file import read_pt2
from gender_cls.models.exported import Metadata
from gender_cls.models.onnx_model import OnnxModel
from gender_cls.pages.exported import exported_on_screen
from gender_cls.pages.model_card import LIMITS
from gender_cls.predict.models import ExportedModel
from gender_cls.runs.exported_run import ExportedRun
from gender_cls.runs.files import read_json
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run
from gender_cls.system import terminal
from gender_cls.system.terminal import show
from gender_cls.training.classifier import GenderClassifier


def hashes(folder: Path) -> dict[str, str]:
    """Of all files but locks."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_live_network_stays_as_it_is(
    exported: Run, loaded: list[tuple[GenderClassifier, dict[str, Tensor]]]
) -> None:
    assert loaded
    for classifier, before in loaded:
        after = classifier.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert not classifier.training
        assert next(classifier.parameters()).requires_grad


def test_the_files_of_the_run_stay_as_they_are(exported: Run, trained: Run) -> None:
    after = hashes(exported.folder)
    assert {name: of for name, of in after.items() if not name.startswith("export/")} == hashes(trained.folder)


def test_the_folder_holds_what_was_asked_for(exported: Run) -> None:
    models = {
        "model.onnx",
        "model_native.onnx",
        "model.pt2",
        "model_native.pt2",
        "model_float16.onnx",
        "model_int8.onnx",
    }
    tables = {"predictions.csv", "predictions_float16.csv", "predictions_int8.csv"}
    assert hashes(exported.exported).keys() == {*models, *tables, "run_onnx.py", "parity.json", "MODEL_CARD.md"}


def test_parity_json_is_as_its_schema_says(exported: Run) -> None:
    parity = read_json(exported.exported / "parity.json")
    assert_matches(parity, Parity)
    resized = {(check["file"], check["batch"]) for check in parity["checks"] if check["batch"]}
    assert resized == {(file, batch) for file in ("model.onnx", "model.pt2") for batch in (1, 7, 32)}
    native = [check for check in parity["checks"] if check["batch"] is None]
    assert [check["file"] for check in native] == ["model_native.onnx", "model_native.pt2"]
    assert [1, 1] in parity["resize"]["sizes"]
    assert parity["images"] == 6
    assert [one["weights"] for one in parity["files"].values()] == ["float32", "float16", "int8"]
    sizes = [one["bytes"] for one in parity["files"].values()]
    assert sizes == [(exported.exported / name).stat().st_size for name in parity["files"]]


def test_the_answers_of_a_float32_run_are_those_of_its_report(exported: Run) -> None:
    report, found = (read_csv_text(file) for file in (exported.predictions, exported.exported / "predictions.csv"))
    assert list(found) == list(report)
    numbers = ["p_FEMALE", "p_MALE", "calibrated_p_FEMALE"]
    pd.testing.assert_frame_equal(found.drop(columns=numbers), report.drop(columns=numbers))
    np.testing.assert_allclose(found[numbers].astype(float), report[numbers].astype(float), atol=1e-5)
    parity = read_json(exported.exported / "parity.json")
    assert parity["files"]["model.onnx"]["changed_answers"] == {"val": 0, "test": 0}


def test_files_say_where_they_come_from(exported: Run) -> None:
    metrics = exported.metrics
    for name, weights in (("model", "float32"), ("model_native", "float32"), ("model_int8", "int8")):
        metadata = OnnxModel(exported.exported / f"{name}.onnx", 1).metadata
        assert (metadata.weights, metadata.native) == (weights, name == "model_native")
        assert metadata.checkpoint_sha256 == hashlib.sha256(exported.best_checkpoint.read_bytes()).hexdigest()
        assert metadata.manifest_sha256 == metrics["data"]["manifest_sha256"]
        band = None if metadata.band is None else (metadata.band[0], metadata.band[1])
        assert DecisionRule(metadata.temperature, metadata.threshold, band) == DecisionRule.from_metrics(metrics)
        assert metadata.test["scores"] == metrics["test"]["scores"]
        assert metadata.limits == LIMITS
    card = exported.model_card.read_text()
    assert all(" ".join(sentence.split()) in " ".join(card.split()) for sentence in LIMITS.split(". "))
    of_pt2: Metadata = read_pt2(exported.exported / "model.pt2")[1]
    assert of_pt2 == OnnxModel(exported.exported / "model.onnx", 1).metadata


def test_another_process_writes_the_same_bytes_and_none_says_where_files_lie(exported: Run, run: Run) -> None:
    lists = [f"{key}={','.join(values)}" for key, values in ALL.items()]
    command("export", f"run={run.folder}", *lists, "seconds=0", "threads=1", "images=6", cwd=run.folder.parent)
    first, second = hashes(exported.exported), hashes(run.exported)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} <= {"parity.json", "MODEL_CARD.md"}
    for file in run.exported.glob("model*"):
        for secret in (b".py", str(Path.home()).encode(), str(Path(__file__).parents[2]).encode(), b"site-packages"):
            assert secret not in file.read_bytes()


def test_compare_takes_the_file(exported: Run) -> None:
    assert ExportedRun(exported.exported / "model_int8.onnx").status["answers_hash"]


def test_a_file_is_outdated_when_the_run_was_evaluated_with_another_result(
    exported: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Run(Path(shutil.copytree(exported.folder, tmp_path / "run")))
    file = copy.exported / "model.onnx"
    ExportedModel(file, threads=1)
    assert not caplog.messages
    metrics = copy.metrics
    metrics["operating_point"]["threshold"] += 0.01
    copy.metrics_file.write_text(json.dumps(metrics))
    with pytest.raises(GenderClsError, match="threshold"):
        ExportedRun(file)
    ExportedModel(file, threads=1)  # answers as it did
    assert "gender_cls.export" in "".join(caplog.messages)
    copy.metrics_file.write_bytes(exported.metrics_file.read_bytes())
    copy.note(answers_hash="of another precision")
    with pytest.raises(GenderClsError, match="other answers"):
        ExportedRun(file)


def test_what_fewer_bits_change_is_counted_apart_from_what_the_precision_does(exported: Run) -> None:
    parity = read_json(exported.exported / "parity.json")
    rounded = [one["changed_by_rounding"] for one in parity["files"].values()]
    tables = [read_csv_text(exported.exported / f"predictions{name}.csv") for name in ("", "_float16", "_int8")]
    other = [(table["answer"] != tables[0]["answer"]).groupby(table["split"]).sum().to_dict() for table in tables]
    assert rounded == [None, *other[1:]]


def test_the_card_leads_back_to_the_run(exported: Run) -> None:
    card = (exported.exported / "MODEL_CARD.md").read_text()
    assert "](../report.html)" in card
    assert "run_onnx.py model_native.onnx" in card
    assert "Other than model.onnx" in card
    assert card.index("## The exported model") < card.index("arXiv:1810.03993")


def test_a_later_export_leaves_no_file_of_an_earlier_one(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.exported.mkdir()
    mine = run.exported / "predictions" / "mine" / "predictions.csv"
    mine.parent.mkdir(parents=True)
    for file in (mine, run.exported / "model_int8.onnx", run.exported / "begun" / "model.onnx"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("old")
    export_run(run, config_of(run, format="pt2"))
    card = (run.exported / "MODEL_CARD.md").read_text()
    assert "model.onnx" not in card
    assert "run_onnx.py" not in card
    names = {"model.pt2", "model_native.pt2", "predictions.csv", "parity.json", "MODEL_CARD.md"}
    assert hashes(run.exported).keys() == {*names, "predictions/mine/predictions.csv"}


class Faulty(ExportedGraph):
    """The graph with the pixels that the network gets changed."""

    def changed(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return super().forward(self.changed(pixels))


class FlippedChannels(Faulty):
    def changed(self, pixels: Tensor) -> Tensor:
        return pixels.flip(-1)


class ForgottenMean(ExportedGraph):
    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.mean.zero_()


class BakedInBatch(Faulty):
    def changed(self, pixels: Tensor) -> Tensor:
        return pixels if self.native else pixels[:2]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(FlippedChannels, "onnx"), (ForgottenMean, "pt2"), (BakedInBatch, "onnx"), (BakedInBatch, "pt2")],
)
def test_a_graph_with_a_fault_leaves_nothing(
    fault: type[ExportedGraph], kind: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float32_files, "ExportedGraph", fault)
    before = hashes(run.folder)
    with pytest.raises(GenderClsError, match=f"model.{kind}"):
        export_run(run, config_of(run, format=kind))
    assert hashes(run.folder) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_ends_an_export_leaves_nothing_and_the_earlier_one_stays(
    error: BaseException, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.exported.mkdir()
    (run.exported / "model.onnx").write_text("earlier")

    def end(*_: object) -> None:
        raise error

    monkeypatch.setattr(float32_files, "check_batches", end)  # of a file that is written already
    before = hashes(run.folder)
    with pytest.raises(type(error)):
        export_run(run, config_of(run, format="pt2"))
    assert hashes(run.folder) == before


def test_what_cannot_be_exported_is_named(run: Run, tmp_path: Path) -> None:
    with locked(run.exported), pytest.raises(GenderClsError, match="in use"):
        export_run(run, config_of(run))
    content = torch.load(run.best_checkpoint, weights_only=True)
    next(iter(content["state_dict"].values()))[0] = torch.nan
    torch.save(content, run.best_checkpoint)
    with pytest.raises(GenderClsError, match="infinite or nan"):
        export_run(run, config_of(run))
    run.data_file.write_text(json.dumps({**run.data, "root": str(tmp_path / "gone")}))
    with pytest.raises(GenderClsError, match="data_root"):
        export_run(run, config_of(run))
    run.metrics_file.unlink()
    with pytest.raises(GenderClsError, match="evaluate"):
        export_run(run, config_of(run))
    assert not [*run.exported.glob("m*")]


def test_speed_is_measured_of_every_form(exported: Run) -> None:
    parity = read_json(exported.exported / "parity.json")
    titles = {"ONNX Runtime", "ONNX Runtime, float16", "ONNX Runtime, int8", "torch.export"}
    assert {"torch, 32-true", *titles} <= parity["speed"].keys()
    for speed in parity["speed"].values():
        low, high = speed["milliseconds_batch_1_spread"]
        assert 0 < low <= speed["milliseconds_batch_1"] <= high
    assert parity["files"]["model_int8.onnx"]["cost"] == parity["speed"]["ONNX Runtime, int8"]
    assert "Milliseconds per image, 1 thread |" in (exported.exported / "MODEL_CARD.md").read_text()


def test_the_screen_has_the_same_numbers(
    exported: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_console", None)  # it has read its width
    monkeypatch.setenv("COLUMNS", "80")
    parity = cast(Parity, read_json(exported.exported / "parity.json"))
    show(*exported_on_screen(parity))
    text = capsys.readouterr().out
    for file, about in parity["files"].items():
        assert file in text
        assert stated_change(about["difference"]["balanced_accuracy"]) in text
    assert "Balanced accuracy" in text
    assert parity["files"]["model.onnx"]["sentence"] in text
    assert all(len(line) <= 80 for line in text.splitlines() if "─" in line)
