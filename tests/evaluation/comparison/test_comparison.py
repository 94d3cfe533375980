import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.comparing import TABLE, compare, explained, scores_of, simulated, write_run
from helpers.prediction_tables import answered
from sklearn.metrics import auc, balanced_accuracy_score, roc_auc_score, roc_curve

from gender_cls.errors import GenderClsError
from gender_cls.evaluation.comparison.compare_json import CandidateRow, Comparison
from gender_cls.evaluation.explanation_schema import Explanations
from gender_cls.runs.run import Run

BETTER = answered(TABLE, np.array([0.9, 0.6, 0.4, 0.3, 0.9, 0.1, 0.7, 0.2, 0.2, 0.4]))  # 1; (2/3 + 1) / 2
WORSE = answered(TABLE, np.array([0.1, 0.6, 0.4, 0.7, 0.4, 0.3, 0.4, 0.2, 0.6, 0.7]))  # 1/2; (0 + 1/3) / 2
FEMALE = (TABLE["label"] == "FEMALE")[4:]


def row(comparison: Comparison, title: str) -> CandidateRow:
    return next(one for one in comparison["candidates"] if one["title"] == title)


def titles(comparison: Comparison) -> list[str]:
    return [one["title"] for one in comparison["candidates"]]


def models(folder: Path, **tables: pd.DataFrame) -> list[Run]:
    """A run of each model."""
    return [write_run(folder / name, table, model=name) for name, table in tables.items()]


def seeds(folder: Path, model: str, *tables: pd.DataFrame) -> list[Run]:
    """The runs of a model with seeds 0, 1, ..."""
    return [write_run(folder / f"{model}{seed}", one, model=model, seed=seed) for seed, one in enumerate(tables)]


def test_scores_are_means_over_seeds(tmp_path: Path) -> None:
    found = compare(*seeds(tmp_path, "net", TABLE, BETTER))
    (candidate,) = found["candidates"]
    assert candidate["seeds"] == [0, 1]
    assert candidate["validation"] == {"mean": pytest.approx(7 / 8), "spread": pytest.approx(np.std([0.75, 1], ddof=1))}
    assert candidate["test"]["mean"] == pytest.approx((2 / 3 + 5 / 6) / 2)
    assert candidate["test"]["seed_scores"] == [pytest.approx(2 / 3), pytest.approx(5 / 6)]
    assert candidate["test"]["spread"] == pytest.approx(np.std([2 / 3, 5 / 6], ddof=1))
    assert candidate["accuracy"] == pytest.approx((4 / 6 + 5 / 6) / 2)
    areas = [roc_auc_score(FEMALE, table["p_FEMALE"][4:]) for table in (TABLE, BETTER)]
    assert candidate["auroc"] == pytest.approx(np.mean(areas))
    assert (candidate["log_loss"], candidate["ece"]) == pytest.approx((0.4, 0.03))
    assert candidate["baseline"] == {"title": "the camera alone", "balanced_accuracy": pytest.approx(0.6)}
    assert (found["images"], found["identities"], found["units"]) == (6, 4, 4)
    assert found["pairs"] == []
    assert found["ensemble"] is found["agreement"] is None


def test_one_seed_has_no_spread_but_an_interval(tmp_path: Path) -> None:
    found: Any = compare(write_run(tmp_path / "0", simulated(np.random.default_rng(0), 0.8)))
    validation, test = (found["candidates"][0][split] for split in ("validation", "test"))
    assert validation["spread"] is test["spread"] is None
    assert test["low"] < test["mean"] < test["high"]
    facts = (
        "best on validation .* one seed, both at the threshold 0.5. .* beats .* 0.600",
        "no other",
        "one seed.*: net",
    )
    for sentence, fact in zip(found["verdict"], facts, strict=True):
        assert re.search(fact, sentence)


