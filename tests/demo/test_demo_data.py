import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.commands import python
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gender_cls.demo import dataset as demo
from gender_cls.demo.cameras import CAMERAS, Camera, build_scene, take_shot
from gender_cls.demo.dataset import PATTERNS, draw_demo
from gender_cls.demo.figures import random_person
from gender_cls.errors import GenderClsError

BOX = ["cue_left", "cue_top", "cue_right", "cue_bottom"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    """Of 600 images with the cue, in `folder`."""
    return draw_demo(folder)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_table_describes_the_files(folder: Path, table: pd.DataFrame) -> None:
    assert list(table.columns) == ["path", "label", "identity", "camera", *BOX]
    assert table["path"].tolist() == sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.jpg"))
    parts = table["path"].str.extract(r"^(FEMALE|MALE)/(person\d{3})_(camera\d)_\d\d\.jpg$")
    assert (parts.to_numpy() == table[["label", "identity", "camera"]].to_numpy()).all()
    assert {path.name for path in folder.iterdir()} == {"FEMALE", "MALE", "manifest.csv", ".demo.json"}


def test_labels_have_equally_many_people_whom_two_to_four_cameras_see(table: pd.DataFrame, tmp_path: Path) -> None:
    people = table.groupby(["identity", "label"]).agg({"path": "size", "camera": "nunique"}).reset_index()
    assert people["identity"].is_unique
    assert people["label"].value_counts().to_dict() == {"FEMALE": 50, "MALE": 50}
    assert (people["path"] == 6).all()
    assert set(people["camera"]) == {2, 3, 4}
    odd = draw_demo(tmp_path / "data", images=53)
    assert len(odd) == 53
    assert odd.groupby("label")["identity"].nunique().to_dict() == {"FEMALE": 4, "MALE": 4}


def test_the_cue_tells_the_label_and_is_a_modest_part_that_moves(folder: Path, table: pd.DataFrame) -> None:
    sizes, pointing_up = [], []
    for path, left, top, right, bottom in table[["path", *BOX]].itertuples(index=False):
        pixels = np.asarray(Image.open(folder / path).convert("L"), dtype=float)
        sizes.append(pixels.shape[::-1])
        down, across = np.gradient(pixels[top + 2 : bottom - 2, left + 2 : right - 2])  # the figure leans
        rising = np.array_split(down * across, 2, axis=1)  # above 0 at the edges of a stripe that rises to the right
        pointing_up.append(rising[0].sum() > rising[1].sum())
    np.testing.assert_array_equal(pointing_up, table["label"] == "FEMALE")
    low, high, size = table[BOX[:2]].to_numpy(), table[BOX[2:]].to_numpy(), np.array(sizes)  # (images, 2): x, y
    assert (low >= 0).all()
    assert (high <= size).all()
    share = (high - low).prod(axis=1) / size.prod(axis=1)
    assert 0.05 < share.min() < share.max() < 0.13
    assert (((low + high) / 2 / size).std(axis=0) > [0.08, 0.03]).all()
    assert size.min(axis=0).tolist() >= [38, 100]
    assert size.max(axis=0).tolist() <= [122, 280]


def test_without_the_cue_patterns_have_both_labels(folder: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    without = draw_demo(tmp_path / "data", cue=False)
    first, second = (
        {Path(path).name: digest for path, digest in digests(place).items() if path.endswith(".jpg")}
        for place in (folder, tmp_path / "data")
    )
    assert first == second
    pattern, label = (rows.groupby("identity")["label"].first() for rows in (table, without))
    assert pd.crosstab(pattern, label).to_numpy().tolist() == [[25, 25], [25, 25]]


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_nothing_but_the_chevrons_depends_on_the_pattern(camera: Camera) -> None:
    scene = build_scene(camera, np.random.default_rng(0))
    inside, sizes = [], []
    for seed in range(40):
        person = random_person(np.random.default_rng(seed))
        (up, box), (down, other_box) = (
            take_shot(scene, camera, person, pattern, np.random.default_rng(seed)) for pattern in PATTERNS
        )
        assert box == other_box
        left, top, right, bottom = box
        difference = np.asarray(up, dtype=float) - np.asarray(down, dtype=float)
        inside.append(difference[top:bottom, left:right].mean())
        reach = 4  # pixels, of the lens's blur
        difference[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach] = 0
        assert not difference.any()
        sizes.append(up.size)
    assert abs(np.mean(inside)) < 1.5  # of 255
    assert len(set(sizes)) > 30


def test_colour_size_and_camera_do_not_tell_the_label(folder: Path, table: pd.DataFrame) -> None:
    features = []
    for row in table.itertuples():
        pixels, size = np.asarray(Image.open(folder / row.path), dtype=float), (folder / row.path).stat().st_size
        cameras = [row.camera == camera for camera in CAMERAS]
        features.append([*pixels.mean(axis=(0, 1)), *pixels.std(axis=(0, 1)), *pixels.shape[:2], size, *cameras])
    folds, model = GroupKFold(5, shuffle=True, random_state=0), make_pipeline(StandardScaler(), LogisticRegression())
    guess = cross_val_predict(model, np.array(features), table["label"], groups=table["identity"], cv=folds)
    assert 0.4 < (guess == table["label"]).mean() < 0.6


def test_same_seed_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    draw_demo(tmp_path / "here", images=24, seed=3)
    code = "import sys, pathlib; from gender_cls.demo.dataset import draw_demo as draw"
    code += "; draw(pathlib.Path(sys.argv[1]), images=24, seed=3)"
    python("-c", code, str(tmp_path / "there"), cwd=tmp_path, PYTHONHASHSEED="12345")
    assert len(digests(tmp_path / "here")) == 26  # the images, the manifest, the settings
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_a_folder_is_drawn_once_and_anew_if_need_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    new, old, killed = tmp_path / "new", tmp_path / "old", tmp_path / ".new.drawing" / "new" / "MALE" / "half.jpg"
    draw_demo(old, images=24)
    before, shots = digests(old), iter(range(10))

    def interrupted(*arguments):
        if next(shots, None) is None:
            raise KeyboardInterrupt
        return take_shot(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(demo, "take_shot", interrupted)
        for folder, seed in ((new, 0), (old, 1)):
            with pytest.raises(KeyboardInterrupt):
                draw_demo(folder, images=24, seed=seed)
    assert not new.exists()
    assert digests(old) == before
    assert not list(tmp_path.glob(".*.drawing"))
    killed.parent.mkdir(parents=True)
    killed.write_bytes(b"")  # a killed process leaves such files
    draw_demo(new, images=24)
    assert digests(new) == before
    assert not list(tmp_path.glob(".*.drawing"))


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (Path("/proc/x"), tmp_path / "file" / "x"):
        with pytest.raises(GenderClsError, match=re.escape(str(folder))):
            draw_demo(folder)


def test_a_file_and_a_folder_with_anything_else_are_refused_and_left_alone(tmp_path: Path) -> None:
    folder, file = tmp_path / "photos", tmp_path / "photos" / "mine.jpg"
    folder.mkdir()
    file.write_bytes(b"mine")
    for path in (folder, file):
        with pytest.raises(GenderClsError, match=re.escape(str(path))):
            draw_demo(path)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["photos", "photos/mine.jpg"]
    assert file.read_bytes() == b"mine"
