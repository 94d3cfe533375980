import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import changed
from helpers.html_page import EVIL, Page, assert_runs_and_fetches_nothing, draw, with_evil
from PIL import Image

from gender_cls.drawing import thumbnails
from gender_cls.pages.audit_page import render_audit
from gender_cls.quality.faults import FAULTS


def images_of(rows: list[dict[str, Any]], root: Path | None = None) -> pd.DataFrame:
    """Rows of audit.csv, without a finding except those given; their files, if there is a root."""
    for row in rows if root else ():
        draw(root, row["path"])
    nothing = {
        **{"label": "MALE", "identity": "", "camera": "", "source": "", "split": "train", "reason": ""},
        **{"width": 20, "height": 48, "brightness": 100.0, "sharpness": 1.0},
        **dict.fromkeys(FAULTS, False),
        **{"exact_duplicates": 0, "near_duplicates": 0, "duplicate_cluster": -1},
        **{f"{kind}_across_{what}": False for kind in ("exact", "near") for what in ("labels", "splits")},
        **{"identity_across_splits": False, "identity_with_both_labels": False},
        **{"suspect": False, "suggested_label": "", "suspect_score": np.nan},
    }
    return pd.DataFrame([{**nothing, **row} for row in rows])


def suspects_of(rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    """(path, identity, score), all MALE and flagged."""
    table = pd.DataFrame(rows, columns=["path", "identity", "score"])
    return table.assign(label="MALE", suggested_label="FEMALE", flagged=True)


def faults_of(**images: int) -> dict[str, Any]:
    return {name: {"images": images.get(name, 0), "description": text} for name, text in FAULTS.items()}


def totals_of(**changed: Any) -> dict[str, Any]:
    """A dataset with something to say in every section."""
    count = {"FEMALE": 30, "MALE": 70, "unknown": 0}
    across = {"clusters": 2, "images": 5, "across_labels": 1, "across_splits": 4}
    return {
        **{"title": "night shift", "created": "2026-11-22T10:00:00+01:00", "seconds": 12.3},
        "command": "python -m gender_cls.audit data.root=crops",
        "data": {
            **{"root": "/data/crops", "images": 1234, "identities": 321, "cameras": 2, "sources": 0, "groups": 300},
            "labels": {"MALE": 864, "FEMALE": 370},
            "splits": {"train": 1000, "val": 100, "test": 134, "none": 0},
            **{"split_origin": "given", "split_by": "identity", "split_problem": None},
            "manifest_sha256": "ab" * 32,
            "corrections": {"file": "suspects.csv", "changed": {"FEMALE to MALE": 9}},
        },
        "verdict": [{"level": "stop", "sentence": "It leaks."}, {"level": "fine", "sentence": "It is large."}],
        "faults": faults_of(),
        "left_out": {
            "hidden": {"files": 4, "examples": [".trash/a.jpg"]},
            "other": {"files": 1, "examples": []},
        },
        "duplicates": {
            "exact": across,
            "near": {"distance": 4, **across},
            "by_distance": [{"distance": 0, "pairs": 3}, {"distance": 1, "pairs": 6}],
        },
        "identities": {
            "known": 321,
            "across_splits": {"identities": 7, "images": 55, "test_share": 0.58},
            "both_labels": {"identities": 1, "images": 2, "examples": ["p1"]},
        },
        "balance": {
            "label_by_split": [{"split": "train", **count}],
            "label_by_camera": [{"camera": f"c{i}", **count} for i in range(40)],
            "label_by_source": [],
            "single_label_groups": [{"column": "camera", "value": "c9", "label": "MALE", "images": 31}],
            "images_per_identity": {
                **{"identities": 321, "images": 1234, "mean": 3.84, "median": 2.0, "max": 40},
                "effective_sample_size": 81.2,
            },
            "histogram": [{"bin": "1", "identities": 300}, {"bin": "2-4", "identities": 150}],
        },
        "baselines": [
            {"name": "a", "title": "Always one", "balanced_accuracy": 0.5, "answered": 1.0, "remark": None},
            {"name": "b", "title": "Look it up", "balanced_accuracy": 0.842, "answered": 0.58, "remark": None},
            {"name": "c", "title": "Source", "balanced_accuracy": None, "answered": None, "remark": "None is known."},
        ],
        "suspects": {
            **{"problem": None, "method": "a light classifier", "out_of_fold_balanced_accuracy": 0.741},
            **{"images": 270, "identities": 81},
            "groups": [{"kind": "one_label", "sentence": "Camera c9 looks like an error."}],
            "review": {
                **{"images": 1000, "wrong": 50, "factor_at_5_percent": 6.1},
                "image_curve": [
                    {"reviewed": 0.0, "precision": 1.0, "recall": 0.0},
                    {"reviewed": 0.5, "precision": 0.1, "recall": 0.8},
                ],
                "identity_curve": [],
            },
        },
        **changed,
    }


NOTHING, UNSUSPECTED = images_of([{"path": "a.png"}]), suspects_of([])


def page_of(
    root: Path, totals: Any, images: pd.DataFrame = NOTHING, thumbnails: int = 24, suspects: pd.DataFrame = UNSUSPECTED
) -> Page:
    return Page(render_audit(json.loads(json.dumps(totals)), images, suspects, root, thumbnails))


@pytest.mark.parametrize("thumbnails", [0, 24])
def test_the_page_is_one_file_that_runs_nothing_and_names_stay_text(tmp_path: Path, thumbnails: int) -> None:
    path = f"MALE/{EVIL}.png"
    words = {"path": path, "label": EVIL, "identity": EVIL, "camera": EVIL, "source": EVIL, "split": EVIL}
    flags = dict.fromkeys((*FAULTS, "identity_across_splits", "identity_with_both_labels"), True)
    rows = [{**words, **flags, "duplicate_cluster": 0}] * 2 + [{**words, **flags, "reason": EVIL}]
    suspects = suspects_of([(path, EVIL, 0.9)]).assign(label=EVIL, suggested_label=EVIL)
    totals = totals_of(faults=faults_of(**dict.fromkeys(FAULTS, 3)))
    totals = with_evil(totals, kept=("level", "split_origin", "created"))
    corrections = {"file": EVIL, "changed": {EVIL: 1}}
    totals["data"].update(split_problem=EVIL, labels={EVIL: 5}, corrections=corrections)
    page = page_of(tmp_path, totals, images_of(rows, tmp_path), thumbnails, suspects)
    assert_runs_and_fetches_nothing(page, "data:image/jpeg;base64,")
    assert "form" not in {tag for tag, _ in page.tags}
    assert page.text.count(EVIL) > 30
    assert page.pictures == [path] * len(page.pictures)
    assert bool(page.pictures) == bool(thumbnails)


NO_DUPLICATES = {"clusters": 0, "images": 0, "across_labels": 0, "across_splits": 0}


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("verdict", [], "Data audit night shift"),
        ("verdict", None, "Data audit night shift"),
        ("faults", None, "Each of the 1,234 images can be read"),
        ("faults", {}, "Each of the 1,234 images can be read"),
        ("left_out", None, "Looked for: unreadable, wrong extension,"),
        ("left_out", {}, "Looked for: unreadable, wrong extension,"),
        ("duplicates", None, "Duplicates Not looked for."),
        ("duplicates.near", None, "the same pixels 2 5 1 4 "),
        ("duplicates.by_distance", [], "nearly the same 2 5 1 4 "),
        ("duplicates", {"exact": NO_DUPLICATES, "near": {"distance": 4, **NO_DUPLICATES}}, "(at most 4 of 64 bits"),
        ("identities", None, "data.pattern or a column identity"),
        ("identities.known", 0, "data.pattern or a column identity"),
        ("identities.across_splits.identities", 0, "Of the 321 people none is in more than one split."),
        ("identities.both_labels.identities", 0, "Of the 321 people none has both labels."),
        ("balance", None, "Balance Not computed."),
        ("balance.label_by_camera", [], "Images per person"),
        ("balance.images_per_identity", None, "Camera c9 has only one label"),
        ("balance.single_label_groups", [], "Images per person"),
        ("baselines", None, "None could be scored."),
        ("baselines", [], "None could be scored."),
        ("baselines", [{"balanced_accuracy": None, "remark": "No MALE."}] * 2, "scored: No MALE. Suspect"),
        ("data.corrections", None, "images 1,234 people 321 cameras 2 sources unknown"),
        ("data.split_problem", "Too few people.", "splits none No split: Too few people."),
        ("data.split_origin", "made", "splits, sampled, keeping 300 groups whole train 1,000"),
        ("data.split_origin", "published", "splits, as published train 1,000"),
        ("data.images", 0, "images 0"),
        ("suspects", None, "audit.suspects=false"),
        ("suspects.problem", "There are no weights.", "Suspect labels There are no weights."),
    ],
)
def test_what_is_missing_or_different_is_said(tmp_path: Path, where: str, value: Any, words: str) -> None:
    page = page_of(tmp_path, changed(totals_of(), {where: value}))
    assert words in page.text
    assert page.pictures == []


