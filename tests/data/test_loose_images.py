import os
from pathlib import Path

import pandas as pd
import pytest
from helpers.crops import write_crops

from gender_cls.config.checks import make_paths_absolute
from gender_cls.config.data import DataConfig
from gender_cls.config.explain import ExplainRunConfig
from gender_cls.data.loose_images import LooseImages, loose_images
from gender_cls.errors import GenderClsError

DATA = DataConfig(
    root="-", pattern=r"(?P<identity>p\d+)_(?P<camera>c\d)", aliases={"FEMALE": ["women"], "MALE": ["men", "m"]}
)
NOTHING = pd.DataFrame({"path": [], "label": []})


def rows_of(paths: list[Path], manifest: pd.DataFrame = NOTHING, root: Path = Path("/nowhere")) -> list[dict[str, str]]:
    return read(paths, manifest, root).rows.to_dict("records")


def read(paths: list[Path], manifest: pd.DataFrame = NOTHING, root: Path = Path("/nowhere")) -> LooseImages:
    return loose_images(paths, DATA, manifest, root)


def test_folders_and_names_tell_label_person_and_camera(tmp_path: Path) -> None:
    write_crops(tmp_path / "b", "Women/p1_c2.png", "Women/night/p3_c1.png", "others/x.png", ".hidden/p9_c9.png")
    found = {Path(row["path"]).name: row for row in rows_of([tmp_path / "b"])}
    assert list(found) == ["p3_c1.png", "p1_c2.png", "x.png"]  # by path: night before p1; without what is hidden
    known = {"path": str(tmp_path / "b/Women/p1_c2.png"), "label": "FEMALE", "identity": "p1", "camera": "c2"}
    assert found["p1_c2.png"] == {**known, "source": "", "group": ""}
    assert found["p3_c1.png"]["label"] == "FEMALE"
    assert (found["x.png"]["label"], found["x.png"]["identity"]) == ("unknown", "")


def test_folders_above_the_named_one_tell_nothing(tmp_path: Path) -> None:
    file = write_crops(tmp_path, "m/shots/p1_c1.png") / "m/shots/p1_c1.png"
    assert rows_of([tmp_path / "m" / "shots"])[0]["label"] == "unknown"
    assert rows_of([file])[0]["label"] == "unknown"
    assert rows_of([tmp_path / "m"])[0]["label"] == "MALE"


def test_a_file_is_in_its_own_folder_and_named_twice_it_counts_once(tmp_path: Path) -> None:
    file = write_crops(tmp_path, "men/p1_c1.png") / "men/p1_c1.png"
    assert [row["label"] for row in rows_of([file, tmp_path / "men"])] == ["MALE"]


def test_an_image_of_the_manifest_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    write_crops(tmp_path, "men/p1_c1.png")
    manifest = pd.DataFrame([{"path": "men/p1_c1.png", "label": "FEMALE", "identity": "Ann", "group": "g1"}])
    [row] = rows_of([tmp_path / "men"], manifest, tmp_path)
    assert (row["label"], row["identity"], row["camera"], row["group"]) == ("FEMALE", "Ann", "", "g1")
    assert row["path"] == str(tmp_path / "men" / "p1_c1.png")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(GenderClsError, match=str(tmp_path)):
        rows_of([tmp_path])


def test_the_folders_of_an_image_may_not_name_two_labels(tmp_path: Path) -> None:
    write_crops(tmp_path, "men/night/women/p1_c1.png")
    with pytest.raises(GenderClsError, match=r"men/night/women .*MALE and FEMALE"):
        rows_of([tmp_path / "men"])


def test_the_pattern_sees_no_folder_above_the_named_one(tmp_path: Path) -> None:
    write_crops(tmp_path / "p9_c9", "x.png", "p1_c1/y.png")
    named = tmp_path / "p9_c9"
    assert [row["identity"] for row in rows_of([named])] == ["p1", ""]
    assert [row["identity"] for row in rows_of([named / "x.png", named / "p1_c1" / "y.png"])] == ["", ""]
    inside_the_data = rows_of([named / "p1_c1" / "y.png"], root=named)
    assert [row["identity"] for row in inside_the_data] == ["p1"], "as in training"


def test_what_is_no_image_or_has_an_odd_name_is_left_out(tmp_path: Path) -> None:
    write_crops(tmp_path, "men/p1_c1.png", "men/a\rb.png", "men/.x.png")
    os.mkfifo(tmp_path / "men" / "pipe.png")
    os.link(tmp_path / "men" / "p1_c1.png", tmp_path / "men" / "q.png")
    found = read([tmp_path / "men"])
    assert found.rows["path"].tolist() == [str(tmp_path / "men" / "p1_c1.png")]
    assert found.odd_names == [str(tmp_path / "men" / "a\rb.png")]
    names = {kind: [Path(path).name for path in paths] for kind, paths in found.left_out.items() if paths}
    assert names == {"hidden": [".x.png"], "special": ["pipe.png"], "again": ["q.png"]}
    with pytest.raises(GenderClsError, match=r"pipe\.png is neither"):
        rows_of([tmp_path / "men" / "pipe.png"])


def test_a_link_that_is_named_keeps_its_folder(tmp_path: Path) -> None:
    write_crops(tmp_path, "pool/1.png")
    (tmp_path / "men").mkdir()
    (tmp_path / "men" / "p1_c1.png").symlink_to("../pool/1.png")
    (tmp_path / "here").symlink_to(".")
    config = ExplainRunConfig(run="x", images=str(tmp_path / "here" / "men" / "p1_c1.png"))
    make_paths_absolute(config)
    [row] = rows_of(config.image_paths)
    assert (row["path"], row["label"], row["identity"]) == (str(tmp_path / "men" / "p1_c1.png"), "MALE", "p1")
