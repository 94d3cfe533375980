import shutil
from pathlib import Path

import pytest
from helpers.classifiers import prepare
from helpers.crops import write_crop

from gender_cls.config.data import OnCorrupt
from gender_cls.errors import GenderClsError


def break_files(root: Path) -> list[str]:
    good = (root / "MALE" / "person08_camera0_0.png").read_bytes()
    broken = {"empty": b"", "truncated": good[: len(good) // 2], "text": b"no picture", "header": good[:20]}
    for name, content in broken.items():
        (root / "MALE" / f"person30_camera0_{name}.png").write_bytes(content)
    return sorted(f"MALE/person30_camera0_{name}.png" for name in broken)


def test_images_get_a_group_a_split_and_their_size(folders: Path) -> None:
    table = prepare(folders).manifest.table
    assert table.groupby("identity")["group"].nunique().max() == 1
    assert table.groupby("group")["split"].nunique().max() == 1
    assert set(zip(table["width"], table["height"], strict=True)) == {("24", "48")}


def test_unreadable_images_stop_the_start_or_are_left_out_and_listed(folders: Path) -> None:
    whole = prepare(folders)
    broken = break_files(folders)
    with pytest.raises(GenderClsError, match=rf"^4 of 52 .*{folders / broken[0]}.*data\.on_corrupt=drop"):
        prepare(folders)
    prepared = prepare(folders, on_corrupt=OnCorrupt.drop)
    assert list(prepared.unreadable["path"]) == broken
    assert all(path in reason for path, reason in prepared.unreadable.itertuples(index=False))
    assert prepared.manifest.table.equals(whole.manifest.table)
    assert len(prepared.facts) == len(prepared.manifest.table)


def test_dropping_must_leave_both_labels_in_each_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for number, label in enumerate(("FEMALE", "MALE")):
            write_crop(tmp_path / "crops" / split / label / "a.png", number + 2 * len(split))
    (tmp_path / "crops" / "val" / "MALE" / "a.png").write_bytes(b"")
    with pytest.raises(GenderClsError, match=r"val .*MALE"):
        prepare(tmp_path / "crops", pattern=None, on_corrupt=OnCorrupt.drop)


def given_split(root: Path, copied: bool) -> Path:
    for person, split in enumerate(("train", "val", "test") * 2):
        for crop in range(3):
            name = f"{split}/{'FEMALE' if person < 3 else 'MALE'}/p{person}_camera0_{crop}.png"
            write_crop(root / name, seed=10 * person + crop)
    if copied:
        shutil.copy(root / "train" / "FEMALE" / "p0_camera0_1.png", root / "test" / "MALE" / "p99_camera0_0.png")
    return root


def test_a_leaky_split_that_came_with_the_data_stops_the_start_unless_allowed(tmp_path: Path) -> None:
    pattern = r"(?P<identity>p\d+)_(?P<camera>camera\d)"
    clean = prepare(given_split(tmp_path / "clean", copied=False), pattern=pattern)
    assert not clean.leaks
    leaky = given_split(tmp_path / "leaky", copied=True)
    with pytest.raises(
        GenderClsError, match=r"0 identities, 2 exact copies and 0 near .*\(test/MALE.*data\.allow_leaks=true"
    ):
        prepare(leaky, pattern=pattern)
    assert prepare(leaky, pattern=pattern, allow_leaks=True).leaks.test_share == pytest.approx(1 / 7)


def test_copies_of_unknown_people_are_in_one_split(tmp_path: Path) -> None:
    root = tmp_path / "crops"
    for number in range(30):
        for label in ("FEMALE", "MALE"):
            write_crop(root / label / f"{number}.png", seed=number + 100 * (label == "MALE"))
            (root / label / f"copy_{number}.png").write_bytes((root / label / f"{number}.png").read_bytes())
    for seed in range(3):
        table = prepare(root, pattern=None, split_seed=seed).manifest.table
        name = table["path"].str.replace("copy_", "")
        assert table.groupby(name)["split"].nunique().max() == 1
