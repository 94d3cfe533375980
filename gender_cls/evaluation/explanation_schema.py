"""What `metrics.json` says about explanations, and the columns of the tables that it comes from."""

from typing import TypedDict

from gender_cls.evaluation.estimate import Estimate

BANDS = {"head": (0.0, 0.2), "upper_body": (0.2, 0.55), "lower_body": (0.55, 1.0)}
"""Parts of a crop's height, from its top, that a standing person's parts mostly fill. They make up the whole crop."""

PLACES = (*BANDS, "border")
"""Where a map's mass is counted; `border` is all that lies outside the person's box (`data/shortcuts.py`)."""

BASELINES = ("blurred", "mean")
"""What deleted pixels become: the blurred picture, or the picture's mean colour."""

GAMES = ("deletion", "insertion")

SCORE_COLUMNS = (
    *(f"{game}_{baseline}" for baseline in BASELINES for game in (*GAMES, "random")),
    *PLACES,
    *(f"{place}_area" for place in PLACES),
)
"""Scores of a map in a row of `explanations.csv`, see `explain/faithfulness.py` and `explain/mass_shares.py`. Empty
where they are not defined or were not asked for."""


class Game(TypedDict):
    """How the explained class's probability fares while pixels go, most important first (Petsiuk et al. 2018, RISE).

    Attributes:
        baseline: of BASELINES.
        deletion: area under the curve, from 0 to 1; lower is better.
        insertion: likewise, pixels coming instead of going; higher is better.
        random: the same for an order by chance. Deleting in one order is inserting in the reverse one, so that this is
            the control of both.
        deletion_gain: random - deletion, image by image; above 0 the map is better than chance.
        insertion_gain: insertion - random; likewise.
    """

    baseline: str
    deletion: Estimate
    insertion: Estimate
    random: Estimate
    deletion_gain: Estimate
    insertion_gain: Estimate


class Place(TypedDict):
    """The share of a map's mass (its evidence for the class) in a place.

    Attributes:
        name: of PLACES.
        share: mean over images, from 0 to 1.
        area: the share of a map that is the same everywhere, of the same images; null where no image has a share.
    """

    name: str
    share: Estimate
    area: float | None


class RandomisationStage(TypedDict):
    """How far maps are still like those of the trained network, once its last layers have random weights.

    Attributes:
        layers: the first of the layers that are random now, counted from the input, by name.
        share: of the network's parameters that are random now.
        similarity: mean rank correlation of the maps, signs included, -1 to 1.
    """

    layers: str
    share: float
    similarity: Estimate


class Randomisation(TypedDict):
    """The sanity check of Adebayo et al. 2018: a map that survives random weights shows the picture, not the network.

    Attributes:
        images: how many.
        stages: cascading from the last layers to all.
        flagged: whether the map hardly changes: with all weights random the similarity is LARGEST_SIMILARITY or more
            (`explanations.py`); null where it is not defined.
    """

    images: int
    stages: list[RandomisationStage]
    flagged: bool | None


class MethodScores(TypedDict):
    """Scores of one method's maps.

    Attributes:
        name: as in the configuration.
        title: for people.
        games: for each of BASELINES.
        places: for each of PLACES.
        randomisation: null where it was not run.
    """

    name: str
    title: str
    games: list[Game]
    places: list[Place]
    randomisation: Randomisation | None


class MethodAgreement(TypedDict):
    """Mean rank correlation of two methods' maps of the same picture, -1 to 1."""

    a: str
    b: str
    correlation: Estimate


class Explanations(TypedDict):
    """Maps of test images by the checkpoint that was tested, measured.

    Attributes:
        images: that were explained.
        identities: people among them; 0 where nobody is known.
        units: what the bootstrap draws from.
        explained_class: predicted or true.
        methods: in the order of the configuration.
        agreement: of every pair of methods.
    """

    images: int
    identities: int
    units: int
    explained_class: str
    methods: list[MethodScores]
    agreement: list[MethodAgreement]
