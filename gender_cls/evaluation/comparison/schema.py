"""What stands in a comparison (`compare.json`): every key with its meaning, as in `schema.py`.

Shares, scores and probabilities lie between 0 and 1, and are of test unless it says otherwise. Intervals are 95 %. What
cannot be computed is null, and a `remark` beside it says why.
"""

from typing import TypedDict

from gender_cls.evaluation.estimate import Estimate

SAME_ROWS, OTHER_ROWS = "same", "other test rows"


class RunState(TypedDict):
    """How a run ended: `folder` is absolute, `state` and `error` are those of its `status.json`."""

    folder: str
    state: str
    error: str | None


class MeanScore(TypedDict):
    """A score, the mean over seeds. `spread` is their sample standard deviation; null with one seed."""

    mean: float | None
    spread: float | None


class MeanEstimate(MeanScore):
    """The same with an interval of the mean.

    Attributes:
        low: of the interval, which covers the luck of the people drawn and, with several seeds, of training.
        high: likewise.
        remark: why something is null, or null.
    """

    low: float | None
    high: float | None
    remark: str | None


class MeanCost(TypedDict):
    """What `schema.Cost` holds, the mean over runs; null where no run recorded it. `device`: all of them."""

    parameters: float | None
    flops: float | None
    milliseconds_batch_1: float | None
    milliseconds_batch_32: float | None
    peak_memory_bytes: float | None
    fit_seconds: float | None
    device: str | None


class BestBaseline(TypedDict):
    """The trivial baseline with the best balanced accuracy, the mean over runs."""

    title: str
    balanced_accuracy: float


class MeanPlace(TypedDict):
    """The share of a method's mass in a place, and that of a map that is the same everywhere (`explanation_schema.py`).

    Attributes:
        name: of PLACES.
    """

    name: str
    share: float | None
    area: float | None


class MeanMethod(TypedDict):
    """Scores of one method's maps (see `explanation_schema.MethodScores`), the mean over the runs that have them.

    Attributes:
        name: as in the configuration.
        title: for people.
        runs: how many have them.
        insertion_gain: of pixels that come instead of the blurred picture's; above 0 the map is better than chance.
        deletion_gain: likewise, pixels going.
        places: for each of PLACES.
        flagged: whether in any run the map hardly changes once all weights are random; null where this is not known.
    """

    name: str
    title: str
    runs: int
    insertion_gain: float | None
    deletion_gain: float | None
    places: list[MeanPlace]
    flagged: bool | None


class CandidateExplanations(TypedDict):
    """What a candidate's maps of test images say.

    Attributes:
        folder: of the first run that was explained, by seed; its maps are those that the page shows.
        explained_class: predicted or true; null where runs differ.
        methods: in the order of the configuration.
    """

    folder: str
    explained_class: str | None
    methods: list[MeanMethod]


class CandidateRow(TypedDict):
    """Runs that differ only in seed and fold. Scores are null until one seed has finished.

    Attributes:
        title: the model, with what tells it from other candidates of that model.
        runs: all of them, whatever became of them.
        repeated: folders of finished runs left out because a later one has the same settings, seed and fold.
        seeds: those that are scored, null where not known; the folds of a seed make one table.
        compared: whether it takes part in pairs, ensemble, agreement, curves and verdict.
        remark: why not, or null.
        rows: SAME_ROWS when each seed has the images and labels that most runs share, otherwise OTHER_ROWS.
        leaky: whether training saw test images or their twins.
        validation: balanced accuracy, the score to choose by.
        test: balanced accuracy.
        auroc: mean over seeds, as is accuracy.
        log_loss: with each run's temperature, mean over runs, as is ece.
        pareto: whether no other compared candidate has at least its balanced accuracy for at most its milliseconds
            (batch 32), and is strictly better in one; null without these, or when devices differ.
        explanations: null where no run was explained.
    """

    title: str
    runs: list[RunState]
    repeated: list[str]
    seeds: list[int | None]
    compared: bool
    remark: str | None
    rows: str | None
    leaky: bool | None
    validation: MeanScore
    test: MeanEstimate
    auroc: float | None
    accuracy: float | None
    log_loss: float | None
    ece: float | None
    baseline: BestBaseline | None
    cost: MeanCost
    pareto: bool | None
    explanations: CandidateExplanations | None


