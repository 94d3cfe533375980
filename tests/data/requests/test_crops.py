"""From rows to batches: crops by box, what is measured of them, and files that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.asking import FORM, batches, listed, request
from helpers.bad_files import write_bad_files
from helpers.crops import decode, noise, resize, write_crops
from helpers.videos import numbered_picture, write_video
from PIL import Image

from gender_cls.config.data import ResizeMode
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import pixel_hash
from gender_cls.data.input_form import InputForm
from gender_cls.data.measure import measure
from gender_cls.data.pixel_modes import MID_GREY
from gender_cls.data.requests import crops as crops_module
from gender_cls.data.requests.crops import CropFacts, crop_batches
from gender_cls.data.requests.requested import Requested


def facts_of(requested: Requested, **options: int) -> list[CropFacts]:
    return [facts for batch in batches(requested, **options) for facts in batch.facts]


def inputs_of(requested: Requested, **options: int) -> torch.Tensor:
    return torch.cat([batch.inputs[0] for batch in batches(requested, **options)])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A picture 60 pixels wide and 80 high."""
    Image.fromarray(noise(80, 60).permute(1, 2, 0).numpy()).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def boxed(scene: Path, *boxes: tuple[int, ...]) -> Requested:
    table = scene.with_name("boxes.csv")
    lines = (",".join(map(str, (scene.name, *box))) for box in boxes)
    table.write_text("\n".join(["path,left,top,width,height", *lines]))
    return request(table)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_form_gets_the_resized_image_and_its_measures_are_those_of_the_run(
    tmp_path: Path, num_workers: int
) -> None:
    names = [f"{number}.png" for number in range(5)]
    rows = request(write_crops(tmp_path / "crops", *names)).rows
    forms = [FORM, InputForm(20, 30, ResizeMode.letterbox)]
    found = list(crop_batches(rows, forms, batch_size=2, num_workers=num_workers, max_megapixels=1))
    assert [len(batch.facts) for batch in found] == [2, 2, 1]
    for place, form in enumerate(forms):
        inputs = torch.cat([batch.inputs[place] for batch in found])
        expected = [resize(decode(Path(path)), (form.height, form.width), form.mode) for path in rows["path"]]
        assert torch.equal(inputs, torch.stack(expected))
        assert all(batch.inputs[place].is_contiguous(memory_format=torch.channels_last) for batch in found)
    for path, facts in zip(rows["path"], (facts for batch in found for facts in batch.facts), strict=True):
        image = Image.open(path).convert("RGB")
        measures, same = measure(image), pixel_hash(image.tobytes(), image.height, image.width).hex()
        assert facts == (image.height, measures.brightness, measures.sharpness, same, None, "")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_crop_by_box_is_the_crop_that_was_saved_bit_for_bit(scene: Path, num_workers: int) -> None:
    boxes = [(5, 7, 20, 40), (0, 0, 60, 80), (-4, -6, 14, 36), (50, 60, 999, 999), (59, 79, 1, 1)]
    inside = [(5, 7, 25, 47), (0, 0, 60, 80), (0, 0, 10, 30), (50, 60, 60, 80), (59, 79, 60, 80)]  # to right and bottom
    for number, corners in enumerate(inside):
        Image.open(scene).crop(corners).save(scene.with_name(f"crop{number}.png"))
    saved = request(*(scene.with_name(f"crop{number}.png") for number in range(len(boxes))))
    asked = boxed(scene, *boxes)
    options = {"batch_size": 2, "num_workers": num_workers}
    assert torch.equal(inputs_of(asked, **options), inputs_of(saved, **options))
    assert facts_of(asked, **options) == facts_of(saved, **options)


def test_a_box_with_nothing_of_the_picture_inside_is_a_fault(scene: Path) -> None:
    outside = [(60, 0, 9, 9), (0, 80, 9, 9), (-9, 0, 9, 9), (5, -20, 9, 20), (5, 5, 0, 9), (5, 5, 9, -3), (10**9,) * 4]
    found = facts_of(boxed(scene, *outside, (5, 5, 9, 9)))
    assert [facts.fault for facts in found] == ["outside"] * len(outside) + [None]
    assert all(text in found[0].reason for text in (str(scene), "60 x 80", "left=60"))


def test_a_picture_is_decoded_once_for_its_boxes(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = crops_module.read_image
    monkeypatch.setattr(
        crops_module, "read_image", lambda path, limit: (decoded.append(path), original(path, limit))[1]
    )
    inputs_of(boxed(scene, *[(left, 0, 20, 40) for left in range(9)]), batch_size=4)
    assert decoded == [scene]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_kind_of_bad_file_is_a_row_with_its_fault_and_changes_no_other(tmp_path: Path, num_workers: int) -> None:
    good = write_crops(tmp_path / "good", *(f"{number:02}.png" for number in range(20)))
    (tmp_path / "bad").mkdir()
    faults = write_bad_files(tmp_path / "bad")
    assert len(faults) >= 30
    mixed = [tmp_path / "bad" / name for name in faults]
    for number, path in enumerate(sorted(good.iterdir())):
        mixed.insert(2 * number, path)
    options = {"batch_size": 8, "num_workers": num_workers}
    asked = listed(mixed)
    images, facts = inputs_of(asked, **options), facts_of(asked, **options)
    assert len(images) == len(mixed) == len(asked.rows)
    readable = np.array([path.parent == good for path in mixed])
    assert {path.name: fact.fault for path, fact in zip(mixed, facts, strict=True) if path.parent != good} == faults
    for path, fact, row in zip(mixed, facts, asked.rows["path"], strict=True):
        if path.parent != good:
            assert (row in fact.reason, row.isprintable(), fact.native_height, fact.pixels) == (True, True, 0, "")
    assert (images[~readable] == MID_GREY).all()
    assert torch.equal(images[readable], inputs_of(request(good), **options))
    assert [fact for fact, is_good in zip(facts, readable, strict=True) if is_good] == facts_of(request(good))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stopping_names_the_file_and_keeps_its_fault(tmp_path: Path, num_workers: int) -> None:
    crops = write_crops(tmp_path / "crops", "a.png", "b.png", "d.png")
    (crops / "c.png").touch()
    with pytest.raises(UnreadableError, match=f"{crops}/c.png") as caught:
        batches(request(crops), num_workers=num_workers, batch_size=1, stop_at_fault=True)
    assert caught.value.fault == "empty"


def test_a_file_that_vanishes_before_it_is_read_is_a_fault(tmp_path: Path) -> None:
    found = request(write_crops(tmp_path / "crops", "a.png", "b.png"))
    (tmp_path / "crops" / "a.png").unlink()
    assert [facts.fault for facts in facts_of(found)] == ["missing", None]


def test_frames_of_a_video_may_be_numbered_from_0(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mkv", "libx264rgb", "rgb24", qp="0")  # without a loss
    (tmp_path / "boxes.csv").write_text("frame,left,top,width,height\n0,3,20,30,25\n22,3,20,30,25\n23,3,20,30,25\n")
    found = request(video, boxes=str(tmp_path / "boxes.csv"), first_frame=0)
    crops = (np.ascontiguousarray(numbered_picture(frame)[20:45, 3:33]) for frame in (0, 22))
    hashes = [pixel_hash(crop.data, 25, 30).hex() for crop in crops]
    facts = facts_of(found, first_frame=0)
    assert [one.pixels for one in facts] == [*hashes, ""]
    assert facts[-1].fault == "missing"
