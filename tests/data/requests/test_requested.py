"""From names to rows: the same images give the same rows, however they are listed."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers.asking import batches, listed, records, request
from helpers.crops import draw_folders, write_crops

from gender_cls.config.data import DataConfig
from gender_cls.data.requests.requested import REQUEST_COLUMNS, requested_dataset
from gender_cls.errors import GenderClsError

NAMES = ("men/p1_c1.png", "men/night/p2_c2.png", "women/p1_c2 (copy).png", "women/zoë p3_c1.png", "x.png")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return write_crops(tmp_path / "p9_c9" / "crops", *NAMES)


def known(rows: list[dict[str, str]]) -> dict[str, tuple[str, str, str]]:
    """(label, identity, camera) by the name of the file."""
    return {Path(row["path"]).name: (row["label"], row.get("identity", ""), row.get("camera", "")) for row in rows}


@pytest.mark.parametrize("way", ["list", "csv", "relative csv", "glob", "stdin", "stdin -print0", "folder with .."])
def test_however_images_are_listed_their_rows_and_batches_are_the_same(
    crops: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request(crops)
    paths = sorted(str(crops / name) for name in NAMES)
    monkeypatch.chdir(crops / "men")
    relative = [os.path.relpath(path, crops / "men") for path in paths]
    if way.endswith("csv"):
        table = crops / "men" / "table.csv"
        table.write_text("\n".join(["path", *(relative if way == "relative csv" else paths)]), encoding="utf-8")
        other = request(table)
    elif way == "stdin -print0":
        other = request("-", stdin="".join(f"{path}\0" for path in relative).encode())
    else:
        other = {
            "list": lambda: request(*paths),
            "glob": lambda: request(f"{crops}/**/*.png"),
            "stdin": lambda: listed(relative),
            "folder with ..": lambda: request(f"{crops}/men/.."),
        }[way]()
    assert folder.rows["path"].tolist() == paths
    pd.testing.assert_frame_equal(other.rows, folder.rows)
    for one, same in zip(batches(folder), batches(other), strict=True):
        assert torch.equal(one.inputs[0], same.inputs[0])
        assert one.facts == same.facts


def test_names_below_the_common_folder_tell_label_person_and_camera(crops: Path) -> None:
    assert known(records(request(crops))) == {
        "p1_c1.png": ("MALE", "p1", "c1"),
        "p2_c2.png": ("MALE", "p2", "c2"),
        "p1_c2 (copy).png": ("FEMALE", "p1", "c2"),
        "zoë p3_c1.png": ("FEMALE", "p3", "c1"),
        "x.png": ("unknown", "", ""),  # and not p9 and c9, which a folder further up is called
    }


def test_the_common_folder_names_a_label_but_no_person_and_folders_above_it_nothing(tmp_path: Path) -> None:
    write_crops(tmp_path, "men/p7_c7/a.png", "men/p7_c7/p1_c1/women/b.png")
    both = known(records(request(tmp_path / "men" / "p7_c7")))
    assert both == {"a.png": ("unknown", "", ""), "b.png": ("FEMALE", "p1", "c1")}
    assert known(records(request(tmp_path / "men" / "p7_c7" / "a.png"))) == {"a.png": ("unknown", "", "")}
    alone = records(request(tmp_path / "men" / "p7_c7" / "p1_c1" / "women"))
    assert known(alone) == {"b.png": ("FEMALE", "", "")}


def test_in_the_runs_own_data_the_pattern_sees_the_path_below_their_root(tmp_path: Path) -> None:
    write_crops(tmp_path, "data/p1_c1/a.png", "else/p2_c2/b.png")
    (tmp_path / "link").symlink_to("data")
    images = tmp_path / "link" / "p1_c1" / "a.png", tmp_path / "else" / "p2_c2" / "b.png"
    assert known(records(request(images[0], root=tmp_path / "data"))) == {"a.png": ("unknown", "p1", "c1")}
    assert known(records(request(images[1], root=tmp_path / "data"))) == {"b.png": ("unknown", "", "")}


def test_names_are_answered_in_their_order_and_as_often_as_they_are_given(crops: Path) -> None:
    first, last = crops / "x.png", crops / "men" / "p1_c1.png"
    assert request(first, last, first).rows["path"].tolist() == [str(first), str(last), str(first)]


def test_a_link_keeps_its_name(tmp_path: Path) -> None:
    write_crops(tmp_path, "pool/p1_c1.png")
    (tmp_path / "women").symlink_to("pool")
    [row] = records(request(tmp_path / "women"))
    assert (row["path"], row["label"]) == (str(tmp_path / "women" / "p1_c1.png"), "FEMALE")


def test_folders_and_patterns_leave_out_what_is_no_image(crops: Path) -> None:
    (crops / "notes.txt").write_text("p1_c1.png")
    (crops / ".hidden.png").touch()
    os.mkfifo(crops / "pipe.png")
    for found in (request(crops), request(f"{crops}/*")):
        assert len(found.rows) == len(NAMES)
        assert found.left_out["other"] == [str(crops / "notes.txt")]
        assert found.left_out["special"] == [str(crops / "pipe.png")]


def test_a_pattern_takes_folders_too_and_every_image_once(crops: Path) -> None:
    everything = request(crops).rows
    pd.testing.assert_frame_equal(request(f"{crops}/**").rows, everything)
    assert len(request(f"{crops}/[mw]*").rows) == 4
    bracket = write_crops(crops, "a[1].png") / "a[1].png"
    assert request(bracket).rows["path"].tolist() == [str(bracket)]
    with pytest.raises(GenderClsError, match=r"nothing-\*"):
        request(f"{crops}/nothing-*")


def test_lines_of_standard_input_may_come_from_windows_and_count_from_this_folder(
    crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(crops)
    rows = request("-", stdin=b"men\\p1_c1.png\r\n\r\nx.png").rows
    assert rows["path"].tolist() == [str(crops / "men/p1_c1.png"), str(crops / "x.png")]
    with pytest.raises(GenderClsError, match="Standard input"):
        request("-", stdin=b"\n")
    with pytest.raises(GenderClsError, match=r"gone\.png"):
        listed(["gone.png", "away.png"])


def test_odd_names_become_escapes_and_what_they_hide_is_said(crops: Path) -> None:
    (crops / "x.png").rename(crops / "a\n\x1b[31m.png")
    (crops / "men" / "p1_c1.png").rename(crops / "\udce9.png")  # the byte E9, as Python keeps it
    found = request(crops)
    names = [os.path.basename(path) for path in found.rows["path"]]
    assert {r"a\012\033[31m.png", r"\351.png"} < set(names)
    facts = dict(zip(names, (fact for batch in batches(found) for fact in batch.facts), strict=True))
    assert "control characters" in facts[r"\351.png"].reason
    assert [fact.fault for fact in facts.values()].count("missing") == 2
    (crops / "table.csv").write_text("path\nmen/night/p2_c2.png\na\\x0a\\x1b[31m.png\n")
    assert request(crops / "table.csv").rows["path"].tolist() == [
        *(f"{crops}/men/night/p2_c2.png", rf"{crops}/a\012\033[31m.png"),
    ]


def test_what_is_neither_image_nor_table_is_refused_with_the_way_out(crops: Path) -> None:
    (crops / "list.txt").write_text("x.png")
    (crops / "empty").mkdir()
    with pytest.raises(GenderClsError, match=r"list\.txt .*images=- < list\.txt"):
        request(crops / "list.txt")
    with pytest.raises(GenderClsError, match=f"{crops}/empty"):
        request(crops / "empty")


def test_the_results_are_named_after_the_first_file_folder_or_table(crops: Path) -> None:
    (crops / "my table.csv").write_text("path\nx.png")
    names = {"crops": crops, "x": crops / "x.png", "my-table": crops / "my table.csv", "men": f"{crops}/men/*.png"}
    assert {name: request(given, crops / "x.png").name for name, given in names.items()} == {n: n for n in names}
    assert listed([crops / "x.png"]).name == "standard_input"
    assert request(f"{crops}/**/p*.png").name == "crops"


def test_the_frames_of_a_mot_folder_become_one_row_per_box(tmp_path: Path) -> None:
    write_crops(tmp_path / "p5_c5", "img1/000001.png", "img1/000002.png")
    (tmp_path / "boxes.txt").write_text("1,7,2,3,9.6,20,0.9,-1,-1,-1\n2,7,3,3,10,20,0.9,-1,-1,-1\n")
    boxes = str(tmp_path / "boxes.txt")
    first, second = records(request(tmp_path / "p5_c5", boxes=boxes))
    box = {"left": 2, "top": 3, "width": 10, "height": 20}
    assert first == {"path": f"{tmp_path}/p5_c5/img1/000001.png", "frame": 1, "track": "7", "label": "unknown"} | box
    assert (second["frame"], second["left"]) == (2, 3)
    with pytest.raises(GenderClsError, match=r"boxes\.txt"):
        request(tmp_path / "p5_c5" / "img1" / "000001.png", boxes=boxes)


def test_a_pattern_finds_mot_folders_with_their_own_boxes(tmp_path: Path) -> None:
    for number in (1, 2):
        write_crops(tmp_path / f"scene{number}", "img1/000001.png")
        (tmp_path / f"scene{number}" / "det").mkdir()
        (tmp_path / f"scene{number}" / "det" / "det.txt").write_text("1,-1,2,3,9,20,0.9\n" * number)
    write_crops(tmp_path / "scene3", "x.png")
    found = request(f"{tmp_path}/scene*").rows
    assert [Path(path).parts[-3] for path in found["path"]][1:] == ["scene1", "scene2", "scene2"]
    assert found["width"].notna().tolist() == [False, True, True, True]


def test_a_box_gets_no_person_from_the_name_of_its_picture(crops: Path) -> None:
    (crops / "boxes.csv").write_text("path,left,top,width,height\nmen/p1_c1.png,1,1,9,9\nmen/p1_c1.png,,,,\n")
    boxed, whole = records(request(crops / "boxes.csv"))
    assert (boxed.get("identity"), boxed["camera"], whole["identity"]) == (None, "c1", "p1")


def test_a_dataset_is_all_its_images_with_what_its_annotations_say(tmp_path: Path) -> None:
    root = draw_folders(tmp_path / "crops")
    found = requested_dataset(DataConfig(root=str(root), pattern=r"(?P<identity>person\d+)_(?P<camera>camera\d)"))
    assert (found.name, len(found.rows), tuple(found.rows)) == ("crops", 48, REQUEST_COLUMNS)
    assert records(found)[0] == {
        "path": f"{root}/FEMALE/person00_camera0_0.png", "identity": "person00", "camera": "camera0", "label": "FEMALE",
    }  # fmt: skip