def test_numbers_are_on_the_page(tmp_path: Path) -> None:
    page = page_of(tmp_path, totals_of(), NOTHING, 0, suspects_of([("a.png", "p", 0.9)]))
    for words in (
        "Not ready: fix this first ! It leaks. ✓ It is large.",
        "images 1,234 people 321 cameras 2 sources unknown",
        "FEMALE 370 30 % MALE 864 70 %",
        "splits, as given train 1,000 val 100 test 134",
        "Labels corrected by suspects.csv : 9 FEMALE to MALE.",
        "4 hidden images (such as .trash/a.jpg ), 1 file that is no image.",
        "7 people are in more than one split , on 55 images. 58 % of the test images",
        "1 person has both labels , on 2 images",
        "Camera c9 has only one label: all 31 images are MALE.",
        "The 15 largest of 40 cameras",
        "A person has 3.8 images on average, 2 in the median and 40 at most.",
        "These 321 people are worth as much as 81 people",
        "Look it up knows 58 % of the test images 0.842",
        "Source None is known. –",
        "balanced accuracy of 0.74.",
        "1 label of 81 people should be looked at.",
        "Measured on 1,000 images of which 50 labels are known to be wrong. In the first 5 % of the list, wrong "
        "labels are 6.1 times as frequent",
        "ab" * 32,
    ):
        assert words in page.text


