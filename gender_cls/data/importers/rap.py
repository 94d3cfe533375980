"""RAP 1 (Li et al., arXiv 1603.07054) and RAP 2 (Li et al., TIP 2019): `RAP_annotation.mat` -> a table."""

from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig, Importer
from gender_cls.data.importers.attributes import Attributes
from gender_cls.data.importers.matlab import MatFile
from gender_cls.data.importers.needed_files import needed
from gender_cls.errors import require

TERMS = (
    "ask for RAP at https://www.rapdataset.com (an agreement to sign, academic research only, citation of Li et al.) "
    "and put its folders RAP_annotation and RAP_dataset under data.root"
)
STRUCT, FOLDER = "RAP_annotation", "RAP_dataset"
SEX = {0: "MALE", 1: "FEMALE", 2: UNKNOWN}
VIEWS = {1: "front", 2: "back", 3: "left", 4: "right"}

# CAM01_2013-12-23_20131223122515-20131223123103_tarid7_frame1602_line1.png, in some copies with hyphens
NAME = r"(?P<camera>CAM\d+)[-_](?P<sequence>[\d-]+[-_]\d+-\d+)[-_](?P<track>tarid\d+)[-_]frame(?P<frame>\d+)[-_]"

FIELDS: dict[Importer | None, tuple[str, str, str, str, str]] = {
    Importer.rap_v1: ("imagesname", "attribute_eng", "label", "partition", "identity"),
    Importer.rap_v2: ("name", "attribute", "data", "partition_attribute", "person_identity"),
}
"""Names in the struct: of the images, attributes, values, published splits (often spelled partion) and identities."""


def read_rap(root: Path, data: DataConfig) -> pd.DataFrame:
    """One row per annotated image; `sequence` names the recording that `frame` counts in.

    The identity is the annotated person (about half of the images have one), otherwise the track: what the tracker
    followed through one recording. An image of a track in which one person is annotated shows that person.
    """
    annotation = needed(root, "RAP_annotation/RAP_annotation.mat", terms=TERMS)
    needed(root, FOLDER, terms=TERMS)
    mat = MatFile(annotation)
    of_images, of_attributes, of_values, of_splits, of_identities = FIELDS[data.importer]
    if not mat.has(STRUCT, of_splits) and mat.has(STRUCT, misspelt := of_splits.replace("partition", "partion")):
        of_splits = misspelt
    names = mat.texts(STRUCT, of_images)
    values = mat.matrix(STRUCT, of_values, rows=len(names))
    attributes = Attributes(mat.texts(STRUCT, of_attributes), values, annotation)
    parts = pd.Series(names, dtype="str").str.extract(NAME).fillna("")
    return pd.DataFrame(
        {
            "path": [f"{FOLDER}/{name}" for name in names],
            "label": attributes.meanings(SEX, "Female", "Femal"),  # the second is RAP 2's spelling
            "identity": _identities(mat, of_identities, parts),
            "split": mat.splits(STRUCT, of_splits, number=data.published_split, images=len(names)),
            **parts[["camera", "sequence", "frame"]],
            "view": _views(attributes),
            "occlusion": attributes.flagged("occlust?ion-?(?:Type)?(.+)", none="none"),
            "age": attributes.flagged("Age(.+)"),
            "carrying": attributes.flagged("attach(?:ment)?-(.+)", none="nothing"),
        }
    )


def _identities(mat: MatFile, field: str, parts: pd.DataFrame) -> pd.Series:
    track = (parts["camera"] + "_" + parts["sequence"] + "_" + parts["track"]).where(parts["track"] != "")
    if not mat.has(STRUCT, field):  # an edition without annotated people
        return track.fillna("")
    people = np.atleast_1d(mat.value(STRUCT, field))
    require(
        people.dtype.kind in "biuf" and people.shape == (len(parts),),
        f"{mat.path} holds identities of shape {people.shape} for {len(parts)} images.",
    )
    person = pd.Series([f"person_{number:.0f}" if number > 0 else None for number in people], dtype="str")  # -1: nobody
    of_track = person.groupby(track)
    alone = of_track.transform("first").where(of_track.transform("nunique") == 1)
    return person.fillna(alone).fillna(track).fillna("")


def _views(attributes: Attributes) -> list[str]:
    """RAP 1 has one flag per view, RAP 2 one attribute that numbers them."""
    if "viewpoint" in attributes.names:
        return [VIEWS.get(value, "") for value in attributes.column("viewpoint").tolist()]
    return attributes.flagged("face(.+)")