def test_the_first_row_is_the_best_on_validation_whatever_test_says(tmp_path: Path) -> None:
    lucky = TABLE.assign(prediction=TABLE["label"].where(TABLE["split"] == "test", TABLE["prediction"]))
    found = compare(*models(tmp_path, lucky=lucky, good=BETTER))
    assert titles(found) == ["good", "lucky"]
    assert row(found, "lucky")["test"]["mean"] == 1
    assert re.search("^good .*1.000.*0.833.*one seed", found["verdict"][0])


def test_a_clear_winner_and_equals_in_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    good, same, poor = simulated(rng, 1.5), simulated(rng, 1.5), simulated(rng, 0.2)
    runs = models(tmp_path, poor=poor, good=good, same=same)
    found = compare(*runs)
    first, second, third = titles(found)
    assert third == "poor"
    assert found["verdict"][1].startswith(f"No significant difference between {first} and {second}: ")
    assert found["verdict"][2].startswith(f"{first} is better than poor by 0.")
    assert "p < 0.001" in found["verdict"][2]
    assert len(found["pairs"]) == 3

    found = compare(*runs[1:])
    assert not found["pairs"][0]["significant"]
    copies = compare(*models(tmp_path, a=good, b=good, c=good))
    assert "There is no significant difference between it and any other candidate." in copies["verdict"]


def test_other_test_rows_are_flagged_and_take_no_part(tmp_path: Path) -> None:
    fewer = WORSE.drop(index=9)
    relabelled = BETTER.assign(label=BETTER["label"].where(BETTER.index != 4, "MALE"))
    runs = models(tmp_path, a=TABLE, fewer=fewer, b=WORSE, relabelled=relabelled)
    found = compare(*runs, *seeds(tmp_path, "mixed", TABLE, fewer))
    assert titles(found) == ["a", "b", "relabelled", "mixed", "fewer"]
    flags = [(one["rows"], one["compared"]) for one in found["candidates"]]
    assert flags == [("same", True)] * 2 + [("other test rows", False)] * 3
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [("a", "b")]
    assert "Not compared: fewer. It was tested on other images than most runs." in found["verdict"]
    assert row(found, "fewer")["test"]["mean"] == pytest.approx(1 / 4)
    assert row(found, "mixed")["test"]["remark"] == "Its seeds were tested on different images."
    assert found["agreement"]["candidates"] == ["a", "b"]


def test_leaky_runs_are_flagged_and_take_no_part_unless_all_are(tmp_path: Path) -> None:
    honest = write_run(tmp_path / "a", TABLE, model="honest")
    leaky = [write_run(tmp_path / name, BETTER, model=name, leaky=True) for name in ("leaky", "leaking")]
    found = compare(leaky[0], honest, leaky[1])
    assert titles(found) == ["honest", "leaky", "leaking"]
    assert [one["leaky"] for one in found["candidates"]] == [False, True, True]
    assert found["pairs"] == []
    assert "Not compared: leaky. It is leaky." in found["verdict"]
    assert row(found, "leaky")["test"]["mean"] == pytest.approx(5 / 6)

    found = compare(*leaky)
    assert len(found["pairs"]) == 1
    assert any(sentence.startswith("All candidates are leaky") for sentence in found["verdict"])


def test_what_has_not_finished_is_listed(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "0_big", TABLE, model="big", state="failed", error="RuntimeError: out of memory"),
        write_run(tmp_path / "1_net", TABLE, seed=0),
        write_run(tmp_path / "2_net", TABLE, seed=1, state="running"),
    ]
    found = compare(*runs)
    (net,) = found["candidates"]
    run = {"folder": str(tmp_path / "0_big"), "state": "failed", "error": "RuntimeError: out of memory"}
    assert found["unfinished"] == [run, net["runs"][1]]
    assert [run["state"] for run in net["runs"]] == ["finished", "killed"], "no process works on the second"
    assert "was killed" in net["runs"][1]["error"]
    assert net["seeds"] == [0]
    folds = [write_run(tmp_path / f"fold{fold}", TABLE, model="cv", data__fold=fold) for fold in (0, 1)]
    folds[1].note(state="failed")
    found = compare(*runs, *folds)
    assert titles(found) == ["net", "cv"]
    assert "Not compared: cv. No seed has finished." in found["verdict"]


