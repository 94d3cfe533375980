import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score

from gender_cls.data.variant_names import CORRUPTIONS, SHORTCUTS
from gender_cls.evaluation.bootstrap import bootstrap_units, estimates
from gender_cls.evaluation.metrics import calibration_scores, decision_scores
from gender_cls.evaluation.schema import Severity, Shortcut, Stress
from gender_cls.evaluation.stress import shortcut_scores, stress_scores, variants

RESAMPLES = 200


def table_of(rows: list[str]) -> pd.DataFrame:
    """Rows `label identity prediction`, F and M for the labels, `-` for nobody known."""
    names = {"F": "FEMALE", "M": "MALE", "-": ""}
    cells = [[names.get(cell, cell) for cell in row.split()] for row in rows]
    table = pd.DataFrame(cells, columns=["label", "identity", "prediction"], dtype="str")
    table.insert(0, "path", [f"{row}.jpg" for row in range(len(table))])
    return table


def logits_of(table: pd.DataFrame, same: list[float], **others: list[float]) -> pd.DataFrame:
    """All variants have the logits `same`, but for the `others`."""
    columns = {name: others.get(name, same) for name in variants(stress=True, shortcuts=True)}
    return pd.DataFrame({"path": table["path"], **columns})


def severity(stress: Stress, variant: str) -> Severity:
    name, number = variant.rsplit("_", 1)
    (one,) = [one for one in stress["corruptions"] if one["name"] == name]
    return one["severities"][int(number) - 1]


def by_name(shortcuts: list[Shortcut]) -> dict[str, Shortcut]:
    return {one["name"]: one for one in shortcuts}


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


ROWS = ["F ann F", "F ann F", "F eve M", "M bob M", "M cid M", "M - F"]
CLEAN = [2.0, 1.0, -1.0, -2.0, -1.0, 0.5]


def test_variants_come_in_a_fixed_order() -> None:
    names = variants(stress=True, shortcuts=True)
    assert len(names) == len(set(names)) == 50
    assert names[:6] == [*(f"low_resolution_{severity}" for severity in (1, 2, 3, 4, 5)), "motion_blur_1"]
    assert names[45:] == list(SHORTCUTS)
    assert variants(stress=True, shortcuts=False) == names[:45]
    assert variants(stress=False, shortcuts=True) == names[45:]
    assert variants(stress=False, shortcuts=False) == []


