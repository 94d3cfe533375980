import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.crops import write_crops
from helpers.importing import assert_refused
from helpers.importing import read as read_any
from helpers.peta import IMAGES, peta_mat

SHARED = Path(__file__).parents[4] / "shared" / "data"


def read(root: Path, split: str | None = None) -> pd.DataFrame:
    return read_any("peta", root, split)


def subset(root: Path, name: str, label: str, images: Sequence[str]) -> Path:
    write_crops(root / name / "archive", *images)
    (root / name / "archive" / "Label.txt").write_text(label)
    return root


def test_folders_match_people_by_the_name_before_the_underscore(tmp_path: Path) -> None:
    root = tmp_path / "PETA dataset"
    label = "4 personalLess45 personalFemale carryingBackpack carryingOther\n"
    label += "31 personalMale personalLarger60 carryingNothing\n99 personalMale\n"
    subset(root, "TownCentre", label, ["4_138.jpg", "4_147.jpg", "31_598.jpg", "5_7.jpg"])
    label = "0001.png personalMale carryingUmbrella\n0002.png personalFemale personalLess15\n0003.png hairLong\n"
    subset(root, "CUHK", label, ["0001.png", "0002.png", "0003.png"])
    subset(root, "MIT", "00006 personalFemale\n00214 personalMale\n", ["00006_female_back.jpg", "00214_male_fore.jpg"])
    subset(root, "3DPeS", "166 personalMale\n", ["166_B_1280_FRAME_105_RGB.bmp"])
    table = read(root).set_index("path")
    rows = {
        "TownCentre/archive/4_138.jpg": ["FEMALE", "TownCentre_4", "138", "", "less45", "backpack;other"],
        "TownCentre/archive/31_598.jpg": ["MALE", "TownCentre_31", "598", "", "larger60", "nothing"],
        "TownCentre/archive/5_7.jpg": ["unknown", "TownCentre_5", "7", "", "", ""],
        "CUHK/archive/0001.png": ["MALE", "CUHK_0001", "", "", "", "umbrella"],
        "CUHK/archive/0002.png": ["FEMALE", "CUHK_0002", "", "", "less15", ""],
        "CUHK/archive/0003.png": ["unknown", "CUHK_0003", "", "", "", ""],
        "MIT/archive/00006_female_back.jpg": ["FEMALE", "MIT_00006", "", "back", "", ""],
        "MIT/archive/00214_male_fore.jpg": ["MALE", "MIT_00214", "", "front", "", ""],
        "3DPeS/archive/166_B_1280_FRAME_105_RGB.bmp": ["MALE", "3DPeS_166", "105", "", "", ""],
    }
    assert len(table) == 10
    for path, expected in rows.items():
        assert table.loc[path, ["label", "identity", "frame", "view", "age", "carrying"]].tolist() == expected
    assert (table["source"] == table.index.str.partition("/").get_level_values(0)).all()
    assert (table["camera"] == table["source"]).all()
    assert table.loc["3DPeS/archive/166_B_1280_FRAME_105_RGB.bmp", "sequence"] == "1280"
    assert set(table["split"]) == {""}


LABEL = "1 personalMale carryingBackpack\n2 personalFemale personalLess30\n"


@pytest.mark.parametrize(
    "label",
    [
        *(LABEL.encode(encoding) for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "cp1252")),
        *(LABEL.replace(" ", sign).encode() for sign in (",", ", ", "\t", ";")),
        LABEL.replace("\n", ",,\r\n").encode(),
        LABEL.upper().encode(),
        LABEL.lower().encode(),
    ],
)
def test_label_files_that_passed_through_other_programs_mean_the_same(tmp_path: Path, label: bytes) -> None:
    subset(tmp_path, "GRID", "", ["1_a.png", "2_a.png"])
    (tmp_path / "GRID" / "archive" / "Label.txt").write_bytes(label)
    table = read(tmp_path)
    assert table["label"].tolist() == ["MALE", "FEMALE"]
    assert table[["age", "carrying"]].to_numpy().tolist() == [["", "backpack"], ["less30", ""]]


def test_images_are_known_by_content_and_pipes_are_not_opened(tmp_path: Path) -> None:
    archive = subset(tmp_path, "GRID", LABEL, ["1_a.png", "2_a.png"]) / "GRID" / "archive"
    (archive / "2_a.png").rename(archive / "2_a.scan")
    (archive / "Thumbs.db").write_bytes(b"x")
    os.mkfifo(archive / "1_pipe.png")
    assert read(tmp_path)["path"].tolist() == ["GRID/archive/1_a.png", "GRID/archive/2_a.scan"]


def test_both_sexes_at_once_leave_the_label_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    label = "1 personalMale personalFemale\n2 personalMale\n3 personalFemale\n"
    table = read(subset(tmp_path, "GRID", label, ["1_a.png", "2_a.png", "3_a.png"]))
    assert table["label"].tolist() == ["unknown", "MALE", "FEMALE"]
    assert "GRID/archive/Label.txt gives both sexes to 1 person or image" in caplog.text


