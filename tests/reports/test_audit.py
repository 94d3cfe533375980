"""`python -m gender_cls.audit`, run as users run it."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.commands import SMALL, command, start
from helpers.crops import PATTERN, draw_folders, write_crop
from helpers.peta import IMAGES, peta_mat

LIGHT = [
    "model=timm", "model.name=mobilenetv4_conv_small", "model.pretrained=false", "data.image_size=[64,32]",
    "data.num_workers=0",
]  # fmt: skip
CROPS = ["data.root=crops", f"data.pattern={PATTERN}"]
FILES = {"audit.html", "audit.csv", "audit.json", "manifest.csv", "suspects.csv"}


def audited(*arguments: str, cwd: Path, name: str = "mine") -> tuple[Path, dict]:
    command("audit", *arguments, f"name={name}", cwd=cwd)
    folder = cwd / "outputs" / "audits" / name
    return folder, json.loads((folder / "audit.json").read_text())


def sentences(totals: dict, level: str) -> list[str]:
    return [one["sentence"] for one in totals["verdict"] if one["level"] == level]


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """Bright women and dark men; two women lie in the folder MALE. Root, the audit's folder and its totals."""
    root = tmp_path_factory.mktemp("swapped")
    draw_folders(root / "crops")
    for person in (2, 5):
        for crop in (root / "crops" / "FEMALE").glob(f"person{person:02d}_*"):
            crop.rename(root / "crops" / "MALE" / crop.name)
    folder, totals = audited(*CROPS, *LIGHT, "audit.folds=4", cwd=root)
    return root, folder, totals


def test_an_audit_leaves_its_files_and_a_short_table(swapped: tuple[Path, Path, dict]) -> None:
    root, folder, totals = swapped
    assert {path.name for path in folder.iterdir()} >= FILES
    images = pd.read_csv(folder / "audit.csv", keep_default_na=False)
    assert len(images) == 48
    assert images["path"].is_monotonic_increasing
    assert totals["data"]["labels"] == {"MALE": 30, "FEMALE": 18}
    assert totals["suspects"]["problem"] is None
    again = command("audit", *CROPS, "audit.suspects=false", cwd=root)
    assert "Reading images" not in again.stderr
    assert "people with both labels" in again.stdout
    assert re.search(r"^Open outputs/audits/\S+/audit\.html$", again.stdout, re.MULTILINE)


def test_swapped_labels_come_first_and_go_back_as_corrections(swapped: tuple[Path, Path, dict]) -> None:
    root, folder, _ = swapped
    suspects = pd.read_csv(folder / "suspects.csv", keep_default_na=False)
    assert list(suspects.columns[:4]) == ["path", "label", "suggested_label", "score"]
    first = suspects.head(6)
    assert set(first["identity"]) == {"person02", "person05"}
    assert (first["suggested_label"] == "FEMALE").all()
    suspects.loc[:5, "corrected_label"] = suspects.loc[:5, "suggested_label"]
    suspects.to_csv(root / "corrected.csv", index=False)
    fixed, totals = audited(*CROPS, *LIGHT, "data.corrections=corrected.csv", cwd=root, name="corrected")
    assert totals["data"]["labels"] == {"FEMALE": 24, "MALE": 24}
    assert totals["data"]["corrections"] == {"file": str(root / "corrected.csv"), "changed": {"MALE to FEMALE": 6}}
    assert totals["suspects"]["images"] == 0
    manifest = pd.read_csv(fixed / "manifest.csv", keep_default_na=False)
    assert (manifest["original_label"] == "MALE").sum() == 6


def test_a_ranking_is_judged_where_labels_have_been_reviewed(swapped: tuple[Path, Path, dict]) -> None:
    root, folder, _ = swapped
    table = pd.read_csv(folder / "manifest.csv", keep_default_na=False)[["path", "label", "identity", "camera"]]
    table["reviewed_label"] = np.where(table["identity"] < "person08", "FEMALE", "MALE")
    table.to_csv(root / "crops" / "reviewed.csv", index=False)
    _, totals = audited("data.csv=crops/reviewed.csv", *LIGHT, "audit.folds=4", cwd=root, name="reviewed")
    review = totals["suspects"]["review"]
    assert (review["images"], review["wrong"]) == (48, 6)
    complete = next(point for point in review["image_curve"] if point["recall"] == 1)
    assert complete["precision"] == 1


