"""A made-up `metrics.json`, complete and plausible, and a check of any such file against its schema."""

import math
from collections.abc import Sequence
from copy import deepcopy
from functools import reduce
from operator import getitem
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pandas as pd
from helpers.prediction_tables import letters, table_of
from scipy.special import expit

from gender_cls.config.explain import Method
from gender_cls.data.variant_names import CORRUPTIONS, SEVERITIES, SHORTCUTS
from gender_cls.evaluation.estimate import Estimate, best_baseline
from gender_cls.evaluation.explanation_schema import PLACES, Explanations, MethodScores
from gender_cls.evaluation.metrics import decision_scores
from gender_cls.evaluation.schema import SCHEMA_VERSION, SCORES, Metrics, SplitScores
from gender_cls.evaluation.standing import standing_of

SLICES = (  # column, value, images, people, balanced accuracy and recall gap of test
    ("camera", "3DPeS", 90, 26, 0.71, 0.31),
    ("camera", "CAVIAR4REID", 96, 10, 0.66, -0.12),
    ("camera", "MIT", 92, 92, 0.83, 0.09),
    ("camera", "TownCentre", 460, 30, 0.82, 0.07),
    ("camera", "iLID", 80, 58, 0.76, 0.18),
    ("native_height", "39 to 94", 273, 136, 0.73, 0.21),
    ("native_height", "95 to 121", 272, 136, 0.81, 0.10),
    ("native_height", "122 to 300", 273, 136, 0.86, 0.05),
    ("brightness", "22.4 to 83.1", 273, 136, 0.77, 0.15),
    ("brightness", "83.2 to 112.6", 272, 136, 0.80, 0.12),
    ("brightness", "112.7 to 201.3", 273, 136, 0.83, 0.10),
    ("sharpness", "0.61 to 2.24", 273, 136, 0.74, 0.19),
    ("sharpness", "2.25 to 3.87", 272, 136, 0.82, 0.11),
    ("sharpness", "3.88 to 9.12", 273, 136, 0.84, 0.08),
)
CAMERAS = [value for column, value, *_ in SLICES if column == "camera"]
SHIFT = (
    ("native_height", "ks", 0.142, 0.001, 0.006),
    ("sharpness", "ks", 0.091, 0.031, 0.155),
    ("camera", "tv", 0.104, 0.212, 0.848),
    ("probability", "ks", 0.058, 0.394, 1.0),
    ("brightness", "ks", 0.049, 0.571, 1.0),
    ("label", "tv", 0.0007, 0.988, 1.0),
)
DROPS = (0.24, 0.18, 0.20, 0.07, 0.27, 0.11, 0.16, 0.13, 0.09)  # of the balanced accuracy at severity 5, by corruption
REMAINS = (0.56, 0.61, 0.78, 0.79, 0.64)  # balanced accuracy by shortcut
MAPS = {  # deletion and insertion by baseline, shares of mass by place, similarity with random weights by stage
    "saliency": (
        {"blurred": (0.487, 0.641), "mean": (0.452, 0.618)},
        (0.31, 0.37, 0.32, 0.353),
        (0.71, 0.44, 0.29, 0.18),
    ),
    "grad_cam": (
        {"blurred": (0.412, 0.708), "mean": (0.396, 0.674)},
        (0.24, 0.41, 0.35, 0.462),
        (0.38, 0.17, 0.09, 0.06),
    ),
}
CONTROL = {"saliency": 0.41, "grad_cam": 0.25}  # similarity of random networks to each other
CUES = {
    "saliency": {"FEMALE": (0.86, 0.31), "MALE": (0.84, 0.28)},
    "grad_cam": {"FEMALE": (0.62, 0.24), "MALE": (0.58, 0.22)},
}
CHANCE = {"blurred": 0.583, "mean": 0.561}
AREAS = (0.2, 0.35, 0.45, 0.52)
STAGES = (("classifier", 0.001), ("conv_head", 0.184), ("blocks.5", 0.627), ("conv_stem", 1.0))


