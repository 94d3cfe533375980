"""Suspect labels, against numbers worked out by hand and swaps planted in Gaussian features."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gender_cls.config.data import CLASSES
from gender_cls.errors import GenderClsError
from gender_cls.quality import label_probabilities
from gender_cls.quality.label_probabilities import (
    combined_probabilities,
    out_of_fold_probabilities,
    probabilities_of_runs,
)
from gender_cls.quality.places import number_places
from gender_cls.quality.suspects import Review, rank_suspects, require_knowledge, review


def crowd(people: int, images: int, seed: int = 0, swapped: float = 0.0) -> tuple[np.ndarray, pd.DataFrame]:
    """Features (rows, 10), the sexes two standard deviations apart along the first, and labels partly wrong."""
    rng = np.random.default_rng(seed)
    sex = np.arange(people) % 2
    wrong = np.zeros(people, dtype=bool)
    wrong[rng.choice(people, round(swapped * people), replace=False)] = True
    person = np.repeat(np.arange(people), images)
    features = rng.normal(size=(len(person), 10)).astype(np.float32)
    features[:, 0] += 2 * sex[person]
    names = np.array(CLASSES)
    table = pd.DataFrame(
        {
            "path": [f"{row:05d}.png" for row in range(len(person))],
            "label": names[np.where(wrong, 1 - sex, sex)[person]],
            "identity": [f"p{one}" for one in person],
            "group": person,
            "truth": names[sex[person]],
        }
    )
    return features, table


def nowhere(table: pd.DataFrame) -> np.ndarray:
    """One place for all rows."""
    return np.zeros(len(table), dtype=np.intp)


def test_probabilities_follow_the_features_and_never_the_own_label() -> None:
    features, table = crowd(200, 3)
    # A feature that names each person would give every label away, were a person's images in several folds.
    telling = np.hstack([np.eye(200, dtype=np.float32)[table["group"]], features[:, 1:]])
    for seen, right in ((features, pytest.approx(0.84, abs=0.03)), (telling, pytest.approx(0.5, abs=0.08))):
        probabilities = out_of_fold_probabilities(seen, table, nowhere(table), folds=5, seed=0)
        assert probabilities.shape == (600, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        likelier = np.array(CLASSES)[probabilities.argmax(axis=1)]
        assert (likelier == table["truth"]).mean() == right  # the best cut of the features: Phi(1) = 0.841


def test_both_labels_weigh_the_same() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["FEMALE"] * 50 + ["MALE"] * 950)
    table = pd.DataFrame({"label": labels, "group": np.arange(1000)})
    noise = rng.normal(size=(1000, 3)).astype(np.float32)
    assert out_of_fold_probabilities(noise, table, nowhere(table), 5, 0)[:, 1].mean() == pytest.approx(0.5, abs=0.03)


def test_the_light_classifier_learns_from_a_part_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    features, table = crowd(300, 4)
    everything = out_of_fold_probabilities(features, table, nowhere(table), 3, 0)
    monkeypatch.setattr(label_probabilities, "MOST_TRAINING_ROWS", 200)
    part = out_of_fold_probabilities(features, table, nowhere(table), 3, 0)
    assert not np.allclose(everything, part)
    assert ((everything[:, 0] > 0.5) == (part[:, 0] > 0.5)).mean() > 0.9
    np.testing.assert_array_equal(part, out_of_fold_probabilities(features, table, nowhere(table), 3, 0))


def test_too_few_people_for_the_folds_are_an_error() -> None:
    features, table = crowd(6, 5)
    with pytest.raises(GenderClsError, match=r"FEMALE has 3 groups .* 5 "):
        out_of_fold_probabilities(features, table, nowhere(table), 5, 0)


def test_scores_and_flags_are_those_worked_out_by_hand() -> None:
    labels, identities = ["MALE"] * 3 + ["FEMALE"] * 3 + ["MALE"], ["ann", "ann", "", "cid", "cid", "", "eve"]
    paths = ["a1", "a2", "b1", "c1", "c2", "d1", "e1"]
    p_male = np.array([0.2, 0.5, 0.15, 0.1, 0.3, 0.9, np.nan])
    table = pd.DataFrame({"path": paths, "label": labels, "identity": identities})
    ranked = rank_suspects(table, np.column_stack([1 - p_male, p_male]), nowhere(table))
    assert " ".join(ranked) == "path label suggested_label score identity identity_score flagged corrected_label"
    by_path = ranked.set_index("path")
    assert sorted(by_path.index) == ["a1", "a2", "b1", "c1", "c2", "d1"]  # e1 was never predicted
    scores = by_path.loc[["a1", "a2", "b1", "c1", "c2", "d1"], "score"]
    assert scores.to_numpy() == pytest.approx([0.2, 0.5, 0.15, 0.9, 0.7, 0.1])
    assert ranked["identity_score"].is_monotonic_increasing
    assert by_path.loc["a1", "identity_score"] == by_path.loc["a2", "identity_score"]
    order = list(by_path.index)
    assert order.index("a2") == order.index("a1") + 1  # one person stands together, the worse image first
    assert (ranked["corrected_label"] == "").all()
    # Thresholds: FEMALE mean(0.9, 0.7, 0.1) = 0.567, MALE mean(0.2, 0.5, 0.15) = 0.283; a2 has 0.5 on FEMALE.
    assert ranked.loc[ranked["flagged"], "path"].sort_values().tolist() == ["a1", "b1", "d1"]
    suggested = by_path.loc[["a1", "a2", "b1", "c1", "c2", "d1"], "suggested_label"]
    assert suggested.tolist() == ["FEMALE"] * 5 + ["MALE"]


def test_one_identity_with_both_labels_and_one_label_alone_can_be_ranked() -> None:
    table = pd.DataFrame({"path": ["1", "2", "3"], "label": ["MALE", "MALE", "FEMALE"], "identity": "x"})
    ranked = rank_suspects(table, np.array([[0.1, 0.9]] * 3), nowhere(table))
    assert ranked["path"].tolist() == ["3", "1", "2"]
    only = table[:2].assign(identity="")
    ranked = rank_suspects(only, np.array([[0.2, 0.8], [0.9, 0.1]]), nowhere(only))
    assert ranked["path"].tolist() == ["2", "1"]
    assert not ranked["flagged"].any()


def test_planted_swaps_come_first() -> None:
    features, table = crowd(400, 4, swapped=0.05)
    ranked = rank_suspects(table, out_of_fold_probabilities(features, table, nowhere(table), 5, 0), nowhere(table))
    truth = table.set_index("path")["truth"]
    images, identities = review(ranked, truth)
    assert (images.wrong, identities.wrong) == (80, 20)
    assert min(images.factor_at_5_percent, identities.factor_at_5_percent) > 12  # of at most 20
    by_image, _ = review(ranked.sort_values("score", ignore_index=True), truth)
    assert images.factor_at_5_percent > by_image.factor_at_5_percent + 3


def city(seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Four sources of different looks and shares of men, 20 % to 90 %; a fifth of the people of one are swapped.

    The looks lie along the axis that tells the sexes too, and a source with many men looks female.
    """
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(4), 150)
    male = rng.random(600) < np.array([0.9, 0.6, 0.4, 0.2])[source]
    wrong = np.zeros(600, dtype=bool)
    wrong[rng.choice(np.flatnonzero(source == 1), 30, replace=False)] = True
    person = np.repeat(np.arange(600), 3)
    features = rng.normal(size=(1800, 10)).astype(np.float32)
    features[:, 0] += 2 * male[person] + np.array([-1, 0, 0.5, 1])[source[person]]
    features[:, 1:5] += 4 * np.eye(4)[source[person]]
    names = np.array(CLASSES)
    table = pd.DataFrame(
        {
            "path": [f"{row:05d}.png" for row in range(1800)],
            "label": names[(male ^ wrong)[person].astype(int)],
            "identity": [f"p{one}" for one in person],
            "source": [f"s{one}" for one in source[person]],
            "camera": "",
            "group": person,
            "truth": names[male[person].astype(int)],
        }
    )
    return features, table


