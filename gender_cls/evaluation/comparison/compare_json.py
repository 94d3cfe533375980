"""Every key of `compare.json` with its meaning.

Shares, scores and probabilities lie between 0 and 1, and are of test unless a comment says otherwise. Intervals are
95 %. A value that cannot be computed is null, and the `remark` next to it says why; a `remark` is null if there is
nothing to say.
"""

from typing import TypedDict

from gender_cls.evaluation.comparison.transfer_json import Transfer
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import Standing

SAME_ROWS, OTHER_ROWS = "same", "other test rows"
NOT_TESTED = "It was not tested."
PEOPLE, PEOPLE_AND_TRAINING = "people", "people and training"
ENOUGH_SEEDS = 3
"""Fewest seeds whose spread says enough about the chance of training; with fewer, intervals leave it out."""


class RunState(TypedDict):
    """How a run ended: `state` and `error` of its `status.json`."""

    folder: str  # absolute
    state: str
    error: str | None


class MeanScore(TypedDict):
    """A score over seeds."""

    mean: float | None
    spread: float | None  # sample standard deviation; null with one seed


class MeanEstimate(MeanScore):
    """A score over seeds, with an interval of the mean."""

    seed_scores: list[float]  # the score of each seed, in the order of `CandidateRow.seeds`; empty if it is undefined
    low: float | None
    high: float | None
    covers: str | None  # the chance in the interval: PEOPLE drawn; from ENOUGH_SEEDS on, PEOPLE_AND_TRAINING
    remark: str | None


class LabelRecall(TypedDict):
    """How many test images of a label get that label."""

    label: str
    images: int
    right: float  # mean over seeds
    recall: float | None  # null if there are no images


class MeanCost(TypedDict):
    """`evaluation.schema.Cost`, the mean over runs; null if a run did not record it.

    Times are of the runs that were measured undisturbed, or of all if there are none: the fastest of them, because the
    same network takes the same time whatever its seed.
    """

    parameters: float | None
    flops: float | None
    milliseconds_batch_1: float | None
    milliseconds_batch_1_spread: list[float] | None  # [low, high]: the least and the greatest of these runs
    milliseconds_batch_32: float | None
    milliseconds_batch_32_spread: list[float] | None
    disturbed: str | None  # what other processes computed meanwhile; null if nothing disturbed these runs
    peak_memory_bytes: float | None
    fit_seconds: float | None
    device: str | None  # all devices that were used


class BestBaseline(TypedDict):
    """The trivial baseline with the best balanced accuracy, the mean over runs."""

    title: str
    balanced_accuracy: float


class MeanPlace(TypedDict):
    """The share of a method's mass in a place, and the share that a uniform map has (see `evaluation.schema.Place`)."""

    name: str  # of PLACES
    share: float | None
    area: float | None


class MeanCue(TypedDict):
    """`evaluation.schema.Cue`, the mean over runs."""

    hit: float | None  # null where it is not defined
    mass: float | None
    area: float


class MeanMethod(TypedDict):
    """Scores of one method's maps (see `evaluation.schema.MethodScores`), the mean over the runs that have them."""

    name: str  # as in the configuration
    title: str  # for people
    runs: int  # how many runs have the method
    insertion_gain: float | None  # with the blurred image as baseline; above 0 the map is better than chance
    deletion_gain: float | None  # the same for deletion
    places: list[MeanPlace]  # for each of PLACES
    cue: dict[str, MeanCue] | None  # by label; null if no box of a cue is known
    flagged: bool | None  # in any run, maps hardly change once all weights are random; null if not known


class CandidateExplanations(TypedDict):
    """What the maps of a candidate's test images say."""

    folder: str  # of the first explained run, by seed; the page shows its maps
    explained_class: str | None  # predicted or true; null if runs differ
    methods: list[MeanMethod]  # in the order of the configuration