def example_metrics(
    *,
    model: str = "timm/mobilenetv2_100",
    stress: bool = True,
    shortcuts: bool = True,
    explanations: bool = True,
    identities: bool = True,
    leaky: bool = False,
    nulls: bool = False,
) -> Metrics:
    """A fresh copy each time, to be changed at will.

    Args:
        stress: whether the stress tests were run, as `shortcuts` and `explanations`.
        identities: whether people are known; without, each image counts for itself.
        leaky: whether people stand in several splits.
        nulls: whether every number that may be null is, with a remark next to it; lists keep their length.
    """
    people = (1066, 213, 216) if identities else (0, 0, 0)
    counts = ((3794, 1571, 2223), (817, 339, 478), (818, 340, 478))
    methods = [example_method(name) for name in MAPS]
    metrics: Any = {
        **{"schema_version": SCHEMA_VERSION, "model": model, "monitor": "balanced_accuracy"},
        **{"best_validation": 0.8172, "best_epoch": 7},
        "validation": _split_scores([[256, 83], [58, 420]], people[1], [[83, 18], [15, 97]]),
        "test": _split_scores([[249, 91], [62, 416]], people[2], [[76, 20], [14, 106]]),
        "baselines": _baselines(identities, leaky),
        "calibration": {
            **{"temperature": 1.63, "remark": None},
            "before": _reliability(0.1392, 0.4621, 0.0713, slope=0.8),
            "after": _reliability(0.1341, 0.4189, 0.0294, slope=1.0),
        },
        "operating_point": {
            **{"rule": "balanced_accuracy", "threshold": 0.4312, "remark": None},
            "validation": _estimates(balanced_accuracy=0.8255, recall_FEMALE=0.802, recall_MALE=0.849),
            "test": _estimates(balanced_accuracy=0.8075, recall_FEMALE=0.774, recall_MALE=0.841),
        },
        "abstention": _abstention(),
        "slices": {
            "cells": [_slice(identities, *row) for row in SLICES],
            "worst": {"column": "native_height", "value": "39 to 94", "balanced_accuracy": 0.73},
            "remark": None,
        },
        "shift": {
            "columns": _records(("column", "statistic", "value", "p_value", "p_holm"), SHIFT),
            **{"shifted": ["native_height"], "remark": None},
        },
        "shortcuts": [
            {"name": name, "title": title, **_estimates(balanced_accuracy=score)}
            for (name, title), score in zip(SHORTCUTS.items(), REMAINS, strict=True)
        ],
        "stress": _stress(),
        "explanations": example_explanations(methods, identities),
        "elsewhere": None,
        "cost": {
            **{"parameters": 2_226_434, "flops": 401_287_680, "milliseconds_batch_1": 14.2},
            **{"milliseconds_batch_1_spread": [14.2, 14.8], "milliseconds_batch_32_spread": [6.71, 6.9]},
            **{"milliseconds_batch_32": 6.71, "disturbed": None, "device": "cpu, 2 threads, 32-true"},
            **{"peak_memory_bytes": 1_503_238_553, "fit_seconds": 851.6},
        },
        "data": {
            "root": "/data/cctv",
            "manifest_sha256": "a78df64af245d55b0ccfe20e22d8d51efa1e142bc5216a2261393291f6c63685",
            "leaky": leaky,
            "leaks": {
                "identities": 12 if leaky and identities else 0,
                **{"duplicates": 30 if leaky else 0, "near_duplicates": 8 if leaky else 0},
                **{"near_share": 0.02 if leaky else 0.0, "test_share": 0.12 if leaky else 0.0},
                "examples": ("MIT_0042, MIT_0108 and 10 more" if identities else "MIT_0042_1.jpg") if leaky else "",
            },
            "corrected_labels": {"FEMALE to MALE": 4, "MALE to FEMALE": 9, "MALE to unknown": 2},
            "licence": None if nulls else "research only, with citation (PETA, Deng et al. 2014)",
            **{"sources": sorted(CAMERAS), "cameras": sorted(CAMERAS), "split_origin": "made", "missing_splits": []},
            **{
                split: {"images": images, "identities": known, "FEMALE": female, "MALE": male}
                for split, known, (images, female, male) in zip(("train", "val", "test"), people, counts, strict=True)
            },
        },
        "environment": {
            **{"python": "3.11.7", "gender_cls": "0.1.0", "torch": "2.15.0", "torchvision": "0.29.2"},
            **{"pytorch-lightning": "2.6.6", "timm": "1.0.31", "captum": "0.9.0", "machine": "x86_64, 2 CPUs"},
        },
        "problems": {},
    }
    for chapter, asked in (("stress", stress), ("shortcuts", shortcuts), ("explanations", explanations)):
        if not asked:
            metrics[chapter] = None
    return with_standing(_nulled(with_standing(metrics), Metrics)) if nulls else with_standing(metrics)