def test_wrong_labels_of_one_source_come_first_however_the_sources_look() -> None:
    gains = []
    for seed in range(5):
        features, table = city(seed)
        truth = table.set_index("path")["truth"]
        of_places = []
        for places in (nowhere(table), number_places(table)):
            ranked = rank_suspects(table, out_of_fold_probabilities(features, table, places, 5, 0), places)
            of_places.append(review(ranked, truth)[0].factor_at_5_percent)
        gains.append(of_places)
    without, with_places = np.mean(gains, axis=0)
    assert with_places > 15  # of at most 20
    assert with_places > without + 3


def test_a_review_counts_what_was_found_so_far() -> None:
    """Of five reviewed images the first and the fourth are wrong; x9 is not reviewed, x8 could not be decided."""
    paths, identities = ["x1", "x9", "x2", "x3", "x8", "x4", "x5"], ["p", "q", "r", "p", "q", "s", "s"]
    ranked = pd.DataFrame({"path": paths, "label": "MALE", "identity": identities})
    truth = pd.Series({"x1": "FEMALE", "x2": "MALE", "x3": "MALE", "x4": "FEMALE", "x5": "MALE", "x8": "unknown"})
    images, identities = review(ranked, truth)
    assert [point["reviewed"] for point in images.points] == [0.2, 0.4, 0.6, 0.8, 1]
    assert [point["precision"] for point in images.points] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 2, 2 / 5])
    assert [point["recall"] for point in images.points] == pytest.approx([0.5, 0.5, 0.5, 1, 1])
    assert images.factor_at_5_percent == pytest.approx(1 / (2 / 5))  # the first of five
    assert (identities.total, identities.wrong) == (3, 2)  # p and s, not r
    assert [point["precision"] for point in identities.points] == pytest.approx([1, 1 / 2, 2 / 3])
    assert review(ranked, pd.Series({"x2": "MALE"}))[0] == Review(1, 0, None, [])
    long = pd.DataFrame({"path": [str(row) for row in range(5000)], "label": "MALE", "identity": ""})
    truth = pd.Series(np.where(np.arange(5000) % 10 == 0, "FEMALE", "MALE"), index=long["path"])
    points = review(long, truth)[0].points
    assert 80 <= len(points) <= 100
    assert points[-1] == {"reviewed": 1.0, "precision": 0.1, "recall": 1.0}


