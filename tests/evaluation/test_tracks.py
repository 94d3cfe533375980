import math

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_rows import rows_of
from helpers.prediction_tables import answered, letters, table_of
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as log_odds_of

from gender_cls.evaluation.combined import CombinedRule
from gender_cls.evaluation.decisions import ABSTAIN, DecisionRule
from gender_cls.evaluation.tracks import (
    FEWEST_PEOPLE,
    TRACK_COLUMNS,
    TrackRule,
    fit_track_rule,
    intraclass_correlation,
    track_of,
    track_table,
)

RULE = DecisionRule(1.0, 0.6, (0.5, 0.7))
HALF = TrackRule(0.5, 100, None)


def drawn(people: int, own: float, each: float, seed: int, heavy: bool = False) -> pd.DataFrame:
    """Validation of people with 2 to 12 images: the logits differ by `own` between people and `each` between images."""
    rng = np.random.default_rng(seed)
    images = rng.integers(2, 13, people)
    person = np.repeat(np.arange(people), images)
    female = rng.random(people) < 0.4
    of_person = rng.standard_t(3, people) / math.sqrt(3) if heavy else rng.normal(0, 1, people)
    logits = (np.where(female, 1.5, -1.5) + own * of_person)[person] + rng.normal(0, each, len(person))
    return table_of(letters(female[person]), expit(logits), [f"person {one}" for one in person])


def fitted(validation: pd.DataFrame, temperature: float = 1.0) -> TrackRule:
    return fit_track_rule(CombinedRule([1.0], DecisionRule(temperature, 0.5, None), validation, []))


def loss(validation: pd.DataFrame, correlation: float) -> float:
    """The log loss of people, written without the code under test."""
    logits = pd.Series(log_odds_of(validation["p_FEMALE"])).groupby(validation["identity"])
    mean, n = logits.mean(), logits.size()
    towards_female = validation["label"].eq("FEMALE").groupby(validation["identity"]).first()
    logit = mean * n / (1 + (n - 1) * correlation)
    return float(np.log1p(np.exp(np.where(towards_female, -logit, logit))).mean())


def test_a_track_by_hand() -> None:
    p = expit([1.0, 2.0, -0.5])
    table = rows_of(p, track=["7"] * 3, identity=["Ann"] * 3, known_as=["", "val", "train"])
    [track] = track_table(table, RULE, HALF).to_dict("records")
    assert list(track) == list(TRACK_COLUMNS)
    logit = 2.5 / 3 * 3 / (1 + 2 * 0.5)
    assert track.pop("mean_logit") == pytest.approx(2.5 / 3)
    assert track.pop("probability") == pytest.approx(1 / (1 + math.exp(-logit)))
    assert track.pop("share_disagreeing") == pytest.approx(1 / 3)
    assert track == {
        "path": "/crops", "track": "7", "identity": "Ann", "images": 3, "unreadable": 0, "answer": "FEMALE",
        "known_as": "train",
    }  # fmt: skip


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_one_image_keeps_its_probability_and_answer_to_the_last_bit(correlation: float) -> None:
    p = np.append(np.random.default_rng(0).random(200), [0.0, 1.0, 1e-300, 0.5, 0.6, 0.7, np.nan])
    tracks = track_table(rows_of(p, track=[str(row) for row in range(len(p))]), RULE, TrackRule(correlation, 30, None))
    assert np.array_equal(tracks["probability"], p, equal_nan=True)
    assert tracks["answer"].tolist() == RULE.decide(p).tolist()
    assert tracks["share_disagreeing"].tolist() == [0.0] * (len(p) - 1) + [1.0]


def test_the_order_of_images_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    table = rows_of(rng.random(500), track=rng.integers(0, 9, 500).astype(str).astype(object))
    expected = track_table(table, RULE, HALF).set_index("track")
    for seed in range(5):
        found = track_table(table.sample(frac=1, random_state=seed), RULE, HALF).set_index("track")
        pd.testing.assert_frame_equal(found.loc[expected.index], expected, check_exact=True)


