"""`explanations.csv` and `randomisation.csv` -> how far the maps can be trusted, with intervals."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gender_cls.config.explain import Method
from gender_cls.errors import GenderClsError
from gender_cls.evaluation.bootstrap import bootstrap, bootstrap_units, estimate, ratio
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import (
    BASELINES,
    GAMES,
    PLACES,
    SCORE_COLUMNS,
    Explanations,
    Game,
    MethodAgreement,
    MethodScores,
    Place,
    Randomisation,
    RandomisationStage,
)

LARGEST_SIMILARITY = 0.8
"""From this rank correlation on, a map that is left when all weights are random shows the picture rather than the
network. A choice of this project, for Adebayo et al. 2018 name no number. On real crops saliency of a fine-tuned
MobileNetV2 and a small CNN had 0.1 to 0.5 and SmoothGrad 0.1 to 0.6; saliency that finds the cue of the demo data,
which stands out in any picture, had 0.72; an edge map has 1."""

AGREEMENT = "agreement_"
"""Begins the columns of the rank correlation with another method's map."""


def read_explanations(file: Path) -> pd.DataFrame:
    """`explanations.csv` as it was written: names as text, scores as numbers with NaN where there is none.

    Raises:
        GenderClsError: it is missing, or no such table.
    """
    return _read(file, ("path", "method", "role"), ("identity", "label"), (*SCORE_COLUMNS, "probability", "p_FEMALE"))


def read_randomisation(file: Path) -> pd.DataFrame:
    """`randomisation.csv`, likewise; `stage` counts from 0.

    Raises:
        GenderClsError: it is missing, or no such table.
    """
    return _read(file, ("path", "method", "stage"), ("identity", "layers"), ("stage", "share", "similarity"))


