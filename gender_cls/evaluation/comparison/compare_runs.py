"""Runs -> which model is better, how sure that is, and what it costs."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.errors import GenderClsError, error_sentence
from gender_cls.evaluation.bootstrap import bootstrap_units, count_units
from gender_cls.evaluation.calibration import calibrated
from gender_cls.evaluation.comparison import compare_json
from gender_cls.evaluation.comparison.candidates import Candidate, Trained, find_candidates, with_titles
from gender_cls.evaluation.comparison.consensus import agreement, ensemble_of, roc_curves, wrong_for_all
from gender_cls.evaluation.comparison.means import (
    best_mean_baseline,
    cost_of_all,
    mark_pareto,
    mean_cost,
    mean_explanations,
    mean_or_none,
)
from gender_cls.evaluation.comparison.sentences import cautions, verdict
from gender_cls.evaluation.comparison.significance import Means, compare_pairs, means_of
from gender_cls.evaluation.comparison.transfer import transfer_of
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.metrics import (
    calibration_scores,
    decision_scores,
    is_female,
    known_people,
    p_female_of,
    probability_scores,
)
from gender_cls.evaluation.predictions import answers_of
from gender_cls.evaluation.standing import standing_of
from gender_cls.evaluation.untested import validation_score
from gender_cls.runs.exported_run import ExportedRun
from gender_cls.runs.run import Run


def compare_runs(runs: Sequence[Run], resamples: int) -> compare_json.Comparison:
    """Compare candidates, which are runs that differ only in seed and fold, on the test images that they share.

    The runs may be in any state. Candidates with other test images take no part; neither do leaky ones if there are
    others.
    """
    candidates, unfinished = find_candidates(runs)
    for run in (run for candidate in candidates for one in candidate.trained for run in one.runs):
        _check_metrics(run)
    sound = [one for one in candidates if not one.problem]
    eligible = [one for one in sound if not one.leaky] or sound
    shared = _most_shared(eligible)
    compared = [one for one in eligible if one.test_rows is not None and one.test_rows == shared]
    # The compared ones first, the best by validation first: titles have these places.
    candidates.sort(key=lambda one: (one not in compared, _falling(_validation(one))))
    candidates = with_titles(candidates)
    compared, others = candidates[: len(compared)], candidates[len(compared) :]
    estimates: dict[str, Estimate] = {}
    pairs: list[compare_json.Pair] = []
    if compared:
        means = _means(compared, resamples)
        estimates = {one.title: means.of(index) for index, one in enumerate(compared)}
        pairs = compare_pairs([one.title for one in compared], means, list(compared[0].test["path"]))
    for one in others:
        if not one.problem and one.test_rows is not None:
            estimates[one.title] = _means([one], resamples).of(0)
    place = {run.folder: index for index, run in enumerate(runs)}
    trained = [one for one in candidates if not one.exported]
    transfer = transfer_of(sorted(trained, key=lambda one: place[one.runs[0].folder]), resamples)
    rows = [_candidate_row(one, one in compared, shared, estimates.get(one.title)) for one in candidates]
    best = rows[: len(compared)]
    mark_pareto(best, pairs)
    several = len(compared) > 1
    voting = [one for one in compared if not one.exported]  # an exported model would give its run a second vote
    baselines = [row["baseline"] for row in best if row["baseline"]]
    baseline = max(baselines, key=lambda one: one["balanced_accuracy"], default=None)
    test = compared[0].test if compared else pd.DataFrame({"identity": []}, dtype=str)
    return compare_json.Comparison(
        resamples=resamples,
        images=len(test),
        identities=known_people(test),
        units=count_units(bootstrap_units(test)),
        candidates=rows,
        unfinished=[_run_state(run) for run in unfinished],
        baseline=baseline,
        ensemble=ensemble_of(voting, cost_of_all(voting), resamples) if len(voting) > 1 else None,
        pairs=pairs,
        verdict=verdict(rows, pairs, transfer),
        cautions=cautions(rows, transfer),
        agreement=agreement(compared) if several else None,
        roc=roc_curves(compared),
        all_wrong=wrong_for_all(compared) if compared else [],
        transfer=transfer,
    )


def _check_metrics(run: Run) -> None:
    """Raise GenderClsError unless `metrics.json` holds what is read here, as `schema.py` says."""
    try:
        _ = run.metrics["data"]["leaky"]
        mean_or_none(_calibrated_as_tested(run).values())
        for read in (mean_cost, best_mean_baseline, mean_explanations):
            read([run])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GenderClsError(
            f"{run.metrics_file} is damaged ({error_sentence(error)}): run python -m gender_cls.evaluate "
            f"run={run.folder}, which writes it anew."
        ) from None


def _calibrated(run: Run) -> dict[str, float | None]:
    """Log loss and calibration error of a run, or of an exported model, with the run's temperature."""
    if not isinstance(run, ExportedRun):
        return _calibrated_as_tested(run)
    table = answers_of(run)
    test = table[table["split"] == "test"]
    p_female = calibrated(test, run.metrics["calibration"]["temperature"])
    scores = calibration_scores(is_female(test), p_female)(np.ones((1, len(test))))
    return {name: float(scores[name][0]) for name in ("log_loss", "ece")}


def _calibrated_as_tested(run: Run) -> dict[str, float | None]:
    after = run.metrics["calibration"]["after"]
    return {name: after[name]["value"] for name in ("log_loss", "ece")}