class CandidateRow(TypedDict):
    """Runs that differ only in seed and fold, at least one of them finished. Scores are null until a seed has."""

    # The model; if some share one, with the dataset (`custom_cnn on peta`) or the place among them (`custom_cnn #2`).
    title: str
    model: str  # the chosen file, or the name of the network where that leaves it open; with the format if exported
    dataset: str | None  # what its test images are called; null if its configuration was not kept
    varied: dict[str, str]  # the settings that vary between the candidates, with its values; the same keys in each row
    runs: list[RunState]  # in any state; without those that did not finish although another with the same settings did
    repeated: list[str]  # folders of finished runs left out: a later run has the same settings, seed and fold
    seeds: list[int | None]  # those that are scored, null if unknown; the folds of a seed make one table
    compared: bool  # whether it takes part in pairs, ensemble, agreement, curves and verdict
    remark: str | None  # why it does not; NOT_TESTED if no seed was tested, so that all scores but validation are null
    rows: str | None  # SAME_ROWS if each seed has the images and labels that most runs share, otherwise OTHER_ROWS
    leaky: bool | None  # whether training saw test images or near duplicates of them
    validation: MeanScore  # balanced accuracy, the score to choose by
    test: MeanEstimate  # balanced accuracy
    standing: Standing | None  # what the test score is worth; null without one
    auroc: float | None  # mean over seeds
    accuracy: float | None  # mean over seeds
    recalls: list[LabelRecall]  # for each of CLASSES; empty if seeds were tested on different images
    log_loss: float | None  # with each run's temperature, mean over runs
    ece: float | None  # with each run's temperature, mean over runs
    baseline: BestBaseline | None
    cost: MeanCost
    # Whether no other compared candidate is better by more than noise in balanced accuracy (a significant pair) or in
    # milliseconds (batch 32; the spreads do not overlap) without being worse in the other (a lower mean; a time that is
    # longer by more than noise). False if the score shows nothing (standing undefined, constant or chance); null
    # without times, or if devices differ.
    pareto: bool | None
    explanations: CandidateExplanations | None  # null if no run was explained


class Ensemble(TypedDict):
    """The soft vote: the mean probability over the compared candidates, each averaged over its seeds first.

    Exported models have no vote.
    """

    networks: int  # how many must run for one answer: each seed of each candidate
    balanced_accuracy: Estimate  # its interval covers chance in the people drawn, not in training
    accuracy: float
    auroc: float | None
    cost: MeanCost  # sums over the networks (folds count as one); fit_seconds over all runs; the largest memory


class McNemar(TypedDict):
    """McNemar's exact test (1947) on one image and one seed per person, so that the trials are independent.

    It asks whether accuracy differs, not balanced accuracy, and is not corrected for the number of pairs.
    """

    people: int  # number of trials
    only_a: int  # trials in which only the first candidate is right
    only_b: int  # trials in which only the second is right
    p_value: float  # of counts at least this uneven if neither is better (binomial, two-sided)


class Pair(TypedDict):
    """Two candidates on the same test images."""

    a: str  # title
    b: str  # title
    difference: float | None  # a minus b, of the mean balanced accuracies over seeds
    low: float | None  # the interval is not corrected for the number of pairs; it holds 0 if p_value is at least 0.05
    high: float | None
    remark: str | None
    p_value: float | None  # two-sided, of turned signs over people (`significance.py`)
    p_holm: float | None  # the same, corrected for the number of pairs (Holm 1979)
    significant: bool  # whether p_holm is below 0.05
    verdict: str  # all this in a sentence
    mcnemar: McNemar  # a second opinion


class Agreement(TypedDict):
    """How often two candidates give the same answer."""

    candidates: list[str]  # titles, of rows and columns
    shares: list[list[float]]  # of the images; each the mean over the pairs of their first, second, ... seeds


class RocCurve(TypedDict):
    """The ROC curve of a candidate's mean probability of FEMALE over seeds."""

    candidate: str
    auroc: float  # area under the whole curve; not the mean over seeds
    points: list[list[float]]  # at most 200 [false positive rate, true positive rate], rising; FEMALE is positive


class WrongImage(TypedDict):
    """An image that every compared candidate gets wrong, by the majority of its seeds."""

    path: str
    label: str
    identity: str
    p_label: float  # probability of the label, the mean over candidates


class Comparison(TypedDict):
    """The whole file."""

    resamples: int  # of the bootstrap; also the number of random signs behind a p-value
    images: int  # in test, of the compared candidates
    identities: int  # known people in those images
    units: int  # what the bootstrap draws from
    candidates: list[CandidateRow]  # compared ones first, by falling validation score
    unfinished: list[RunState]  # runs that did not finish, where none with the same settings, seed and fold did
    baseline: BestBaseline | None  # the best one of the compared candidates
    ensemble: Ensemble | None  # null with fewer than two compared candidates that are no exported models
    pairs: list[Pair]
    verdict: list[str]  # sentences
    cautions: list[str]  # those of them that warn
    agreement: Agreement | None  # null with fewer than two compared candidates
    roc: list[RocCurve]  # empty if test has one label only
    all_wrong: list[WrongImage]  # the most confidently wrong first
    transfer: Transfer | None  # null if no run was tested on data other than its own
