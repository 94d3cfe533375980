"""Tables of images to answer for: which rows, boxes, labels and people they give, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.asking import DATA, batches, records, request
from helpers.crops import write_crops

from gender_cls.data.requests.image_table import read_image_table
from gender_cls.errors import GenderClsError

BOX = ("left", "top", "width", "height")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "video.mp4").touch()
    return write_crops(tmp_path / "crops", "a.png", "men/p1_c1.png")


def table(folder: Path, *lines: str) -> Path:
    file = folder / "table.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def rows(folder: Path, *lines: str) -> list[dict[str, Any]]:
    return records(request(table(folder, *lines)))


def test_a_path_counts_from_the_tables_folder_is_absolute_or_in_windows_spelling(folder: Path) -> None:
    expected = [str(folder / "a.png"), str(folder / "men" / "p1_c1.png"), str(folder / "men" / "p1_c1.png")]
    found = rows(folder, "PATH ;x", f"{folder}/men/../a.png;1", "men\\p1_c1.png;2", "./men/p1_c1.png;3")
    assert [row["path"] for row in found] == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_come_in_many_encodings(folder: Path, encoding: str) -> None:
    write_crops(folder, "zoë.png")
    (folder / "table.csv").write_bytes("path\tidentity\r\nzoë.png\tZoë\r\n".encode(encoding))
    assert records(request(folder / "table.csv"))[0]["identity"] == "Zoë"


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("1,2,3,4", (1, 2, 3, 4)),
        ("1.0,2.0,3.0,4.0", (1, 2, 3, 4)),
        ("0.4,0.6,10.2,10.2", (0, 1, 11, 10)),  # from 0.4 to 10.6, and from 0.6 to 10.8
        ("-3.2,-1,5,5", (-3, -1, 5, 5)),
        ("1e300,0,1,1", (10**9, 0, 1, 1)),
        (",,,", None),
        ("nan,NaN,None,", None),
    ],
)
def test_a_box_is_rounded_by_its_edges_and_empty_cells_are_no_box(
    folder: Path, given: str, whole: tuple[int, ...] | None
) -> None:
    found = read_image_table(table(folder, "path,left,top,width,height", f"a.png,{given}"), DATA)
    assert found[list(BOX)].iloc[0].tolist() == (list(whole) if whole else [pd.NA] * 4)


def test_columns_of_a_table_win_over_names_and_say_what_is_unknown(folder: Path) -> None:
    first, second = rows(folder, "path,Label,identity,track", "men/p1_c1.png,women,Ann,3", "men/p1_c1.png,child,-1,-1")
    assert (first["label"], first["identity"], first["camera"], first["track"]) == ("FEMALE", "Ann", "c1", "3")
    assert (second["label"], second.get("identity"), second["camera"], second.get("track")) == (
        *("unknown", None, "c1", None),
    )


def test_a_folder_next_to_a_table_keeps_what_its_names_say(folder: Path) -> None:
    both = request(table(folder, "path,identity", "a.png,Ann"), folder / "men")
    assert both.rows["identity"].tolist() == ["Ann", "p1"]


def test_frames_are_whole_numbers(folder: Path) -> None:
    assert [row.get("frame") for row in rows(folder, "path,frame", "a.png,12", "a.png,3.0", "a.png,", "a.png,-1")] == [
        *(12, 3, None, None),
    ]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["path,left,top", "a.png,1,2"], ["width"]),
        (["path,left,top,width,height", "a.png,1,2,3,4", "a.png,1,,3,"], ["row 2", "top, height"]),
        (["path,left,top,width,height", "a.png,1,2,three,4"], ["row 1", "width", "three"]),
        (["path,left,top,width,height", "a.png,1,inf,3,4"], ["row 1", "top", "inf"]),
        (["path,frame", "a.png,1", "a.png,1.5"], ["row 2", "frame", "1.5"]),
        (["path,label", "a.png,men", " ,men"], ["row 2", "path"]),
        (["file,label", "a.png,men"], ["path", "file"]),
        (["path"], ["no rows"]),
        (["path,frame", "video.mp4,1", "video.mp4,"], ["row 2", "frame"]),
        (["path,frame", "video.mp4,1", "video.mp4,2", "video.mp4,1"], ["row 3", "sort"]),
        (["path", "A.png"], ["a.png"]),
        (["path", "C:\\crops\\b.png"], ["Windows"]),
        (["path", "https://example.org/b.png"], ["download"]),
        (["path", "b.png", "c.png"], ["2 files", "b.png"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_row_and_the_value(
    folder: Path, lines: list[str], named: list[str]
) -> None:
    file = table(folder, *lines)
    with pytest.raises(GenderClsError) as caught:
        request(file)
    assert all(text in str(caught.value) for text in [str(file), *named]), caught.value


def test_one_missing_file_among_others_is_a_fault_of_its_row(folder: Path) -> None:
    [batch] = batches(request(table(folder, "path", "a.png", "C:\\crops\\001gone.png")))
    assert [fact.fault for fact in batch.facts] == [None, "missing"]
    assert "001gone.png: No such file" in batch.facts[1].reason


def test_a_parquet_table_gives_the_rows_of_the_same_csv(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    cells = pd.DataFrame({
        "path": ["a.png", "men/p1_c1.png", "a.png"],
        "Identity": pd.array([12, None, 7], dtype="Int64"),
        "left": [0.4, None, 3], "top": [0.6, None, 3], "width": [10.2, None, 3], "height": [10.2, None, 3],
        "frame": pd.Series([4, 5, 6], dtype="int32"),
        "label": pd.Categorical(["men", None, "women"]),
        "score": [0.1, 0.2, 0.3],
    })  # fmt: skip
    cells.to_parquet(folder / "t.parquet")
    cells.to_csv(folder / "t.csv", index=False)
    pd.testing.assert_frame_equal(request(folder / "t.parquet").rows, request(folder / "t.csv").rows)


def test_a_parquet_table_needs_pyarrow_and_has_to_be_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "t.parquet").write_text("path\na.png")
    with pytest.raises(GenderClsError, match=r"t\.parquet"):
        request(folder / "t.parquet")
    pd.DataFrame({"file": ["a.png"]}).to_parquet(folder / "t.parquet")
    with pytest.raises(GenderClsError, match=r"t\.parquet .*'path'.*file"):
        request(folder / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(GenderClsError, match=r"pip install .*pyarrow"):
        request(folder / "t.parquet")
