"""The transfer matrix of three tiny runs, with every number worked out by hand."""

import json
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.comparing import compare, write_elsewhere, write_run
from helpers.prediction_tables import table_of
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.stats.multitest import multipletests

from gender_cls.evaluation.comparison.transfer_json import Cell, Transfer, TransferRow
from gender_cls.pages.transfer_table import transfer_to_csv
from gender_cls.runs.run import Run

VALIDATION = table_of("FFMM", "FMMM", ["v0", "v1", "v2", "v3"], split=["val"] * 4)  # 3/4
LABELS = "FFFFMMMM"


def images(dataset: str, answers: Any, labels: str = LABELS, people: list[str] | None = None) -> pd.DataFrame:
    """Test images of a dataset; every image is of one person unless people are named."""
    names = [f"{dataset} {name}" for name in people or range(len(labels))]
    table = table_of(labels, answers, names, split=["test"] * len(labels))
    return table.assign(path=[f"{dataset}/{path}" for path in table["path"]])


def trained(
    folder: Path, dataset: str, answers: Any, *, seed: int = 0, sources: tuple[str, ...] = (), **about: Any
) -> Run:
    """A run trained on a dataset, with these answers in its own test."""
    data = {"data__csv": f"/tables/{dataset}.csv"} | about
    path = folder / f"{len(list(folder.glob('*'))):02d}"
    run = write_run(path, pd.concat([VALIDATION, images(dataset, answers)], ignore_index=True), seed=seed, **data)
    run.data_file.write_text(json.dumps({"root": "/data", "sources": list(sources), "cameras": []}))
    return run


def matrix(folder: Path, answers: dict[tuple[str, str], str], **about: Any) -> list[Run]:
    """Runs of one method: (trained on, tested on) -> answers."""
    runs = []
    for home in dict.fromkeys(home for home, _ in answers):
        run = trained(folder, home, answers[home, home], **about)
        for (of, other), letters in answers.items():
            if of == home != other:
                write_elsewhere(run, other, images(other, letters))
        runs.append(run)
    return runs


def transfer_of(*runs: Run) -> Transfer:
    found = compare(*runs)["transfer"]
    assert found is not None
    return found


def row_of(found: Transfer, trained_on: str, method: str = "net") -> TransferRow:
    return next(row for row in found["rows"] if (row["trained_on"], row["method"]) == (trained_on, method))


def cell_of(found: Transfer, trained_on: str, dataset: str, method: str = "net") -> Cell:
    return next(cell for cell in row_of(found, trained_on, method)["cells"] if cell["dataset"] == dataset)


def score(cell: Cell, name: str = "balanced_accuracy") -> float | None:
    return cell["scores"][name]["value"]


# Right answers of FEMALE and of MALE, of 4 each: balanced accuracy is their sum by 8.
THREE = {
    ("a", "a"): "FFFFMMMM",  # 1
    ("a", "b"): "FFFFMMFF",  # 6/8
    ("a", "c"): "FFMMMMMM",  # 6/8
    ("b", "a"): "FFFFFFFF",  # 4/8
    ("b", "b"): "FFFFMMMF",  # 7/8
    ("b", "c"): "FFMMMMFF",  # 4/8
    ("c", "a"): "FFFMMMMF",  # 6/8
    ("c", "b"): "MMMMFFFF",  # 0
    ("c", "c"): "FFFMMMMM",  # 7/8
}
EIGHTHS = {"aa": 8, "ab": 6, "ac": 6, "ba": 4, "bb": 7, "bc": 4, "ca": 6, "cb": 0, "cc": 7}
DROPS = [2 / 8, 2 / 8, 3 / 8, 3 / 8, 1 / 8, 7 / 8]


