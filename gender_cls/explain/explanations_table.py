"""`explanations.csv`: scores of maps, one row per image, class and method; the maps are written at the same time."""

import time
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.data.crops import Crops, read_crops
from gender_cls.data.csv_text import csv_text
from gender_cls.data.cue_boxes import cue_boxes
from gender_cls.data.image_files import UnreadableError
from gender_cls.data.image_store import ImageStore, pixel_hash
from gender_cls.evaluation.explanation_schema import SCORE_COLUMNS
from gender_cls.evaluation.explanation_summary import read_explanations
from gender_cls.evaluation.predictions import predictions_table
from gender_cls.explain.attribution import Attribution, attribute, feature_map_for, predict
from gender_cls.explain.faithfulness import score_faithfulness
from gender_cls.explain.image_maps import write_image_maps
from gender_cls.explain.isolation import IMAGES_PER_PASS
from gender_cls.explain.map_regions import rank_correlation
from gender_cls.explain.mass_shares import area_shares, cue_scores, mass_inside, mass_shares
from gender_cls.runs.files import write_atomically
from gender_cls.system.progress import working
from gender_cls.training.classifier import GenderClassifier
from gender_cls.training.predictor import Predictor

ABOUT = ("path", "label", "identity", "camera", "source", "group", "pixels")
ANSWER = ("prediction", "p_FEMALE", "method", "role", "explained", "probability")
SECONDS_BETWEEN_SAVES = 20


@dataclass(frozen=True)
class Question:
    """What to find out about each image."""

    methods: tuple[Method, ...]
    roles: tuple[str, ...]  # explain the `predicted` class, of the `true` class, or of both
    faithfulness: bool = True  # whether to compute deletion and insertion


