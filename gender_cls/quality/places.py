"""The places of the images (cameras, sources) and their looks, which a classifier must not take for a label."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import CLASSES

FEWEST_PEOPLE = 10  # with fewer, the mean of a place is the look of its people rather than its own


def number_places(table: pd.DataFrame) -> NDArray[np.intp]:
    """A number from 0 for the place of each row: (n,).

    The place is the camera of a source; where it saw fewer than FEWEST_PEOPLE groups, the whole source; and where that
    has fewer too, the rest of the data.

    Args:
        table: n rows, with the columns source, camera and group.
    """
    places = np.zeros(len(table), dtype=np.intp)
    for columns in (["source"], ["source", "camera"]):
        seen = table.groupby(columns)
        enough = seen["group"].transform("nunique") >= FEWEST_PEOPLE
        places = np.where(enough, places.max(initial=0) + 1 + seen.ngroup(), places)
    return np.unique(places, return_inverse=True)[1]


def looks_of_places(
    features: NDArray[np.float32], labels: NDArray[np.object_], places: NDArray[np.intp], count: int
) -> NDArray[np.float32]:
    """What the images of each place have in common beyond their labels: (count, d), to be subtracted.

    It is the mean of the place, less what the labels explain: the contrast of the two classes, measured within places
    (the fixed effects of an analysis of covariance), times the place's balance of labels. For if the mean alone were
    subtracted, the men of a place that is 90 % male would become its zero and look like no class. The labels of a place
    may be wrong, and its balance with them, so half the weight is given to the balance of all places together.

    Args:
        features: (n, d).
        labels: (n,) of CLASSES.
        places: (n,) number of the place of each row, from 0.
        count: of places. One without a row gets the look of all together.

    Returns:
        Zeros if no place has both labels, because then nothing tells labels from places.
    """
    signs = np.where(labels == CLASSES[1], 1, -1).astype(np.float32)
    images = np.bincount(places, minlength=count)
    balance = np.where(images > 0, np.bincount(places, signs, count) / np.maximum(images, 1), signs.mean())
    within = signs - balance[places].astype(np.float32)
    if not within.any():
        return np.zeros((count, features.shape[1]), dtype=np.float32)
    contrast = within @ features / (within @ within)
    means = np.tile(features.mean(axis=0), (count, 1))
    for place in np.flatnonzero(images):
        means[place] = features[places == place].mean(axis=0)
    return means - np.outer((balance + signs.mean()) / 2, contrast).astype(np.float32)