def test_scores_worked_out_by_hand() -> None:
    table = table_of(ROWS)
    # Right are the first of three FEMALE images and the last two of three MALE ones. The second, the fourth and the
    # last image are answered otherwise than before. The band swallows the 0.4.
    probabilities = [0.9, 0.1, 0.4, 0.75, 0.02, 0.3]  # calibrated: the logits are divided by 2
    logits = logits_of(table, CLEAN, fog_3=[2 * logit(p) for p in probabilities])
    stress = stress_scores(table, logits, temperature=2.0, band=(0.35, 0.7), resamples=RESAMPLES)
    fog = severity(stress, "fog_3")
    assert fog["severity"] == 3
    assert fog["balanced_accuracy"]["value"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert fog["flip_rate"]["value"] == pytest.approx(3 / 6)
    assert fog["coverage"] is not None
    assert fog["coverage"]["value"] == pytest.approx(5 / 6)
    # No two lie in one bin of 1/15, so that each adds its own distance from the label.
    distances = [0.1, 0.9, 0.6, 0.75, 0.02, 0.3]
    assert fog["ece"]["value"] == pytest.approx(sum(distances) / 6)

    clean = severity(stress, "fog_2")
    assert clean["balanced_accuracy"]["value"] == pytest.approx(2 / 3)
    assert [clean["flip_rate"][key] for key in ("value", "low")] == [0, 0]
    assert clean["flip_rate"]["high"] == pytest.approx(1 - 0.025 ** (1 / 5))  # none of five people


def test_probabilities_on_the_edge_of_the_band_are_answered() -> None:
    table = table_of(["F ann F", "M bob M"])
    stress = stress_scores(table, logits_of(table, [0.0, logit(0.25)]), 1.0, (0.25, 0.5), resamples=20)
    coverage = severity(stress, "jpeg_1")["coverage"]
    assert coverage is not None
    assert coverage["value"] == 1.0
    stress = stress_scores(table, logits_of(table, [0.0, logit(0.25)]), 1.0, (0.25, 0.6), resamples=20)
    coverage = severity(stress, "jpeg_1")["coverage"]
    assert coverage is not None
    assert coverage["value"] == 0.5


def test_without_a_band_there_is_no_coverage() -> None:
    table = table_of(ROWS)
    stress = stress_scores(table, logits_of(table, CLEAN), 1.0, None, resamples=20)
    assert all(one["coverage"] is None for each in stress["corruptions"] for one in each["severities"])


def test_temperature_changes_the_error_and_no_decision() -> None:
    table = table_of(ROWS)
    cold, warm = (stress_scores(table, logits_of(table, CLEAN), t, None, resamples=20) for t in (1.0, 5.0))
    for name in ("balanced_accuracy", "flip_rate"):
        assert severity(cold, "fog_1")[name] == severity(warm, "fog_1")[name]
    assert severity(cold, "fog_1")["ece"]["value"] != severity(warm, "fog_1")["ece"]["value"]


def test_a_tie_is_the_first_class_as_in_the_predictions() -> None:
    table = table_of(["F ann F", "M bob M"])
    stress = stress_scores(table, logits_of(table, [0.0, -1.0]), 1.0, None, resamples=20)
    assert stress["mean"] == 1.0
    assert severity(stress, "fog_1")["flip_rate"]["value"] == 0.0


def test_scores_and_intervals_agree_with_scikit_learn_and_with_the_scores_of_the_test_split() -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.choice(['F', 'M'])} p{rng.integers(30)} {rng.choice(['F', 'M'])}" for _ in range(150)]
    table = table_of(rows)
    table.loc[:20, "identity"] = ""
    values = np.where(table["label"] == "FEMALE", 0.5, -0.5) + rng.normal(0, 1.5, len(table))
    logits = logits_of(table, list(rng.normal(0, 1, len(table))), occlusion_4=list(values), grey=list(values))
    stress = stress_scores(table, logits.sample(frac=1, random_state=0), 1.7, (0.4, 0.7), RESAMPLES, seed=3)
    got = severity(stress, "occlusion_4")

    female, p_female = (table["label"] == "FEMALE").to_numpy(), expit(values / 1.7)
    answers = np.where(values >= 0, "FEMALE", "MALE")
    answered = (p_female <= 0.4) | (p_female >= 0.7)
    assert got["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(table["label"], answers))

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "balanced_accuracy": decision_scores(female, values >= 0, weights)["balanced_accuracy"],
            "ece": calibration_scores(female, p_female)(weights)["ece"],
            "flip_rate": weights @ (answers != table["prediction"]).to_numpy(float) / weights.sum(axis=1),
            "coverage": weights @ answered.astype(float) / weights.sum(axis=1),
        }

    for name, wanted in estimates(bootstrap_units(table), statistics, RESAMPLES, seed=3).items():
        assert got[name] == {key: pytest.approx(value) for key, value in wanted.items()}, name
    grey = by_name(shortcut_scores(table, logits, RESAMPLES, seed=3))["grey"]
    assert grey["balanced_accuracy"] == got["balanced_accuracy"]


def test_no_more_resamples_are_drawn_than_an_interval_needs() -> None:
    table = table_of([f"{label} p{row} {label}" for row, label in enumerate("FM" * 20)])
    logits = logits_of(table, list(np.random.default_rng(0).normal(0, 1, 40)))
    many, enough, few = (stress_scores(table, logits, 1.0, None, resamples) for resamples in (50_000, 2_000, 500))
    assert many == enough != few


