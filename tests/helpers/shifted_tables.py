"""Tables of predictions for a test on other data, with a shift whose effect is known by construction."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.example_metrics import assert_matches
from helpers.prediction_tables import letters, table_of
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from gender_cls.config.data import Balance
from gender_cls.config.evaluation import Adapt, OperatingPointRule
from gender_cls.evaluation.calibration import calibrate
from gender_cls.evaluation.decisions import choose_operating_point
from gender_cls.evaluation.elsewhere import conclude_elsewhere
from gender_cls.evaluation.elsewhere_schema import COMPARED_SCORES, Elsewhere
from gender_cls.evaluation.metrics import score_split

PEOPLE = 1200
SEPARATION = 1.0  # logits are 2 x; x is normal around it for FEMALE, around its negative for MALE, with variance 1
LEFT_OUT: Any = {"images": 3, "copies": 3, "near_copies": 0, "people": 0, "remark": None}
TRAIN = pd.DataFrame({"label": ["FEMALE", "MALE"], "source": ["a", "a"]})


def logits_of(female: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Calibrated logits for a share of FEMALE of one half; of each label exactly at the quantiles of its distribution.

    So tables of different shares have the same scores within each label, as far as their numbers allow.
    """
    x = np.empty(len(female))
    for label, centre in ((True, SEPARATION), (False, -SEPARATION)):
        rows = female == label
        x[rows] = centre + norm.ppf((np.arange(rows.sum()) + 0.5) / rows.sum())
    return 2 * SEPARATION * x


def answers(share: float = 0.5, split: str = "test", people: int = PEOPLE, **shift: Any) -> pd.DataFrame:
    """One image per person; the logits are changed by `shift`: added, times, or noise with that standard deviation."""
    female = np.arange(people) < round(share * people)
    logits = shift.get("times", 1.0) * logits_of(female) + shift.get("added", 0.0)
    logits += shift.get("noise", 0.0) * np.random.default_rng(3).permutation(
        norm.ppf((np.arange(people) + 0.5) / people)
    )
    return table_of(letters(female), expit(logits)).assign(split=split)


def concluded(test: pd.DataFrame, resamples: int) -> Any:
    """What `draw_conclusions` says about these images, as far as it matters here."""
    validation = answers(split="val")
    calibration = calibrate(validation, test, resamples)
    rule = OperatingPointRule.balanced_accuracy
    return {
        "test": score_split(test, resamples),
        "calibration": calibration,
        "operating_point": choose_operating_point(validation, test, calibration["temperature"], rule, resamples),
        "abstention": {"band": None},
    }


def result_of(
    here: pd.DataFrame,
    *,
    home: pd.DataFrame | None = None,
    train: pd.DataFrame = TRAIN,
    balance: Balance = Balance.none,
    adapt: Any = (Adapt.prior,),
    resamples: int = 200,
    **batchnorm: Any,
) -> Elsewhere:
    """`elsewhere` of this table; validation is the same as home, and the temperature of both is 1."""
    own = pd.concat([answers(split="val"), answers() if home is None else home], ignore_index=True)
    metrics, conclusions = (concluded(test, resamples) for test in (own[own["split"] == "test"], here))
    assert conclusions["calibration"]["temperature"] == pytest.approx(1, abs=0.02)
    assert conclusions["operating_point"]["threshold"] == pytest.approx(0.5, abs=0.02)
    found = conclude_elsewhere(
        metrics, own, here.drop(columns="split"), conclusions,
        name="elsewhere", part="all", left_out=LEFT_OUT, train=train, balance=balance,
        adapt=adapt, resamples=resamples, **batchnorm,
    )  # fmt: skip
    assert_matches(found, Elsewhere)
    assert [*found["scores"]] == [*COMPARED_SCORES]
    assert len(found["sentences"]) == 4
    return found


def drops(found: Elsewhere) -> dict[str, float | None]:
    return {name: score["drop"]["value"] for name, score in found["scores"].items()}


def said(found: Elsewhere, words: str) -> bool:
    adapted = (one["sentence"] for one in found["adapted"])
    return any(words in sentence for sentence in (*found["sentences"], *adapted))
