"""The README's section on using a run: its commands, and each kind of input in its table."""

import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.commands import COMPARING_EXPORTED, EXPORTING, PREDICTING, command
from helpers.crops import write_crop, write_crops
from helpers.videos import write_video

from gender_cls.runs.run import Run

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
SECTION = README.partition("\n## Use it\n")[2].partition("\n## ")[0]
BOXES = "".join(f"{frame},{track},{4 * track},16,20,30,0.9,-1,-1,-1\n" for frame in (1, 6) for track in (1, 2))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """The run of the README, and crops in the current folder that it never saw."""
    write_crops(tmp_path / "new_crops", "day/c3_1.jpg", "day/c4_1.jpg", "c3_2.jpg")
    return Run(Path(shutil.copytree(next(finished.glob("0_*")), tmp_path / "outputs" / "runs" / "NAME")))


def predicted(run: Run, name: str) -> pd.DataFrame:
    return pd.read_csv(run.folder / "predictions" / name / "predictions.csv", keep_default_na=False)


def test_a_folder_is_answered(run: Run, tmp_path: Path) -> None:
    shown = command("predict", *shlex.split(PREDICTING)[3:], cwd=tmp_path).stdout
    table = predicted(run, "new_crops")
    assert table["path"].map(lambda path: Path(path).name).tolist() == ["c3_2.jpg", "c3_1.jpg", "c4_1.jpg"]
    assert set(table["answer"]) <= {"FEMALE", "MALE", "abstain"}
    assert "new_crops/predictions.csv" in shown


def test_each_input_of_the_table_is_taken(run: Run, tmp_path: Path) -> None:
    rows = "".join(line for line in SECTION.splitlines() if line.startswith("|"))
    written = re.findall(r"`((?:images|data)=[^`]+)`", rows)
    assert written == [
        "images=a.jpg", "images=new_crops", "images=[a.jpg,new_crops]", "images='new_crops/*/c3_*.jpg'", "images=-",
        "images=crops.csv", "images=station", "images=video.mp4 boxes=tracks.txt stride=5",
        "data=peta data.root=FOLDER",
    ]  # fmt: skip
    write_crop(tmp_path / "a.jpg", 9)
    (tmp_path / "crops.csv").write_text("path,left,top,width,height\na.jpg,2,3,10,20\na.jpg,0,0,24,48\n")
    write_video(tmp_path / "video.mp4")
    (tmp_path / "tracks.txt").write_text(BOXES)
    for frame in (1, 6):
        write_crop(tmp_path / "station" / "img1" / f"{frame:06}.jpg", frame, (64, 48))
    (tmp_path / "station" / "det").mkdir()
    (tmp_path / "station" / "det" / "det.txt").write_text(BOXES)
    together = "images=[a.jpg,new_crops,'new_crops/*/c3_*.jpg',crops.csv,station]"
    for name, given in {"together": [together], "video": shlex.split(written[-2])}.items():
        command("predict", "run=outputs/runs/NAME", f"name={name}", *given, "progress_bar=false", cwd=tmp_path)
    assert predicted(run, "together")["fault"].tolist() == [""] * (1 + 3 + 1 + 2 + 4)
    video = predicted(run, "video")
    assert video[["frame", "track", "left"]].values.tolist() == [[1, 1, 4], [1, 2, 8], [6, 1, 4], [6, 2, 8]]
    assert len(pd.read_csv(run.folder / "predictions" / "video" / "tracks.csv")) == 2


def test_a_run_is_exported_and_compared_with_its_file(run: Run, tmp_path: Path) -> None:
    command("export", *shlex.split(EXPORTING)[3:], "seconds=0", cwd=tmp_path)
    names = {file.name for file in (run.folder / "export").iterdir()}
    assert {"model.onnx", "model.pt2", "model_native.onnx", "run_onnx.py", "parity.json", "predictions.csv"} <= names
    command("compare", *shlex.split(COMPARING_EXPORTED)[3:], "resamples=200", cwd=tmp_path)
    [compared] = (tmp_path / "outputs" / "comparisons").glob("*/compare.csv")
    assert len(pd.read_csv(compared)) == 2