def test_plots_have_the_numbers_lengths(tmp_path: Path) -> None:
    page = page_of(tmp_path, totals_of())
    scores = [span["style"] for span in page.all("span") if span.get("class") == "score"]
    assert scores == ["width:0.5%", "width:68.4%"]  # of 0.5 to 1; a sliver marks 0.500
    shares = [(span["class"], span["style"]) for span in page.all("span") if "flex-grow" in span.get("style", "")]
    assert shares[:5] == [
        *[("FEMALE", "flex-grow:370"), ("MALE", "flex-grow:864")],
        *[("train", "flex-grow:1000"), ("val", "flex-grow:100"), ("test", "flex-grow:134")],
    ]
    assert {tick["style"] for tick in page.all("u")} == {"left:29.98%"}  # 370 / 1234
    columns = [column["style"] for column in page.all("i") if column.get("style", "").startswith("height")]
    assert columns == ["height:55.0px", "height:110.0px", "height:110.0px", "height:55.0px"]
    precision, recall = [line["points"].split() for line in page.all("polyline")]
    assert precision == ["34.0,25.0", "173.0,151.0"]  # x = 34 + 278 share, y = 165 - 140 share
    assert recall == ["34.0,165.0", "173.0,53.0"]


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    totals = totals_of()
    totals["suspects"]["review"]["image_curve"] = [
        {"reviewed": share, "precision": 0.0, "recall": share} for share in np.linspace(0, 1, 5000).tolist()
    ]
    page = page_of(tmp_path, totals)
    points = page.all("polyline")[1]["points"].split()
    assert len(points) == 100
    assert points[0] == "34.0,165.0"
    assert points[-1] == "312.0,25.0"


@pytest.mark.parametrize(("thumbnails", "shown"), [(0, []), (2, ["d3.png", "d2.png"])])
def test_of_a_finding_the_worst_are_shown(tmp_path: Path, thumbnails: int, shown: list[str]) -> None:
    rows = [{"path": f"d{i}.png", "dark": True, "brightness": 20.0 - i} for i in range(4)]
    totals = totals_of(faults=faults_of(dark=4))
    page = page_of(tmp_path, totals, images_of([*rows, {"path": "fine.png"}], tmp_path), thumbnails)
    assert page.pictures == shown
    assert "4 images of 1,234 should be looked at." in page.text
    assert ("2 more in audit.csv, column dark" if shown else "4 in audit.csv, column dark") in page.text
    assert ("brightness 17" in page.text) == bool(shown)


def test_unreadable_files_are_named_with_the_reason_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    reason = f"Cannot read {tmp_path / 'x.png'}: it is empty."
    images = images_of([{"path": "x.png", "unreadable": True, "empty": True, "reason": reason}])
    page = page_of(tmp_path, totals_of(faults=faults_of(unreadable=1, empty=1)), images)
    assert "1 unreadable 1 empty x.png it is empty." in page.text
    assert len(page.all("details")) == 1  # `empty` is one of the unreadable
    assert page.pictures == []


