"""What a run may be tested on: the images of other data that it, and the people in them, never saw."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.classifiers import config_of
from PIL import Image

from gender_cls.config.data import DataConfig
from gender_cls.config.evaluation import EvaluateConfig
from gender_cls.config.parsing import parse_config, to_plain
from gender_cls.data.csv_text import csv_text, read_csv_text
from gender_cls.data.elsewhere import (
    NothingLeftError,
    OtherData,
    given_part,
    recorded_part,
    unseen,
)
from gender_cls.data.image_store import ChangedImageError
from gender_cls.data.prepare import prepare_data
from gender_cls.data.record import record_data
from gender_cls.errors import GenderClsError
from gender_cls.runs.run import Run

PATTERN = r"/(?P<identity>(?P<source>[a-z]+)_\d+)_"
SHARED = Path(__file__).parents[3] / "shared" / "data"


def picture(seed: int) -> Image.Image:
    """A colourful picture whose copies are near duplicates, and no two of them."""
    cells = np.random.default_rng(seed).integers(0, 256, (12, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((32, 64), Image.Resampling.BICUBIC)


def draw(root: Path, source: str, seed: int, people: int = 12, label_of: Sequence[str] = ("FEMALE", "MALE")) -> Path:
    """Two images of each person, `<LABEL>/<source>_<person>_<k>.png`; the labels take turns."""
    for person in range(people):
        for image in range(2):
            file = root / label_of[person % 2] / f"{source}_{person}_{image}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(seed + 2 * person + image).save(file)
    return root


def data_of(root: Path, **settings: Any) -> DataConfig:
    values = {"root": str(root), "num_workers": 0, "pattern": PATTERN, **settings}
    return parse_config({"run": ".", "data": values}, EvaluateConfig).data


def trained(folder: Path, root: Path, **settings: Any) -> Run:
    """The folder of a run, as it is before the first epoch."""
    run, config = Run(folder), config_of(root, data={"pattern": PATTERN, **settings})
    run.record_settings(to_plain(config), {"data": "folders"})
    record_data(config, run, prepare_data(config.data, folder.parent / "cache"))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return trained(tmp_path / "run", draw(tmp_path / "home", "hall", seed=0))


def rows_of(run: Run, *splits: str) -> pd.DataFrame:
    rows = read_csv_text(run.manifest)
    return rows[rows["split"].isin(splits)].reset_index(drop=True)


def read(data: DataConfig, name: str, run: Run, cache: Path) -> OtherData:
    return unseen(given_part(data, cache), name, run, cache)


def other(run: Run, root: Path, **settings: Any) -> OtherData:
    return read(data_of(root, **settings), "street", run, run.folder.parent / "cache")


def copy(run: Run, row: Any, into: Path, name: str, quality: int | None = None) -> None:
    """An image of the run under another name, re-encoded if a quality of JPEG is given."""
    source = run.data_root / row.path
    file = into / row.label / name
    if quality is None:
        shutil.copy(source, file)
    else:
        Image.open(source).save(file, quality=quality)


def test_data_that_share_nothing_are_tested_whole(run: Run, tmp_path: Path) -> None:
    found = other(run, draw(tmp_path / "street", "street", seed=500))
    assert (found.name, found.record["part"], found.root) == ("street", "all", tmp_path / "street")
    assert set(found.rows["split"]) == {"test"}
    assert len(found.rows) == 24
    assert list(found.rows.columns) == [
        *read_csv_text(run.manifest).columns, "native_height", "brightness", "sharpness",
    ]  # fmt: skip
    assert found.record["seen"] == {"images": 0, "copies": 0, "near_copies": 0, "people": 0, "remark": None}
    assert found.images.at(found.rows["path"].tolist())[0].shape == (3, 64, 32)
    record = json.loads(json.dumps(found.record))
    assert record["test"] == {"images": 24, "identities": 12, "FEMALE": 12, "MALE": 12}
    assert (record["root"], record["sources"], record["leaky"]) == (str(tmp_path / "street"), ["street"], False)
    assert record["config"]["pattern"] == PATTERN


def test_copies_and_people_that_the_run_knows_are_found_counted_and_left_out(run: Run, tmp_path: Path) -> None:
    street = draw(tmp_path / "street", "street", seed=500)
    train, val, test = (rows_of(run, split) for split in ("train", "val", "test"))
    copy(run, train.iloc[0], street, "other_1_0.png")
    copy(run, val.iloc[0], street, "other_2_0.jpg", quality=60)
    copy(run, test.iloc[0], street, "other_3_0.png")  # the run's own test image has taught it nothing
    known = train[train["identity"] != train["identity"][0]].iloc[0]
    picture(901).save(street / known["label"] / f"{known['identity']}_9.png")  # the same person, a new picture
    number = known["identity"].partition("_")[2]
    picture(902).save(street / known["label"] / f"mall_{number}_9.png")  # the same number of another source
    picture(903).save(street / train["label"][0] / "other_1_1.png")  # who is on the copy is known too

    found = other(run, street)
    assert str(found.record["seen"].pop("remark")).startswith("1 tested image is in the run's own test split")
    assert found.record["seen"] == {"images": 4, "copies": 1, "near_copies": 1, "people": 2}
    names = set(found.rows["path"].str.rpartition("/")[2])
    assert len(found.rows) == 24 + 2
    assert {"other_3_0.png", f"mall_{number}_9.png"} <= names
    assert names.isdisjoint(["other_1_0.png", "other_1_1.png", "other_2_0.jpg", f"{known['identity']}_9.png"])
    assert found.record["images_sha256"] == given_part(data_of(street), tmp_path / "cache").hash, "before leaving out"


def test_a_moved_run_finds_copies_by_its_manifest_alone(run: Run, tmp_path: Path) -> None:
    street = draw(tmp_path / "street", "street", seed=500)
    train = rows_of(run, "train")
    copy(run, train.iloc[0], street, "other_1_0.png")
    copy(run, train.iloc[3], street, "other_2_0.jpg", quality=60)
    shutil.rmtree(run.data_root)
    shutil.move(run.folder, tmp_path / "moved")
    found = read(data_of(street), "street", Run(tmp_path / "moved"), tmp_path / "another_cache")
    assert (found.record["seen"]["copies"], found.record["seen"]["near_copies"], found.record["seen"]["remark"]) == (
        1,
        1,
        None,
    )


def test_a_manifest_that_lost_rows_does_not_hide_what_was_seen(run: Run, tmp_path: Path) -> None:
    street = draw(tmp_path / "street", "street", seed=500)
    lines = run.manifest.read_text().splitlines(keepends=True)
    run.manifest.write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(GenderClsError, match=rf"^{run.manifest} has .* in training: restore it"):
        other(run, street)


@pytest.mark.parametrize("lacking", [["perceptual_hash"], ["pixels", "perceptual_hash"]])
def test_images_of_an_earlier_versions_run_are_looked_up_where_they_are(
    run: Run, tmp_path: Path, lacking: list[str]
) -> None:
    street = draw(tmp_path / "street", "street", seed=500)
    recorded, train = read_csv_text(run.manifest), rows_of(run, "train")
    copy(run, train.iloc[0], street, "other_1_0.png")
    copy(run, train.iloc[3], street, "other_2_0.jpg", quality=60)
    run.manifest.write_text(csv_text(recorded.drop(columns=lacking)))
    assert other(run, street).record["seen"] == {
        "images": 2,
        "copies": 1,
        "near_copies": 1,
        "people": 0,
        "remark": None,
    }

    moved = tmp_path / "elsewhere"
    shutil.move(run.data_root, moved)
    part = given_part(data_of(street), tmp_path / "cache")
    assert unseen(part, "street", run, tmp_path / "cache", data_root=moved).record["seen"]["images"] == 2
    found = other(run, street).record["seen"]
    exact = 0 if "pixels" in lacking else 1
    assert (found["copies"], found["near_copies"]) == (exact, 0)
    kinds = "Near copies" if exact else "Exact and near copies"
    number = len(rows_of(run, "train", "val"))
    assert str(found["remark"]).startswith(f"{kinds} of {number} of the {number} images that the run was trained on")


def test_without_sources_equal_names_are_one_person_only_in_one_folder(tmp_path: Path) -> None:
    pattern = r"_(?P<identity>\d+)_"
    run = trained(tmp_path / "run", draw(tmp_path / "home", "hall", seed=0), pattern=pattern)
    street = draw(tmp_path / "street", "street", seed=500)
    found = other(run, street, pattern=pattern)
    people = rows_of(run, "train", "val")["identity"].nunique()
    assert found.record["seen"]["images"] == 0
    assert str(found.record["seen"]["remark"]).startswith(f"{2 * people} images of people called as in training (")

    draw(tmp_path / "home", "yard", seed=700)  # more images of the same people
    found = other(run, tmp_path / "home", pattern=pattern)
    own = len(rows_of(run, "test"))
    assert str(found.record["seen"].pop("remark")).startswith(f"{own} tested images are in the run's own test split")
    assert found.record["seen"] == {"images": 4 * people, "copies": 2 * people, "near_copies": 0, "people": 2 * people}


def test_the_runs_own_data_leave_its_test_split(run: Run) -> None:
    found = other(run, run.data_root)
    assert found.rows["path"].tolist() == rows_of(run, "test")["path"].tolist()
    assert str(found.record["seen"]["remark"]).startswith(f"{len(found.rows)} tested images are in the run's own test")
    assert found.rows["label"].tolist() == rows_of(run, "test")["label"].tolist()


def test_other_data_of_the_same_name_need_another_one(run: Run, tmp_path: Path) -> None:
    root, cache = draw(tmp_path / "other" / "home", "street", seed=500), tmp_path / "cache"
    with pytest.raises(GenderClsError, match=r"home is called home, and so are .*elsewhere\.name="):
        read(data_of(root), "home", run, cache)
    assert len(read(data_of(root), "home2", run, cache).rows) == 24
    assert len(read(data_of(run.data_root), "home", run, cache).rows) == len(rows_of(run, "test"))


def test_nothing_left_is_one_sentence_that_says_why(run: Run, tmp_path: Path) -> None:
    street = tmp_path / "street"
    for row in rows_of(run, "train").itertuples():
        (street / row.label).mkdir(parents=True, exist_ok=True)
        copy(run, row, street, row.path.rpartition("/")[2])
    number = len(rows_of(run, "train"))
    sentence = (
        rf"^run cannot be tested on street: of its {number} labelled images none is left, .*{number} exact copies"
    )
    with pytest.raises(NothingLeftError, match=sentence):
        other(run, street)
    picture(800).save(street / "MALE" / "new_1_0.png")
    with pytest.raises(NothingLeftError, match="only MALE images are left"):
        other(run, street)


def split_table(root: Path, splits: dict[str, str]) -> Path:
    """A table of drawn images; `splits` by person's number, `unknown` label for person 5."""
    draw(root, "street", seed=500)
    paths = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png"))
    table = pd.DataFrame({"path": paths, "label": [path.partition("/")[0] for path in paths]})
    person = table["path"].str.extract(r"_(\d+)_")[0]
    table["label"] = table["label"].where(person != "5", "unknown")
    table["split"] = person.map(splits).fillna(splits.get("", ""))
    csv = root / "list.csv"
    table.to_csv(csv, index=False)
    return csv


