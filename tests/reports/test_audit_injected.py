"""Faults are put into clean data, and the audit must find them: all that can be found, and little else."""

import contextlib
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from helpers.injected_faults import CROPPED, REENCODED, SINGLE_LABEL_CAMERA, Injected, inject
from PIL import Image

from gender_cls.config.audit import AuditConfig, AuditSettings
from gender_cls.config.data import DataConfig
from gender_cls.config.model import ModelConfig
from gender_cls.data.near_duplicates import find_near_duplicates
from gender_cls.data.scan import scan
from gender_cls.data.split import assign_splits
from gender_cls.demo.dataset import draw_demo
from gender_cls.reports.audit import audit_data

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL = SHARED / "data" / "cctv"
WEIGHTS = SHARED / "weights" / "mobilenetv2_100_imagenet_timm.pth"
PATTERN = r"/(?P<identity>[^_/]+)_(?P<camera>[^_]+)_[^_]*$"


def demo_crops(folder: Path) -> tuple[pd.DataFrame, Path]:
    draw_demo(folder, images=240, cue=True, seed=0)
    return pd.read_csv(folder / "manifest.csv", dtype=str)[["path", "label", "identity", "camera"]], folder


def real_crops(folder: Path) -> tuple[pd.DataFrame, Path]:
    if not REAL.is_dir():
        pytest.skip("the real crops are not here")
    table = pd.DataFrame({"path": sorted(path.relative_to(REAL).as_posix() for path in REAL.glob("*/*"))})
    found = table["path"].str.extract(r"(?P<label>\w+)/(?P<identity>(?P<camera>[^_/]+)_[^_]+)_")
    return table.join(found), REAL


class Audited(NamedTuple):
    """Clean data with faults, and their audit."""

    injected: Injected
    folder: Path
    data: DataConfig
    images: pd.DataFrame  # the rows of audit.csv by path
    totals: dict[str, Any]  # audit.json


@pytest.fixture(scope="module", params=[demo_crops, real_crops], ids=["drawn", "real"])
def audited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    folder = tmp_path_factory.mktemp("injected")
    table, source = request.param(folder / "clean")
    table = assign_splits(table.assign(split="", source="", group=table["identity"]), DataConfig())
    injected = inject(table, source, folder / "crops", copies=6 if len(table) < 1000 else 40)
    data = DataConfig(root=str(injected.root), pattern=PATTERN)
    config = AuditConfig(data=data, audit=AuditSettings(suspects=False, thumbnails=3))
    audit_data(config, folder / "audit", folder / "cache")
    images = pd.read_csv(folder / "audit" / "audit.csv", keep_default_na=False).set_index("path")
    return Audited(injected, folder, data, images, json.loads((folder / "audit" / "audit.json").read_text()))


def test_every_broken_file_is_found_and_no_other(audited: Audited) -> None:
    injected, _, _, images, totals = audited
    for fault in ("empty", "no_picture", "damaged"):
        assert set(images.index[images[fault]]) == {path for path, kind in injected.broken.items() if kind == fault}
    assert totals["faults"]["unreadable"]["images"] == len(injected.broken)
    assert images.index[images["transparent"]].tolist() == [injected.cut_out]
    assert any("transparent" in finding["sentence"] for finding in totals["verdict"])
    assert totals["left_out"]["hidden"] == {"files": 2, "examples": injected.hidden}


def test_every_exact_copy_across_the_splits_is_found_and_no_other(audited: Audited) -> None:
    injected, _, _, images, totals = audited
    copies = injected.originals["exact"]
    wanted = equal_across_splits(injected.root)
    assert wanted >= {*copies, *copies.values()}
    assert set(images.index[images["exact_across_splits"]]) == wanted
    assert totals["verdict"][0]["level"] == "stop"
    assert f"{len(wanted)} exact copies" in totals["verdict"][0]["sentence"]


def equal_across_splits(root: Path) -> set[str]:
    """Images that equal one in another split, found by comparing all pixels."""
    same: dict[bytes, list[str]] = defaultdict(list)
    for path in root.glob("*/*/[!.]*.*"):
        with contextlib.suppress(OSError), Image.open(path) as image:  # not the broken ones
            pixels = np.asarray(image.convert("RGB"))
            key = str(pixels.shape).encode() + pixels.tobytes()
            same[key].append(path.relative_to(root).as_posix())
    return {path for paths in same.values() if len({path.split("/")[0] for path in paths}) > 1 for path in paths}


def test_copies_that_were_changed_are_found_at_the_default_distance(audited: Audited) -> None:
    injected, folder, data, images, _ = audited
    readable = images[~images["unreadable"]]
    facts = scan(readable.index.tolist(), injected.root, folder / "cache", DataConfig()).facts
    hashes = facts["perceptual_hash"].to_numpy()
    row_of = {path: row for row, path in enumerate(readable.index)}
    own = np.array([path.split("/")[-1].split("_")[0] for path in readable.index])
    for copies in injected.originals.values():
        for copy, original in copies.items():
            own[row_of[copy]] = own[row_of[original]]
    near = find_near_duplicates(hashes, data.near_duplicate_distance)
    assert near.touches_other(own).mean() <= 0.005
    for kind in (*REENCODED, *CROPPED[:1]):
        rows = [(row_of[copy], row_of[original]) for copy, original in injected.originals[kind].items()]
        distances = np.array([np.bitwise_count(hashes[copy] ^ hashes[original]) for copy, original in rows])
        recall = (distances <= data.near_duplicate_distance).mean()
        assert recall == 1 if kind in REENCODED else recall >= 0.8
    for kind in REENCODED:
        found = images.loc[list(injected.originals[kind]), ["near_across_splits", "exact_across_splits"]]
        assert found.any(axis=1).all()  # saved again at the quality it had, a JPEG may keep every pixel


def test_a_camera_that_holds_one_label_only_is_named(audited: Audited) -> None:
    named = {"column": "camera", "value": SINGLE_LABEL_CAMERA, "label": "MALE", "images": 12}
    assert named in audited.totals["balance"]["single_label_groups"]
    assert any("camera c9 (12 MALE)" in one["sentence"] for one in audited.totals["verdict"])


def test_swapped_people_stand_at_the_top_of_the_suspects(audited: Audited) -> None:
    injected, folder, data, *_ = audited
    if injected.source != REAL or not WEIGHTS.is_file():
        pytest.skip("it takes the real crops and ImageNet weights")
    light = ModelConfig(name="mobilenetv2_100", weights=str(WEIGHTS), options={"pad_type": "same"})
    config = AuditConfig(
        data=replace(data, image_size=[128, 64], limit=2000), model=light, audit=AuditSettings(thumbnails=0)
    )
    audit_data(config, folder / "suspects", folder / "cache")
    suspects = pd.read_csv(folder / "suspects" / "suspects.csv", keep_default_na=False)
    suspects = suspects[~suspects["identity"].str.startswith(("copy-", "broken-"))]
    for rows in (suspects, suspects.drop_duplicates("identity")):
        wrong = rows["identity"].isin(injected.swapped).to_numpy()
        assert wrong[: len(rows) // 20].mean() >= 4 * wrong.mean()  # one draw; test_suspects_on_real_crops.py takes ten