TABLE = pd.DataFrame({"path": ["a.png", "b.png", "c.png", "d.png"], "label": "MALE"})


def write_run(folder: Path, rows: str | None, header: str = "path,label,split,p_FEMALE,p_MALE") -> Path:
    folder.mkdir(parents=True)
    (folder / "status.json").touch()
    if rows is not None:
        (folder / "predictions.csv").write_text(f"{header}\n{rows}")
    return folder


def test_only_test_predictions_count_and_are_averaged(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    write_run(sweep / "0_fold-0", "a.png,MALE,test,0.2,0.8\nb.png,MALE,val,0.9,0.1\n")
    write_run(sweep / "1_fold-1", "b.png,MALE,test,0.25,0.75\nc.png,MALE,train,0.9,0.1\n")
    single = write_run(tmp_path / "run", "a.png,MALE,test,0.6,0.4\ngone.png,MALE,test,1,0\n")
    found = probabilities_of_runs([sweep, single], TABLE)
    np.testing.assert_allclose(found, [[0.4, 0.6], [0.25, 0.75], [np.nan] * 2, [np.nan] * 2])


def test_folders_that_say_nothing_of_these_images_are_errors(tmp_path: Path) -> None:
    for job, rows in (("0_a", "a.png,MALE,test,0.2,0.8\n"), ("1_b", None), ("2_c", None)):
        write_run(tmp_path / "sweep" / job, rows)
    other = write_run(tmp_path / "other", "MALE/z.png,MALE,test,0.2,0.8\n")
    old = write_run(tmp_path / "old", "", header="path,split,p_MALE")
    (tmp_path / "empty").mkdir()
    for folders, message in (
        ([tmp_path / "sweep"], r"2 of 3 .*1_b, 2_c.*trainer\.resume=true"),
        ([write_run(tmp_path / "unfinished", None)], r"predictions\.csv .*unfinished"),
        ([tmp_path / "empty"], r"empty is neither a run nor a sweep"),
        ([], r"audit\.runs"),
        ([other], r"predictions\.csv tests 1 .*MALE/z\.png.*data\.root"),
        ([old], r"predictions\.csv .*p_FEMALE"),
    ):
        with pytest.raises(GenderClsError, match=message):
            probabilities_of_runs(folders, TABLE)


def test_two_judges_weigh_the_same_however_certain_each_is() -> None:
    def judged(*log_odds: float) -> np.ndarray:
        second = 1 / (1 + np.exp(-np.array(log_odds)))
        return np.stack([1 - second, second], axis=1)

    light, runs = judged(1, -1, 1, 0.5), judged(3, -3, -3, np.nan)
    combined = combined_probabilities(light, runs)
    # spreads over the first three: of (1, -1, 1) 2 sqrt(2) / 3, of (3, -3, -3) three times that; their mean is twice it
    spread = 2 * 2**0.5 / 3
    expected = np.array([(1 + 1) / spread, -(1 + 1) / spread, (1 - 1) / spread]) / 2 * 2 * spread
    assert combined[:3] == pytest.approx(judged(*expected))
    assert combined[3] == pytest.approx(light[3])


def test_two_judges_find_more_than_either() -> None:
    features, table = crowd(300, 2, seed=3, swapped=0.05)
    other, _ = crowd(300, 2, seed=4, swapped=0.05)
    one, two = (out_of_fold_probabilities(each, table, nowhere(table), 5, 0) for each in (features, other))
    truth, judges = table.set_index("path")["truth"], (one, two, combined_probabilities(one, two))
    first, second, both = (
        review(rank_suspects(table, judge, nowhere(table)), truth)[0].factor_at_5_percent for judge in judges
    )
    assert both > max(first, second)


def test_a_model_that_knows_nothing_names_no_suspects() -> None:
    features, table = crowd(100, 3)
    require_knowledge(table, out_of_fold_probabilities(features, table, nowhere(table), 5, 0), "a model")
    noise = np.random.default_rng(1).normal(size=features.shape).astype(np.float32)
    with pytest.raises(GenderClsError, match=r"a model.*model\.weights"):
        require_knowledge(table, out_of_fold_probabilities(noise, table, nowhere(table), 5, 0), "a model")