def test_the_matrix_by_hand(tmp_path: Path) -> None:
    found = transfer_of(*matrix(tmp_path, THREE))
    assert (found["datasets"], found["methods"]) == (["a", "b", "c"], ["net"])
    assert [row["trained_on"] for row in found["rows"]] == ["a", "b", "c"]
    assert [row["candidate"] for row in found["rows"]] == ["net on a", "net on b", "net on c"]
    for home, other in product("abc", repeat=2):
        cell = cell_of(found, home, other)
        assert score(cell) == pytest.approx(EIGHTHS[home + other] / 8)
        assert (cell["kind"], cell["seen"]) == (("home", True) if home == other else ("elsewhere", False))
        assert (cell["images"], cell["identities"], cell["seeds"], cell["left_out"]) == (8, 8, 1, 0)
        answers = np.array(list(THREE[home, other])) == "F"
        female = np.array(list(LABELS)) == "F"
        assert score(cell, "macro_f1") == pytest.approx(f1_score(female, answers, average="macro"))
        assert score(cell, "auroc") == pytest.approx(roc_auc_score(female, np.where(answers, 0.9, 0.2)))
    row = row_of(found, "b")
    assert row["home"]["value"] == pytest.approx(7 / 8)
    assert row["mean_elsewhere"]["value"] == pytest.approx(4 / 8)
    assert row["mean_drop"]["value"] == pytest.approx(3 / 8)
    (drop,) = found["drops"]
    assert (drop["method"], drop["cells"]) == ("net", 6)
    assert drop["mean_drop"]["value"] == pytest.approx(mean(DROPS))
    assert drop["spread"]["value"] == pytest.approx(stdev(DROPS))
    assert drop["mean_elsewhere"]["value"] == pytest.approx(26 / 8 / 6)
    assert drop["worst"] == cell_of(found, "c", "b")
    assert drop["worst_trained_on"] == "c"
    assert found["pairs"] == []


def test_measures_named_after_the_paper_by_hand(tmp_path: Path) -> None:
    """Macro F1 of 4 FEMALE and 4 MALE images, of which r and s are right: 2 r / (r + 8 - s) and 2 s / (s + 8 - r)."""
    found = transfer_of(*matrix(tmp_path, {key: THREE[key] for key in product("ab", repeat=2)}))
    (drop,) = found["drops"]
    home_a, home_b = 1, (8 / 9 + 6 / 7) / 2  # r, s = 4, 4; 4, 3
    a_on_b, b_on_a = (8 / 10 + 4 / 6) / 2, (8 / 12 + 0) / 2  # 4, 2; 4, 0
    assert drop["cdd"] == pytest.approx(((home_a - a_on_b) + (home_b - b_on_a)) / 2)
    assert drop["sd"] == pytest.approx(stdev([a_on_b, b_on_a]))
    assert "URM, is not computed" in found["remarks"][-1]


def test_intervals_of_a_drop_count_people_of_both_sides_and_know_who_is_the_same(tmp_path: Path) -> None:
    """Variances of balanced accuracies with r and s right of 4 and 4: (r (4 - r) + s (4 - s)) / 4^4 each."""
    found = transfer_of(*matrix(tmp_path, {key: THREE[key] for key in product("ab", repeat=2)}))
    first = row_of(found, "a")["mean_drop"]
    at_home, on_b = 0.0, 4 / 4**4  # 4, 4 and 4, 2
    # Student's correction and half a person for each side, see `difference_variance`: 16 people in four groups.
    value, seen = 2 / 8, 16
    centre = (seen * (1 + value) / 2 + 0.5) / (seen + 1)
    squares = seen**2 * (at_home + on_b) / 4 + seen * ((1 + value) / 2 - centre) ** 2
    variance = 4 * (squares + 0.5 * (centre**2 + (1 - centre) ** 2)) / (seen + 1 - 4) / seen
    assert (first["low"], first["high"]) == pytest.approx(
        (value - 1.96 * variance**0.5, value + 1.96 * variance**0.5), abs=1e-4
    )


def test_people_at_home_and_elsewhere_may_be_the_same(tmp_path: Path) -> None:
    """What is answered alike at home and elsewhere by the same people is no loss, with little doubt; not so if the
    folders, and so the people, are others."""
    answers = {"aa": "FFMMMMFF", "bb": "FMMMMMMF"} | {"ba": "FFMMMMFF", "ab": "FMMMMMMF"}
    widths = []
    for root in ("/data", "/other"):
        runs = [trained(tmp_path / root[1:], name, answers[name * 2]) for name in "ab"]
        for run, home, other in zip(runs, "ab", "ba", strict=True):
            write_elsewhere(run, other, images(other, answers[home + other]), root=root)
        (drop,) = transfer_of(*runs)["drops"]
        assert drop["mean_drop"]["value"] == pytest.approx(0)
        assert drop["spread"]["value"] == pytest.approx(stdev([4 / 8 - 4 / 8, 4 / 8 - 4 / 8]))
        widths.append(drop["mean_drop"]["high"] - drop["mean_drop"]["low"])
    assert widths[0] < 0.6 * widths[1]