def with_standing(metrics: Any) -> Any:
    """The metrics with what their test score is worth, of a model that gives both answers."""
    answers, score = table_of("FM", "FM"), metrics["test"]["scores"]["balanced_accuracy"]
    return metrics | {"standing": standing_of([answers], score, best_baseline(metrics["baselines"]))}


def _records(keys: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [dict(zip(keys, row, strict=True)) for row in rows]


def changed(record: Any, changes: dict[str, Any]) -> Any:
    """A copy with other values at these paths, keys and positions with dots between."""
    record = deepcopy(record)
    for path, value in changes.items():
        *way, last = (int(key) if key.isdecimal() else key for key in path.split("."))
        reduce(getitem, way, record)[last] = value
    return record


def changed_metrics(changes: dict[str, Any]) -> Any:
    """The example with other values at these paths; what the score is worth follows, unless it is changed itself."""
    return changed(with_standing(changed(example_metrics(), changes)), changes)


def assert_matches(value: Any, kind: Any, where: str = "metrics") -> None:
    """Fail, naming the place, unless the value has the keys and types of a TypedDict, all the way down.

    Also takes list[X], dict[str, X], X | None, Any and plain types. A float may be an int, but not NaN or infinite:
    JSON has neither.
    """
    origin, inside = get_origin(kind), get_args(kind)
    wrong = f"{where} is {value!r}, not {kind}"
    if origin is UnionType:
        fitting = [choice for choice in inside if (choice is type(None)) == (value is None)]
        assert fitting, wrong
        assert_matches(value, fitting[0], where)
    elif origin is Literal:
        assert value in inside, wrong
    elif kind is float:
        assert type(value) in (int, float), wrong
        assert math.isfinite(value), wrong
    elif kind is not Any:
        hints = get_type_hints(kind) if is_typeddict(kind) else {}
        assert type(value) is (dict if hints else origin or kind), wrong
        assert not hints or value.keys() == hints.keys(), f"{where} lacks or adds {sorted(value.keys() ^ hints.keys())}"
        parts = enumerate(value) if origin is list else value.items() if isinstance(value, dict) else ()
        for key, item in parts:
            assert origin is not dict or type(key) is inside[0], f"{key!r} is a key of {where}"
            assert_matches(item, hints[key] if hints else inside[-1], f"{where}.{key}")


def example_estimate(value: float, half: float = 0.03, least: float = 0.0) -> Estimate:
    """An interval of `half` to each side, as far as `least` and 1 allow."""
    low, high = max(value - half, least), min(value + half, 1.0)
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "remark": None}


def _estimates(half: float = 0.03, **values: float) -> Any:
    return {name: example_estimate(value, half) for name, value in values.items()}


def _split_scores(by_image: list[list[int]], people: int, by_person: list[list[int]]) -> SplitScores:
    return {**_scored(by_image, people), "by_identity": _scored(by_person, people) if people else None}


