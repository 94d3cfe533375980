from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gender_cls.config.explain import Method
from gender_cls.drawing.map_grid import MapColumn
from gender_cls.errors import GenderClsError
from gender_cls.explain.attribution import Attribution
from gender_cls.explain.explanation_grid import map_columns
from gender_cls.explain.sheets import read_sheet, sheet_file, write_sheet
from gender_cls.runs.run import Run

CAPTIONS = [
    {"path": "a.png", "label": "MALE", "prediction": "FEMALE", "p_FEMALE": 0.8},
    {"path": "b.png", "label": "MALE", "prediction": "MALE", "p_FEMALE": 0.3},
]


def written(folder: Path) -> Run:
    """A run with a sheet of a black and a white image; the map is 0."""
    (folder / "explanations").mkdir()
    images = torch.stack([torch.full((3, 64, 32), value, dtype=torch.uint8) for value in (0, 255)])
    columns = [MapColumn("saliency", np.zeros((2, 64, 32), np.float32), signed=False)]
    write_sheet(Run(folder), "least_certain", images, columns, CAPTIONS)
    return Run(folder)


def test_a_sheet_is_read_as_it_was_written(tmp_path: Path) -> None:
    sheet = read_sheet(written(tmp_path), "least_certain")
    assert sheet is not None
    assert sheet.maps == ["saliency"]
    assert [caption for _, caption in sheet.strips] == CAPTIONS
    first, second = (np.asarray(Image.open(BytesIO(strip)).convert("L")) for strip, _ in sheet.strips)
    height, width = first.shape
    assert width > height  # the image, half as wide as high, and its map next to it
    assert first[:, : width // 3].max() < 10
    assert second[:, : width // 3].min() > 245
    assert read_sheet(Run(tmp_path), "mean_maps_by_camera") is None


@pytest.mark.parametrize("damage", ["a strip is gone", "no list"])
def test_a_damaged_sheet_is_named(damage: str, tmp_path: Path) -> None:
    run = written(tmp_path)
    file = sheet_file(run, "least_certain")
    if damage == "no list":
        file.write_text("{}")
    else:
        (file.parent / "least_certain_02.webp").unlink()
    with pytest.raises(GenderClsError, match=r"least_certain\.json"):
        read_sheet(run, "least_certain")


def test_each_method_has_a_map_of_the_answer_and_of_the_label_if_both_were_asked_for() -> None:
    maps = torch.tensor([[[0.5, -2.0]]])
    even = torch.tensor([[0.5, 0.5]])
    answered = Attribution(even, torch.tensor([0]), {Method.grad_cam: maps})
    true = Attribution(even, torch.tensor([1]), {Method.grad_cam: -maps})
    assert [column.title for column in map_columns({"predicted": answered})] == ["Grad-CAM"]
    columns = map_columns({"predicted": answered, "true": true})
    assert [column.title for column in columns] == ["Grad-CAM", "Grad-CAM, true"]
    assert [np.asarray(column.maps).tolist() for column in columns] == [[[[0.25, -1.0]]], [[[-0.25, 1.0]]]]