def test_a_home_cell_has_the_interval_of_the_candidate(tmp_path: Path) -> None:
    runs = []
    for seed, answers in enumerate(("FFFFMMMF", "FFMMMMMM", "FFFMMMFF")):
        runs.append(trained(tmp_path, "a", answers, seed=seed))
        write_elsewhere(runs[-1], "b", images("b", ("FFFFMMMM", "FFMMMMMM", "MMMMMMMM")[seed]))
    found: Any = compare(*runs)
    (candidate,), home = found["candidates"], cell_of(found["transfer"], "a", "a")["scores"]["balanced_accuracy"]
    assert [home["low"], home["high"]] == [candidate["test"]["low"], candidate["test"]["high"]]
    assert candidate["test"]["covers"] == "people and training"
    on_b = cell_of(found["transfer"], "a", "b")
    assert (score(on_b), on_b["seeds"]) == (pytest.approx(mean([1, 6 / 8, 4 / 8])), 3)
    (drop,) = found["transfer"]["drops"]
    assert drop["mean_drop"]["value"] == pytest.approx(mean([7 / 8 - 1, 0, 5 / 8 - 4 / 8]))
    assert drop["spread"]["value"] is None
    assert "intervals do not cover" not in " ".join(found["transfer"]["remarks"])


def test_three_methods_are_compared_on_the_cells_that_both_have(tmp_path: Path) -> None:
    """Sign flips of people over both cells, by hand; Holm over the pairs as statsmodels has it."""
    answers = {
        "good": {"ab": "FFFFMMMM", "ba": "FFFFMMMM"},
        "fair": {"ab": "FFFMMMMF", "ba": "FFMMMMMF"},
        "poor": {"ab": "FMMMMFFF", "ba": "MMMMFFFF"},
    }
    runs = []
    for model, cells in answers.items():
        own = {("a", "a"): "FFFFMMMM", ("b", "b"): "FFFFMMMM"} | {(key[0], key[1]): one for key, one in cells.items()}
        runs += matrix(tmp_path, own, model=model)
    write_elsewhere(runs[0], "c", images("c", "MMMMFFFF"))  # only good has it: no part of any pair
    found = transfer_of(*runs)
    assert found["methods"] == ["good", "fair", "poor"]
    pairs = found["pairs"]
    assert [(pair["a"], pair["b"], pair["cells"]) for pair in pairs] == [
        ("good", "fair", 2),
        ("good", "poor", 2),
        ("fair", "poor", 2),
    ]
    right = {
        model: np.array([[x == y for x, y in zip(one, LABELS, strict=True)] for one in cells.values()]).ravel()
        for model, cells in answers.items()
    }
    for pair in pairs:
        added = (right[pair["a"]].astype(float) - right[pair["b"]]) / 8 / 2
        assert pair["difference"]["value"] == pytest.approx(added.sum())
        differing = added[added != 0]
        sums = [abs(np.dot(signs, differing)) for signs in product((1, -1), repeat=len(differing))]
        assert pair["p_value"] == pytest.approx(np.mean(np.array(sums) >= abs(added.sum()) - 1e-9))
    reject, corrected, *_ = multipletests([pair["p_value"] for pair in pairs], method="holm")
    assert [pair["p_holm"] for pair in pairs] == pytest.approx(corrected)
    assert [pair["significant"] for pair in pairs] == reject.tolist() == [False, True, True]
    assert pairs[1]["verdict"].startswith("On other data, in the 2 tests that both have: good is better than poor by ")
    assert set(found["sentences"]) >= {pair["verdict"] for pair in pairs}