def test_finished_runs_judge_along_with_the_light_model(swapped: tuple[Path, Path, dict]) -> None:
    root, *_ = swapped
    folds = ["data.folds=3", "data.fold=0,1,2", "name=folds"]
    command("train", "-m", *SMALL, "data.root=crops", "explain=off", "trainer.max_epochs=1", *folds, cwd=root)
    arguments = [*CROPS, "audit.runs=[outputs/sweeps/folds]"]
    folder, totals = audited(*arguments, *LIGHT, cwd=root, name="with_runs")
    runs = "test predictions of the runs in audit.runs"
    assert totals["suspects"]["method"].startswith(f"{runs} together with timm/mobile")
    assert len(pd.read_csv(folder / "suspects.csv")) == 48
    (root / "no_weights.pth").write_bytes(b"none")
    _, totals = audited(*arguments, "model.weights=no_weights.pth", cwd=root, name="runs_alone")
    assert totals["suspects"]["method"] == runs
    (root / "outputs" / "sweeps" / "folds" / "1_custom_cnn_fold-1" / "predictions.csv").unlink()
    _, totals = audited(*arguments, *LIGHT, cwd=root, name="unfinished")
    assert "outputs/sweeps/folds (1_custom_cnn_fold-1)" in totals["suspects"]["problem"]


def test_petas_published_split_is_called_leaky_with_the_right_share(tmp_path: Path) -> None:
    peta_mat(tmp_path / "PETA")
    for row in range(1, IMAGES + 1):
        write_crop(tmp_path / "PETA" / "images" / f"{row:05d}.png", seed=row)
    order = np.random.default_rng(0).permutation(IMAGES)  # as peta_mat deals: 30 train, 6 val, 24 test; three a person
    person, train, test = np.arange(IMAGES) // 3, order[:30], order[36:]
    share = np.isin(person[test], person[train]).mean()
    arguments = ["data=peta", "data.root=PETA", "audit.suspects=false"]
    _, totals = audited(*arguments, "data.published_split=2", cwd=tmp_path, name="published")
    [leak] = sentences(totals, "stop")
    assert re.search(rf"published split .*{share:.0%} of the test images", leak)
    lookup = next(one for one in totals["baselines"] if one["name"] == "identity")
    assert lookup["answered"] == pytest.approx(share)
    female, seen = person % 2 == 1, np.isin(person[test], person[train])  # people count from 1, and even ones are women
    right = seen | (female[test] == (2 * female[train].sum() >= len(train)))
    assert lookup["balanced_accuracy"] == pytest.approx((right[female[test]].mean() + right[~female[test]].mean()) / 2)
    _, totals = audited(*arguments, "data.published_split=zero_shot", cwd=tmp_path, name="zero_shot")
    assert sentences(totals, "stop") == []


def test_what_a_model_cannot_do_costs_nothing_else(tmp_path: Path) -> None:
    draw_folders(tmp_path / "crops")
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    folder, totals = audited("data.root=crops", "model.weights=weights.pth", "data.num_workers=0", cwd=tmp_path)
    assert "weights.pth" in totals["suspects"]["problem"]
    assert {path.name for path in folder.iterdir()} >= FILES - {"suspects.csv"}


def test_data_that_cannot_be_split_are_audited_all_the_same(tmp_path: Path) -> None:
    for number in range(3):
        write_crop(tmp_path / "crops" / "FEMALE" / f"a_{number}.png", number)
        write_crop(tmp_path / "crops" / "MALE" / f"b_{number}.png", number + (10 if number else 0))
    pattern = r"data.pattern=/(?P<identity>\w)_"
    _, totals = audited("data.root=crops", pattern, "audit.suspects=false", cwd=tmp_path)
    [problem] = sentences(totals, "stop")
    assert problem.startswith("There is no usable split: FEMALE has 1 group of images")
    assert {one["balanced_accuracy"] for one in totals["baselines"]} == {None}
    assert totals["duplicates"]["exact"]["across_labels"] == 2
    assert any("2 images have an exact copy with the other label" in sentence for sentence in sentences(totals, "warn"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "data.root=crops", "seed=0,1"], "leave out -m."),
        (
            ["data.root=crops", "audit.blured=1"],
            "audit.blured is not a key of the configuration; did you mean audit.blurred",
        ),
        (["data.root=crops", "audit.dark=300"], "audit.dark must lie between 0 and 255 (mean brightness), not 300.0."),
        (["data.root=crops", "audit.runs=[nowhere]"], "audit.runs names no folder"),
        (["data.root=crops", "data.corrections=no.csv"], "data.corrections names no file"),
        (["data.root=crops", "model=custom_cnn"], "model=custom_cnn also sets a recipe"),
        (["data.root=empty"], "None of the 2 images can be read. The first: Cannot read"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    draw_folders(tmp_path / "crops")
    for label in ("FEMALE", "MALE"):
        (tmp_path / "empty" / label).mkdir(parents=True)
        (tmp_path / "empty" / label / "a.png").write_bytes(b"")
    result = command("audit", *arguments, cwd=tmp_path, code=1)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_two_audits_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    draw_folders(tmp_path / "crops")
    processes = [start("audit", "data.root=crops", "audit.suspects=false", cwd=tmp_path) for _ in range(2)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    pages = list((tmp_path / "outputs" / "audits").glob("*/audit.html"))
    assert len(pages) == 2
