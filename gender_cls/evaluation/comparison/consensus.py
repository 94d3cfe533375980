"""What several candidates say of the same test rows: their mean, where they agree, and what none of them gets right."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from gender_cls.evaluation.bootstrap import Numbers, bootstrap_units, count_people, estimates
from gender_cls.evaluation.comparison.candidates import Candidate
from gender_cls.evaluation.comparison.compare_json import Agreement, Ensemble, MeanCost, RocCurve, WrongImage
from gender_cls.evaluation.metrics import decision_scores, is_female, p_female_of

MOST_ROC_POINTS = 200


def _mean_p_female(candidate: Candidate) -> Numbers:
    """(test rows,) probability of FEMALE, the mean over seeds."""
    return np.mean([p_female_of(one.test) for one in candidate.trained], axis=0)


def ensemble_of(candidates: Sequence[Candidate], cost: MeanCost, resamples: int) -> Ensemble:
    """Scores of the soft vote; its answer is FEMALE from 0.5 on. The cost is that of all networks together."""
    table = candidates[0].test
    female, p_female = is_female(table), np.mean([_mean_p_female(one) for one in candidates], axis=0)

    def balanced_accuracy(weights: Numbers) -> dict[str, Numbers]:
        return {"balanced_accuracy": decision_scores(female, p_female >= 0.5, weights)["balanced_accuracy"]}

    units = bootstrap_units(table)
    shares = {"balanced_accuracy": count_people(units, female, ~female)}
    found = estimates(units, balanced_accuracy, resamples, shares=shares)
    return Ensemble(
        networks=sum(len(one.trained) for one in candidates),
        balanced_accuracy=found["balanced_accuracy"],
        accuracy=float(((p_female >= 0.5) == female).mean()),
        auroc=float(roc_auc_score(female, p_female)) if len(set(female)) == 2 else None,
        cost=cost,
    )


def agreement(candidates: Sequence[Candidate]) -> Agreement:
    """How often two candidates give the same answer."""
    answers = [[one.test["prediction"].to_numpy() for one in candidate.trained] for candidate in candidates]
    shares = [
        [float(np.mean([(x == y).mean() for x, y in zip(a, b, strict=False)])) for b in answers]  # the shorter decides
        for a in answers
    ]
    return Agreement(candidates=[one.title for one in candidates], shares=shares)


def roc_curves(candidates: Sequence[Candidate]) -> list[RocCurve]:
    """One curve per candidate; none if test has one label only."""
    curves = []
    for candidate in candidates:
        female, p_female = is_female(candidate.test), _mean_p_female(candidate)
        if len(set(female)) < 2:
            continue
        curve = np.stack(roc_curve(female, p_female)[:2], axis=1)
        kept = np.unique(np.linspace(0, len(curve) - 1, min(MOST_ROC_POINTS, len(curve))).round().astype(int))
        area = float(roc_auc_score(female, p_female))
        curves.append(RocCurve(candidate=candidate.title, auroc=area, points=curve[kept].tolist()))
    return curves


def wrong_for_all(candidates: Sequence[Candidate]) -> list[WrongImage]:
    """The images that no candidate gets right, the most confidently wrong first."""
    table = candidates[0].test
    p_female = np.mean([_mean_p_female(one) for one in candidates], axis=0)
    p_label = np.where(is_female(table), p_female, 1 - p_female)
    wrong = [np.mean([~one.correct for one in candidate.trained], axis=0) > 0.5 for candidate in candidates]
    rows = np.flatnonzero(np.all(wrong, axis=0))
    rows = rows[np.argsort(p_label[rows], kind="stable")]
    return [
        WrongImage(path=str(row.path), label=str(row.label), identity=str(row.identity), p_label=p)
        for row, p in zip(table.iloc[rows].itertuples(), p_label[rows].tolist(), strict=True)
    ]
