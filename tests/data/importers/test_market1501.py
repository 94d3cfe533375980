from collections.abc import Sequence
from pathlib import Path

from helpers.crops import write_crops
from helpers.importing import assert_refused, cell, read
from scipy.io import savemat


def market(root: Path, gender: Sequence[int] = (2, 1), extra: str | None = None) -> Path:
    names = {
        "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0007_c2s3_070952_01.jpg", "0007_c3s3_077344_04.jpg"],
        "bounding_box_test": ["-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0001_c1s1_001051_00.jpg"],
        "query": ["0001_c3s1_000551_00.jpg", "0003_c1s6_015971_00.jpg"],
    }
    for folder, files in names.items():
        write_crops(root / folder, *files, *([extra] if extra and folder == "query" else []))
    (root / "query" / "Thumbs.db").write_bytes(b"x")
    no, yes = 1, 2
    train = {"age": [2, 3], "backpack": [yes, no], "bag": [no, no], "handbag": [yes, no], "gender": list(gender)}
    test = {"age": [4, 1], "gender": [1, 2], "bag": [no, yes], "backpack": [no, no], "handbag": [no, no]}
    parts = {"train": train | {"image_index": cell(["0002", "0007"], row=True)}}
    parts["test"] = {"image_index": cell(["0001", "0003"], row=True)} | test  # in another order
    savemat(root / "market_attribute.mat", {"market_attribute": parts})
    return root


def test_market1501_labels_people_and_leaves_junk_open(tmp_path: Path) -> None:
    table = read("market1501", market(tmp_path), "official").set_index("path")
    rows = {
        "bounding_box_train/0002_c1s1_000451_03.jpg": ["FEMALE", "0002", "c1", "s1", "000451", "train", "teenager"],
        "bounding_box_train/0007_c3s3_077344_04.jpg": ["MALE", "0007", "c3", "s3", "077344", "train", "adult"],
        "bounding_box_test/-1_c1s1_000401_03.jpg": ["unknown", "", "c1", "", "", "", ""],
        "bounding_box_test/0000_c1s1_000151_01.jpg": ["unknown", "", "c1", "", "", "", ""],
        "query/0001_c3s1_000551_00.jpg": ["MALE", "0001", "c3", "s1", "000551", "test", "old"],
        "query/0003_c1s6_015971_00.jpg": ["FEMALE", "0003", "c1", "s6", "015971", "test", "young"],
    }
    columns = ["label", "identity", "camera", "sequence", "frame", "split", "age"]
    assert len(table) == 8
    for path, expected in rows.items():
        assert table.loc[path, columns].tolist() == expected
    assert table.loc["bounding_box_train/0002_c1s1_000451_03.jpg", "carrying"] == "backpack;handbag"
    assert table.loc["query/0003_c1s6_015971_00.jpg", "carrying"] == "bag"
    assert table.loc["query/0001_c3s1_000551_00.jpg", "carrying"] == "nothing"


def test_market1501_refuses_polarity_names_and_people_it_does_not_know(tmp_path: Path) -> None:
    assert_refused(r"gender = '0' in row 2, .* 1 or 2\.$", "market1501", market(tmp_path / "a", gender=[1, 0]))
    root = market(tmp_path / "b", extra="0009_c1s1_000001_00.jpg")
    assert_refused(r"in 1 image: query/0009_c1s1_000001_00\.jpg", "market1501", root)
    assert_refused(r"1 image .*: query/holiday\.jpg", "market1501", market(tmp_path / "c", extra="holiday.jpg"))
