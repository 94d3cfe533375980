"""Every key of `transfer` in `compare.json`: how well what was trained on one dataset does on the others.

`compare_json.py` says what numbers and intervals are. Home is a run's own test split. All numbers are of the threshold
0.5, the mean over seeds; the intervals cover the people drawn and, from ENOUGH_SEEDS on, training.
"""

from typing import Literal, TypedDict

from gender_cls.evaluation.estimate import Estimate

TRANSFER_SCORES = ("balanced_accuracy", "macro_f1", "auroc")


class Cell(TypedDict):
    """One candidate on one dataset."""

    dataset: str  # of `Transfer.datasets`
    # home: the candidate's own test split; elsewhere: data it never saw; held_out: its own test split, which is a
    # source that it was not trained on (data.leave_out)
    kind: Literal["home", "elsewhere", "held_out"]
    images: int
    identities: int
    seeds: int  # how many of the candidate's seeds were tested
    left_out: int  # images that the runs had seen, and that were not tested; the most of any seed
    seen: bool  # whether the candidate's train or validation split holds images of this dataset
    scores: dict[str, Estimate]  # for each of TRANSFER_SCORES


class TransferRow(TypedDict):
    """One candidate: what was trained on one dataset, with all seeds."""

    candidate: str  # title, as in `candidates`
    method: str  # of `Transfer.methods`: the candidate without its dataset
    trained_on: str  # of `Transfer.datasets`, or `all but <source>`
    home: Estimate  # balanced accuracy to which drops refer: of the home cell, or of validation for held_out cells
    cells: list[Cell]  # in the order of `Transfer.datasets`; a dataset without a test has none
    mean_elsewhere: Estimate  # balanced accuracy, the mean over the foreign cells (see `Drop`)
    mean_drop: Estimate  # `home` minus that


class Drop(TypedDict):
    """The drop of a method, over its foreign cells: not home, and of data that it never trained on."""

    method: str
    cells: int
    mean_drop: Estimate  # of balanced accuracy: home minus elsewhere, the mean over the cells
    spread: Estimate  # sample standard deviation of the drops; undefined with one cell
    mean_elsewhere: Estimate  # balanced accuracy, the mean over the cells
    worst: Cell | None  # the cell with the lowest balanced accuracy
    worst_trained_on: str | None
    cdd: float | None  # of the paper named in `transfer.py`, as far as its definitions are known: of macro F1, 0 to 1
    sd: float | None


class TransferPair(TypedDict):
    """Two methods on the same foreign images: the mean over the cells that both have."""

    a: str
    b: str
    cells: int
    difference: Estimate  # a minus b, of balanced accuracy
    p_value: float | None
    p_holm: float | None
    significant: bool
    verdict: str


class Transfer(TypedDict):
    """The whole matrix."""

    datasets: list[str]  # columns
    methods: list[str]
    rows: list[TransferRow]
    drops: list[Drop]
    pairs: list[TransferPair]
    sentences: list[str]  # what the matrix says, in words
    remarks: list[str]  # what the matrix does not show, and why
