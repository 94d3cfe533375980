"""Run folders and simulated answers for the tests of comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from helpers.example_metrics import assert_matches
from numpy.typing import NDArray

from gender_cls.config.explain import Method
from gender_cls.evaluation.comparison.compare import compare_runs
from gender_cls.evaluation.comparison.schema import Comparison
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import BASELINES, PLACES, SCHEMA_VERSION, Explanations, Game, MethodScores, Place
from gender_cls.explain.run_maps import RunMaps, save_run_maps
from gender_cls.runs.run import Run


def table_of(rows: str) -> pd.DataFrame:
    """Rows `split label identity p_FEMALE`, `-` for nobody known; F and M for the labels. Paths are a, b, c, ..."""
    cells = [row.split() for row in rows.strip().splitlines()]
    table = pd.DataFrame(cells, columns=["split", "label", "identity", "p_FEMALE"])
    table.insert(0, "path", [f"{index:03d}.png" for index in range(len(table))])
    table["label"] = table["label"].map({"F": "FEMALE", "M": "MALE"})
    table["identity"] = table["identity"].replace("-", "")
    return answered(table, table["p_FEMALE"].astype(float).to_numpy())


def answered(table: pd.DataFrame, p_female: NDArray[np.float64]) -> pd.DataFrame:
    """The table with these probabilities."""
    prediction = np.where(p_female >= 0.5, "FEMALE", "MALE")
    return table.assign(p_FEMALE=p_female, p_MALE=1 - p_female, prediction=prediction)


TABLE = table_of("""
    val  F ann 0.9
    val  F ann 0.6
    val  M bob 0.4
    val  M bob 0.7
    test F cid 0.9
    test F cid 0.2
    test F dan 0.8
    test M eve 0.1
    test M fay 0.3
    test M fay 0.6
