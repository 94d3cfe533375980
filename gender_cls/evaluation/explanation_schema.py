"""The keys of `explanations` in `metrics.json` with their meaning, and the columns of `explanations.csv`."""

from typing import TypedDict

from gender_cls.evaluation.estimate import Estimate

BANDS = {"head": (0.0, 0.2), "upper_body": (0.2, 0.55), "lower_body": (0.55, 1.0)}
"""Parts of a crop's height, from its top, as a standing person mostly fills them. They cover the whole crop."""
PLACES = (*BANDS, "outside")
"""Where the mass of a map is counted; `outside` is everything outside the person's box (`data/shortcuts.py`)."""
BASELINES = ("blurred", "mean")  # what replaces deleted pixels: the blurred image, or the mean colour of the image
GAMES = ("deletion", "insertion")
SCORE_COLUMNS = (
    *(f"{game}_{baseline}" for baseline in BASELINES for game in (*GAMES, "random")),
    *PLACES,
    *(f"{place}_area" for place in PLACES),
    *("cue_hit", "cue_mass", "cue_area"),
)
"""Columns of `explanations.csv` that hold the scores of a map (`explain/faithfulness.py`, `explain/mass_shares.py`). A
cell is empty if the score is not defined or was not asked for."""


class Game(TypedDict):
    """The probability of the explained class while pixels are replaced, most important first (Petsiuk et al. 2018)."""

    baseline: str  # of BASELINES
    deletion: Estimate  # area under the curve, 0 to 1; lower is better
    insertion: Estimate  # the same while pixels come back; higher is better
    random: Estimate  # deletion in random order. Its reverse is insertion in random order, so it is the control of both
    deletion_gain: Estimate  # random - deletion, image by image; above 0 the map is better than chance
    insertion_gain: Estimate  # insertion - random, image by image; above 0 the map is better than chance


class Place(TypedDict):
    """The share of a map's mass (its evidence for the class) in a place."""

    name: str  # of PLACES
    share: Estimate  # mean over images
    area: float | None  # the share that a uniform map of the same images has; null if no image has a share


class Cue(TypedDict):
    """How well maps point at the known cue of images of one label (`data/cue_boxes.py`)."""

    images: int  # that have a box and a map
    hit: Estimate  # share of images whose highest point of the map is in the box (the pointing game, Zhang et al. 2018)
    mass: Estimate  # mean share of the map's mass in the box
    area: float  # mean share of the area in the box: what both would be by chance


class RandomisationStage(TypedDict):
    """How similar maps still are to those of the trained network after its last layers got random weights."""

    layers: str  # the first layer, from the input, that has random weights
    share: float  # of the network's parameters that are random
    similarity: Estimate  # mean rank correlation of the maps, -1 to 1; of methods with signs its magnitude


class Randomisation(TypedDict):
    """The sanity check of Adebayo et al. 2018: a map that survives random weights shows the image, not the network."""

    images: int
    stages: list[RandomisationStage]  # from the last layers to all
    control: Estimate  # the same similarity between the maps of independent networks with all weights random
    difference: Estimate  # control - similarity of the last stage, image by image
    flagged: bool | None  # most of the map stays, and as much as random networks share; null if that is undefined


class MethodScores(TypedDict):
    """Scores of one method's maps."""

    name: str  # as in the configuration
    title: str  # for people
    games: list[Game]  # for each of BASELINES
    places: list[Place]  # for each of PLACES
    cue: dict[str, Cue] | None  # by label; null if no box of a cue is known
    randomisation: Randomisation | None  # null if it was not run


class MethodAgreement(TypedDict):
    """Mean rank correlation of two methods' maps of the same image, -1 to 1."""

    a: str
    b: str
    correlation: Estimate


class Explanations(TypedDict):
    """Scores of maps of test images, made with the tested checkpoint."""

    images: int  # that were explained
    identities: int  # people among them; 0 if nobody is known
    units: int  # what the bootstrap draws from
    explained_class: str  # predicted or true
    methods: list[MethodScores]  # in the order of the configuration
    agreement: list[MethodAgreement]  # of every pair of methods
