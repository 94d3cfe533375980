from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers.crops import write_crops
from helpers.importing import assert_columns, assert_refused, cell, read
from scipy.io import savemat

PA100K_NAMES = ["AgeOver60", "Female", "Age18-60", "AgeLess18", "Front", "Side", "Back", "HandBag", "Backpack", "Hat"]


def pa100k(root: Path, female: Sequence[int] = (1, 0, 0, 1), names: Sequence[str] = PA100K_NAMES) -> Path:
    """Two images of train, one of val, one of test."""
    flags = {"Female": female, "AgeOver60": [1, 0, 0, 0], "Age18-60": [0, 1, 1, 0], "Front": [1, 0, 0, 0]}
    flags |= {"Back": [0, 1, 0, 0], "HandBag": [1, 0, 0, 0], "Backpack": [1, 0, 1, 0]}
    values = np.stack([np.array(flags.get(name, [0] * 4), dtype=np.uint8) for name in names], axis=1)
    files = [f"{number:06d}.jpg" for number in (1, 2, 3, 4)]
    write_crops(root / "data", *files)
    rows = {"train": slice(0, 2), "val": slice(2, 3), "test": slice(3, 4)}
    mat: dict[str, Any] = {"attributes": cell(names)}
    for split, rows_of_split in rows.items():
        mat[f"{split}_images_name"] = cell(files[rows_of_split])
        mat[f"{split}_label"] = values[rows_of_split]
    savemat(root / "annotation.mat", mat)
    return root


def test_pa100k_finds_the_sex_by_its_name_and_keeps_the_split(tmp_path: Path) -> None:
    table = read("pa100k", pa100k(tmp_path), "official")
    assert_columns(table, path="data/000001.jpg data/000002.jpg data/000003.jpg data/000004.jpg")
    assert_columns(table, label="FEMALE MALE MALE FEMALE", split="train train val test", view="front back - -")
    assert_columns(table, age="over60 18-60 18-60 -", carrying="handbag;backpack nothing backpack nothing")
    assert all(isinstance(value, str) for value in table.to_numpy().ravel())


def test_no_published_split_means_none(tmp_path: Path) -> None:
    assert set(read("pa100k", pa100k(tmp_path))["split"]) == {""}
    assert_refused(r"published_split=2 .*pa100k.* official ", "pa100k", tmp_path, "2")


def test_pa100k_refuses_values_and_names_that_are_not_as_published(tmp_path: Path) -> None:
    root = pa100k(tmp_path, female=[1, 0, 2, 1])
    assert_refused(r"annotation\.mat .*Female = '2' in row 3, the first of 1 ", "pa100k", root)
    root = pa100k(tmp_path, names=["AgeOver60", "Sex", *PA100K_NAMES[2:]])
    assert_refused(r"0 attributes named Female, .* AgeOver60, Sex", "pa100k", root)


def test_a_missing_file_is_named_with_where_to_get_it_and_its_licence(tmp_path: Path) -> None:
    for importer, message in (
        ("pa100k", r"^annotation\.mat .*HydraPlus-Net \(CC BY 4\.0"),
        ("rap_v2", r"RAP_annotation\.mat.*an agreement to sign"),
        ("market1501", r"market_attribute\.mat.*attribute/market_attribute\.mat"),
        ("upar", r"UPAR's annotations .*CC BY-NC-SA 3\.0"),
        ("mivia_par", r"^training_set\.txt .*MIVIA PAR at "),
    ):
        assert_refused(message, importer, tmp_path)
    assert_refused(r"data\.root.*nowhere", "pa100k", tmp_path / "nowhere")


def test_images_that_are_annotated_but_not_there_are_counted(tmp_path: Path) -> None:
    pa100k(tmp_path)
    for number in (2, 4):
        (tmp_path / "data" / f"00000{number}.jpg").unlink()
    assert_refused(r" 2 images .*: data/000002.jpg, data/000004.jpg;", "pa100k", tmp_path)


def test_files_that_are_not_matlab_5_get_one_clear_sentence(tmp_path: Path) -> None:
    pa100k(tmp_path)
    annotation = tmp_path / "annotation.mat"
    whole = annotation.read_bytes()
    annotation.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n")
    assert_refused(r"annotation\.mat .*HDF5.*save\('-v7', \.\.\.\)", "pa100k", tmp_path)
    for broken in (b"", b"<html>not found</html>" * 20, whole[: len(whole) // 2]):
        annotation.write_bytes(broken)
        assert_refused(r"annotation\.mat (cannot be read|has no 'attributes')", "pa100k", tmp_path)