def explain_images(
    rows: pd.DataFrame,
    images: ImageStore,
    predictor: Predictor,
    question: Question,
    *,
    folder: Path,
    unreadable: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Answer the question for those rows that `explanations.csv` does not answer yet.

    The table is saved every few seconds; after an interruption the same call continues from there.

    Args:
        rows: with the columns ABOUT (`pixels` may be missing), and `prediction` and `p_FEMALE` if they are known.
        folder: of `explanations.csv` and of the maps (`image_maps.py`).
        unreadable: for images that no manifest describes, which may have been replaced since they were explained. It
            gets the path of each image that cannot be read, and the reason; None stops at such an image.

    Returns:
        The whole table; it may have other rows too.

    Raises:
        GenderClsError: an image is missing or cannot be read, and `unreadable` is None.
    """
    file = folder / "explanations.csv"
    table = read_explanations(file) if file.exists() else pd.DataFrame(columns=[*ABOUT, *ANSWER, *SCORE_COLUMNS])
    if unreadable is not None:
        rows = rows.assign(pixels=[_pixels(path, images, unreadable) for path in rows["path"]])
    rows, table = (one if "pixels" in one else one.assign(pixels="") for one in (rows, table))  # of an earlier version
    missing = rows[~_answered(rows, table, question) & ~rows["path"].isin(list(unreadable or ()))]
    saved = time.monotonic()
    with working("Explaining images", len(missing), "images") as work:
        for start in range(0, len(missing), IMAGES_PER_PASS):
            chunk = missing.iloc[start : start + IMAGES_PER_PASS].reset_index(drop=True)
            stale = table["path"].isin(chunk["path"])
            asked = _extended(question, table[stale])
            answers = _explain_chunk(chunk, images, predictor.device_classifier(), question=asked, folder=folder)
            parts = [part for part in (table[~stale], answers) if len(part)]
            table = pd.concat(parts, ignore_index=True)
            work.advance(len(chunk))
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES or start + IMAGES_PER_PASS >= len(missing):
                agreements = [f"agreement_{method.value}" for method in Method if f"agreement_{method.value}" in table]
                columns = [*ABOUT, *ANSWER, *SCORE_COLUMNS, *agreements, "picture"]  # in one order, whatever came first
                write_atomically(file, csv_text(_in_order(table, rows)[columns]))
                saved = time.monotonic()
    return read_explanations(file) if file.exists() else table


def _pixels(path: str, images: ImageStore, unreadable: dict[str, str]) -> str:
    """The hash of the pixels, as in a manifest. Reading an image takes little time next to explaining it."""
    try:
        image = images.at([path])[0].permute(1, 2, 0).numpy()
    except UnreadableError as error:
        unreadable[path] = str(error)
        return ""
    return pixel_hash(image.data, *image.shape[:2]).hex()


def codes(names: pd.Series) -> Tensor:
    """(N,) position in CLASSES, -1 if it is none of them."""
    return torch.tensor([CLASSES.index(name) if name in CLASSES else -1 for name in names])


def _answered(rows: pd.DataFrame, table: pd.DataFrame, question: Question) -> NDArray[np.bool_]:
    """(rows,) whether the table already answers the question about these pixels. The true class needs a label."""
    if question.faithfulness:
        table = table[table["random_blurred"].notna()]
    known = dict(zip(zip(table["path"], table["role"], table["method"], strict=True), table["pixels"], strict=True))
    answered = [
        all(
            (then := known.get((path, role, method.value))) is not None and (then == now or "" in (then, now))
            for role in question.roles
            if role == "predicted" or label in CLASSES
            for method in question.methods
        )
        for path, label, now in zip(rows["path"], rows["label"], rows["pixels"], strict=True)
    ]
    return np.array(answered, dtype=bool)


def _extended(question: Question, stale: pd.DataFrame) -> Question:
    """The question, and everything that the stale rows answered: replacing them must lose nothing."""
    methods = [method for method in Method if method in question.methods or method.value in set(stale["method"])]
    roles = [role for role in ("predicted", "true") if role in question.roles or role in set(stale["role"])]
    faithfulness = question.faithfulness or bool(stale["random_blurred"].notna().any())
    return Question(tuple(methods), tuple(roles), faithfulness)


def _in_order(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Sort by image, in the order of `rows`; other images come last."""
    place = {path: place for place, path in enumerate(rows["path"])}
    return table.sort_values("path", key=lambda paths: paths.map(place).fillna(len(place)), kind="stable")


@dataclass(frozen=True)
class _Chunk:
    """A few images, and how the network answered them."""

    rows: pd.DataFrame  # with ABOUT, `prediction` and `p_FEMALE`
    crops: Crops
    inputs: Tensor  # (N, 3, H, W), normalised, on the network's device

    def take(self, which: Tensor) -> "_Chunk":
        """The images where `which` (N,) is true."""
        rows = which.numpy()
        crops = Crops(self.crops.images[which], self.crops.boxes[rows], self.crops.cues[rows])
        return _Chunk(self.rows[rows], crops, self.inputs[which.to(self.inputs.device)])


def _explain_chunk(
    rows: pd.DataFrame, images: ImageStore, classifier: GenderClassifier, *, question: Question, folder: Path
) -> pd.DataFrame:
    """The answers for a few images, in their order."""
    crops = read_crops(images.at(rows["path"].tolist()), classifier.settings.data, cue_boxes(rows))
    inputs = classifier.normalise(crops.images)
    if "prediction" not in rows:
        rows = predictions_table(rows, predict(classifier.network, inputs).double().numpy())
    chunk = _Chunk(rows, crops, inputs)
    labels, predicted = codes(rows["label"]), codes(rows["prediction"])
    answers = []
    left = labels >= 0
    if "predicted" in question.roles:
        answers.append(_explain_role("predicted", predicted, chunk, classifier, question=question, folder=folder))
        if "true" in question.roles:  # if the answer is right, the maps of the true class are the same
            right = answers[0]["label"] == answers[0]["prediction"]
            answers.append(answers[0][right].assign(role="true"))
            left &= labels != predicted
    if "true" in question.roles and left.any():
        mistaken = chunk.take(left)
        answers.append(_explain_role("true", labels[left], mistaken, classifier, question=question, folder=folder))
    return _in_order(pd.concat(answers), rows)


def _explain_role(
    role: str, targets: Tensor, chunk: _Chunk, classifier: GenderClassifier, *, question: Question, folder: Path
) -> pd.DataFrame:
    """One row per image and method, for one class of each image; writes the maps."""
    network, feature_map = classifier.network, feature_map_for(question.methods, classifier)
    attribution = attribute(network, chunk.inputs, question.methods, feature_map, targets)
    scores = _score_maps(chunk, attribution, network, question.faithfulness)
    p_female = chunk.rows["p_FEMALE"].to_numpy()
    answers = chunk.rows[[*ABOUT, "prediction", "p_FEMALE"]].assign(
        role=role,
        explained=[CLASSES[target] for target in targets],
        probability=np.where(targets.numpy() == 0, p_female, 1 - p_female),
        picture=write_image_maps(folder, chunk.rows["path"].tolist(), chunk.crops.images, attribution),
    )
    return pd.concat([answers.assign(method=method.value, **scores[method]) for method in question.methods])


def _score_maps(
    chunk: _Chunk, attribution: Attribution, network: nn.Module, faithfulness: bool
) -> dict[Method, dict[str, NDArray[np.float64]]]:
    """SCORE_COLUMNS and `agreement_*` of each method, (N,) each."""
    maps, boxes, cues = attribution.maps, chunk.crops.boxes, chunk.crops.cues
    size = (chunk.inputs.shape[2], chunk.inputs.shape[3])
    areas = {f"{place}_area": shares for place, shares in area_shares(size, boxes).items()}
    areas["cue_area"] = mass_inside(np.ones((1, *size)), cues)
    unknown = dict.fromkeys(SCORE_COLUMNS, np.full(len(boxes), np.nan))
    scores: dict[Method, dict[str, NDArray[np.float64]]] = {
        method: {**unknown, **mass_shares(values, boxes), **cue_scores(values, cues), **areas}
        for method, values in maps.items()
    }
    if faithfulness:
        names = chunk.rows["path"].tolist()
        games, control = score_faithfulness(network, chunk.inputs, attribution.targets, maps, names)
        for method in maps:
            scores[method] |= games[method] | control
    for a, b in permutations(maps, 2):
        scores[a][f"agreement_{b.value}"] = rank_correlation(maps[a], maps[b])
    return scores