def test_pairs_are_cut_to_the_images_that_both_were_tested_on(tmp_path: Path) -> None:
    first, second = (trained(tmp_path, "a", LABELS, model=model) for model in ("one", "two"))
    write_elsewhere(first, "b", images("b", "FFFFMMFF"))
    write_elsewhere(second, "b", images("b", "FFFMMMFF").iloc[[0, 3, 4, 5, 6]])  # right: 1 of 2 FEMALE, 2 of 3 MALE
    found = transfer_of(first, second)
    (pair,) = found["pairs"]
    assert pair["difference"]["value"] == pytest.approx((2 / 2 + 2 / 3) / 2 - (1 / 2 + 2 / 3) / 2)
    assert score(cell_of(found, "a", "b", "one")) == pytest.approx(6 / 8)
    assert any("Not all tests on b are of the same images (5 to 8)" in remark for remark in found["remarks"])
    apart = transfer_of(*matrix(tmp_path / "1", {("a", "a"): LABELS, ("a", "b"): LABELS}, model="one"),
                        *matrix(tmp_path / "2", {("b", "b"): LABELS, ("b", "a"): LABELS}, model="two"))  # fmt: skip
    assert apart["pairs"][0]["difference"]["value"] is None
    assert "not tested on the same data" in apart["pairs"][0]["verdict"]


@pytest.mark.parametrize("seen", [{"copies": 2}, {"people": 1}, {"sources": ("a", "b")}])
def test_data_that_a_run_knows_are_marked_and_count_in_no_mean(tmp_path: Path, seen: dict[str, Any]) -> None:
    run = trained(tmp_path, "a", LABELS, sources=seen.pop("sources", ()))
    write_elsewhere(run, "b", images("b", "MMMMFFFF"), **seen)
    write_elsewhere(run, "c", images("c", "FFFFMMFF"), near_copies=3)
    found = transfer_of(run)
    assert cell_of(found, "a", "b")["seen"]
    assert cell_of(found, "a", "b")["left_out"] == sum(seen.values())
    looks_alike = cell_of(found, "a", "c")
    assert (looks_alike["seen"], looks_alike["left_out"]) == (False, 3)
    (drop,) = found["drops"]
    assert (drop["cells"], drop["mean_drop"]["value"]) == (1, pytest.approx(2 / 8))
    assert any("in no mean, drop or pair: net on b" in remark for remark in found["remarks"])


def test_sources_left_out_are_held_out_cells_that_refer_to_validation(tmp_path: Path) -> None:
    sources = ("a", "b", "c")
    runs = [
        trained(tmp_path, name, answers, sources=sources, data__leave_out=name, data__split_by="source")
        for name, answers in (("a", "FFFFFFFF"), ("b", "FFFFMMFF"))
    ]
    write_elsewhere(runs[0], "b", images("b", LABELS))
    write_elsewhere(runs[0], "d", images("d", "FFFFMMMF"))
    found = transfer_of(*runs)
    assert (found["datasets"], [row["trained_on"] for row in found["rows"]]) == (
        ["a", "b", "d"],
        ["all but a", "all but b"],
    )
    first, second = found["rows"]
    assert [(cell["dataset"], cell["kind"], cell["seen"]) for cell in first["cells"]] == [
        ("a", "held_out", False),
        ("b", "elsewhere", True),
        ("d", "elsewhere", False),
    ]
    assert first["home"]["value"] == second["home"]["value"] == pytest.approx(3 / 4)
    assert first["mean_drop"]["value"] == pytest.approx(3 / 4 - (4 / 8 + 7 / 8) / 2)
    assert second["mean_drop"]["value"] == pytest.approx(0)
    (drop,) = found["drops"]
    assert drop["mean_drop"]["value"] == pytest.approx(3 / 4 - (4 + 7 + 6) / 8 / 3)
    assert (drop["worst"]["dataset"], drop["worst_trained_on"]) == ("a", "all but a")
    assert any("home is the validation split" in remark for remark in found["remarks"])
    assert [row["candidate"] for row in found["rows"]] == ["net without a", "net without b"]


