"""`explanations.csv` and `randomisation.csv` -> how far the maps can be trusted, with intervals."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.errors import GenderClsError
from gender_cls.evaluation import explanation_schema as schema
from gender_cls.evaluation.bootstrap import (
    Numbers,
    bootstrap,
    bootstrap_units,
    count_people,
    count_units,
    estimate,
    ratio,
)
from gender_cls.evaluation.estimate import Estimate, is_above_0
from gender_cls.evaluation.metrics import known_people
from gender_cls.evaluation.predictions import read_table

LARGEST_SIMILARITY = 0.5**0.5
"""Below this rank correlation with the maps of random networks, the larger part of a map has changed: the square of the
correlation is the share of the variance that two orders of the regions have in common. From here on it is compared with
a control, how similar random networks' maps are to each other: even those follow the edges of the image."""

GAME_SCORES = [key for key in schema.Game.__annotations__ if key != "baseline"]
AGREEMENT = "agreement_"  # prefix of the columns with the rank correlation with another method's map


def read_explanations(file: Path) -> pd.DataFrame:
    """`explanations.csv` as it was written: names as text, scores as numbers with NaN where there is none.

    Raises:
        GenderClsError: the file is missing or damaged.
    """
    return _table(
        file, ("path", "method", "role"), ("identity", "label"), (*schema.SCORE_COLUMNS, "probability", "p_FEMALE")
    )


def is_of_earlier_version(file: Path) -> bool:
    """Whether a table of maps lacks scores of today, so that its maps must be made anew; False if there is none."""
    try:
        columns = file.read_text(encoding="utf-8").partition("\n")[0].split(",")
    except (OSError, UnicodeDecodeError):
        return False  # reading the table says what is wrong
    return "deletion_blurred" in columns and "cue_hit" not in columns


def read_randomisation(file: Path) -> pd.DataFrame:
    """`randomisation.csv` as it was written; `stage` counts from 0.

    Raises:
        GenderClsError: the file is missing or damaged.
    """
    return _table(
        file, ("path", "method", "stage"), ("identity", "layers"), ("stage", "share", "similarity", "control")
    )