def test_a_file_that_is_gone_keeps_its_place(tmp_path: Path) -> None:
    page = page_of(tmp_path, totals_of(faults=faults_of(low=1)), images_of([{"path": "gone.png", "low": True}]))
    assert "no picture MALE train 20 × 48 px gone.png" in page.text


def test_the_page_stays_below_three_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    flags = dict.fromkeys((*FAULTS, "identity_across_splits", "identity_with_both_labels"), True)
    rows = [{"path": "noise.png", **flags, "identity": f"p{i}", "duplicate_cluster": i // 2} for i in range(120)]
    totals = totals_of(faults=faults_of(**dict.fromkeys(FAULTS, 120)))
    suspects = suspects_of([("noise.png", f"p{i}", 0.9) for i in range(120)])
    html = render_audit(totals, images_of(rows), suspects, tmp_path, 500)
    assert 1_000_000 < len(html.encode()) < 3_000_000
    assert len(Page(html).pictures) > 12 * 5


def test_a_thumbnail_is_small_and_a_picture_is_never_enlarged(tmp_path: Path) -> None:
    sizes = []
    for path, size in (("large.png", (400, 1000)), ("wide.png", (4000, 2)), ("small.png", (14, 32))):
        Image.new("RGB", size, "red").save(tmp_path / path)
        kind, _, data = thumbnails.thumbnail_uri(tmp_path / path).partition("base64,")
        assert kind == "data:image/jpeg;"
        with Image.open(BytesIO(base64.b64decode(data))) as image:
            sizes.append(image.size)
    assert sizes == [(45, 112), (192, 1), (14, 32)]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert thumbnails.thumbnail_uri(tmp_path / "broken.png") == ""


def test_of_a_person_each_split_and_label_is_shown_first(tmp_path: Path) -> None:
    about = {"identity": "ann", "identity_across_splits": True}
    rows = [{"path": f"train{i}.png", **about} for i in range(9)] + [{"path": "test.png", "split": "test", **about}]
    page = page_of(tmp_path, totals_of(), images_of(rows, tmp_path))
    assert page.pictures == ["test.png", "train0.png", "train1.png", "train2.png"]
    assert "ann 4 of 10 images" in page.text
    assert "1 of 7 people" not in page.text  # the table, not the totals, says how many there are to show


def test_duplicates_that_cross_splits_come_first(tmp_path: Path) -> None:
    def cluster(number: int, size: int, **more: Any) -> list[dict[str, Any]]:
        return [{"path": f"{number}{i}.png", "duplicate_cluster": number, **more} for i in range(size)]

    rows = cluster(0, 3) + cluster(1, 2, exact_duplicates=1, exact_across_labels=True)
    rows += cluster(2, 2, near_across_splits=True) + cluster(3, 2)
    rows[0]["identity"], rows[1]["identity"] = "ann", "bob"
    page = page_of(tmp_path, totals_of(), images_of(rows, tmp_path), 7)
    assert page.pictures == ["20.png", "21.png", "10.png", "11.png", "00.png", "01.png", "02.png"]
    titles = ("nearly the same across splits", "the same pixels both labels", "nearly the same 2 people")
    assert [page.text.index(title) for title in titles] == sorted(page.text.index(title) for title in titles)
    assert "3 of 4 sets are shown; audit.csv" in page.text
    assert "Duplicates 9" in page.text  # images, in the table of contents


def test_suspects_are_shown_by_person_most_suspect_first(tmp_path: Path) -> None:
    rows = [("b1.png", "bob", 0.03), ("x.png", "", 0.05), ("a1.png", "ann", 0.1), ("b2.png", "bob", 0.2)]
    for path, *_ in rows:
        draw(tmp_path, path)
    suspects = pd.concat([suspects_of(rows), suspects_of([("y.png", "", 0.5)]).assign(flagged=False)])
    page = page_of(tmp_path, totals_of(), suspects=suspects)
    assert page.pictures == ["b1.png", "b2.png", "x.png", "a1.png"]
    assert "bob MALE → FEMALE 0.97 b1.png MALE → FEMALE 0.80 b2.png MALE → FEMALE 0.95 x.png ann" in page.text
    assert "corrected_label of suspects.csv" in page.text
    assert "data.corrections=suspects.csv" in page.text