def test_unreadable_images_do_not_count() -> None:
    p = [0.9, np.nan, 0.2, np.nan]
    table = rows_of(p, track=["a", "a", "a", "b"], fault=["", "not_an_image", "", "missing"])
    whole, nothing = track_table(table, RULE, HALF).to_dict("records")
    [without] = track_table(table[table["track"].eq("a") & (table["fault"] == "")], RULE, HALF).to_dict("records")
    assert whole == without | {"unreadable": 1}
    assert (nothing["images"], nothing["unreadable"], nothing["answer"]) == (0, 1, "")
    assert all(math.isnan(nothing[name]) for name in ("mean_logit", "probability", "share_disagreeing"))


def test_probabilities_of_0_and_1_count_alike() -> None:
    [track] = track_table(rows_of([0.0, 1.0], track=["a", "a"]), DecisionRule(1.0, 0.5, None), HALF).to_dict("records")
    assert track["mean_logit"] == pytest.approx(0, abs=1e-9)
    [broken] = track_table(rows_of([0.9, np.nan], track=["a", "a"]), RULE, HALF).to_dict("records")
    assert broken["answer"] == ABSTAIN


def test_tracks_are_those_of_a_video_a_folder_of_frames_or_a_camera() -> None:
    table = rows_of(
        np.full(12, 0.9),
        path=[
            *("/v/one.mp4", "/v/one.mp4", "/v/two.mp4"),
            *("/mot/A/img1/000001.jpg", "/mot/A/img1/000002.jpg", "/mot/B/img1/000001.jpg"),
            *("/c/x/1.png", "/c/y/2.png", "/c/z/3.png"),
            *("/c/x/4.png", "/c/y/5.png", "/c/y/6.png"),
        ],
        frame=[1, 2, 1, 1, 2, 1, *[pd.NA] * 6],
        left=[5] * 6 + [pd.NA] * 6,
        track=["7"] * 9 + [""] * 3,
        camera=[""] * 6 + ["k1", "k1", "k2"] + [""] * 3,
        identity=["Ann"] * 3 + [""] * 6 + ["Ann", "Ann", ""],
    )
    assert track_of(table).tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, -1]
    tracks = track_table(table, RULE, HALF)
    places = ["/v/one.mp4", "/v/two.mp4", "/mot/A", "/mot/B", "/c", "/c/z", "/c"]
    assert tracks["path"].tolist() == places
    assert tracks["track"].tolist() == ["7"] * 6 + [""]
    assert tracks["identity"].tolist() == ["Ann", "Ann", "", "", "", "", "Ann"]
    assert tracks["images"].tolist() == [2, 1, 2, 1, 2, 1, 2]
    mixed = track_table(rows_of([0.9, 0.8], track=["a", "a"], identity=["Ann", "Bob"]), RULE, HALF)
    assert mixed["identity"].tolist() == [""]


def test_without_tracks_and_people_there_are_no_rows() -> None:
    for table in (rows_of([0.9, 0.1]), rows_of([])):
        tracks = track_table(table, RULE, HALF)
        assert tracks.columns.tolist() == list(TRACK_COLUMNS)
        assert tracks.empty


def test_the_correlation_by_hand() -> None:
    # FEMALE: (1, 3), (5, 7); MALE: (0, 0), (2, 2): means 2, 6, 0, 2. Between: 2 (4 + 4) + 2 (1 + 1) = 20 of 2 degrees
    # of freedom, within: 1 + 1 + 1 + 1 = 4 of 4. So 10 = 1 + 2 own: own = 4.5 of 5.5.
    values = np.array([1, 3, 5, 7, 0, 0, 2, 2.0])
    female = np.arange(8) < 4
    person = np.repeat([5, 2, 9, 11], 2)
    assert intraclass_correlation(values, person, female) == pytest.approx(4.5 / 5.5)
    assert intraclass_correlation(values + 100 * female, person, female) == pytest.approx(4.5 / 5.5)
    assert intraclass_correlation(np.array([0, 1, 0, 1.0]), np.array([0, 0, 1, 1]), np.ones(4, bool)) == 0
    assert intraclass_correlation(np.array([0, 0, 1, 1.0]), np.array([0, 0, 1, 1]), np.ones(4, bool)) == 1
    assert intraclass_correlation(np.zeros(8), person, female) is None
    assert intraclass_correlation(values[2:6], person[2:6], female[2:6]) is None


