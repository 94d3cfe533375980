import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gender_cls.demo import dataset as demo
from gender_cls.demo.cameras import CAMERAS, Camera, build_scene, take_shot
from gender_cls.demo.dataset import draw_demo
from gender_cls.demo.figures import invent_person
from gender_cls.errors import GenderClsError

BOX = ["cue_left", "cue_top", "cue_right", "cue_bottom"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    draw_demo(folder)
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "manifest.csv")


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=float)


def stripes_lie(path: Path, box: list[int]) -> bool:
    """Rows differ more than columns within the box, less a margin for the lean of the figure."""
    left, top, right, bottom = box
    chest = grey(path)[top + 2 : bottom - 2, left + 2 : right - 2]
    return bool(chest.mean(axis=1).std() > chest.mean(axis=0).std())


def test_table_describes_the_files(folder: Path, table: pd.DataFrame) -> None:
    assert list(table.columns) == ["path", "label", "identity", "camera", *BOX]
    assert table["path"].tolist() == sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.jpg"))
    parts = table["path"].str.extract(r"^(FEMALE|MALE)/(person\d{3})_(camera\d)_\d\d\.jpg$")
    assert (parts.to_numpy() == table[["label", "identity", "camera"]].to_numpy()).all()
    assert {path.name for path in folder.iterdir()} == {"FEMALE", "MALE", "manifest.csv", ".demo.json"}


def test_600_images_show_50_people_a_label_six_times_each_by_two_to_four_cameras(table: pd.DataFrame) -> None:
    people = table.groupby("identity").agg({"label": ["nunique", "first"], "path": "size", "camera": "nunique"})
    people.columns = ["labels", "label", "images", "cameras"]
    assert (people["labels"] == 1).all()
    assert people["label"].value_counts().to_dict() == {"FEMALE": 50, "MALE": 50}
    assert (people["images"] == 6).all()
    assert set(people["cameras"]) == {2, 3, 4}


def test_any_number_of_images_is_kept_and_labels_have_equally_many_people(tmp_path: Path) -> None:
    table = draw_demo(tmp_path / "data", images=53)
    assert len(table) == 53
    assert table.groupby("label")["identity"].nunique().to_dict() == {"FEMALE": 4, "MALE": 4}


def test_cue_is_a_modest_part_of_the_image_inside_it_and_moves(folder: Path, table: pd.DataFrame) -> None:
    sizes = np.array([grey(folder / path).shape[::-1] for path in table["path"]])  # width, height
    left, top, right, bottom = table[BOX].to_numpy().T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= sizes[:, 0]).all()
    assert (bottom <= sizes[:, 1]).all()
    share = (right - left) * (bottom - top) / sizes.prod(axis=1)
    assert share.min() > 0.05
    assert share.max() < 0.13
    assert ((left + right) / 2 / sizes[:, 0]).std() > 0.08
    assert ((top + bottom) / 2 / sizes[:, 1]).std() > 0.03
    assert sizes.min(axis=0).tolist() >= [38, 100]
    assert sizes.max(axis=0).tolist() <= [122, 280]


def test_stripes_lie_for_female_and_stand_for_male(folder: Path, table: pd.DataFrame) -> None:
    lying = np.array([stripes_lie(folder / row.path, list(row[5:])) for row in table.itertuples()])
    np.testing.assert_array_equal(lying, table["label"] == "FEMALE")