def test_means_and_the_worst() -> None:
    table = table_of(["F ann F", "F eve F", "M bob M", "M cid M"])
    right, half, wrong = [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]
    logits = logits_of(table, right, defocus_4=half, defocus_5=wrong, jpeg_5=half)
    stress = stress_scores(table, logits, 1.0, None, resamples=20)
    scores = {one["name"]: (one["title"], one["mean"], one["worst"]) for one in stress["corruptions"]}
    assert list(scores) == list(CORRUPTIONS)
    assert scores["defocus"] == ("defocus", pytest.approx((1 + 1 + 1 + 0.75 + 0) / 5), 0.0)
    assert scores["jpeg"] == ("JPEG compression", pytest.approx(4.75 / 5), 0.75)
    assert scores["fog"] == ("fog", 1.0, 1.0)
    assert stress["mean"] == pytest.approx((45 - 0.25 - 1 - 0.25) / 45)
    assert stress["worst"] == {"name": "defocus", "severity": 5, "balanced_accuracy": 0.0}
    assert json.loads(json.dumps(stress)) == stress


def test_a_missing_logit_leaves_its_variant_without_scores_and_says_so() -> None:
    table = table_of(ROWS)
    logits = logits_of(table, CLEAN, fog_5=[float("nan"), 1.0, float("nan"), -1.0, -1.0, -1.0])
    stress = stress_scores(table, logits, 1.0, (0.4, 0.6), resamples=20)
    nothing = {"value": None, "low": None, "high": None, "remark": "2 of 6 images have no logit."}
    fog = severity(stress, "fog_5")
    assert fog == {
        "severity": 5,
        "balanced_accuracy": nothing,
        "ece": nothing,
        "flip_rate": nothing,
        "coverage": nothing,
    }
    by = {one["name"]: one for one in stress["corruptions"]}
    assert (by["fog"]["mean"], by["fog"]["worst"]) == (None, pytest.approx(2 / 3))
    assert stress["mean"] is None
    assert by["jpeg"]["mean"] == pytest.approx(2 / 3)

    shortcuts = shortcut_scores(table, logits_of(table, CLEAN).iloc[:4], resamples=20)
    assert shortcuts[0]["balanced_accuracy"]["remark"] == "2 of 6 images have no logit."


def test_endless_logits_are_certain_answers() -> None:
    table = table_of(["F ann F", "M bob M"])
    stress = stress_scores(table, logits_of(table, [np.inf, -np.inf]), 2.0, (0.1, 0.9), resamples=20)
    fog = severity(stress, "fog_1")
    assert (fog["balanced_accuracy"]["value"], fog["ece"]["value"]) == (1.0, 0.0)


def test_one_class_and_no_images_have_reasons() -> None:
    table = table_of(["F ann F", "F eve M"])
    stress = stress_scores(table, logits_of(table, [1.0, 1.0]), 1.0, None, resamples=20)
    fog = severity(stress, "fog_1")
    assert fog["balanced_accuracy"]["value"] is None
    assert fog["balanced_accuracy"]["remark"] == "There is no MALE image."
    assert fog["flip_rate"]["value"] == 0.5
    assert (stress["mean"], stress["worst"], stress["corruptions"][0]["worst"]) == (None, None, None)

    empty = table_of([])
    stress = stress_scores(empty, logits_of(empty, []), 1.0, (0.4, 0.6), resamples=20)
    fog = severity(stress, "fog_1")
    for score in (fog["balanced_accuracy"], fog["ece"], fog["flip_rate"], fog["coverage"]):
        assert score == {"value": None, "low": None, "high": None, "remark": "There are no images."}


def test_shortcuts_worked_out_by_hand() -> None:
    table = table_of(ROWS)
    logits = logits_of(table, CLEAN, grey=[1.0, 1.0, 1.0, -1.0, 1.0, 1.0], background_only=[1.0] * 6)
    shortcuts = shortcut_scores(table, logits, RESAMPLES)
    assert [(one["name"], one["title"]) for one in shortcuts] == list(SHORTCUTS.items())
    values = {name: one["balanced_accuracy"]["value"] for name, one in by_name(shortcuts).items()}
    assert values["grey"] == pytest.approx((1 + 1 / 3) / 2)
    assert values["background_only"] == 0.5
    assert values["person_only"] == pytest.approx(2 / 3)
    assert json.loads(json.dumps(shortcuts)) == shortcuts


def test_tables_are_scored_without_torch() -> None:
    code = "import sys; import gender_cls.evaluation.stress; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
