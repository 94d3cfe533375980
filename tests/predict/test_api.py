"""`gender_cls.load(run).predict(images)`: the rows of the command, for images in memory too."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.crops import decode, resize, write_crop
from PIL import Image

import gender_cls
from gender_cls.config.data import CLASSES, ResizeMode
from gender_cls.config.explain import Method
from gender_cls.data.csv_text import read_csv_text
from gender_cls.errors import GenderClsError
from gender_cls.explain.attribution import attribute
from gender_cls.predict.api import LoadedModel
from gender_cls.predict.table import COLUMNS
from gender_cls.runs.run import Run
from gender_cls.training.load_checkpoint import load_classifier

ARRAY = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(finished: Path) -> Run:
    return Run(next(finished.glob("0_*")))


@pytest.fixture(scope="module")
def model(run: Run) -> LoadedModel:
    return gender_cls.load(run.folder, accelerator="cpu")


def test_files_have_the_answers_of_the_report(run: Run, finished: Path, model: LoadedModel) -> None:
    report = read_csv_text(run.predictions)
    paths = [finished.parents[2] / "crops" / path for path in report["path"]]
    table = model.predict([*paths])
    assert table["path"].tolist() == [*map(str, paths)]
    assert table["answer"].tolist() == report["answer"].tolist()
    assert table["known_as"].tolist() == report["split"].tolist()
    for name in ("p_FEMALE", "calibrated_p_FEMALE", "brightness", "sharpness", "native_height"):
        given, expected = table[name].to_numpy(np.float64), report[name].astype(float)
        np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-6, err_msg=name)


def test_every_kind_of_image_gives_the_same_row(model: LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(ARRAY).save(file)
    tensor = torch.from_numpy(ARRAY).permute(2, 0, 1)
    turned = Image.fromarray(np.rot90(ARRAY).copy())
    turned.getexif()[0x0112] = 6  # to be turned clockwise
    several = torch.stack([tensor, tensor.flip(0)])
    arrays = [ARRAY, ARRAY[:, ::-1][:, ::-1], np.frombuffer(ARRAY.tobytes(), np.uint8).reshape(ARRAY.shape)]
    kinds = [file, str(file), Image.open(file), *arrays, tensor, turned, several]
    table = model.predict(kinds)
    assert len(table) == 10
    assert table["path"].tolist() == [str(file)] * 2 + [""] * 8
    assert table.dtypes.astype(str).to_dict() == COLUMNS
    for name in ("p_FEMALE", "calibrated_p_FEMALE", "distance", "brightness", "sharpness", "native_height", "answer"):
        assert table[name].iloc[:9].nunique() == 1, name
    assert table["p_MALE"][9] != table["p_MALE"][8], "other colours"
    pd.testing.assert_frame_equal(model.predict(ARRAY), table.iloc[[3]].reset_index(drop=True), atol=1e-6)
    assert model.predict(several)["p_MALE"].tolist() == pytest.approx(table["p_MALE"].iloc[8:].tolist(), abs=1e-6)


def test_more_images_than_a_batch_stay_in_order(model: LoadedModel) -> None:
    images = [np.full((30, 15, 3), level, np.uint8) for level in range(0, 250, 10)]
    together = model.predict(images)
    assert together["brightness"].tolist() == [*range(0, 250, 10)]
    alone = [model.predict(image)["p_MALE"][0] for image in images]
    assert together["p_MALE"].tolist() == pytest.approx(alone, abs=1e-6)


def test_a_file_that_cannot_be_read_has_a_reason(model: LoadedModel, tmp_path: Path) -> None:
    write_crop(tmp_path / "good.png", seed=1)
    (tmp_path / "empty.png").touch()
    table = model.predict([tmp_path / "gone.png", tmp_path / "good.png", tmp_path / "empty.png"])
    assert table["fault"].tolist() == ["missing", "", "empty"]
    assert str(tmp_path / "gone.png") in table["reason"][0]
    assert table["answer"].tolist()[::2] == ["", ""]
    assert table["p_MALE"].isna().tolist() == [True, False, True]
    assert table["p_MALE"][1] == pytest.approx(model.predict(decode(tmp_path / "good.png"))["p_MALE"][0], abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "named"),
    {
        "floats": (ARRAY / 255, ["float64", "uint8", "255"]),
        "nan": (np.full((4, 4, 3), np.nan), ["float64", "NaN", "uint8"]),
        "nan in a tensor": (torch.full((3, 4, 4), float("nan")), ["torch.float32", "NaN", "uint8"]),
        "whole numbers": (ARRAY.astype(np.int64), ["int64", "uint8"]),
        "grey": (ARRAY[..., 0], ["(40, 20)", "(H, W, 3)"]),
        "alpha": (np.zeros((8, 8, 4), np.uint8), ["(8, 8, 4)", "(H, W, 3)"]),
        "channels first": (ARRAY.transpose(2, 0, 1), ["(3, 40, 20)", "(H, W, 3)", "transpose(1, 2, 0)"]),
        "several": (ARRAY[None], ["(1, 40, 20, 3)", "list"]),
        "nothing in it": (np.zeros((0, 5, 3), np.uint8), ["(0, 5, 3)"]),
        "channels last": (torch.from_numpy(ARRAY), ["(40, 20, 3)", "(3, H, W)", "permute(2, 0, 1)"]),
        "five axes": (torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8), ["(1, 1, 3, 4, 4)", "(B, 3, H, W)"]),
        "a number": (7, ["int", "PIL", "path"]),
        "bytes": (b"\xff\xd8", ["bytes", "PIL", "path"]),
        "floating picture": (Image.new("F", (4, 4)), ["pixels"]),
    }.values(),
)
def test_what_is_no_image_is_named_with_what_is_right(model: LoadedModel, wrong: Any, named: list[str]) -> None:
    for images, name in ((wrong, "images"), ([ARRAY, wrong], r"images\[1\]")):
        with pytest.raises(GenderClsError, match=f"^{name} ") as raised:
            model.predict(images)
        assert all(word in str(raised.value) for word in named), raised.value


def test_no_images_and_folders_are_refused(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(GenderClsError, match="images is empty"):
        model.predict([])
    with pytest.raises(GenderClsError, match=f"^{re.escape(str(tmp_path))} is a folder"):
        model.predict(tmp_path)


def test_several_runs_answer_together(finished: Path) -> None:
    folders = sorted(path.parent for path in finished.glob("*/status.json"))
    both, again = gender_cls.load(folders).predict(ARRAY), gender_cls.load(str(finished)).predict(ARRAY)
    pd.testing.assert_frame_equal(both, again)
    assert both["spread"].notna().all()
    each = [gender_cls.load(folder).predict(ARRAY) for folder in folders]
    logits = [np.log(one["p_FEMALE"] / one["p_MALE"])[0] for one in each]
    assert np.log(both["p_FEMALE"] / both["p_MALE"])[0] == pytest.approx(sum(logits) / 2)


def test_a_run_that_was_not_trained_to_its_end_is_left_out_of_a_sweep(finished: Path, tmp_path: Path) -> None:
    sweep = Path(shutil.copytree(finished, tmp_path / "sweep"))
    whole, begun = (Run(path.parent) for path in sorted(sweep.glob("*/status.json")))
    begun.note(fitted=False)
    pd.testing.assert_frame_equal(gender_cls.load(sweep).predict(ARRAY), gender_cls.load(whole.folder).predict(ARRAY))
    whole.note(fitted=False)
    with pytest.raises(GenderClsError, match=f"None of the 2 runs .*: {sweep}"):
        gender_cls.load(sweep)


def test_maps_are_those_of_the_command_in_memory(run: Run, model: LoadedModel, finished: Path) -> None:
    files = [finished.parents[2] / "crops" / path for path in read_csv_text(run.predictions)["path"][:3]]
    explained = model.explain([*files, ARRAY], methods=["grad_cam", "saliency"])
    classifier = load_classifier(run.best_checkpoint)
    images = torch.stack([resize(decode(file), (32, 16), ResizeMode.stretch) for file in files])
    methods = [Method.grad_cam, Method.saliency]
    expected = attribute(classifier.network, classifier.normalise(images), methods, classifier.feature_map)
    for row, one in enumerate(explained[:3]):
        assert one.image.tolist() == images[row].permute(1, 2, 0).tolist()
        assert one.explained == CLASSES[expected.targets[row]]
        assert one.probability == pytest.approx(expected.probabilities[row].max().item(), abs=1e-6)
        assert list(one.maps) == ["grad_cam", "saliency"]
        for method in methods:
            given = one.maps[method.value]
            assert given.dtype == np.float32
            np.testing.assert_allclose(given, expected.maps[method][row], rtol=1e-4, atol=1e-7)
    assert explained[3].maps["grad_cam"].shape == (32, 16)


def test_a_label_can_be_explained_and_maps_become_pictures(model: LoadedModel) -> None:
    [female], [male] = (model.explain(ARRAY, ["grad_cam"], label=label) for label in CLASSES)
    assert (female.explained, male.explained) == CLASSES
    assert female.probability + male.probability == pytest.approx(1)
    np.testing.assert_allclose(female.maps["grad_cam"], -male.maps["grad_cam"], rtol=1e-4, atol=1e-7)
    assert female.overlay("grad_cam").size == (16, 32), "(width, height)"
    blue, yellow = (np.asarray(one.overlay("grad_cam"), int)[..., 2] for one in (male, female))
    peak = np.unravel_index(male.maps["grad_cam"].argmin(), (32, 16))
    assert blue[peak] > yellow[peak], "blue speaks against the label"
    assert female.picture(64).height == 64
    with pytest.raises(GenderClsError, match="occlusion"):
        female.overlay("occlusion")


def test_what_cannot_be_explained_is_named(finished: Path, model: LoadedModel, tmp_path: Path) -> None:
    for options, named in (
        ({"methods": ["gradcam"]}, "grad_cam"),
        ({"methods": []}, "methods"),
        ({"label": "X"}, "X"),
        ({"methods": "gradcam"}, "gradcam"),
    ):
        with pytest.raises(GenderClsError, match=named):
            model.explain(ARRAY, **options)
    with pytest.raises(GenderClsError, match=r"gone\.png"):
        model.explain([ARRAY, tmp_path / "gone.png"])
    with pytest.raises(GenderClsError, match=r"^2 runs .* load one run"):
        gender_cls.load(finished).explain(ARRAY)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"run": "/nowhere"}, "/nowhere"),
        ({"run": []}, "run"),
        ({"precision": "float8"}, "precision"),
        ({"accelerator": "tpu"}, "accelerator"),
    ],
)
def test_what_cannot_be_loaded_is_named(run: Run, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(GenderClsError, match=named):
        gender_cls.load(**{"run": run.folder, **changes})


def test_the_package_imports_nothing_until_a_run_is_loaded() -> None:
    heavy = "{'torch', 'numpy', 'pandas', 'hydra', 'omegaconf', 'PIL'}"
    code = f"import sys, gender_cls; assert not {heavy} & set(sys.modules); print(gender_cls.__version__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == gender_cls.__version__