def test_a_given_split_is_tested_on_its_test_part_and_nothing_else_is_opened(
    run: Run, tmp_path: Path, decoded: list[str]
) -> None:
    csv = split_table(tmp_path / "street", {"0": "test", "1": "test", "5": "test", "7": "test", "": "train"})
    decoded.clear()
    found = other(run, tmp_path / "street", csv=str(csv))
    assert (found.record["part"], len(found.rows), found.record["split_origin"]) == ("test", 6, "given")
    assert set(decoded) == set(found.rows["path"].str.rpartition("/")[2]), "person 5 has no label"
    assert found.record["unknown_label"] == 2


def test_a_split_without_a_test_part_is_tested_whole(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    csv = split_table(tmp_path / "street", {"0": "val", "1": "val", "": "train"})
    found = other(run, tmp_path / "street", csv=str(csv))
    assert (found.record["part"], len(found.rows)) == ("all", 22)
    assert "has no test part: all labelled images are tested" in caplog.text


def test_a_published_split_is_tested_on_its_test_part(run: Run, tmp_path: Path) -> None:
    from helpers.peta import IMAGES, peta_mat

    root = peta_mat(tmp_path / "peta")
    for number in range(IMAGES):
        picture(1000 + number).save(root / "images" / f"{number + 1:05d}.png")
    settings = {"importer": "peta", "pattern": None}
    split = other(run, root, published_split="2", **settings)
    assert (split.record["part"], len(split.rows), split.record["split_origin"]) == ("test", 24, "published")
    whole = other(run, root, **settings)
    assert (whole.record["part"], len(whole.rows), whole.record["split_origin"]) == ("all", IMAGES, None)
    again = trained(tmp_path / "again", root, **settings)
    shutil.copytree(root, tmp_path / "copy")
    known = set(rows_of(again, "train", "val")["identity"])
    assert known.isdisjoint(other(again, tmp_path / "copy", **settings).rows["identity"])


def test_one_source_can_be_tested(run: Run, tmp_path: Path) -> None:
    root = draw(draw(tmp_path / "both", "street", seed=500), "shop", seed=700)
    found = other(run, root, split_by="source", leave_out="shop")
    assert (found.record["part"], found.record["sources"], len(found.rows)) == ("test", ["shop"], 24)
    with pytest.raises(GenderClsError, match=r"leave_out=mall is no source of the data: there are shop, street\."):
        other(run, root, split_by="source", leave_out="mall")


def test_corrections_aliases_and_a_limit_work_as_in_training(run: Run, tmp_path: Path) -> None:
    root = draw(tmp_path / "street", "street", seed=500, label_of=("frauen", "MALE"))
    corrections = tmp_path / "suspects.csv"
    corrections.write_text("path,label,corrected_label\nMALE/street_1_0.png,MALE,unknown\n")
    aliases = {"FEMALE": ["frauen"], "MALE": []}
    found = other(run, root, aliases=aliases, corrections=str(corrections))
    assert (len(found.rows), found.record["unknown_label"]) == (23, 1)
    few = other(run, root, aliases=aliases, limit=8)
    assert few.record["test"] == {"images": 8, "identities": few.rows["identity"].nunique(), "FEMALE": 4, "MALE": 4}
    assert few.rows.equals(other(run, root, aliases=aliases, limit=8).rows)


def test_unreadable_images_are_treated_as_in_training(run: Run, tmp_path: Path) -> None:
    street = draw(tmp_path / "street", "street", seed=500)
    (street / "MALE" / "street_1_0.png").write_bytes(b"no picture")
    with pytest.raises(GenderClsError, match=r"^1 of 24 images cannot be read.*data\.on_corrupt=drop"):
        other(run, street)
    found = other(run, street, on_corrupt="drop")
    assert found.unreadable["path"].tolist() == ["MALE/street_1_0.png"]
    assert (len(found.rows), found.record["unreadable"]) == (23, 1)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("path\na.png\n", "label"),
        ("path,label\na.png,unknown\nb.png,unknown\n", "has no labels: 2 images of unknown label"),
        ("path,label\na.png,MALE\nb.png,MALE\n", "one class only: .* none is FEMALE"),
        ("path,label,split\na.png,MALE,test\nb.png,FEMALE,train\n", "test part: both labels .* 0 FEMALE, 1 MALE"),
        ("path,label\na.png,MALE\nc.png,FEMALE\n", r"c\.png"),
    ],
)
def test_data_that_cannot_be_tested_are_one_sentence(run: Run, tmp_path: Path, rows: str, sentence: str) -> None:
    root = tmp_path / "street"
    root.mkdir()
    for name in ("a.png", "b.png"):
        picture(ord(name[0])).save(root / name)
    (root / "list.csv").write_text(rows)
    with pytest.raises(GenderClsError, match=sentence) as raised:
        other(run, root, csv=str(root / "list.csv"), pattern=None)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_missing_or_without_labels_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(GenderClsError, match=f"data.root is not a folder: {tmp_path / 'none'}"):
        other(run, tmp_path / "none")
    (tmp_path / "plain").mkdir()
    picture(1).save(tmp_path / "plain" / "a.png")
    with pytest.raises(GenderClsError, match="expected the folders FEMALE and MALE"):
        other(run, tmp_path / "plain", pattern=None)