def pairwise_correlation(validation: pd.DataFrame) -> float:
    """Fisher's first definition, by all pairs of images of a person, each person counting by the images."""
    logits = pd.Series(log_odds_of(validation["p_FEMALE"]))
    logits -= logits.groupby(validation["label"]).transform("mean")
    products, weights = [], []
    for _, rows in logits.groupby(validation["identity"]):
        values: NDArray[np.float64] = rows.to_numpy()
        pairs = np.outer(values, values)[~np.eye(len(values), dtype=bool)]
        products.append(pairs.mean())
        weights.append(len(values))
    return float(np.average(products, weights=weights) / np.mean(logits**2))


@pytest.mark.parametrize(("own", "each"), [(0.5, 1.5), (1.0, 1.0), (1.5, 0.5)])
def test_the_correlation_is_that_of_pairs_and_gives_the_lowest_loss(own: float, each: float) -> None:
    validation = drawn(1500, own, each, seed=0)
    found = fitted(validation)
    assert found.remark is None
    assert found.people == 1500
    assert found.correlation == pytest.approx(own**2 / (own**2 + each**2), abs=0.03)
    assert found.correlation == pytest.approx(pairwise_correlation(validation), abs=0.03)
    # In this world the log odds of an image are 2 x 1.5 / variance times its logit: that is the temperature.
    scale = 3 / (own**2 + each**2)
    fresh = drawn(1500, own, each, seed=1)
    fresh = answered(fresh, expit(scale * log_odds_of(fresh["p_FEMALE"].to_numpy())))
    best = min(loss(fresh, correlation) for correlation in np.linspace(0, 1, 51))
    assert loss(fresh, found.correlation) == pytest.approx(best, abs=0.004)
    assert fitted(validation, 1 / scale).correlation == pytest.approx(found.correlation)


def test_with_the_fewest_people_the_estimate_is_better_than_the_mean_on_average() -> None:
    for own, each, heavy in ((1.0, 1.0, False), (1.5, 1.0, False), (1.0, 1.0, True), (1.5, 0.3, True)):
        scale = 3 / (own**2 + each**2)
        fresh = drawn(1500, own, each, 999, heavy)
        fresh = answered(fresh, expit(scale * log_odds_of(fresh["p_FEMALE"].to_numpy())))
        grid = np.linspace(0, 1, 21)
        losses = [loss(fresh, correlation) for correlation in grid]
        found = [fitted(drawn(FEWEST_PEOPLE, own, each, seed, heavy)).correlation for seed in range(40)]
        assert np.mean(np.interp(found, grid, losses)) < losses[-1] + 1e-3


def test_the_correlation_stays_1_with_a_remark_where_nothing_is_known() -> None:
    enough = drawn(FEWEST_PEOPLE, 1, 1, 0)
    assert fitted(enough).remark is None
    one_less = enough[enough["identity"] != "person 0"]
    single = drawn(2, 1, 1, 0).drop_duplicates("identity").assign(identity=["alone", "alone too"])
    cases = {
        str(FEWEST_PEOPLE - 1): pd.concat([one_less, single], ignore_index=True),
        "nobody": enough.assign(identity=""),
        "not finite": answered(enough, np.full(len(enough), np.nan)),
        "alike": answered(enough, np.full(len(enough), 0.3)),
    }
    for named, validation in cases.items():
        found = fitted(validation)
        assert found.correlation == 1
        assert named in str(found.remark)
    nothing = fit_track_rule(CombinedRule([1.0], RULE, None, []))
    assert (nothing.correlation, nothing.people) == (1, 0)


def test_certain_networks_have_a_correlation() -> None:
    certain = drawn(30, 1, 1, 0)
    found = fitted(answered(certain, np.round(certain["p_FEMALE"].to_numpy())))
    assert 0 <= found.correlation <= 1
    assert found.remark is None