def _scored(matrix: list[list[int]], people: int) -> Any:
    female, says_female = np.array([True, True, False, False]), np.array([True, False, True, False])
    counts = np.array([matrix[0] + matrix[1]], dtype=float)
    values = {name: float(score[0]) for name, score in decision_scores(female, says_female, counts).items()}
    values |= {"auroc": 0.8934, "average_precision_FEMALE": 0.8712, "average_precision_MALE": 0.9087}
    values |= {"brier": 0.1392, "log_loss": 0.4621, "ece": 0.0713}
    assert tuple(values) == SCORES
    images = int(counts.sum())
    return {
        **{"images": images, "identities": people, "units": people or images},
        **{"confusion_matrix": matrix, "scores": _estimates(**values)},
    }


def _baselines(identities: bool, leaky: bool) -> list[Any]:
    nothing = "It knows nothing about any test image."
    same_person = (0.571, 0.12, None) if leaky else (0.5, 0.0, nothing)
    if not identities:
        same_person = (None, None, "No identity is known.")
    rows = (
        ("majority", "always the commonest label", 0.5, 1.0, None),
        ("camera", "the camera alone", 0.701, 1.0, None),
        ("source", "the source alone", 0.701, 1.0, None),
        ("identity", "the same person in train", *same_person),
        ("size", "the size of the image alone", 0.588, 1.0, None),
        ("colour", "the mean colour of the image alone", 0.612, 1.0, None),
        ("near_duplicate", "the nearest near duplicate in train", 0.5, 0.0, nothing),
    )
    return _records(("name", "title", "balanced_accuracy", "answered", "remark"), rows)


def _reliability(brier: float, log_loss: float, ece: float, slope: float) -> Any:
    bins = []
    for index, count in enumerate((148, 71, 49, 38, 30, 27, 25, 24, 26, 28, 33, 41, 55, 78, 145)):
        centre = (index + 0.5) / 15
        share = example_estimate(0.5 + slope * (centre - 0.5), 0.9 / count**0.5)
        ends = {"low": index / 15, "high": (index + 1) / 15}
        bins.append({**ends, "images": count, "probability": round(centre, 4), "share": share})
    return {
        "brier": example_estimate(brier, 0.018),
        "log_loss": example_estimate(log_loss, 0.051),
        "ece": example_estimate(ece, 0.021),
        "bins": bins,
    }


def _abstention() -> Any:
    errors = {"error": (0.02, 0.167), "low": (0.01, 0.142), "high": (0.04, 0.181)}
    coverages = [1 - index / 100 for index in range(100)]
    return {
        **{"target_error": 0.1, "band": [0.2713, 0.6127], "remark": None},
        "validation": {"coverage": example_estimate(0.784), "error": example_estimate(0.0998, 0.027)},
        "test": {"coverage": example_estimate(0.771), "error": example_estimate(0.1127, 0.031)},
        **{"reached": True, "aurc": example_estimate(0.0682, 0.019)},
        "curve": [
            {"coverage": round(share, 2), **{key: round(a + b * share**2, 4) for key, (a, b) in errors.items()}}
            for share in coverages
        ],
    }


def _slice(identities: bool, column: str, value: str, images: int, people: int, score: float, gap: float) -> Any:
    recalls = {"recall_FEMALE": score - gap / 2, "recall_MALE": score + gap / 2}
    return {
        **{"column": column, "value": value, "images": images, "identities": people if identities else 0},
        "balanced_accuracy": example_estimate(score, 0.6 / people**0.5),
        **_estimates(0.8 / people**0.5, **recalls),
        "recall_gap": example_estimate(gap, 1.1 / people**0.5, least=-1.0),
        "few": (people if identities else images) < 50,
    }


