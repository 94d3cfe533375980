"""A made-up test on other data: its `elsewhere`, and the whole `metrics.json` around it."""

from typing import Any

from helpers.example_metrics import example_estimate, example_metrics, with_standing

from gender_cls.evaluation.elsewhere_schema import Adapted, Elsewhere
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.schema import Metrics

HOME = {
    **{"balanced_accuracy": 0.8013, "macro_f1": 0.7984, "accuracy": 0.813, "auroc": 0.8934},
    **{"log_loss": 0.4189, "ece": 0.0294},
}
HERE = {
    **{"balanced_accuracy": 0.6421, "macro_f1": 0.6233, "accuracy": 0.6517, "auroc": 0.7412},
    **{"log_loss": 0.8316, "ece": 0.1873},
}
LOWER_IS_BETTER = ("log_loss", "ece")
GAINS = {"batchnorm": 0.0412, "prior": 0.0098}
TITLES = {"batchnorm": "BatchNorm of the images here", "prior": "share of labels from the answers"}


def home_and_here(home: float, here: float, worse: float) -> Any:
    drop = example_estimate(worse, 0.04, least=-1.0)
    return {"home": example_estimate(home), "here": example_estimate(here, 0.02), "drop": drop}


def adapted(method: Any) -> Adapted:
    """An adaptation that helps; log loss and ECE fall by as much as the others rise."""
    gains = {score: GAINS[method] * (-1 if score in LOWER_IS_BETTER else 1) for score in HERE}
    return {
        **{"method": method, "title": TITLES[method], "remark": None},
        "sentence": f"With {TITLES[method]} it scores {HERE['balanced_accuracy'] + GAINS[method]:.3f}.",
        "scores": {score: example_estimate(HERE[score] + gain, 0.02) for score, gain in gains.items()},
        "difference": {score: example_estimate(gain, 0.015, least=-1.0) for score, gain in gains.items()},
    }


def impossible() -> Adapted:
    """An adaptation that the network has no layers for."""
    remark = "The network has no BatchNorm, so nothing can be re-estimated."
    return {
        **{"method": "batchnorm", "title": TITLES["batchnorm"], "remark": remark, "sentence": remark},
        "scores": {score: undefined(remark) for score in HERE},
        "difference": {score: undefined(remark) for score in HERE},
    }


def example_elsewhere(name: str = "pa100k") -> Elsewhere:
    """A fresh copy each time, to be changed at will."""
    scores = {
        score: home_and_here(HOME[score], HERE[score], abs(HOME[score] - HERE[score])) for score in HOME
    }  # fmt: skip
    return {
        **{"name": name, "part": "test"},
        "left_out": {
            **{"images": 37, "copies": 12, "near_copies": 5, "people": 20},
            "remark": "Who is on 41 images is not known.",
        },
        "scores": scores,
        "ranking": {"auroc": home_and_here(0.8934, 0.7412, 0.1522)},
        "threshold": {
            **{"threshold": 0.4312, "balanced_accuracy": home_and_here(0.8075, 0.6288, 0.1787)},
            "best_threshold": 0.2764,
            **{"best": example_estimate(0.6795, 0.02), "below_best": example_estimate(0.0507, 0.01)},
        },
        "calibration": {
            "ece": home_and_here(0.0294, 0.1873, 0.1579),
            "log_loss": home_and_here(0.4189, 0.8316, 0.4127),
            "mean_probability": example_estimate(0.3127, 0.01),
        },
        "share_of_labels": {
            **{
                "trained_on": 0.4141,
                "prior": 0.5,
                "home": example_estimate(0.4156),
                "here": example_estimate(0.5012, 0.02),
            },
            **{"from_answers": example_estimate(0.4573, 0.02), "home_from_answers": example_estimate(0.4021)},
        },
        "adapted": [adapted("batchnorm"), adapted("prior")],
        "sentences": [
            "On pa100k it loses 0.159 [0.119, 0.199] of balanced accuracy.",
            "Most of it is ranking: no threshold repairs that.",
        ],
    }


def metrics_elsewhere(name: str = "pa100k", **changes: Any) -> Metrics:
    """The `metrics.json` of that test; shortcuts, stress and maps were not asked for.

    Args:
        changes: values for keys of `elsewhere`.
    """
    metrics: Any = example_metrics(stress=False, shortcuts=False, explanations=False)
    test = metrics["test"]
    test |= {"images": 10_000, "identities": 0, "units": 10_000, "by_identity": None}
    test["confusion_matrix"] = [[2780, 2232], [1322, 3666]]
    test["scores"] |= {
        score: example_estimate(HERE[score], 0.02) for score in ("balanced_accuracy", "accuracy", "auroc")
    }
    metrics["operating_point"]["test"]["balanced_accuracy"] = example_estimate(0.6288, 0.02)
    metrics["calibration"]["after"]["ece"] = example_estimate(0.1873, 0.02)
    metrics["elsewhere"] = {**example_elsewhere(name), **changes}
    metrics["data"] = {
        **{"name": name, "root": f"/data/{name}", "part": "test", "leaky": False, "licence": "CC BY-NC 4.0"},
        **{"sources": [], "cameras": [], "split_origin": "published", "images_sha256": "6b7c" * 16},
        "test": {"images": 10_000, "identities": 0, "FEMALE": 5012, "MALE": 4988},
    }
    return with_standing(metrics)