def test_nothing_finished_and_no_runs_at_all(tmp_path: Path) -> None:
    found = compare(write_run(tmp_path / "a", TABLE, state="interrupted"))
    assert found["images"] == 0
    assert found["candidates"] == []
    assert [run["state"] for run in found["unfinished"]] == ["interrupted"]
    for empty in (found, compare()):
        assert re.search("No run has finished", " ".join(empty["verdict"]))


def test_one_label_and_no_number_are_null_with_a_reason(tmp_path: Path) -> None:
    one_label = TABLE[(TABLE["split"] == "val") | (TABLE["label"] == "MALE")]
    found = compare(*models(tmp_path, a=one_label, b=one_label))
    first = found["candidates"][0]
    assert first["test"]["mean"] is first["auroc"] is found["ensemble"]["auroc"] is None
    assert first["test"]["remark"] == "There is no FEMALE image in test."
    assert found["roc"] == []
    assert (first["standing"]["kind"], first["pareto"]) == ("undefined", False)
    nothing = "a, b: The model has no test score. There is no FEMALE image in test."
    assert found["verdict"][0] == f"No candidate can be recommended. {nothing}"

    found = compare(*models(tmp_path, nan=TABLE.assign(p_FEMALE=np.nan, p_MALE=np.nan), net=TABLE))
    assert titles(found) == ["net", "nan"]
    assert found["candidates"][1]["test"]["mean"] is None
    assert found["candidates"][1]["remark"] == "10 predictions of nan are not numbers."


