from pathlib import Path

import pytest
from helpers.crops import write_crops
from helpers.importing import assert_columns, assert_refused, read

from gender_cls.config.data import DataConfig, Importer
from gender_cls.data.manifest import read_manifest
from gender_cls.errors import GenderClsError

UPAR_HEADER = "Age-Young,Age-Adult,Age-Old,Gender-Female,Hair-Length-Short,Accessory-Backpack,Accessory-Bag"
UPAR_TRAIN = """\
Market1501/bounding_box_train/0002_c1s1_000801_01.jpg,0,1,0,0,1,0,1
Market1501/bounding_box_train/0010_c6s4_002502_02.jpg,0,1,0,1,0,1,1
PA100k/release_data/release_data/000001.jpg,1,0,0,1,0,0,0
"""
UPAR_VAL = "PETA/images/00001.png,0,0,1,0,1,0,0\n"
UPAR_IMAGES = [line.partition(",")[0] for line in (UPAR_TRAIN + UPAR_VAL).splitlines()]
MIVIA_IMAGES = [f"training_set/{name}.jpg" for name in "abc"] + [f"validation_set/{name}.jpg" for name in "de"]


def upar(root: Path, first: str = "# Image,", train: str = UPAR_TRAIN, val: str = UPAR_VAL) -> Path:
    write_crops(root, *UPAR_IMAGES)
    files = {
        "phase1/train/train.csv": f"{first}{UPAR_HEADER}\n{train}",
        "annotations/val/val.csv": f"{first}{UPAR_HEADER}\n{val}",
        "phase1/val_task1/val.csv": "# Image\nPETA/images/00001.png\n",  # images to predict, without labels
    }
    for place, text in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    return root


@pytest.mark.parametrize("first", ["# Image,", ",# "])
def test_upar_reads_both_kinds_of_header(tmp_path: Path, first: str) -> None:
    table = read("upar", upar(tmp_path, first), "official")
    assert table["path"].tolist() == UPAR_IMAGES
    assert_columns(table, label="MALE FEMALE FEMALE MALE", split="train train train val", frame="000801 002502 - -")
    assert_columns(table, source="Market1501 Market1501 PA100k PETA", age="adult adult young old")
    assert_columns(table, identity="Market1501_0002 Market1501_0010 - -", camera="Market1501_c1 Market1501_c6 - -")
    assert_columns(table, carrying="bag backpack;bag nothing nothing")
    assert set(read("upar", tmp_path)["split"]) == {""}
    for file in tmp_path.rglob("*.csv"):  # through a spreadsheet and into other capitals
        file.write_bytes(file.read_text().replace("Gender-Female", "gender-female").encode("utf-16"))
    assert read("upar", tmp_path, "official").equals(table)


def test_upar_refuses_other_values_missing_images_and_images_named_twice(tmp_path: Path) -> None:
    root = upar(tmp_path / "a", train=UPAR_TRAIN.replace("1,0,0,1,0,0,0", "1,0,0,-1,0,0,0"))
    assert_refused(r"train\.csv .*Gender-Female = '-1' in row 3", "upar", root)
    root = upar(tmp_path / "b", train=UPAR_TRAIN + "PA100k/lost.jpg,1,0,0,1,0,0,0\n")
    assert_refused(r"upar name 1 image .*: PA100k/lost\.jpg;", "upar", root)
    data = DataConfig(root=str(upar(tmp_path / "c", train=UPAR_TRAIN + UPAR_VAL)), importer=Importer.upar)
    with pytest.raises(GenderClsError, match=r" 1 image more than once: PETA/images/00001\.png"):
        read_manifest(data)


MIVIA_TRAIN = "a.jpg,1,11,0,0,1\nb.jpg,-1,2,1,1,0\nc.jpg, 3, 4, -1, -1, -1\n"


def mivia(root: Path, train: str = MIVIA_TRAIN) -> Path:
    write_crops(root, *MIVIA_IMAGES)
    (root / "training_set.txt").write_text(train)
    (root / "validation_set.txt").write_text("d.jpg,1,1,1,0,0\ne.jpg,1,1,0,0,0\n")
    return root


def test_mivia_par_has_1_for_female_and_leaves_what_is_not_annotated_open(tmp_path: Path) -> None:
    table = read("mivia_par", mivia(tmp_path), "official")
    assert table["path"].tolist() == MIVIA_IMAGES
    assert_columns(table, label="MALE FEMALE unknown FEMALE MALE", split="train train - val val")
    assert_columns(table, carrying="nothing bag - nothing nothing")
    assert set(read("mivia_par", tmp_path)["split"]) == {""}


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ("a.jpg,1,2,2,0,0\n", r"training_set\.txt .*gender = '2' in row 1, .* -1 or 0 or 1\.$"),
        ("a.jpg,1,0,1,0,0\n", r"lower = '0' in row 1"),
        ("image,upper,lower,gender,bag,hat\na.jpg,1,1,1,0,0\n", r"upper = 'upper' in row 1, the first of 1 "),
        ("a.jpg,1,0,0,0\n", r" 5 values .* 6 .*image, upper, lower, gender, bag, hat"),
        ("a.jpg 1 1 0 0 0\n", r" 1 values "),
        ("a.jpg,1,1,0,0,0\nb.jpg,1,1,0,0,0,0\n", r"cannot be read .*image, upper"),
        ("", r"training_set\.txt cannot be read"),
        ("z.jpg,1,1,0,0,0\n", r"mivia_par name 1 image .*: training_set/z\.jpg;"),
    ],
)
def test_mivia_par_refuses_other_lines(tmp_path: Path, train: str, sentence: str) -> None:
    assert_refused(sentence, "mivia_par", mivia(tmp_path, train))


def test_mivia_par_needs_both_files(tmp_path: Path) -> None:
    (mivia(tmp_path) / "validation_set.txt").unlink()
    assert_refused(r"^validation_set\.txt .*MIVIA PAR at ", "mivia_par", tmp_path)