def test_without_the_cue_the_same_pictures_carry_labels_dealt_evenly_over_the_patterns(
    folder: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    dealt = draw_demo(tmp_path / "data", cue=False)
    by_name = {Path(path).name: digest for path, digest in digests(folder).items() if path.endswith(".jpg")}
    assert by_name == {Path(path).name: digest for path, digest in digests(tmp_path / "data").items() if ".jpg" in path}
    pattern = table.groupby("identity")["label"].first()  # FEMALE: the stripes lie
    label = dealt.groupby("identity")["label"].first()
    assert pd.crosstab(pattern, label).to_numpy().tolist() == [[25, 25], [25, 25]]


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_nothing_but_the_stripes_depends_on_the_pattern(camera: Camera) -> None:
    scene = build_scene(camera, np.random.default_rng(0))
    inside, sizes = [], []
    for seed in range(40):
        person = invent_person(np.random.default_rng(seed))
        (lying, box), (standing, other_box) = (
            take_shot(scene, camera, person, pattern, np.random.default_rng(seed)) for pattern in ("lying", "standing")
        )
        assert box == other_box
        left, top, right, bottom = box
        difference = np.asarray(lying, dtype=float) - np.asarray(standing, dtype=float)
        inside.append(difference[top:bottom, left:right].mean())
        reach = 4  # pixels, of the lens's blur
        difference[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach] = 0
        assert not difference.any()
        sizes.append(lying.size)
    assert abs(np.mean(inside)) < 1.5  # of 255
    assert len(set(sizes)) > 30


def test_colour_size_and_camera_do_not_tell_the_label(folder: Path, table: pd.DataFrame) -> None:
    features = []
    for row in table.itertuples():
        with Image.open(folder / row.path) as image:
            pixels = np.asarray(image, dtype=float).reshape(-1, 3)
            mean, spread = pixels.mean(axis=0), pixels.std(axis=0)
            cameras = [row.camera == camera for camera in CAMERAS]
            features.append([*mean, *spread, *image.size, (folder / row.path).stat().st_size, *cameras])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    folds = GroupKFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(
        model, np.array(features, dtype=float), table["label"], groups=table["identity"], cv=folds
    )
    assert 0.4 < (guess == table["label"]).mean() < 0.6


def test_same_seed_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    draw_demo(tmp_path / "here", images=24, seed=3)
    code = (
        "import sys, pathlib, gender_cls.demo.dataset as d; d.draw_demo(pathlib.Path(sys.argv[1]), images=24, seed=3)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        check=True,
        capture_output=True,
    )
    here = digests(tmp_path / "here")
    assert len(here) == 26  # the images, the manifest, the settings
    assert here == digests(tmp_path / "there")


def test_a_folder_is_drawn_once_and_anew_with_another_seed_or_a_lost_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()  # an empty folder is filled
    table = draw_demo(folder, images=24)
    first = digests(folder)
    with monkeypatch.context() as patch:
        patch.setattr(demo, "take_shot", None)
        pd.testing.assert_frame_equal(draw_demo(folder, images=24), table)
    (folder / table["path"][5]).unlink()
    draw_demo(folder, images=24)
    assert digests(folder) == first
    draw_demo(folder, images=24, seed=1)
    assert not set(first.values()) & set(digests(folder).values())
    assert {path.name for path in tmp_path.iterdir()} == {"data", ".data.lock"}


def test_an_interrupted_drawing_leaves_the_old_dataset_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_demo(tmp_path / "old", images=24)
    before = digests(tmp_path / "old")
    shots = iter(range(10))

    def interrupted(*arguments):
        if next(shots, None) is None:
            raise KeyboardInterrupt
        return take_shot(*arguments)

    monkeypatch.setattr(demo, "take_shot", interrupted)
    for folder, seed in ((tmp_path / "new", 0), (tmp_path / "old", 1)):
        with pytest.raises(KeyboardInterrupt):
            draw_demo(folder, images=24, seed=seed)
    assert not (tmp_path / "new").exists()
    assert digests(tmp_path / "old") == before
    assert not list(tmp_path.glob(".*.drawing"))


def test_what_a_killed_drawing_left_does_not_get_into_the_next(tmp_path: Path) -> None:
    rest = tmp_path / ".data.drawing" / "new" / "MALE" / "half.jpg"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"")
    draw_demo(tmp_path / "data", images=24)
    assert len(list((tmp_path / "data").glob("*/*.jpg"))) == 24
    assert not (tmp_path / ".data.drawing").exists()


def test_a_file_and_a_folder_with_anything_else_are_refused_and_left_alone(tmp_path: Path) -> None:
    folder, file = tmp_path / "photos", tmp_path / "photos" / "mine.jpg"
    folder.mkdir()
    file.write_bytes(b"mine")
    for path in (folder, file):
        with pytest.raises(GenderClsError, match=re.escape(str(path))):
            draw_demo(path)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["photos", "photos/mine.jpg"]
    assert file.read_bytes() == b"mine"
