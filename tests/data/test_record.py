from pathlib import Path

import pytest
from helpers.classifiers import config_of
from helpers.crops import write_crops

from gender_cls.data.csv_text import csv_text, read_csv_text
from gender_cls.data.prepare import prepare_data
from gender_cls.data.record import record_data
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run


def record(root: Path, text: str) -> Run:
    (root / "list.csv").write_bytes(text.encode())
    config, run = config_of(data={"root": None, "csv": str(root / "list.csv"), "pattern": None}), Run(root / "run")
    record_data(config, run, prepare_data(config.data, root / "cache"))
    return run


def test_the_same_data_are_the_same_whatever_a_cell_holds_and_other_data_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{label}{number}.png" for label in "MF" for number in range(12)]
    rows = [f'{name},{name[0]},"a\r\nb\rc",x' for name in names]
    text = "\r\n".join(["path,label,note,identity", *rows[:10], *(row[:-1] for row in rows[10:]), ""])
    text = text.replace(",M,", ",MALE,").replace(",F,", ",FEMALE,")
    write_crops(tmp_path, *names)
    run = record(tmp_path, text)
    run.note(fitted=True)
    record(tmp_path, text)
    assert set(read_csv_text(run.manifest)["note"]) == {"a\r\nb\rc"}
    assert "10 of 24 images have the identity x: is that one person?" in caplog.text
    with pytest.raises(GenderClsError, match="have changed"):
        record(tmp_path, text.replace("\rc", "\rd"))
    for kept in (tmp_path / "cache").rglob("*"):
        output = run.folder if kept.is_dir() else run.manifest
        assert not kept.stat().st_mode & ~output.stat().st_mode & 0o077, "pixels of people are as private as outputs"


def test_what_is_left_out_is_said_and_recorded(folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_crops(folders, "sheet.png", "MALE/.hidden.png")
    config, run = config_of(folders), Run(tmp_path / "run")
    record_data(config, run, prepare_data(config.data, tmp_path / "cache"))
    assert (
        "Left out: 1 image outside of the label folders (sheet.png); 1 hidden image (MALE/.hidden.png)." in caplog.text
    )
    assert run.data["left_out"] == {
        "without_label": {"files": 1, "examples": ["sheet.png"]},
        "hidden": {"files": 1, "examples": ["MALE/.hidden.png"]},
    }


def test_the_places_of_validation_are_named(folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pattern = r"(?P<identity>person\d+_(?P<camera>camera\d))"
    config, run = config_of(folders, data={"pattern": pattern, "val_by": "camera"}), Run(tmp_path / "run")
    caplog.set_level("INFO")
    record_data(config, run, prepare_data(config.data, tmp_path / "cache"))
    table = read_csv_text(run.manifest)
    assert set(table["camera"][table["split"] == "val"]) == {"camera1"}, "8 of 24 crops of a label"
    assert set(table["camera"][table["split"] == "train"]) == {"camera0"}
    assert "Validation is 1 camera of which no image is trained on: camera1." in caplog.text


def test_what_has_changed_is_named_and_a_run_without_weights_begins_anew(tmp_path: Path) -> None:
    names = [f"{label}{number}.png" for label in "MF" for number in range(12)]
    write_crops(tmp_path, *names)
    text = "\n".join(["path,label,identity", *(f"{name},{name[0]},{name[:-4]}" for name in names)])
    text = text.replace(",M,", ",MALE,").replace(",F,", ",FEMALE,")
    fewer = text.replace("\nM3.png,MALE,M3", "")
    run = record(tmp_path, fewer)
    record(tmp_path, text)
    run.note(fitted=True)
    for other, words in (
        (fewer, r"1 image is gone \(M3\.png\)\."),
        (text.replace("M3.png,MALE,M3", "M3.png,MALE,M4"), r"the identity of 1 image differs \(M3\.png: M3, now M4\)"),
        (text.replace("M3.png,MALE", "M3.png,FEMALE"), r"the label of 1 image differs \(M3\.png: MALE, now FEMALE\)"),
    ):
        with pytest.raises(GenderClsError, match=f"The data have changed since .*{words}"):
            record(tmp_path, other)
    table = read_csv_text(run.manifest)
    swapped = table["split"].map({"train": "val", "val": "train"}).fillna(table["split"])
    run.manifest.write_text(csv_text(table.assign(split=swapped)))
    run.note(environment={"gender_cls": "0.0.1"})
    with pytest.raises(GenderClsError, match=r"splits them in another way .*0\.0\.1") as caught:
        record(tmp_path, text)
    assert "have changed" not in str(caught.value)
