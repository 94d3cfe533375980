"""Boxes as trackers write them; each line was copied from the code of the program that is named."""

from pathlib import Path

import numpy as np
import pytest

from gender_cls.data.requests.boxes import read_boxes, whole_pixels
from gender_cls.errors import GenderClsError


def read(tmp_path: Path, content: str, stride: int = 1, first_frame: int = 1) -> tuple[list[list], dict[str, int]]:
    """The rows as lists of frame, track, left, top, width, height; and what was left out."""
    file = tmp_path / "boxes.txt"
    file.write_text(content)
    boxes = read_boxes(file, stride=stride, first_frame=first_frame)
    return boxes.rows.to_dict("split")["data"], dict(boxes.left_out)


@pytest.mark.parametrize(
    "line",
    [
        "4,3,10.00,20.00,30.00,40.00,0.91,-1,-1,-1",  # ByteTrack, BoT-SORT, OC-SORT
        "4,3,10.00,20.00,30.00,40.00,1,-1,-1,-1",  # SORT, DeepSORT
        "4 3 10 20 30 40 -1 -1 -1 0 ",  # Yolov5_DeepSort_Pytorch
        "4,3,10,20,30,40,1,1,0.86014",  # MOT17's ground truth
        "4, 3, 10, 20, 30, 40, 0.91, -1, -1, -1",
        "4\t3\t10\t20\t30\t40",
        "frame,id,left,top,width,height,conf\n4,3,10,20,30,40,0.91",
        "\ufeffFrame;Track_ID;Width;Height;Left;Top;camera\n\n4;3.0;30;40;10;20;x\n",
        '"conf","frame","left","top","width","height","id"\n"","4","10","20","30","40","3"\n',
    ],
)
def test_all_trackers_mean_the_same(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line) == ([[4, "3", 10, 20, 30, 40]], {})


def test_rows_come_by_frame_and_then_as_in_the_file(tmp_path: Path) -> None:
    lines = "2,5,1,0,9,9,1\n1,9,2,0,9,9,1\n2,1,3,0,9,9,1\n1,2,4,0,9,9,1\n"
    assert [row[2] for row in read(tmp_path, lines)[0]] == [2, 4, 1, 3]


def test_detections_have_no_track(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "1,-1,1,2,3,4,0.5,-1,-1,-1\n1,-1,5,6,7,8,0.5,-1,-1,-1\n")
    assert [row[1] for row in rows] == ["", ""]
    assert read(tmp_path, "frame,left,top,width,height\n1,2,3,4,5")[0] == [[1, "", 2, 3, 4, 5]]


def test_what_the_ground_truth_ignores_is_left_out_and_counted(tmp_path: Path) -> None:
    truth = "1,1,1,1,9,9,0,1,1\n1,2,2,1,9,9,1,1,0.5\n1,3,3,1,9,9,1,3,1\n1,4,4,1,9,9,0,12,1\n2,5,5,1,9,9,1,1,1\n"
    rows, left_out = read(tmp_path, truth, stride=2)
    assert [row[1] for row in rows] == ["2"]
    assert sorted(left_out.values()) == [1, 1, 2], "of another class, at another stride, of conf 0"


@pytest.mark.parametrize("first", [0, 1])
def test_the_stride_counts_from_the_first_frame(tmp_path: Path, first: int) -> None:
    lines = "".join(f"{frame},1,0,0,5,5,1\n" for frame in range(first, first + 12))
    rows, left_out = read(tmp_path, lines, stride=5, first_frame=first)
    assert [row[0] - first for row in rows] == [0, 5, 10]
    assert sum(left_out.values()) == 9


def test_boxes_are_rounded_by_their_edges() -> None:
    boxes = [[0.5, 1.49, 2, 3.02], [10.4, 0, 10.2, 5], [-3.5, -0.6, 4, 1], [2.5, 0, 1, 1]]
    expected = [[1, 1, 2, 4], [10, 0, 11, 5], [-3, -1, 4, 1], [3, 0, 1, 1]]
    np.testing.assert_array_equal(whole_pixels(boxes), expected)
    neighbours = whole_pixels([[0, 0, 7.5, 1], [7.5, 0, 3, 1]])
    assert neighbours[0, 0] + neighbours[0, 2] == neighbours[1, 0]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("1,1,1,2,3,4,1\n\n1,2,1,2,x,4,1\n", r"line 3.*width.*x"),
        ("1,1,1,2,3,4,1\n1,2,1,2,nan,4,1\n", r"line 2.*width.*nan"),
        ("1,1,1,2,3,4,1\n1,2,1,inf,3,4,1\n", r"line 2.*top"),
        ("1,1,1,2,3,4,1\n1,2,1e9,2,3,4,1\n", r"line 2.*1e\+09"),
        ("1,1,1,2,3,4,1\n1,2,1,2\n", r"line 2.*4 values.*7"),
        ("1,1,1,2,3\n", r"line 1.*5 values.*frame,id,left,top,width,height"),
        ("1.5,1,1,2,3,4,1\n", r"line 1.*frame 1\.5"),
        ("1,1,1,2,3,4,1\n1e300,2,1,2,3,4,1\n", r"line 2.*frame 1e\+300"),
        ("-1,1,1,2,3,4,1\n", r"line 1.*frame -1"),
        ("0,1,1,2,3,4,1\n", r"line 1.*frame 0.*first_frame=0"),
        ("0 0.5 0.5 0.1 0.2\n", r"line 1.*YOLO"),
        ("0 0.5 0.5 0.1 0.2 0.93 4\n", r"line 1.*YOLO"),
        ("frame,id,left,top,width\n1,1,1,1,1\n", r"line 1.*height"),
        ("frame,id,left,top,left,width,height\n", r"line 1.*left"),
        ("frame,id,left,top,width,height\n", "no boxes"),
        ("", "no boxes"),
        ("1,1,1,2,3,4,0\n", "conf"),
        ("1,1,1,2,3,4,1,7,1\n", "class 1"),
        ("2,1,1,2,3,4,1\n", "stride=3"),
        ("1,8,1,2,3,4,1\n4,8,1,2,3,4,1\n1,8,2,2,3,4,1\n", r"track 8.*frame 1.*lines 1 and 3"),
        ('{"frame": 1}', "line 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(GenderClsError, match=rf"boxes\.txt.*{named}"):
        read(tmp_path, content, stride=3)


def test_a_box_of_no_size_keeps_its_row(tmp_path: Path) -> None:
    assert read(tmp_path, "1,1,5,5,0,4,1\n1,2,5,5,-3,4,1")[0] == [[1, "1", 5, 5, 0, 4], [1, "2", 5, 5, -3, 4]]