def _table(file: Path, key: Sequence[str], names: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """A table in which no two rows have the same key."""
    table = read_table(
        file,
        required=(*key, *names, *numbers),
        is_number=lambda name: name in numbers or name.startswith(AGREEMENT),
        written_by="python -m gender_cls.explain",
        again="run python -m gender_cls.explain again",
    )
    repeated = table.loc[table.duplicated(list(key)), list(key)]
    if len(repeated):
        twice = ", ".join(f"{value:g}" if isinstance(value, float) else value for value in repeated.iloc[0])
        raise GenderClsError(f"{file} has two rows of {twice}: remove it and run python -m gender_cls.explain again.")
    return table


def summarise_explanations(
    table: pd.DataFrame, randomisation: pd.DataFrame, methods: Sequence[str], resamples: int
) -> schema.Explanations:
    """Means over images with intervals by a bootstrap over people, with the same samples for all methods.

    Maps of the predicted class are used; if there are none, those of the true class. An image without a value is left
    out of the mean, and the remark says how many images that are.

    Args:
        table: of `explanations.csv`; one row per image, role and method.
        randomisation: of `randomisation.csv`; without rows if the check was not run.
        methods: names as in the configuration, in this order.
    """
    role = "true" if len(table) and not (table["role"] == "predicted").any() else "predicted"
    rows = table[table["role"] == role]
    images = rows.drop_duplicates("path").reset_index(drop=True)
    values = {
        f"{method} {name}": column
        for method in methods
        for name, column in _method_scores(rows[rows["method"] == method], images, methods).items()
    }
    means = _means(images, values, resamples)
    checks, cues = _randomisations(randomisation, methods, resamples), _cues(images, values, methods, resamples)
    return {
        "images": len(images),
        "identities": known_people(images),
        "units": count_units(bootstrap_units(images)),
        "explained_class": role,
        "methods": [_method(method, means, values, checks.get(method), cues.get(method)) for method in methods],
        "agreement": [
            schema.MethodAgreement(a=a, b=b, correlation=means[f"{a} {AGREEMENT}{b}"])
            for a, b in combinations(methods, 2)
        ],
    }


def _method_scores(rows: pd.DataFrame, images: pd.DataFrame, methods: Sequence[str]) -> dict[str, Numbers]:
    """One method's scores and gains, name -> (images,), NaN where there is none."""
    columns = [*schema.SCORE_COLUMNS, *(AGREEMENT + method for method in methods)]
    aligned = rows.set_index("path").reindex(index=images["path"], columns=columns)
    scores = {name: aligned[name].to_numpy(np.float64) for name in columns}
    for baseline in schema.BASELINES:
        random = scores[f"random_{baseline}"]
        scores[f"deletion_gain_{baseline}"] = random - scores[f"deletion_{baseline}"]
        scores[f"insertion_gain_{baseline}"] = scores[f"insertion_{baseline}"] - random
    return scores


def _means(
    images: pd.DataFrame, values: Mapping[str, Numbers], resamples: int, shares: Sequence[str] = ()
) -> dict[str, Estimate]:
    """The mean of each name's (images,) values, with its interval; NaN are left out, and a remark counts them.

    Args:
        shares: names of those whose values are 0 or 1.
    """
    columns = np.array(list(values.values())).reshape(len(values), len(images)).T
    known = np.isfinite(columns)
    filled = np.where(known, columns, 0.0)

    def means(weights: Numbers) -> dict[str, Numbers]:
        return dict(zip(values, ratio(weights @ filled, weights @ known).T, strict=True))

    units = bootstrap_units(images)
    draws = bootstrap(units, means, resamples)
    reason = "No image has this score." if len(images) else "No image was explained."
    result = {}
    for (name, whole), has_score in zip(means(np.ones((1, len(images)))).items(), known.T, strict=True):
        has = count_people(units, has_score)
        found = estimate(whole[0], draws[name], has[0], reason, has if name in shares else ())
        if found["value"] is not None and not has_score.all():
            left_out = f"{(~has_score).sum():,} of {len(images):,} images have no such score and are left out."
            found["remark"] = f"{found['remark']} {left_out}" if found["remark"] else left_out
        result[name] = found
    return result


def _method(
    name: str,
    means: Mapping[str, Estimate],
    values: Mapping[str, Numbers],
    randomisation: schema.Randomisation | None,
    cue: dict[str, schema.Cue] | None,
) -> schema.MethodScores:
    def game(baseline: str) -> schema.Game:
        scores = {score: means[f"{name} {score}_{baseline}"] for score in GAME_SCORES}
        return cast(schema.Game, {"baseline": baseline, **scores})

    def place(place: str) -> schema.Place:
        area = values[f"{name} {place}_area"][np.isfinite(values[f"{name} {place}"])]  # of the images that have a share
        known = area[np.isfinite(area)]
        return {"name": place, "share": means[f"{name} {place}"], "area": float(known.mean()) if len(known) else None}

    return {
        "name": name,
        "title": Method(name).title,
        "games": [game(baseline) for baseline in schema.BASELINES],
        "places": [place(each) for each in schema.PLACES],
        "randomisation": randomisation,
        "cue": cue,
    }


def _cues(
    images: pd.DataFrame, values: Mapping[str, Numbers], methods: Sequence[str], resamples: int
) -> dict[str, dict[str, schema.Cue]]:
    """By method and label, of the images that have both a map of the method and the box of a cue."""
    cues: dict[str, dict[str, schema.Cue]] = {}
    for method, label in product(methods, CLASSES):
        chosen = (images["label"] == label).to_numpy() & np.isfinite(values[f"{method} cue_hit"])
        if chosen.any():
            of_label = {name: values[f"{method} cue_{name}"][chosen] for name in ("hit", "mass", "area")}
            found = _means(images[chosen].reset_index(drop=True), of_label, resamples, shares=("hit",))
            area = float(of_label["area"].mean())
            cue = schema.Cue(images=int(chosen.sum()), hit=found["hit"], mass=found["mass"], area=area)
            cues.setdefault(method, {})[label] = cue
    return cues


def _randomisations(table: pd.DataFrame, methods: Sequence[str], resamples: int) -> dict[str, schema.Randomisation]:
    """The checks of the methods that were checked."""
    if table.empty:
        return {}
    images = table.drop_duplicates("path").reset_index(drop=True)
    checked = [method for method in methods if (table["method"] == method).any()]
    first = table.drop_duplicates("stage").sort_values("stage")
    values = {}
    for method, stage in product(checked, first["stage"]):
        rows = table[(table["method"] == method) & (table["stage"] == stage)].set_index("path").reindex(images["path"])
        values[f"{method} {stage}"] = similarity = rows["similarity"].to_numpy(np.float64)
        values[f"{method} control"] = control = rows["control"].to_numpy(np.float64)  # of the last stage
        values[f"{method} difference"] = control - similarity
    means = _means(images, values, resamples)
    checks = {}
    for method in checked:
        stages = [
            schema.RandomisationStage(layers=layers, share=float(share), similarity=means[f"{method} {stage}"])
            for stage, layers, share in zip(first["stage"], first["layers"], first["share"], strict=True)
        ]
        left, difference = stages[-1]["similarity"]["value"], means[f"{method} difference"]
        checks[method] = schema.Randomisation(
            images=table.loc[table["method"] == method, "path"].nunique(),
            stages=stages,
            control=means[f"{method} control"],
            difference=difference,
            flagged=None if left is None else left >= LARGEST_SIMILARITY and not is_above_0(difference),
        )
    return checks