def _stress() -> Any:
    corruptions = []
    for (name, title), drop in zip(CORRUPTIONS.items(), DROPS, strict=True):
        lost = [(severity, drop * (severity / 5) ** 1.5) for severity in SEVERITIES]
        values = [round(0.8013 - loss, 4) for _, loss in lost]
        severities = [
            {
                "severity": severity,
                "balanced_accuracy": example_estimate(value),
                **_estimates(0.02, ece=0.03 + 0.5 * loss, flip_rate=0.03 + 1.1 * loss),
                "coverage": example_estimate(0.771 - loss),
            }
            for value, (severity, loss) in zip(values, lost, strict=True)
        ]
        means = {"mean": round(sum(values) / 5, 4), "worst": values[-1]}
        corruptions.append({"name": name, "title": title, "severities": severities, **means})
    return {
        "corruptions": corruptions,
        "mean": round(sum(one["mean"] for one in corruptions) / len(corruptions), 4),
        "worst": {"name": "low_light", "severity": 5, "balanced_accuracy": round(0.8013 - 0.27, 4)},
    }


def example_explanations(methods: list[MethodScores], identities: bool = True) -> Explanations:
    """What `metrics.json` says about the maps of these methods."""
    return {
        **{"images": 100, "identities": 83 if identities else 0, "units": 83 if identities else 100},
        **{"explained_class": "predicted", "methods": methods},
        "agreement": [{"a": "saliency", "b": "grad_cam", "correlation": example_estimate(0.317, 0.044)}],
    }


def example_method(name: str) -> MethodScores:
    areas, shares, similarity = MAPS[name]
    stages = [
        {"layers": layers, "share": share, "similarity": example_estimate(value, 0.06)}
        for (layers, share), value in zip(STAGES, similarity, strict=True)
    ]
    places = zip(PLACES, map(example_estimate, shares), AREAS, strict=True)
    return {
        **{"name": name, "title": Method(name).title},
        "games": [_game(baseline, CHANCE[baseline], *areas[baseline]) for baseline in areas],
        "places": _records(("name", "share", "area"), list(places)),
        "randomisation": {
            **{"images": 16, "stages": stages, "control": example_estimate(CONTROL[name], 0.05)},
            **{"difference": example_estimate(CONTROL[name] - similarity[-1], 0.04, least=-1.0), "flagged": False},
        },
        "cue": {label: _cue(*scores) for label, scores in CUES[name].items()},
    }


def _cue(hit: float, mass: float) -> Any:
    return {"images": 50, **_estimates(hit=hit, mass=mass), "area": 0.0812}


def _game(baseline: str, random: float, deletion: float, insertion: float) -> Any:
    return {
        "baseline": baseline,
        **_estimates(deletion=deletion, insertion=insertion, random=random),
        "deletion_gain": example_estimate(random - deletion, 0.025, least=-1.0),
        "insertion_gain": example_estimate(insertion - random, 0.025, least=-1.0),
    }


def _nulled(value: Any, kind: Any) -> Any:
    """The same with null wherever the schema allows it, but for whole chapters that an argument switches off."""
    if is_typeddict(kind):
        return {key: _nulled_key(key, value[key], hint) for key, hint in get_type_hints(kind).items()}
    if get_origin(kind) is list:
        return [_nulled(item, get_args(kind)[0]) for item in value]
    if get_origin(kind) is dict:
        return {key: _nulled(item, get_args(kind)[1]) for key, item in value.items()}
    return value


def _nulled_key(key: str, value: Any, kind: Any) -> Any:
    if key == "remark":
        return "There is only one label."
    if get_origin(kind) is not UnionType:
        return _nulled(value, kind)
    kept = key in ("by_identity", "shortcuts", "stress", "explanations", "elsewhere", "randomisation")
    return _nulled(value, get_args(kind)[0]) if kept and value else None


def predictions(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    female = draw.random(rows) < 0.42
    p_female = expit(np.where(female, 1.6, -1.9) + 2.6 * draw.standard_normal(rows))
    return table_of(letters(female), p_female)