def test_cells_that_are_missing(tmp_path: Path) -> None:
    first, second = matrix(tmp_path, {("a", "a"): LABELS, ("b", "b"): LABELS, ("b", "a"): "FFFFMMMF"})
    other = trained(tmp_path, "a", LABELS, seed=1)
    write_elsewhere(other, "b", images("b", "FFFFMMFF"))
    found = transfer_of(first, second, other)
    assert [cell["dataset"] for cell in row_of(found, "a")["cells"]] == ["a", "b"]
    assert cell_of(found, "a", "b")["seeds"] == 1
    remarks = " ".join(found["remarks"])
    assert "net on a: elsewhere without seed 0, not tested on all of b." in remarks
    assert "fewer than 3 seeds" in remarks
    alone = transfer_of(second, first)
    assert [cell["dataset"] for cell in row_of(alone, "a")["cells"]] == ["a"]
    assert row_of(alone, "a")["mean_drop"]["value"] is None
    assert "Not tested: net on a on b." in alone["remarks"]
    assert compare(first)["transfer"] is None
    assert compare()["transfer"] is None


@pytest.mark.parametrize("content", [None, "", "path,label\n", "path,label,identity,split\na,"])
def test_damaged_answers_of_one_test_do_not_stop_the_others(tmp_path: Path, content: str | None) -> None:
    run = trained(tmp_path, "a", LABELS)
    write_elsewhere(run, "b", images("b", LABELS))
    damaged = write_elsewhere(run, "c", images("c", LABELS))
    damaged.predictions.unlink()
    if content is not None:
        damaged.predictions.write_text(content)
    found = transfer_of(run)
    assert found["datasets"] == ["a", "b"]
    [remark] = [one for one in found["remarks"] if str(damaged.predictions) in one]
    assert remark.startswith("Left out: ")


def test_a_test_of_another_version_is_left_out_and_named(tmp_path: Path) -> None:
    run = trained(tmp_path, "a", LABELS)
    write_elsewhere(run, "b", images("b", LABELS))
    old = write_elsewhere(run, "c", images("c", LABELS), version=4)
    found = transfer_of(run)
    assert found["datasets"] == ["a", "b"]
    assert f"{old.folder} was evaluated by another version, and is left out: evaluate it again." in found["remarks"]


def test_seeds_on_different_images_share_those_that_all_have(tmp_path: Path) -> None:
    for seed, rows in enumerate((slice(0, 7), slice(1, 8))):
        run = trained(tmp_path, "a", LABELS, seed=seed)
        write_elsewhere(run, "b", images("b", "MFFMMMFF").iloc[rows], copies=1 + seed)
    found = transfer_of(*(Run(folder) for folder in sorted(tmp_path.iterdir())))
    cell = cell_of(found, "a", "b")
    assert (cell["images"], cell["left_out"]) == (6, 2)
    assert score(cell) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert any("only those that all share count: net on b, 6 of 7." in remark for remark in found["remarks"])


def test_what_is_not_defined_says_why_and_counts_nowhere(tmp_path: Path) -> None:
    run = trained(tmp_path, "a", LABELS)
    write_elsewhere(run, "b", images("b", "FFMM", "FFFF"))
    write_elsewhere(run, "c", images("c", [np.nan, *[0.9] * 7]))
    write_elsewhere(run, "d", images("d", "FFMM", "FFMM", ["same"] * 4))
    found = transfer_of(run)
    assert cell_of(found, "a", "b")["scores"]["macro_f1"]["value"] is None
    assert cell_of(found, "a", "b")["scores"]["auroc"]["remark"] == "There is no MALE image."
    assert "not numbers" in cell_of(found, "a", "c")["scores"]["balanced_accuracy"]["remark"]
    one_person = cell_of(found, "a", "d")["scores"]["balanced_accuracy"]
    assert (one_person["value"], one_person["low"]) == (1, None)
    assert "only one person" in one_person["remark"]
    (drop,) = found["drops"]
    assert (drop["cells"], drop["mean_drop"]["value"]) == (1, 0)
    assert drop["mean_elsewhere"]["low"] is None
    assert any(remark.startswith("Without scores: net on b (There is no MALE image.)") for remark in found["remarks"])


