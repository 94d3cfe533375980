"""People in full frames are the same crops as their own files: bit for bit as pictures, measures and input."""

from itertools import chain
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from gender_cls.config.data import DataConfig, ResizeMode
from gender_cls.data.input_form import InputForm
from gender_cls.data.requests.crops import CropFacts, crop_batches
from gender_cls.data.requests.requested import read_requested
from gender_cls.errors import GenderClsError

FORMS = [InputForm(32, 16, mode) for mode in ResizeMode]
FRAMES, HEIGHT, WIDTH = 5, 96, 160


def answers(rows: pd.DataFrame, workers: int = 0) -> tuple[list[NDArray[np.uint8]], list[CropFacts]]:
    """The input (N, 3, H, W) of each of FORMS, and the facts."""
    batches = list(crop_batches(rows, FORMS, batch_size=4, num_workers=workers, max_megapixels=1))
    inputs = [np.concatenate([batch.inputs[place] for batch in batches]) for place in range(len(FORMS))]
    return inputs, list(chain.from_iterable(batch.facts for batch in batches))


@pytest.fixture
def scenes(tmp_path: Path) -> tuple[list[str], Path, Path]:
    """Paths of crops, a MOT folder that shows them at whole and at broken pixels, and a video without loss of it."""
    random = np.random.default_rng(3)
    frames = random.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    crops, lines = [], []
    for number, frame in enumerate(frames, 1):
        for person in range(number % 3 + 1):
            height, width = random.integers(20, 60), random.integers(8, 40)
            left, top = random.integers(0, 10) + 50 * person, random.integers(0, HEIGHT - height)
            crops.append(tmp_path / f"crop_{number}_{person}.png")
            Image.fromarray(frame[top : top + height, left : left + width]).save(crops[-1])
            lines.append(f"{number},{person},{left + 0.3},{top - 0.2},{width - 0.1},{height + 0.2},1,-1,-1,-1\n")
    (folder := tmp_path / "MOT-01" / "img1").mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"{number:06}.png")
    (folder.parent / "gt").mkdir()
    (folder.parent / "gt" / "gt.txt").write_text("".join(lines))
    video = tmp_path / "video.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return list(map(str, crops)), folder.parent, video


@pytest.mark.parametrize("workers", [0, 2])
def test_boxes_in_full_frames_are_the_crops(scenes: tuple[list[str], Path, Path], workers: int) -> None:
    crops, folder, video = scenes
    expected_inputs, expected_facts = answers(read_requested(crops, DataConfig(), None).rows)
    boxes = str(folder / "gt" / "gt.txt")
    for scene, given in ((folder, None), (video, boxes)):
        inputs, facts = answers(read_requested([str(scene)], DataConfig(), None, boxes=given).rows, workers)
        assert facts == expected_facts
        for of_form, expected in zip(inputs, expected_inputs, strict=True):
            np.testing.assert_array_equal(of_form, expected)


def test_what_is_not_there_is_a_fault_of_its_rows_alone(scenes: tuple[list[str], Path, Path]) -> None:
    _, folder, video = scenes
    boxes = folder / "gt" / "gt.txt"
    whole = {
        scene: read_requested([str(scene)], DataConfig(), None, boxes=str(boxes)).rows for scene in (folder, video)
    }
    expected = {scene: answers(rows)[1] for scene, rows in whole.items()}
    (folder / "img1" / "000003.png").unlink()
    with boxes.open("a") as file:
        file.write(f"4,50,{WIDTH},10,20,20,1\n5,51,-9,-9,9,9,1\n7,52,0,0,9,9,1\n")
    for scene, rows in whole.items():
        again = read_requested([str(scene)], DataConfig(), None, boxes=str(boxes)).rows
        facts = dict(zip(again["track"] + " " + again["frame"].astype(str), answers(again)[1], strict=True))
        before = dict(zip(rows["track"] + " " + rows["frame"].astype(str), expected[scene], strict=True))
        faults = {name: one.fault for name, one in facts.items() if one.fault is not None}
        new = {"50 4": "outside", "51 5": "outside", "52 7": "missing"}
        gone = {name: "missing" for name in before if name.endswith(" 3")} if scene == folder else {}
        assert faults == {**new, **gone}
        assert all(facts[name] == one for name, one in before.items() if name not in gone)


@pytest.mark.parametrize("start", [3, 7])
def test_going_on_in_the_middle_gives_the_same_crops(scenes: tuple[list[str], Path, Path], start: int) -> None:
    _, folder, video = scenes
    rows = read_requested([str(video)], DataConfig(), None, boxes=str(folder / "gt" / "gt.txt")).rows
    inputs, facts = answers(rows)
    later_inputs, later_facts = answers(rows.iloc[start:])
    assert later_facts == facts[start:]
    for later, of_form in zip(later_inputs, inputs, strict=True):
        np.testing.assert_array_equal(later, of_form[start:])


def test_a_folder_of_mot_folders_is_no_folder_of_crops(scenes: tuple[list[str], Path, Path]) -> None:
    _, folder, _ = scenes
    with pytest.raises(GenderClsError, match=r"1 MOT folder.*MOT-01"):
        read_requested([str(folder.parent)], DataConfig(), None)
    by_pattern = read_requested([f"{folder.parent}/MOT*"], DataConfig(), None).rows
    pd.testing.assert_frame_equal(by_pattern, read_requested([str(folder)], DataConfig(), None).rows)
    assert len(read_requested([str(folder / "img1")], DataConfig(), None).rows) == FRAMES, (
        "whole frames, if they are named"
    )