def test_folders_that_are_not_as_published_are_refused(tmp_path: Path) -> None:
    assert_refused(r"Label\.txt and .*PETA\.mat; .*research only", "peta", tmp_path)
    subset(tmp_path / "a", "GRID", "1 personalMale\n1 personalFemale\n", ["1_a.png"])
    assert_refused(r"GRID/archive/Label\.txt .*person 1 twice", "peta", tmp_path / "a")
    subset(tmp_path / "b", "GRID", "0001 personalMale\n", ["1_a.png"])
    assert_refused(r"none of the 1 image .* 1_a\.png", "peta", tmp_path / "b")
    subset(tmp_path / "sex", "GRID", "1 male\n", ["1_a.png"])
    assert_refused(r"GRID/archive/Label\.txt gives nobody one of personalMale", "peta", tmp_path / "sex")
    subset(tmp_path / "c", "GRID", "", ["1_a.png"])
    (tmp_path / "c" / "GRID" / "archive" / "Label.txt").unlink()
    assert_refused(r"^Label\.txt is missing: looked for .*/GRID/archive/Label\.txt; nothing", "peta", tmp_path / "c")


def test_peta_mat_gives_labels_people_and_the_published_splits(tmp_path: Path) -> None:
    table = read(peta_mat(tmp_path, lines={0: [0, 0, 0, 0, 0]}), "2")
    assert table["path"].tolist() == [f"images/{row:05d}.png" for row in range(1, IMAGES + 1)]
    assert table["label"].tolist()[:7] == ["unknown", "MALE", "MALE", "FEMALE", "FEMALE", "FEMALE", "MALE"]
    assert table["identity"].tolist()[27:33] == [*["3DPeS_10"] * 3, *["TownCentre_1"] * 3]
    assert table.iloc[3][["source", "camera", "age", "carrying"]].tolist() == ["3DPeS", "3DPeS", "less30", "nothing"]
    assert table["carrying"].tolist()[:2] == ["", "backpack"]
    order = np.random.default_rng(0).permutation(IMAGES)
    expected = np.empty(IMAGES, dtype=object)
    expected[order[:30]], expected[order[30:36]], expected[order[36:]] = "train", "val", "test"
    expected[0] = ""  # of unknown label
    assert table["split"].tolist() == expected.tolist()
    assert Counter(read(tmp_path, "1")["split"]) == {"": 58, "val": 1, "test": 1}
    assert set(read(tmp_path)["split"]) == {""}


def test_zero_shot_shares_nobody_in_the_published_shares_and_is_always_the_same(tmp_path: Path) -> None:
    table = read(peta_mat(tmp_path), "zero_shot")
    assert (table.groupby("identity")["split"].nunique() == 1).all()
    assert Counter(table["split"]) == {"train": 30, "val": 6, "test": 24}
    assert Counter(table["label"][table["split"] == "test"]) == {"MALE": 12, "FEMALE": 12}
    assert read(tmp_path, "zero_shot").equals(table)


def test_a_peta_mat_that_looks_different_is_refused(tmp_path: Path) -> None:
    shifted = {row: [1, 0, 1, 0, 1] for row in range(0, IMAGES, 2)}
    assert_refused(r"personalMale and personalFemale to 50%", "peta", peta_mat(tmp_path / "a", lines=shifted), "1")
    root = peta_mat(tmp_path / "b", lines={3: [0, 0, 2, 0, 0]})
    assert_refused(r"personalMale = '2' in row 4, .* 0 or 1\.$", "peta", root, "1")
    assert_refused(r"first 4 columns of .*PETA\.mat", "peta", peta_mat(tmp_path / "c", people=[1] * IMAGES), "1")
    (tmp_path / "b" / "PETA.mat").unlink()
    assert_refused(r"^PETA\.mat .*Deng et al\., ACM MM 2014", "peta", tmp_path / "b", "zero_shot")
    assert_refused(r"peta: .* 1, 2, 3, 4, 5, zero_shot or null", "peta", tmp_path / "b", "random")
    peta_mat(tmp_path / "d")
    (tmp_path / "d" / "images" / "00007.png").unlink()
    assert_refused(r" 1 image .*: images/00007\.png;", "peta", tmp_path / "d", "1")


@pytest.mark.skipif(not (SHARED / "peta_part").is_dir(), reason="the real images are not there")
def test_all_labels_of_five_real_subsets() -> None:
    """Against an independent reading of Label.txt, and the same images in the folders MALE and FEMALE."""
    root = SHARED / "peta_part"
    expected = {}
    for label in root.glob("*/archive/Label.txt"):
        female = {line.split()[0]: " personalFemale" in line for line in label.read_text().splitlines() if line.strip()}
        for image in set(label.parent.iterdir()) - {label}:
            path = image.relative_to(root).as_posix()
            expected[path] = "FEMALE" if female[image.name.split("_")[0]] else "MALE"
    table = read(root)
    assert dict(zip(table["path"], table["label"], strict=True)) == expected
    images = {"TownCentre": 6967, "CAVIAR4REID": 1220, "3DPeS": 1012, "MIT": 888, "i-LID": 477}
    people = {"TownCentre": 222, "CAVIAR4REID": 72, "3DPeS": 193, "MIT": 888, "i-LID": 120}
    assert Counter(table["source"]) == images
    assert table.groupby("source")["identity"].nunique().to_dict() == people
    assert Counter(zip(table["source"], table["label"], strict=True))["3DPeS", "MALE"] == 912

    def common_name(source: str, name: str) -> tuple[str, str]:
        return source.replace("-", ""), name.replace("-", "_").lower()

    labels = {
        common_name(source, path.rpartition("/")[2]): label
        for source, path, label in table[["source", "path", "label"]].itertuples(index=False)
    }
    sorted_by_hand = {
        common_name(image.name.split("_")[0], image.name.split("_", 2)[2]): image.parent.name
        for image in (SHARED / "cctv").glob("*ALE/*")
    }
    assert len(sorted_by_hand) == 5429
    assert set(sorted_by_hand) <= set(labels)
    assert [name for name, label in sorted_by_hand.items() if labels[name] != label] == []
