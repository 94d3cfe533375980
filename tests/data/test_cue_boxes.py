import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gender_cls.config.data import DataConfig, ResizeMode
from gender_cls.data.columns import CUE_BOX
from gender_cls.data.crops import read_crops
from gender_cls.data.cue_boxes import cue_boxes, refuse_boxes_outside
from gender_cls.data.image_store import ImageStore
from gender_cls.data.manifest import read_manifest
from gender_cls.data.prepare import prepare_data
from gender_cls.errors import GenderClsError


def table(*boxes: tuple[object, ...], columns: tuple[str, ...] = CUE_BOX) -> pd.DataFrame:
    rows = pd.DataFrame(boxes, columns=list(columns))
    return rows.assign(path=[f"{index}.png" for index in range(len(rows))])


def test_boxes_are_read_as_text_or_numbers_and_an_empty_row_has_none() -> None:
    expected = [[1, 2, 3.5, 4], [np.nan] * 4]
    np.testing.assert_array_equal(cue_boxes(table(("1", " 2", "3.5", "4.0"), ("", "", "", ""))), expected)
    np.testing.assert_array_equal(cue_boxes(table((1, 2, 3.5, 4), (None, None, None, None))), expected)
    np.testing.assert_array_equal(cue_boxes(table(("1", "2"), ("", ""), columns=("a", "b"))), np.full((2, 4), np.nan))


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (table(("1", "2", "3", "4"), ("1", "2", "x", "4")), ("cue_right", "1.png", "x")),
        (table(("1", "2", "inf", "4")), ("cue_right", "0.png", "inf")),
        (table(("1", "2", "", "4")), ("0.png", "incomplete", "cue_right empty")),
        (table(("1", "2", "1", "4")), ("0.png", "cue_left=1", "cue_right=1")),
        (table(("1", "5", "3", "4")), ("0.png", "cue_top=5", "cue_bottom=4")),
        (table(("1", "2", "3"), columns=CUE_BOX[:3]), ("cue_bottom",)),
    ],
    ids=["text", "infinite", "incomplete", "no width", "upside down", "missing column"],
)
def test_a_wrong_box_is_named(rows: pd.DataFrame, parts: tuple[str, ...]) -> None:
    with pytest.raises(GenderClsError) as error:
        cue_boxes(rows)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("box", [(-1, 2, 3, 4), (0, 0, 9, 4), (0, 0, 8, 17)])
def test_a_box_outside_of_its_image_is_named_with_the_size(box: tuple[int, ...]) -> None:
    rows = table((0, 0, 8, 16), ("", "", "", "")).assign(width="8", height="16")
    refuse_boxes_outside(rows)
    with pytest.raises(GenderClsError) as error:
        refuse_boxes_outside(pd.concat([rows, table(box).assign(path="far.png", width="8", height="16")]))
    assert all(part in str(error.value) for part in ("far.png", "8x16", f"cue_right={box[2]}"))


@pytest.mark.parametrize("mode", list(ResizeMode))
def test_the_box_goes_where_the_resized_pixels_go(tmp_path: Path, mode: ResizeMode) -> None:
    pixels = np.zeros((90, 60, 3), dtype=np.uint8)
    pixels[30:60, 24:42] = 255
    Image.fromarray(pixels).save(tmp_path / "0.png")
    data = DataConfig(image_size=[64, 32], resize_mode=mode)
    crops = read_crops(ImageStore(tmp_path).at(["0.png"]), data, np.array([[24.0, 30, 42, 60]]))
    ((left, top, right, bottom),) = crops.cues
    bright = (crops.images[0, 0] >= 128).nonzero()
    first, last = bright.min(dim=0).values, bright.max(dim=0).values + 1
    np.testing.assert_allclose([left, top], first.flip(0), atol=0.51)  # to the nearest pixel
    np.testing.assert_allclose([right, bottom], last.flip(0), atol=0.51)
    unknown = read_crops(ImageStore(tmp_path).at(["0.png"]), data)
    assert np.isnan(unknown.cues).all()
    assert torch.equal(unknown.images, crops.images)


def test_a_box_outside_of_its_image_stops_the_start(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 16)).save(tmp_path / f"{name}.png")
    csv = tmp_path / "crops.csv"
    csv.write_text("path,label,cue_left,cue_top,cue_right,cue_bottom\na.png,MALE,1,1,5,90\nb.png,FEMALE,,,,\n")
    with pytest.raises(GenderClsError, match=re.escape("cue of a.png")):
        prepare_data(DataConfig(csv=str(csv)), tmp_path / "cache")


def test_a_wrong_box_stops_the_start(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 16)).save(tmp_path / f"{name}.png")
    csv = tmp_path / "crops.csv"
    csv.write_text("path,label,CUE_LEFT,cue_top,cue_right,cue_bottom\na.png,MALE,1,1,5,x\nb.png,FEMALE,,,,\n")
    with pytest.raises(GenderClsError, match=re.escape("cue_bottom of a.png")):
        read_manifest(DataConfig(csv=str(csv)))
    csv.write_text(csv.read_text().replace("x", "6"))
    found = read_manifest(DataConfig(csv=str(csv))).table
    assert list(found[list(CUE_BOX)].loc[0]) == ["1", "1", "5", "6"]