""")  # validation 3/4; test (2/3 + 2/3) / 2


def simulated(rng: np.random.Generator, skill: float, people: int = 120) -> pd.DataFrame:
    """Two images of each person; the first third of the people are validation."""
    labels = np.repeat(np.where(np.arange(people) % 2, "MALE", "FEMALE"), 2)
    names = np.repeat([f"p{index}" for index in range(people)], 2)
    split = np.where(np.arange(2 * people) < 2 * people // 3, "val", "test")
    table = pd.DataFrame({"path": [f"{index:04d}.png" for index in range(2 * people)], "label": labels})
    logit = rng.normal(np.where(labels == "FEMALE", skill, -skill), 1)
    return answered(table.assign(identity=names, split=split), 1 / (1 + np.exp(-logit)))


def compare(*runs: Run) -> Comparison:
    """With the record checked: plain JSON, and exactly the keys of the schema."""
    found = compare_runs(runs, resamples=200)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert_matches(found, Comparison)
    return found


def simulated_people(rng: np.random.Generator, people: int, most: int) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """(rows,) whether FEMALE, and (rows,) who: up to `most` images a person."""
    units = np.repeat(np.arange(people), rng.integers(1, most + 1, people))
    return (np.arange(people) % 2 == 0)[units], units


def simulated_answers(
    rng: np.random.Generator, units: NDArray[np.intp], qualities: list[float], seeds: int = 1, luck: float = 0.0
) -> list[NDArray[np.bool_]]:
    """Whether each candidate's answers are right, (seeds, rows) each.

    People are easy or hard, for all candidates and for each. With N(0, 1.99) beside it, a quality q gives the expected
    balanced accuracy Phi(q / sqrt(1 + 0.49 + 0.5 + luck^2)).
    """
    people = units.max() + 1
    common = rng.normal(0, 1, people)[units]
    answers = []
    for quality in qualities:
        ease = quality + common + rng.normal(0, 0.7, people)[units]
        runs = [ease + luck * rng.normal() + rng.normal(0, np.sqrt(0.5), len(units)) > 0 for _ in range(seeds)]
        answers.append(np.stack(runs))
    return answers


def write_run(
    folder: Path,
    table: pd.DataFrame,
    model: str | None = "net",
    state: str = "finished",
    error: str | None = None,
    leaky: bool = False,
    version: int = SCHEMA_VERSION,
    cost: dict[str, Any] | None = None,
    choices: dict[str, str] | None = None,
    explanations: Explanations | None = None,
    maps: RunMaps | None = None,
    **settings: Any,
) -> Run:
    """A run folder as training leaves it, with what a comparison reads.

    Args:
        model: the chosen file of the group; None for a run without its configuration.
        settings: with `__` for the dots of their keys.
    """
    run = Run(folder)
    run.note(state=state, model=f"timm/{model or 'net'}", error=error, started=settings.pop("started", "2026-01-01"))
    if model is not None:
        config: dict[str, Any] = {"trainer": {"max_epochs": 1}, "seed": 0, "model": {"name": model}}
        for key, value in settings.items():
            *sections, name = key.split("__")
            place = config
            for section in sections:
                place = place.setdefault(section, {})
            place[name] = value
        write_yaml(folder / ".hydra" / "config.yaml", config)
        runtime = {"choices": {"model": model, "hydra/launcher": "basic", **(choices or {})}}
        write_yaml(folder / ".hydra" / "hydra.yaml", {"hydra": {"runtime": runtime}})
    if state == "finished":
        table.to_csv(run.predictions, index=False)
        run.metrics_file.write_text(json.dumps(metrics(leaky, version, cost or {}, explanations)))
    if maps is not None:
        save_run_maps(run.maps, maps)
    return run


def explained(*methods: MethodScores, explained_class: str = "predicted") -> Explanations:
    """What `metrics.json` says of maps."""
    return {
        "images": 6,
        "identities": 4,
        "units": 4,
        "explained_class": explained_class,
        "methods": list(methods),
        "agreement": [],
    }


def scores_of(
    method: str, gain: float | None = 0.1, border: float | None = 0.3, flagged: bool | None = False
) -> MethodScores:
    """Half the gain for deletion, other gains for the mean baseline; what is not border is split evenly."""

    def estimate(value: float | None) -> Estimate:
        return {"value": value, "low": None, "high": None, "remark": None}

    def game(baseline: str) -> Game:
        known = gain if gain is None or baseline == "blurred" else gain - 1
        return {
            "baseline": baseline,
            "deletion": estimate(0.4),
            "insertion": estimate(0.6),
            "random": estimate(0.5),
            "deletion_gain": estimate(None if known is None else known / 2),
            "insertion_gain": estimate(known),
        }

    def place(name: str) -> Place:
        share = border if border is None or name == "border" else (1 - border) / 3
        return {"name": name, "share": estimate(share), "area": 0.52 if name == "border" else 0.16}

    return {
        "name": method,
        "title": Method(method).title,
        "games": [game(baseline) for baseline in BASELINES],
        "places": [place(name) for name in PLACES],
        "randomisation": {"images": 2, "stages": [], "flagged": flagged},
    }


def metrics(
    leaky: bool, version: int, cost: dict[str, Any], explanations: Explanations | None = None
) -> dict[str, Any]:
    return {
        "schema_version": version,
        "model": "timm/net",
        "data": {"leaky": leaky},
        "baselines": [
            {"title": "always the commonest label", "balanced_accuracy": 0.5},
            {"title": "the camera alone", "balanced_accuracy": 0.6},
            {"title": "the source alone", "balanced_accuracy": None},
        ],
        "calibration": {"after": {"log_loss": {"value": 0.4}, "ece": {"value": 0.03}}},
        "cost": {
            "parameters": 2_230_000,
            "flops": 400_000_000,
            "milliseconds_batch_1": 9.0,
            "milliseconds_batch_32": 5.1,
            "peak_memory_bytes": 1_200_000_000,
            "fit_seconds": 881.0,
            "device": "cpu",
            **cost,
        },
        "explanations": explanations,
    }


def write_yaml(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content))
