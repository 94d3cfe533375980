from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers.crops import write_crops
from helpers.importing import assert_columns, assert_refused, cell, read
from scipy.io import savemat

RAP1_NAMES = ["AgeLess16", "Age17-30", "Female", "attach-Box", "faceFront", "faceLeft", "occlusionLeft"]
RAP1_NAMES += ["occlusion-Person"]
RAP2_NAMES = ["Femal", "AgeLess16", "Age17-30", "attachment-Box", "attachment-HandBag", "viewpoint"]
RAP2_NAMES += ["OcclusionLeft", "occlustion-TypePerson"]
RAP_FILES = [
    "CAM01_2014-02-15_20140215161032-20140215162620_tarid31_frame644_line1.png",
    "CAM01_2014-02-15_20140215161032-20140215162620_tarid31_frame670_line1.png",
    "CAM07-2013-12-23-20131223122515-20131223123103-tarid7-frame1602-line2.png",
    "odd.png",
]


def rap(root: Path, mat: dict[str, Any]) -> Path:
    write_crops(root / "RAP_dataset", *RAP_FILES)
    (root / "RAP_annotation").mkdir(exist_ok=True)
    savemat(root / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": mat})
    return root


def rap1(root: Path, female: Sequence[int] = (1, 0, 2, 0)) -> Path:
    values = np.array([[0, 1, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0], [0] * 8])
    values[:, 2] = female
    partitions = [{"train_index": np.array([[1, 2, 3]]), "test_index": np.array([[4]])} for _ in range(4)]
    partitions.append({"train_index": np.array([[4, 2]]), "test_index": np.array([[1, 3]])})
    mat = {"partition": cell(partitions), "label": values.astype(np.uint8), "attribute_chinese": cell(["x"] * 8)}
    return rap(root, {**mat, "attribute_eng": cell(RAP1_NAMES), "imagesname": cell(RAP_FILES)})


def test_rap_1_leaves_the_uncertain_open_and_keeps_tracks_together(tmp_path: Path) -> None:
    table = read("rap_v1", rap1(tmp_path))
    first, second, third, odd = table["identity"].tolist()
    assert first == second == "CAM01_2014-02-15_20140215161032-20140215162620_tarid31"
    assert third == "CAM07_2013-12-23-20131223122515-20131223123103_tarid7"
    assert odd == ""
    assert_columns(table, label="FEMALE MALE unknown MALE", camera="CAM01 CAM01 CAM07 -", frame="644 670 1602 -")
    assert_columns(table, view="front left - -", occlusion="none left;person none none", age="17-30 17-30 less16 -")
    assert_columns(table, carrying="box nothing nothing nothing")
    assert set(table["split"]) == {""}


def test_rap_1_as_it_is_distributed_spells_its_splits_partion_and_knows_people(tmp_path: Path) -> None:
    """Fields and types of the authors' file: 5 structs, counts from 1, identities as int16 with -1 for nobody."""
    shown = [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)]  # track and frame
    files = [RAP_FILES[2].replace("tarid7-frame1602", f"tarid{track}-frame{frame}") for track, frame in shown]
    rap1(tmp_path)
    write_crops(tmp_path / "RAP_dataset", *files)
    values = np.zeros((5, len(RAP1_NAMES)), dtype=np.uint8)
    values[:, 2] = [1, 1, 0, 2, 0]
    train, test = np.array([[5, 1, 4]], dtype=np.uint16), np.array([[3, 2]], dtype=np.uint16)
    mat = {
        "partion": cell(
            [{"train_index": train, "test_index": test}, *[{"train_index": test, "test_index": train}] * 4]
        ),
        "label": values,
        "attribute_chinese": cell(["性别"] * len(RAP1_NAMES)),
        "attribute_eng": cell(RAP1_NAMES),
        "position": np.zeros((5, 16), dtype=np.int16),
        "imagesname": cell(files),
        "attribute_exp": cell(["x"] * len(RAP1_NAMES)),
        "identity": np.array([[1182], [-1], [-1], [12], [13]], dtype=np.int16),
    }
    savemat(tmp_path / "RAP_annotation" / "RAP_annotation.mat", {"RAP_annotation": mat})
    table = read("rap_v1", tmp_path, "1")
    assert_columns(table, label="FEMALE FEMALE MALE unknown MALE", split="train test test - train")
    first, same_track, alone, *both = table["identity"].tolist()
    assert (first, same_track, both) == ("person_1182", "person_1182", ["person_12", "person_13"])
    assert alone == "CAM07_2013-12-23-20131223122515-20131223123103_tarid2"
    assert_columns(read("rap_v1", tmp_path, "5"), split="test train train - test")


def test_rap_1_published_splits_count_from_1_and_leave_unknown_labels_out(tmp_path: Path) -> None:
    rap1(tmp_path)
    assert read("rap_v1", tmp_path, "1")["split"].tolist() == ["train", "train", "", "test"]
    assert read("rap_v1", tmp_path, "5")["split"].tolist() == ["test", "train", "", "train"]
    assert_refused(r"rap_v1: .* 1, 2, 3, 4, 5 or null", "rap_v1", tmp_path, "6")


def rap2(root: Path, train: Sequence[int] = (1, 2)) -> Path:
    values = np.array([[1, 0, 1, 1, 1, 1, 0, 1], [1, 0, 1, 0, 0, 4, 1, 0], [0, 1, 0, 0, 0, 9, 0, 0], [2] + [0] * 7])
    partition = {"train_index": np.array([train]), "val_index": np.array([[3]]), "test_index": np.array([[4]])}
    mat = {
        "name": cell(RAP_FILES),
        "data": values.astype(float),
        "attribute": cell(RAP2_NAMES),
        "selected_attribute": np.array([[1, 2]]),
        "partition_attribute": cell([partition] * 5, row=True),
        "partition_reid": {"train_identity": np.array([[12]])},
        "person_identity": np.array([[12.0], [12.0], [-1.0], [-1.0]]),
    }
    return rap(root, mat)


def test_rap_2_knows_people_and_numbers_its_views(tmp_path: Path) -> None:
    table = read("rap_v2", rap2(tmp_path), "2")
    assert_columns(table, label="FEMALE FEMALE MALE unknown", split="train train val -", view="front right - -")
    assert_columns(table, identity="person_12 person_12 CAM07_2013-12-23-20131223122515-20131223123103_tarid7 -")
    assert_columns(table, occlusion="person left none none", carrying="box;handbag nothing nothing nothing")


def test_rap_refuses_the_other_version_wrong_values_and_overlapping_splits(tmp_path: Path) -> None:
    assert_refused(r"no 'imagesname', only name, data, ", "rap_v1", rap2(tmp_path / "2"))
    assert_refused(r"Female = '3' in row 2, .* 0 or 1 or 2\.$", "rap_v1", rap1(tmp_path / "1", female=[1, 3, 2, 0]))
    assert_refused(r"split 3 of .* twice, .* val", "rap_v2", rap2(tmp_path / "twice", train=[1, 3]), "3")
    assert_refused(r"image 9 in train, .* 4\.$", "rap_v2", rap2(tmp_path / "range", train=[1, 9]), "3")
