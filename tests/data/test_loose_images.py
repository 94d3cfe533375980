from pathlib import Path

import pandas as pd
import pytest
from helpers.crops import write_crops

from gender_cls.config.data import DataConfig
from gender_cls.data.manifest import loose_images
from gender_cls.errors import GenderClsError

DATA = DataConfig(
    root="-", pattern=r"(?P<identity>p\d+)_(?P<camera>c\d)", aliases={"FEMALE": ["women"], "MALE": ["men", "m"]}
)
NOTHING = pd.DataFrame({"path": [], "label": []})


def rows_of(paths: list[Path], manifest: pd.DataFrame = NOTHING, root: Path = Path("/nowhere")) -> list[dict[str, str]]:
    return loose_images(paths, DATA, manifest, root).to_dict("records")


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