def _most_shared(candidates: Sequence[Candidate]) -> Hashable:
    """The test rows that most runs have, the first of equals; None if there are no candidates."""
    counts: Counter[Hashable] = Counter()
    for one in candidates:
        if one.test_rows is not None:
            counts[one.test_rows] += len(one.trained)
    return max(counts, key=lambda rows: counts[rows], default=None)


def _means(candidates: Sequence[Candidate], resamples: int) -> Means:
    """The mean scores of candidates with the same test rows."""
    test = candidates[0].test
    correct = [np.stack([one.correct for one in candidate.trained]) for candidate in candidates]
    return means_of(correct, is_female(test), bootstrap_units(test), resamples)


def _candidate_row(
    candidate: Candidate, compared: bool, shared: Hashable, estimate: Estimate | None
) -> compare_json.CandidateRow:
    trained = [] if candidate.problem else candidate.trained
    runs = [run for one in trained for run in one.runs]
    calibration = [_calibrated(run) for run in runs]
    decisions = [_decisions(one.test) for one in trained]
    same = shared is not None and candidate.test_rows == shared
    rows = (compare_json.SAME_ROWS if same else compare_json.OTHER_ROWS) if trained else None
    remark = candidate.problem
    if remark is None and not compared:
        remark = "It was tested on other images than most runs." if rows == compare_json.OTHER_ROWS else "It is leaky."
    baseline = best_mean_baseline(runs)
    standing = None if estimate is None else standing_of([one.test for one in trained], estimate, baseline)
    return compare_json.CandidateRow(
        title=candidate.title,
        model=candidate.model,
        dataset=candidate.dataset,
        varied=candidate.varied,
        runs=[_run_state(run) for run in candidate.runs],
        repeated=[str(run.folder) for run in candidate.repeated],
        seeds=[one.seed for one in candidate.trained] or [seed for seed, _ in candidate.untested],
        compared=compared,
        remark=remark,
        rows=rows,
        leaky=candidate.leaky if candidate.trained else None,
        validation=_validation(candidate),
        test=_test([one["balanced_accuracy"] for one in decisions], estimate),
        standing=standing,
        auroc=mean_or_none(_auroc(one.test) for one in trained),
        accuracy=mean_or_none(one["accuracy"] for one in decisions),
        recalls=_recalls(trained),
        log_loss=mean_or_none(one["log_loss"] for one in calibration),
        ece=mean_or_none(one["ece"] for one in calibration),
        baseline=baseline,
        cost=mean_cost(runs),
        pareto=None,
        explanations=mean_explanations(runs),
    )


def _run_state(run: Run) -> compare_json.RunState:
    return compare_json.RunState(folder=str(run.folder), state=run.state, error=run.error)


def _decisions(table: pd.DataFrame) -> dict[str, float]:
    scores = decision_scores(is_female(table), is_female(table, "prediction"), np.ones((1, len(table))))
    return {name: float(values[0]) for name, values in scores.items()}


def _recalls(trained: Sequence[Trained]) -> list[compare_json.LabelRecall]:
    """For each label, how many of its test images get it; none if seeds have other test images."""
    if len({tuple(one.test["label"]) for one in trained}) != 1:
        return []
    found = []
    for label in CLASSES:
        labelled = (trained[0].test["label"] == label).to_numpy()
        images, right = int(labelled.sum()), float(np.mean([one.correct[labelled].sum() for one in trained]))
        recall = right / images if images else None
        found.append(compare_json.LabelRecall(label=label, images=images, right=right, recall=recall))
    return found


def _auroc(table: pd.DataFrame) -> float:
    return float(probability_scores(is_female(table), p_female_of(table))(np.ones((1, len(table))))["auroc"][0])


def _validation(candidate: Candidate) -> compare_json.MeanScore:
    if candidate.untested:
        means = (mean_or_none(map(validation_score, runs)) for _, runs in candidate.untested)
        return _over_seeds([mean for mean in means if mean is not None])
    trained = [] if candidate.problem else candidate.trained
    return _over_seeds([_decisions(one.validation)["balanced_accuracy"] for one in trained])


def _test(values: Sequence[float], estimate: Estimate | None) -> compare_json.MeanEstimate:
    if estimate is None:
        remark = "Its seeds were tested on different images." if values else None
        estimate = Estimate(value=None, low=None, high=None, remark=remark)
    over_seeds = _over_seeds(values)
    enough = len(values) >= compare_json.ENOUGH_SEEDS
    covers = compare_json.PEOPLE_AND_TRAINING if enough else compare_json.PEOPLE
    return compare_json.MeanEstimate(
        **over_seeds,
        seed_scores=[] if over_seeds["mean"] is None else list(values),
        low=estimate["low"],
        high=estimate["high"],
        covers=None if estimate["low"] is None else covers,
        remark=estimate["remark"],
    )


def _over_seeds(values: Sequence[float]) -> compare_json.MeanScore:
    mean = mean_or_none(values)
    spread = None if mean is None or len(values) < 2 else float(np.std(values, ddof=1))
    return compare_json.MeanScore(mean=mean, spread=spread)


def _falling(score: compare_json.MeanScore) -> float:
    """A sort key: the best first, those without a score last."""
    return np.inf if score["mean"] is None else -score["mean"]