def test_ensemble_by_hand(tmp_path: Path) -> None:
    dearer = write_run(tmp_path / "b", WORSE, model="b", cost={"peak_memory_bytes": 3e9, "fit_seconds": None})
    ensemble: Any = compare(*seeds(tmp_path, "a", TABLE, BETTER), dearer)["ensemble"]
    p_female = ((TABLE["p_FEMALE"] + BETTER["p_FEMALE"]) / 2 + WORSE["p_FEMALE"])[4:] / 2
    assert ensemble["networks"] == 3
    assert ensemble["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(FEMALE, p_female >= 0.5))
    assert ensemble["auroc"] == pytest.approx(roc_auc_score(FEMALE, p_female))
    cost = {"parameters": 3 * 2_230_000, "milliseconds_batch_32": 3 * 5.1, "peak_memory_bytes": 3e9}
    assert {name: ensemble["cost"][name] for name in cost} == pytest.approx(cost)
    assert ensemble["cost"]["fit_seconds"] is None


def test_recalls_by_hand(tmp_path: Path) -> None:
    # Of FEMALE 4 5 6, TABLE gets 4 and 6, BETTER 4 and 6; of MALE 7 8 9, TABLE 7 and 8, BETTER all.
    (candidate,) = compare(*seeds(tmp_path, "net", TABLE, BETTER))["candidates"]
    female, male = candidate["recalls"]
    assert female == {"label": "FEMALE", "images": 3, "right": 2.0, "recall": pytest.approx(2 / 3)}
    assert male == {"label": "MALE", "images": 3, "right": 2.5, "recall": pytest.approx(5 / 6)}
    mixed = compare(*seeds(tmp_path, "mixed", TABLE, TABLE.drop(index=9)))["candidates"][0]
    assert mixed["recalls"] == []


def test_agreement_by_hand(tmp_path: Path) -> None:
    candidates = {"a": (TABLE, BETTER), "b": (WORSE, BETTER), "c": (BETTER,)}
    runs = [run for model, tables in candidates.items() for run in seeds(tmp_path, model, *tables)]
    found: Any = compare(*runs)["agreement"]
    assert found["candidates"] == ["c", "a", "b"]
    # TABLE says F M F M M F, BETTER F M F M M M, WORSE M M M M F F
    c_a, a_b, c_b = 5 / 6, (3 / 6 + 1) / 2, 2 / 6
    expected = [[1, c_a, c_b], [c_a, 1, a_b], [c_b, a_b, 1]]
    assert np.array(found["shares"]) == pytest.approx(np.array(expected))


def test_roc_as_scikit_learn(tmp_path: Path) -> None:
    table, large = TABLE, simulated(np.random.default_rng(2), 0.5, people=6000)
    (small,) = compare(write_run(tmp_path / "a", table))["roc"]
    low, high, _ = roc_curve(FEMALE, table["p_FEMALE"][4:])
    assert small["points"] == np.stack([low, high], axis=1).tolist()
    (curve,) = compare(write_run(tmp_path / "b", large))["roc"]
    points = np.array(curve["points"])
    assert len(points) == 200
    assert points[[0, -1]].tolist() == [[0, 0], [1, 1]]
    test = large[large["split"] == "test"]
    assert curve["auroc"] == pytest.approx(roc_auc_score(test["label"] == "FEMALE", test["p_FEMALE"]))
    assert auc(*points.T) == pytest.approx(curve["auroc"], abs=1e-3)


def test_a_constant_candidate_is_never_the_best(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = simulated(rng, 1.5)
    weak, worse = simulated(rng, 0.02), answered(good, 1 - good["p_FEMALE"])
    constant = answered(good, np.full(len(good), 0.4))
    found: Any = compare(*models(tmp_path / "a", constant=constant, good=good, weak=weak))
    verdict = " ".join(found["verdict"])
    assert verdict.startswith("good is best on validation")
    assert "constant: The model gives every test image the same probability" in verdict
    pareto = {one["title"]: one["pareto"] for one in found["candidates"]}
    assert pareto == {"good": True, "constant": False, "weak": False}

    found = compare(*models(tmp_path / "b", one=constant, worse=worse, two=constant))
    assert titles(found) == ["one", "two", "worse"], "by their validation score"
    assert found["verdict"][0].startswith("No candidate can be recommended. one, two: The model gives every test image")
    assert found["verdict"][1].startswith("worse: The model is worse than guessing")
    assert "best" not in " ".join(found["verdict"])


def test_the_best_on_validation_that_fails_on_test_is_not_to_be_relied_on(tmp_path: Path) -> None:
    table = simulated(np.random.default_rng(0), 1.5)
    lucky = answered(table, np.where(table["split"] == "val", table["p_FEMALE"], np.random.default_rng(0).random(240)))
    found = compare(*models(tmp_path, lucky=lucky, constant=answered(table, np.full(len(table), 0.4))))
    assert re.search("^lucky is best on validation .* Do not rely on it. The model is n", found["verdict"][0])


def test_seeds_that_always_give_one_answer_are_counted(tmp_path: Path) -> None:
    good = simulated(np.random.default_rng(0), 1.5)
    constant = answered(good, good["p_FEMALE"] / 10)
    (one,) = compare(*seeds(tmp_path / "a", "net", constant, good, constant))["candidates"]
    assert one["standing"] == {
        "kind": "constant",
        "level": "stop",
        "sentence": "With 2 of 3 seeds the model always answers MALE, so the score says nothing about people.",
    }


def test_times_on_different_devices_do_not_compare(tmp_path: Path) -> None:
    good = simulated(np.random.default_rng(0), 1.5)
    here, there = (write_run(tmp_path / one, good, model=one, cost={"device": one}) for one in ("cpu", "cuda"))
    found = compare(here, there)
    assert [one["pareto"] for one in found["candidates"]] == [None, None]
    assert any("cpu; cuda" in sentence for sentence in found["verdict"])
    assert [one["pareto"] for one in compare(here)["candidates"]] == [True]


def test_what_everybody_gets_wrong(tmp_path: Path) -> None:
    # Wrong: a 5 (0.2) and 9 (0.6); b twice 4 5 6 8 9 and once 5, outvoted on 9.
    wrong = compare(*seeds(tmp_path, "a", TABLE), *seeds(tmp_path, "b", WORSE, WORSE, BETTER))["all_wrong"]
    assert [one["path"] for one in wrong] == ["005.png", "009.png"]
    p_label = pytest.approx((0.2 + (0.3 + 0.3 + 0.1) / 3) / 2)
    assert wrong[0] == {"path": "005.png", "label": "FEMALE", "identity": "cid", "p_label": p_label}
    assert wrong[1]["p_label"] == pytest.approx(1 - (0.6 + (0.7 + 0.7 + 0.4) / 3) / 2)


def test_a_repeated_run_is_named(tmp_path: Path) -> None:
    found = compare(
        write_run(tmp_path / "old", WORSE, started="2026-01-01"),
        write_run(tmp_path / "new", TABLE, started="2026-01-02"),
    )
    assert found["candidates"][0]["repeated"] == [str(tmp_path / "old")]
    assert found["candidates"][0]["test"]["mean"] == pytest.approx(2 / 3)
    assert found["verdict"][-1].endswith("seed: old.")


def test_scores_of_maps_are_means_over_the_runs_that_have_them(tmp_path: Path) -> None:
    first = explained(scores_of("saliency", 0.1, 0.3), scores_of("grad_cam", 0.2, flagged=True))
    second = explained(scores_of("saliency", 0.4, 0.5))
    found = compare(
        write_run(tmp_path / "late", TABLE, seed=1, explanations=first),
        write_run(tmp_path / "not explained", TABLE, seed=0),
        write_run(tmp_path / "later", TABLE, seed=2, explanations=second),
    )
    about: Any = found["candidates"][0]["explanations"]
    assert about["folder"] == str(tmp_path / "late")  # of those that were explained, the first seed
    assert about["explained_class"] == "predicted"
    saliency, grad_cam = about["methods"]
    known = ("name", "title", "runs", "flagged")
    assert [saliency[key] for key in known] == ["saliency", "saliency", 2, False]
    assert [grad_cam[key] for key in known] == ["grad_cam", "Grad-CAM", 1, True]
    gains = saliency["insertion_gain"], saliency["deletion_gain"], grad_cam["insertion_gain"]
    assert gains == pytest.approx((0.25, 0.125, 0.2)), "of the blurred baseline"
    shares = {place["name"]: place["share"] for place in saliency["places"]}
    assert shares == pytest.approx({"head": 0.2, "upper_body": 0.2, "lower_body": 0.2, "outside": 0.4})
    assert saliency["places"][-1]["area"] == pytest.approx(0.52)


def test_scores_of_maps_that_are_not_known_are_null(tmp_path: Path) -> None:
    def about(name: str, *explanations: Explanations | None) -> Any:
        folders = [tmp_path / f"{name}{seed}" for seed in range(len(explanations))]
        runs = [write_run(folders[i], TABLE, seed=i, explanations=one) for i, one in enumerate(explanations)]
        return compare(*runs)["candidates"][0]["explanations"]

    known, unknown = explained(scores_of("saliency")), explained(scores_of("saliency", None, None, None))
    (method,) = about("a", known, unknown)["methods"]
    assert method["insertion_gain"] is method["places"][0]["share"] is method["flagged"] is None
    assert about("b", known, unknown, explained(scores_of("saliency", flagged=True)))["methods"][0]["flagged"] is True
    assert about("c", explained(scores_of("saliency"), explained_class="true"), known)["explained_class"] is None
    assert about("d", None) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cost", "much"),
        ("cost", {"parameters": "many"}),
        ("calibration", []),
        ("calibration", {"after": {"log_loss": {"value": "low"}, "ece": {"value": 0.1}}}),
        ("baselines", {"a": 1}),
        ("data", None),
        ("explanations", {"methods": "all"}),
    ],
)
def test_metrics_of_nonsense_are_named(tmp_path: Path, key: str, value: object) -> None:
    run = write_run(tmp_path / "a", TABLE)
    run.metrics_file.write_text(json.dumps({**run.metrics, key: value}))
    with pytest.raises(GenderClsError, match=rf"^{run.metrics_file} is damaged \(.*evaluate run={run.folder}"):
        compare(run)