def test_settings_of_training_are_refused_or_said_to_have_no_effect(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    street = draw(tmp_path / "street", "street", seed=500)
    with pytest.raises(GenderClsError, match=r"data\.folds=3 .* leave it out"):
        other(run, street, folds=3)
    assert "no effect here" not in caplog.text
    other(run, street, image_size=[64, 64], balance="loss")
    assert "data.image_size=[64, 64], data.balance=loss: " in caplog.text


def test_a_recorded_test_part_is_read_again_without_splitting(tmp_path: Path) -> None:
    root, cache = draw(tmp_path / "street", "street", seed=500), tmp_path / "cache"
    home = trained(tmp_path / "run", draw(tmp_path / "home", "hall", seed=0))
    runs = [trained(tmp_path / f"fold{fold}", root, folds=3, fold=fold) for fold in range(2)]
    part = recorded_part(runs, cache)
    wanted = pd.concat([rows_of(run, "test") for run in runs])
    assert part.table["path"].tolist() == sorted(wanted["path"])
    assert set(part.table["split"]) == {"test"}
    found = unseen(part, "street", home, cache)
    assert (found.record["part"], found.record["seen"]["images"], len(found.rows)) == ("test", 0, len(wanted))
    with pytest.raises(NothingLeftError, match="fold0 cannot be tested on street"):
        unseen(recorded_part(runs[1:], cache), "street", runs[0], cache)
    assert recorded_part(runs[:1], cache).hash != part.hash

    table = read_csv_text(runs[0].manifest)
    changed = root / table["path"][table["split"] == "test"].iloc[0]
    content = changed.read_bytes()
    picture(999).save(changed)
    with pytest.raises(ChangedImageError, match="pixels of 1 of"):
        recorded_part(runs, cache)
    changed.write_bytes(content)
    shutil.rmtree(root / "MALE")
    with pytest.raises(GenderClsError, match=r"test images of street cannot be read any more"):
        recorded_part(runs, cache)


def test_runs_of_other_folders_or_labels_are_not_one_dataset(tmp_path: Path) -> None:
    runs = [trained(tmp_path / name, draw(tmp_path / f"{name}_crops", "street", seed=500)) for name in ("a", "b")]
    with pytest.raises(GenderClsError, match=r"lie in several folders .*a_crops.*b_crops"):
        recorded_part(runs, tmp_path / "cache")
    table = read_csv_text(runs[0].manifest)
    test = table.index[table["split"] == "test"][0]
    table.loc[test, "label"] = {"MALE": "FEMALE", "FEMALE": "MALE"}[table["label"][test]]
    shutil.copytree(runs[0].folder, tmp_path / "c")
    changed = Run(tmp_path / "c")
    changed.manifest.write_text(csv_text(table))
    with pytest.raises(GenderClsError, match=f"different labels for the same images .{table['path'][test]}"):
        recorded_part([runs[0], changed], tmp_path / "cache")


def test_the_trivial_baselines_are_of_that_data_and_learned_on_other_people(run: Run, tmp_path: Path) -> None:
    root = draw(draw(tmp_path / "both", "a", seed=500, people=20), "b", seed=700, people=4)
    for person in range(20, 36):  # source b shows more women, who are higher pictures
        for source, label, height in (("b", "FEMALE", 90), ("a", "MALE", 64)):
            picture(2000 + person + 100 * (label == "MALE")).resize((32, height)).save(
                root / label / f"{source}_{person}_0.png"
            )
    found = {one["name"]: one for one in other(run, root).record["baselines"]}
    assert list(found) == ["majority", "camera", "source", "size", "colour"]
    assert found["majority"]["balanced_accuracy"] == 0.5
    assert found["camera"]["balanced_accuracy"] is None
    # b: 4 FEMALE and 4 MALE images, then 16 FEMALE; a: 20 and 20, then 16 MALE: b answers FEMALE, a MALE.
    assert found["source"]["balanced_accuracy"] == pytest.approx((20 / 40 + 36 / 40) / 2)
    assert found["size"]["balanced_accuracy"] >= (16 / 40 + 1) / 2
    assert found["size"]["remark"] == "Learned here, on other people (5 folds)."
    assert found["majority"]["remark"] is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="the CCTV crops are not here")