def test_other_images_of_the_same_name_are_another_column(tmp_path: Path) -> None:
    first, second = (trained(tmp_path, "a", LABELS, model=model) for model in ("one", "two"))
    write_elsewhere(first, "crops", images("day", LABELS))
    write_elsewhere(second, "crops", images("night", LABELS))
    found = transfer_of(first, second)
    assert found["datasets"] == ["a", "crops", "crops #2"]
    assert [cell["dataset"] for cell in row_of(found, "a", "two")["cells"]] == ["a", "crops #2"]
    assert any("2 datasets without a common image are called crops" in remark for remark in found["remarks"])


def test_methods_are_named_by_what_varies_between_them(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path, name, LABELS, model=model, **settings)
        for name in "ab"
        for model, settings in [
            ("net", {"augment__name": "light"}),
            ("net", {"augment__name": "strong"}),
            ("vit", {"augment__name": "strong"}),
        ]
    ]
    for run in runs:
        write_elsewhere(run, "c", images("c", LABELS))
    found: Any = compare(*runs)
    assert found["transfer"]["methods"] == ["net (augment.name=light)", "net (augment.name=strong)", "vit"]
    assert [row["trained_on"] for row in found["transfer"]["rows"]] == ["a", "b"] * 3
    assert [pair["cells"] for pair in found["transfer"]["pairs"]] == [2, 2, 2]


def test_folds_are_networks_of_one_seed(tmp_path: Path) -> None:
    runs = [trained(tmp_path, "a", LABELS, data__fold=fold, data__folds=3) for fold in range(2)]
    for run, letters in zip(runs, ("FFFFMMMM", "FFMMMMFF"), strict=True):
        write_elsewhere(run, "b", images("b", letters))
    cell = cell_of(transfer_of(*runs), "a", "b")
    assert (score(cell), cell["seeds"]) == (pytest.approx((1 + 4 / 8) / 2), 1)


def test_a_sweep_over_datasets_reads_well(tmp_path: Path) -> None:
    runs = matrix(tmp_path, THREE)
    found: Any = compare(*runs)
    assert [row["title"] for row in found["candidates"]] == ["net on a", "net on b", "net on c"]
    assert [row["dataset"] for row in found["candidates"]] == ["a", "b", "c"]
    about = "Pairs and the choice are of candidates tested on a; others were tested on b and c: "
    assert f"{about}the transfer matrix compares them." in found["cautions"]
    assert not any("Not compared" in sentence for sentence in found["verdict"])
    away = "On other data, net has a mean balanced accuracy of 0.542"
    assert any(
        sentence.startswith(away) and "worst on b when trained on c" in sentence for sentence in found["verdict"]
    )
    for run in runs:
        for folder in run.tests_elsewhere.values():
            folder.metrics_file.unlink()
    found = compare(*runs)
    assert found["transfer"] is None
    assert any(sentence.startswith(about) and "elsewhere=all" in sentence for sentence in found["cautions"])


def test_tests_elsewhere_choose_nothing(tmp_path: Path) -> None:
    """The worse on validation stays the worse, whatever it does elsewhere."""
    better = trained(tmp_path, "a", "FFFFMMFF", model="better")
    table = pd.concat([VALIDATION.assign(prediction="FEMALE"), images("a", LABELS)], ignore_index=True)
    worse = write_run(tmp_path / "worse", table, model="worse", data__csv="/tables/a.csv")
    write_elsewhere(better, "b", images("b", "MMMMFFFF"))
    write_elsewhere(worse, "b", images("b", LABELS))
    assert compare(worse, better)["verdict"][0].startswith("better is best on validation")


def test_the_csv_has_a_row_for_each_cell(tmp_path: Path) -> None:
    found = transfer_of(*matrix(tmp_path, THREE))
    file = tmp_path / "cells.csv"
    file.write_text(transfer_to_csv(found))
    table = pd.read_csv(file).set_index(["trained_on", "tested_on"])
    assert len(table) == 9
    first, home = table.loc[("c", "b")], table.loc[("c", "c")]
    assert (first["balanced_accuracy"], first["drop"], first["kind"]) == (0, pytest.approx(7 / 8), "elsewhere")
    assert first["auroc_high"] == cell_of(found, "c", "b")["scores"]["auroc"]["high"]
    assert np.isnan(home["drop"])