def _read(file: Path, key: Sequence[str], names: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """A table without two rows of one key."""
    again = "remove it and run python -m gender_cls.explain again."
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise GenderClsError(f"{file} is missing: python -m gender_cls.explain makes it.") from None
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise GenderClsError(f"{file} cannot be read as CSV ({error}): {again}") from None
    for column in (*key, *names, *numbers):
        if column not in table:
            raise GenderClsError(f"{file} has no column '{column}': {again}")
    if table.duplicated(list(key)).any():
        twice = ", ".join(table.loc[table.duplicated(list(key)), list(key)].iloc[0])
        raise GenderClsError(f"{file} has two rows of {twice}: {again}")
    try:
        for name in (*numbers, *table.columns[table.columns.str.startswith(AGREEMENT)]):
            table[name] = [float(text or "nan") for text in table[name]]
    except ValueError as error:
        raise GenderClsError(f"{file} is damaged ({error}): {again}") from None
    return table


def summarise_explanations(
    table: pd.DataFrame, randomisation: pd.DataFrame, methods: Sequence[str], resamples: int, seed: int
) -> Explanations:
    """Means over images with intervals by a bootstrap over people, the same samples of them for all methods.

    Maps of the predicted class count; where there are none, those of the true class. An image that has no value is left
    out of its mean, and the remark says of how many that holds.

    Args:
        table: of `explanations.csv`; a row an image, role and method.
        randomisation: of `randomisation.csv`; without rows where the check was not run.
        methods: names as in the configuration, in this order.
    """
    role = "true" if len(table) and not (table["role"] == "predicted").any() else "predicted"
    rows = table[table["role"] == role]
    images = _images(rows)
    values = {
        f"{method} {name}": column
        for method in methods
        for name, column in _scores(rows[rows["method"] == method], images, methods).items()
    }
    means = _means(images, values, resamples, seed)
    checks = _randomisations(randomisation, methods, resamples, seed)
    return {
        "images": len(images),
        "identities": images.loc[images["identity"] != "", "identity"].nunique(),
        "units": int(bootstrap_units(images).max(initial=-1)) + 1,
        "explained_class": role,
        "methods": [_method(method, means, values, checks.get(method)) for method in methods],
        "agreement": [
            MethodAgreement(a=a, b=b, correlation=means[f"{a} {AGREEMENT}{b}"]) for a, b in combinations(methods, 2)
        ],
    }


def _images(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates("path").reset_index(drop=True)


def _scores(rows: pd.DataFrame, images: pd.DataFrame, methods: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """One method's scores and gains, name -> (images,), NaN where there is none."""
    columns = [*SCORE_COLUMNS, *(AGREEMENT + method for method in methods)]
    aligned = rows.set_index("path").reindex(index=images["path"], columns=columns)
    scores = {name: aligned[name].to_numpy(np.float64) for name in columns}
    for baseline in BASELINES:
        random = scores[f"random_{baseline}"]
        scores[f"deletion_gain_{baseline}"] = random - scores[f"deletion_{baseline}"]
        scores[f"insertion_gain_{baseline}"] = scores[f"insertion_{baseline}"] - random
    return scores


def _means(
    images: pd.DataFrame, values: Mapping[str, NDArray[np.float64]], resamples: int, seed: int
) -> dict[str, Estimate]:
    """Of each name's (images,) values, NaN left out, with the interval."""
    names = list(values)
    columns = np.array([values[name] for name in names]).reshape(len(names), len(images)).T
    known = np.isfinite(columns)
    filled = np.where(known, columns, 0.0)

    def means(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        found = ratio(weights @ filled, weights @ known)
        return {name: found[:, index] for index, name in enumerate(names)}

    units = bootstrap_units(images)
    draws = bootstrap(units, means, resamples, seed)
    whole = means(np.ones((1, len(images))))
    return {
        name: _estimate(float(whole[name][0]), draws[name], units, known[:, index]) for index, name in enumerate(names)
    }


def _estimate(value: float, draws: NDArray[np.float64], units: NDArray[np.intp], known: NDArray[np.bool_]) -> Estimate:
    """With a remark on the images that have no value."""
    undefined = "No image has this score." if len(known) else "No image was explained."
    found = estimate(value, draws, len(np.unique(units[known])), undefined, share=False)
    missing = len(known) - int(known.sum())
    if found["value"] is not None and missing:
        left_out = f"{missing:,} of {len(known):,} images have no such score and are left out."
        found["remark"] = f"{found['remark']} {left_out}" if found["remark"] else left_out
    return found


def _method(
    name: str,
    means: Mapping[str, Estimate],
    values: Mapping[str, NDArray[np.float64]],
    randomisation: Randomisation | None,
) -> MethodScores:
    def game(baseline: str) -> Game:
        deletion, insertion = (means[f"{name} {each}_{baseline}"] for each in GAMES)
        return {
            "baseline": baseline,
            "deletion": deletion,
            "insertion": insertion,
            "random": means[f"{name} random_{baseline}"],
            "deletion_gain": means[f"{name} deletion_gain_{baseline}"],
            "insertion_gain": means[f"{name} insertion_gain_{baseline}"],
        }

    def place(place: str) -> Place:
        area = values[f"{name} {place}_area"][np.isfinite(values[f"{name} {place}"])]  # of the images that have a share
        known = area[np.isfinite(area)]
        return {"name": place, "share": means[f"{name} {place}"], "area": float(known.mean()) if len(known) else None}

    return {
        "name": name,
        "title": Method(name).title,
        "games": [game(baseline) for baseline in BASELINES],
        "places": [place(each) for each in PLACES],
        "randomisation": randomisation,
    }


def _randomisations(table: pd.DataFrame, methods: Sequence[str], resamples: int, seed: int) -> dict[str, Randomisation]:
    """Of the methods that were checked."""
    if table.empty:
        return {}
    images, checked = _images(table), [method for method in methods if (table["method"] == method).any()]
    first = table.drop_duplicates("stage").sort_values("stage")
    stages = list(zip(first["stage"], first["layers"], first["share"], strict=True))
    values = {}
    for method, (stage, _, _) in product(checked, stages):
        rows = table[(table["method"] == method) & (table["stage"] == stage)]
        values[f"{method} {stage}"] = rows.set_index("path")["similarity"].reindex(images["path"]).to_numpy(np.float64)
    means = _means(images, values, resamples, seed)
    return {
        method: _randomisation(
            table.loc[table["method"] == method, "path"].nunique(),
            [
                RandomisationStage(layers=layers, share=float(share), similarity=means[f"{method} {stage}"])
                for stage, layers, share in stages
            ],
        )
        for method in checked
    }


def _randomisation(images: int, stages: list[RandomisationStage]) -> Randomisation:
    left = stages[-1]["similarity"]["value"]
    return {"images": images, "stages": stages, "flagged": None if left is None else left >= LARGEST_SIMILARITY}
