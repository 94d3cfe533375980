"""Whether the identities of a dataset can be people, and whether there are enough images to learn from."""

import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.errors import count, first_few, plural, visible

MANY = 50  # images of one identity; fewer with both labels may be a few wrong labels
MIXED = 0.1  # share of the rarer label; wrong labels of a person are rarely so many
VERY_MANY = 200  # images of an identity on average; videos have more, and they name the frame
FEW_PEOPLE = 30  # identities; with more, a person may have so many images
FEW_IMAGES = 50  # of a label to train on


def mixed_people_sentence(table: pd.DataFrame, pattern: str | None) -> str:
    """Why identities cannot be people, because those with many images have both labels; empty if they can be.

    A camera or a source that is taken for a person shows men and women.

    Args:
        table: with the columns identity and label.
        pattern: `data.pattern`, which may have named them.
    """
    known = table[(table["identity"] != "") & table["label"].isin(CLASSES)]
    images = pd.crosstab(known["identity"], known["label"]).reindex(columns=list(CLASSES), fill_value=0)
    large = images[images.sum(axis=1) >= MANY]
    mixed = large[large.min(axis=1) >= MIXED * large.sum(axis=1)]
    if not len(mixed) or 2 * mixed.to_numpy().sum() < len(known):
        return ""
    by_size = mixed.sum(axis=1).sort_values(ascending=False)
    examples = first_few(f"{name} ({count(size)} images)" for name, size in by_size.items())
    named = "(?P<identity>"
    better = f"data.pattern='{pattern.replace(named, '(?P<source>')}'" if pattern and named in pattern else "source"
    return (
        f"{plural(len(mixed), 'identity has', 'identities have')} many images of both labels: {examples}. One person "
        f"has one label; are these cameras or sources? Then call them so ({better}), or leave the identity out."
    )


def many_images_sentence(table: pd.DataFrame) -> str:
    """A question about few identities with very many images each; empty if they have fewer, or frames of videos."""
    sizes = table["identity"][table["identity"] != ""].value_counts()
    frames = "frame" in table and (table["frame"] != "").any()
    if frames or not 0 < len(sizes) <= FEW_PEOPLE or sizes.mean() < VERY_MANY:
        return ""
    first = f"{visible(sizes.index[0])} has {count(sizes.iloc[0])}"
    folders = " ([^_/] instead of [^_] keeps folders out of the name.)" if "/" in str(sizes.index[0]) else ""
    return (
        f"{plural(len(table), 'image')} show only {plural(len(sizes), 'identity', 'identities')} ({first}): is each of "
        "them one person? If they are cameras or sources, name them so in data.pattern or in the table." + folders
    )


def few_images_sentence(table: pd.DataFrame) -> str:
    """What it means that there are few images to train on; empty if there are enough.

    Args:
        table: with the columns label and split.
    """
    labels = table["label"][table["split"] == "train"].value_counts().reindex(list(CLASSES), fill_value=0)
    if labels.min() >= FEW_IMAGES:
        return ""
    counts = " and ".join(f"{count(labels[label])} {label}" for label in CLASSES)
    return (
        f"Only {counts} images are in train: this shows that everything runs, but no network learns from so few. Add "
        "images of more people, and read the intervals of the scores."
    )