class Ensemble(TypedDict):
    """The soft vote: the mean probability over the compared candidates, of which each first averages its seeds.

    Attributes:
        networks: how many must run for one answer: each seed of each candidate.
        balanced_accuracy: its interval covers the luck of the people drawn, not that of training.
        cost: sums over the networks (folds count as one); fit_seconds over all runs; the largest memory.
    """

    networks: int
    balanced_accuracy: Estimate
    accuracy: float
    auroc: float | None
    cost: MeanCost


class McNemar(TypedDict):
    """McNemar's exact test (1947) on one image and one seed a person, so that the trials are independent.

    It asks whether accuracy differs, not balanced accuracy, and is not corrected for the number of pairs.

    Attributes:
        people: number of trials.
        only_a: trials in which only the first candidate is right.
        only_b: trials in which only the second is.
        p_value: of counts at least so uneven when neither is better (binomial, two-sided).
    """

    people: int
    only_a: int
    only_b: int
    p_value: float


class Pair(TypedDict):
    """Two candidates on the same test images.

    Attributes:
        a: title.
        b: title.
        difference: of a minus b, between the mean balanced accuracies over seeds.
        low: of its interval, which is not widened for the number of pairs.
        high: likewise.
        remark: why something is null, or null.
        p_value: two-sided, from the draws that give the interval.
        p_holm: the same, corrected for the number of pairs (Holm 1979).
        significant: whether p_holm is below 0.05.
        verdict: all that in a sentence.
        mcnemar: a second opinion.
    """

    a: str
    b: str
    difference: float | None
    low: float | None
    high: float | None
    remark: str | None
    p_value: float | None
    p_holm: float | None
    significant: bool
    verdict: str
    mcnemar: McNemar


class Agreement(TypedDict):
    """Share of the images that two candidates give the same answer.

    Attributes:
        candidates: titles, of rows and columns.
        shares: (candidates, candidates), each the mean over the pairs of their first, second, ... seeds.
    """

    candidates: list[str]
    shares: list[list[float]]


class RocCurve(TypedDict):
    """Of a candidate's mean probability of FEMALE over seeds.

    Attributes:
        auroc: area under the whole curve; not the mean over seeds.
        points: at most 200 pairs [false positive rate, true positive rate], rising; FEMALE is the positive label.
    """

    candidate: str
    auroc: float
    points: list[list[float]]


class WrongImage(TypedDict):
    """An image that every compared candidate gets wrong, by the majority of its seeds.

    Attributes:
        p_label: probability of the label, the mean over candidates.
    """

    path: str
    label: str
    identity: str
    p_label: float


class Comparison(TypedDict):
    """The whole file.

    Attributes:
        resamples: of the bootstrap.
        images: in test, of the compared candidates, as are identities (people known by name) and units (what the
            bootstrap draws).
        candidates: compared ones first, then the others, both by falling validation score; unfinished ones last.
        baseline: the best of the compared candidates'; null without.
        ensemble: null with fewer than two compared candidates, as is agreement.
        verdict: sentences.
        roc: none where test has one label only.
        all_wrong: most confidently wrong first.
    """

    resamples: int
    images: int
    identities: int
    units: int
    candidates: list[CandidateRow]
    baseline: BestBaseline | None
    ensemble: Ensemble | None
    pairs: list[Pair]
    verdict: list[str]
    agreement: Agreement | None
    roc: list[RocCurve]
    all_wrong: list[WrongImage]