def test_crops_are_found_among_the_published_pictures_that_they_are(tmp_path: Path) -> None:
    """Two sources under the names of the crops, and as PETA publishes them: `iLID` is called `i-LID` there."""
    root, published = tmp_path / "crops", tmp_path / "peta"
    published.mkdir()
    for name in ("CAVIAR4REID", "i-LID"):
        (published / name).symlink_to(SHARED / "peta_part" / name)
    for label in ("FEMALE", "MALE"):
        (root / label).mkdir(parents=True)
        for source in ("CAVIAR4REID", "iLID"):
            for file in sorted((SHARED / "cctv" / label).glob(f"{source}_*"))[:60]:
                (root / label / file.name).symlink_to(file)
    run = trained(tmp_path / "run", root, pattern=r"/(?P<identity>(?P<source>[^_/]+)_[^_]+)_")
    found = read(data_of(published, importer="peta", pattern=None), "peta", run, tmp_path / "cache")
    known, tested = rows_of(run, "train", "val"), set(found.rows["pixels"])
    assert found.record["seen"]["copies"] == len(known) > 150
    assert tested.isdisjoint(known["pixels"])
    assert set(rows_of(run, "test")["pixels"]) <= tested, "the run has not seen these"
    people = set(zip(known["source"], known["identity"], strict=True))
    assert people.isdisjoint(zip(found.rows["source"], found.rows["identity"], strict=True))
    assert len(found.rows) + found.record["seen"]["images"] == 1220 + 477
