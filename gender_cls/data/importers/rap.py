"""RAP 1 (Li et al., arXiv 1603.07054) and RAP 2 (Li et al., TIP 2019): `RAP_annotation.mat` -> a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.data import UNKNOWN, DataConfig, Importer
from gender_cls.data.importers.attributes import check_published_split, check_shape, column, flagged, meanings
from gender_cls.data.importers.files import check_images, needed_file, needed_folder
from gender_cls.data.importers.matlab import field, matrix, published_splits, read_mat, texts, variable

TERMS = (
    "ask for RAP at https://www.rapdataset.com (an agreement to sign, academic research only, citation of Li et al.) "
    "and put its folders RAP_annotation and RAP_dataset under data.root"
)
PUBLISHED_SPLITS = ["1", "2", "3", "4", "5"]
SEX = {0: "MALE", 1: "FEMALE", 2: UNKNOWN}
VIEWS = {1: "front", 2: "back", 3: "left", 4: "right"}

# CAM01_2013-12-23_20131223122515-20131223123103_tarid7_frame1602_line1.png, in some copies with hyphens
NAME = r"(?P<camera>CAM\d+)[-_](?P<sequence>[\d-]+[-_]\d+-\d+)[-_](?P<track>tarid\d+)[-_]frame(?P<frame>\d+)[-_]"


@dataclass(frozen=True)
class _Fields:
    """What the two versions call the same thing."""

    images: str
    attributes: str
    values: str
    partitions: str
    identity: str | None


FIELDS = {
    Importer.rap_v1: _Fields("imagesname", "attribute_eng", "label", "partition", None),
    Importer.rap_v2: _Fields("name", "attribute", "data", "partition_attribute", "person_identity"),
}


def read_rap(root: Path, data: DataConfig) -> pd.DataFrame:
    """A row an annotated image; `sequence` names the recording that `frame` counts in.

    The identity is the annotated person (RAP 2, at most half of the images), otherwise the track: what the tracker
    followed through one recording.

    Raises:
        GenderClsError: files are missing, or the annotations are not as published.
    """
    assert data.importer in FIELDS
    check_published_split(data, PUBLISHED_SPLITS)
    annotation = needed_file(root, ["RAP_annotation/RAP_annotation.mat"], TERMS)
    folder = needed_folder(root, ["RAP_dataset"], TERMS)
    rap = variable(read_mat(annotation), "RAP_annotation", annotation)
    fields = FIELDS[data.importer]
    names = texts(field(rap, fields.images, annotation), annotation)
    attributes = texts(field(rap, fields.attributes, annotation), annotation)
    values = matrix(field(rap, fields.values, annotation), len(names), annotation)
    check_shape(attributes, values, annotation)
    paths = [f"{folder}/{name}" for name in names]
    check_images(root, paths, annotation)
    parts = pd.Series(names, dtype="str").str.extract(NAME).fillna("")
    # RAP 2 spells it Femal
    female = column(attributes, values, ["Female", "Femal"], annotation)
    table = pd.DataFrame(
        {
            "path": paths,
            "label": meanings(female, SEX, "Female", annotation),
            "identity": _identities(rap, fields, parts, annotation),
            "camera": parts["camera"],
            "split": "",
            "sequence": parts["sequence"],
            "frame": parts["frame"],
            "view": _views(attributes, values),
            "occlusion": flagged(attributes, values, "(?i:occlust?ion)-?(?:Type)?(.+)", none="none"),
            "age": flagged(attributes, values, "Age(.+)"),
            "carrying": flagged(attributes, values, "attach(?:ment)?-(.+)", none="nothing"),
        }
    )
    if data.published_split is not None:
        partitions = field(rap, fields.partitions, annotation)
        table["split"] = published_splits(partitions, data.published_split, len(names), annotation)
    return table


def _identities(rap: Any, fields: _Fields, parts: pd.DataFrame, annotation: Path) -> NDArray[np.object_]:
    track = parts["camera"] + "_" + parts["sequence"] + "_" + parts["track"]
    identity = track.where(parts["track"] != "", "").to_numpy(dtype=object)
    if fields.identity is not None:
        people = matrix(np.atleast_1d(field(rap, fields.identity, annotation))[:, None], len(parts), annotation)[:, 0]
        known = people > 0  # -1: nobody; the second half of the images was not looked at
        identity[known] = [f"person_{number:.0f}" for number in people[known]]
    return identity


def _views(attributes: list[str], values: NDArray) -> list[str]:
    """RAP 1 has a flag a view, RAP 2 one attribute that numbers them."""
    if "viewpoint" in attributes:
        return [VIEWS.get(value, "") for value in values[:, attributes.index("viewpoint")].tolist()]
    return flagged(attributes, values, "face(.+)")
