"""Faults are put into clean data, and the audit must find them: all that can be found, and little else."""

import contextlib
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.injected_faults import CROPPED, REENCODED, Injected, inject
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


@pytest.fixture(scope="module", params=[demo_crops, real_crops], ids=["drawn", "real"])
def audited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Injected, Path, DataConfig]:
    """Clean data with faults, its audit's folder, and where the facts are kept."""
    folder = tmp_path_factory.mktemp("injected")
    table, source = request.param(folder / "clean")
    table = assign_splits(table.assign(split="", source="", group=table["identity"]), DataConfig())
    injected = inject(table, source, folder / "crops", copies=6 if len(table) < 1000 else 40)
    data = DataConfig(root=str(injected.root), pattern=PATTERN)
    config = AuditConfig(data=data, audit=AuditSettings(suspects=False, thumbnails=3))
    audit_data(config, folder / "audit", folder / "cache")
    return injected, folder, data


def precision_and_recall(found: set[str], wanted: set[str]) -> tuple[float, float]:
    return len(found & wanted) / max(len(found), 1), len(found & wanted) / len(wanted)


def findings(folder: Path) -> tuple[pd.DataFrame, dict]:
    images = pd.read_csv(folder / "audit" / "audit.csv", keep_default_na=False)
    return images.set_index("path"), json.loads((folder / "audit" / "audit.json").read_text())


def test_every_broken_file_is_found_and_no_other(audited: tuple[Injected, Path, DataConfig]) -> None:
    injected, folder, _ = audited
    images, totals = findings(folder)
    for fault in ("empty", "no_picture", "damaged"):
        wanted = {path for path, kind in injected.broken.items() if kind == fault}
        scores = precision_and_recall(set(images.index[images[fault]]), wanted)
        print(f"{fault:12} {len(wanted):4} injected, precision {scores[0]:.3f}, recall {scores[1]:.3f}")
        assert scores == (1, 1)
    assert totals["faults"]["unreadable"]["images"] == len(injected.broken)
    assert totals["passed_over"]["hidden"] == {"files": 2, "examples": injected.hidden}


def test_every_exact_copy_across_the_splits_is_found_and_no_other(audited: tuple[Injected, Path, DataConfig]) -> None:
    injected, folder, _ = audited
    images, totals = findings(folder)
    copies = injected.originals["exact"]
    wanted = equal_across_splits(injected.root)
    assert wanted >= {*copies, *copies.values()}
    scores = precision_and_recall(set(images.index[images["exact_across_splits"]]), wanted)
    print(f"{'exact copies':12} {len(copies):4} injected, precision {scores[0]:.3f}, recall {scores[1]:.3f}")
    print(f"{len(wanted) - 2 * len(copies)} more images equal one in another split")
    assert scores == (1, 1)
    assert totals["verdict"][0]["level"] == "stop"
    assert f"{len(wanted)} exact copies stand in more than one split" in totals["verdict"][0]["sentence"]


def equal_across_splits(root: Path) -> set[str]:
    """Images that equal one in another split, found by comparing all pixels."""
    same: dict[bytes, list[str]] = defaultdict(list)
    for path in root.glob("*/*/[!.]*.*"):
        with contextlib.suppress(OSError), Image.open(path) as image:  # not the broken ones
            pixels = np.asarray(image.convert("RGB"))
            key = str(pixels.shape).encode() + pixels.tobytes()
            same[key].append(path.relative_to(root).as_posix())
    return {path for paths in same.values() if len({path.split("/")[0] for path in paths}) > 1 for path in paths}


def test_copies_that_were_changed_are_found_at_the_default_distance(audited: tuple[Injected, Path, DataConfig]) -> None:
    injected, folder, data = audited
    images, _ = findings(folder)
    readable = images[~images["unreadable"]]
    facts = scan(readable.index.tolist(), injected.root, folder / "cache", DataConfig()).facts
    hashes = facts["perceptual_hash"].to_numpy()
    row_of = {path: row for row, path in enumerate(readable.index)}
    own = np.array([path.split("/")[-1].split("_")[0] for path in readable.index])
    for copies in injected.originals.values():
        for copy, original in copies.items():
            own[row_of[copy]] = own[row_of[original]]
    kinds = (*REENCODED, *CROPPED)
    print(f"\ndistance  {'  '.join(kinds)}  false pairs, share of the images in one")
    recall = {}
    for distance in range(13):
        near = find_near_duplicates(hashes, distance)
        recall = {kind: np.mean([_is_near(hashes, row_of, pair, distance) for pair in injected.originals[kind].items()])
                  for kind in kinds}  # fmt: skip
        false = near.touches_other(own)
        shares = "  ".join(f"{recall[kind]:{len(kind)}.2f}" for kind in kinds)
        print(f"{distance:8}  {shares}  {_false_pairs(near, own)}, {false.mean():.4f}")
        if distance == data.near_duplicate_distance:
            assert all(recall[kind] == 1 for kind in REENCODED)
            assert recall["cropped_2"] >= 0.8
            assert false.mean() <= 0.005
    for kind in REENCODED:
        found = images.loc[list(injected.originals[kind]), ["near_across_splits", "exact_across_splits"]]
        assert found.any(axis=1).all()  # saved again at the quality it had, a JPEG may keep every pixel


def _is_near(hashes: np.ndarray, row_of: dict[str, int], pair: tuple[str, str], distance: int) -> bool:
    first, second = (hashes[row_of[path]] for path in pair)
    return bool(np.bitwise_count(first ^ second) <= distance)


def _false_pairs(near, own: np.ndarray) -> int:
    """Pairs of different hashes that no two images of one person share."""
    owners = pd.Series(own).groupby(near.codes).agg(set)
    return sum(owners[first].isdisjoint(owners[second]) for first, second in near.pairs)


def test_a_camera_that_holds_one_label_only_is_named(audited: tuple[Injected, Path, DataConfig]) -> None:
    injected, folder, _ = audited
    _, totals = findings(folder)
    groups = totals["balance"]["single_label_groups"]
    assert {"column": "camera", "value": injected.single_label_camera, "label": "MALE", "images": 12} in groups
    assert any("camera c9 (12 MALE)" in one["sentence"] for one in totals["verdict"])


def test_swapped_people_stand_at_the_top_of_the_suspects(audited: tuple[Injected, Path, DataConfig]) -> None:
    injected, folder, data = audited
    if injected.source != REAL or not WEIGHTS.is_file():
        pytest.skip("it takes the real crops and ImageNet weights")
    light = ModelConfig(name="mobilenetv2_100", weights=str(WEIGHTS), options={"pad_type": "same"})
    config = AuditConfig(data=replace(data, image_size=[128, 64]), model=light, audit=AuditSettings(thumbnails=0))
    audit_data(config, folder / "suspects", folder / "cache")
    suspects = pd.read_csv(folder / "suspects" / "suspects.csv", keep_default_na=False)
    suspects = suspects[~suspects["identity"].str.startswith(("copy-", "broken-"))]
    people = suspects.drop_duplicates("identity")
    for what, rows in (("images", suspects), ("people", people)):
        wrong = rows["identity"].isin(injected.swapped).to_numpy()
        first = len(rows) // 20
        precision, recall = wrong[:first].mean(), wrong[:first].sum() / wrong.sum()
        print(f"{what}: {wrong.sum()} of {len(rows)} wrong; first 5 %: precision {precision:.2f}, recall {recall:.2f}")
        assert precision >= 5 * wrong.mean()
