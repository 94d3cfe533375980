"""MOT folders: which picture a box lies in."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest

from gender_cls.data.requests.mot import is_mot_folder, mot_rows, read_sequence
from gender_cls.errors import GenderClsError


def mot_folder(folder: Path, names: Iterable[str] = ("000001.jpg", "000002.jpg"), where: str = "img1") -> Path:
    (folder / where).mkdir(parents=True)
    for name in names:
        (folder / where / name).touch()
    (folder / "det").mkdir()
    (folder / "det" / "det.txt").write_text("1,-1,5,5,9,9,0.5,-1,-1,-1\n2,-1,6,5,9,9,0.5,-1,-1,-1\n")
    return folder


def rows(folder: Path, boxes: Path | None = None, stride: int = 1, first_frame: int = 1) -> list[tuple[str, int, str]]:
    """(name of the picture, frame, track) of each row."""
    found = mot_rows(folder, boxes, stride=stride, first_frame=first_frame).rows
    return [(Path(row["path"]).name, row["frame"], row["track"]) for row in found.to_dict("records")]


def test_ground_truth_comes_before_detections_and_a_given_file_before_both(tmp_path: Path) -> None:
    folder = mot_folder(tmp_path / "MOT17-02")
    assert rows(folder) == [("000001.jpg", 1, ""), ("000002.jpg", 2, "")]
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("2,4,6,5,9,9,1,1,1\n")
    assert rows(folder) == [("000002.jpg", 2, "4")]
    (mine := tmp_path / "mine.csv").write_text("frame,id,left,top,width,height\n0,9,1,1,5,5\n")
    assert rows(folder, mine, first_frame=0) == [("000001.jpg", 0, "9")]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["00000001.jpg", "00000002.jpg"], ["00000001.jpg", "00000002.jpg"]),
        (["frame_1.png", "frame_2.png", "notes.txt", ".frame_2.png"], ["frame_1.png", "frame_2.png"]),
        (["0.JPG", "1.JPG", "2.JPG"], ["0.JPG", "1.JPG"]),
        (["000002.jpg", "000003.jpg"], ["000001.jpg", "000002.jpg"]),
    ],
)
def test_pictures_are_found_by_the_number_in_their_names(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    assert [row[0] for row in rows(mot_folder(tmp_path / "video", names))] == expected


def test_a_frame_that_is_missing_keeps_its_row_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = mot_folder(tmp_path / "video", ["000001.png", "000003.png"])
    with caplog.at_level(logging.WARNING):
        assert [row[0] for row in rows(folder)] == ["000001.png", "000002.png"]
    assert "000002.png" in caplog.text
    assert "first_frame=1" in caplog.text
    assert [row[0] for row in rows(folder, first_frame=0)] == ["000002.png", "000003.png"]


def test_the_description_names_folder_and_suffix(tmp_path: Path) -> None:
    folder = mot_folder(tmp_path / "video", ["1.jpg", "2.jpg", "2.png"], where="frames")
    assert not is_mot_folder(folder)
    (folder / "seqinfo.ini").write_text("[Sequence]\nname=a%b\nimDir=frames\nframeRate=14\nseqLength=2\nimExt=.jpg\n")
    assert is_mot_folder(folder)
    assert [row[0] for row in rows(folder)] == ["1.jpg", "2.jpg"]
    assert read_sequence(folder).rate == 14


def test_the_stride_counts_from_the_first_frame(tmp_path: Path) -> None:
    names = [f"{number:06}.jpg" for number in range(1, 12)]
    folder = mot_folder(tmp_path / "video", names)
    (folder / "det" / "det.txt").write_text("".join(f"{number},-1,1,1,5,5,1\n" for number in range(1, 12)))
    assert [row[0] for row in rows(folder, stride=5)] == ["000001.jpg", "000006.jpg", "000011.jpg"]


def test_what_makes_no_sense_is_named(tmp_path: Path) -> None:
    folder = mot_folder(tmp_path / "video", ["1.jpg", "000001.jpg"])
    assert is_mot_folder(folder)
    assert not is_mot_folder(folder / "img1")
    with pytest.raises(GenderClsError, match=r"1\.jpg.*same number"):
        rows(folder)
    (folder / "seqinfo.ini").write_text("[Sequence]\nimDir=elsewhere\n")
    with pytest.raises(GenderClsError, match="elsewhere"):
        rows(folder)
    (folder / "seqinfo.ini").write_text("name=x\n")
    with pytest.raises(GenderClsError, match=r"seqinfo\.ini"):
        rows(folder)
    (folder / "seqinfo.ini").unlink()
    for file in (folder / "img1").iterdir():
        file.unlink()
    with pytest.raises(GenderClsError, match="img1 holds no frames"):
        rows(folder)
    (folder / "det" / "det.txt").unlink()
    with pytest.raises(GenderClsError, match=r"gt\.txt.*det\.txt.*no detector.*boxes=FILE"):
        rows(folder)
