"""Run folders and simulated answers for the tests of comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from helpers.example_metrics import assert_matches, example_explanations, example_method
from helpers.prediction_tables import answered, table_of
from numpy.typing import NDArray

from gender_cls.config.explain import Method
from gender_cls.evaluation.comparison.compare_json import Comparison
from gender_cls.evaluation.comparison.compare_runs import compare_runs
from gender_cls.evaluation.estimate import undefined
from gender_cls.evaluation.explanation_schema import Explanations, MethodScores
from gender_cls.evaluation.predictions import answers_hash
from gender_cls.evaluation.schema import SCHEMA_VERSION
from gender_cls.explain.run_maps import RunMaps, save_run_maps
from gender_cls.runs.exported_run import ExportedRun, answers_file
from gender_cls.runs.result_folder import ResultFolder
from gender_cls.runs.run import Run

TABLE = table_of(
    "FFMMFFFMMM",
    [0.9, 0.6, 0.4, 0.7, 0.9, 0.2, 0.8, 0.1, 0.3, 0.6],
    ["ann", "ann", "bob", "bob", "cid", "cid", "dan", "eve", "fay", "fay"],
    split=["val"] * 4 + ["test"] * 6,
)
"""Validation 3/4; test (2/3 + 2/3) / 2."""

METRICS = {
    "model": "timm/net",
    "baselines": [
        {"title": "always the commonest label", "balanced_accuracy": 0.5},
        {"title": "the camera alone", "balanced_accuracy": 0.6},
        {"title": "the source alone", "balanced_accuracy": None},
    ],
    "calibration": {"temperature": 2.0, "after": {"log_loss": {"value": 0.4}, "ece": {"value": 0.03}}},
}
COST = {
    **{"parameters": 2_230_000, "flops": 400_000_000, "milliseconds_batch_1": 9.0, "milliseconds_batch_32": 5.1},
    **{"milliseconds_batch_1_spread": [8.9, 9.2], "milliseconds_batch_32_spread": [5.0, 5.3], "disturbed": None},
    **{"peak_memory_bytes": 1_200_000_000, "fit_seconds": 881.0, "device": "cpu"},
}


def simulated(rng: np.random.Generator, skill: float, people: int = 120) -> pd.DataFrame:
    """Two images of each person; the first third of the people are validation."""
    split = np.where(np.arange(2 * people) < 2 * people // 3, "val", "test")
    table = table_of("FFMM" * (people // 2), np.zeros(2 * people), images_each=2, split=split)
    logit = rng.normal(np.where(table["label"] == "FEMALE", skill, -skill), 1)
    return answered(table, 1 / (1 + np.exp(-logit)))


def compare(*runs: Run) -> Comparison:
    """The comparison, with exactly the keys and types of the schema."""
    found = compare_runs(runs, resamples=200)
    assert_matches(found, Comparison)
    return found


def simulated_people(rng: np.random.Generator, people: int, most: int) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """(rows,) whether FEMALE, and (rows,) who: up to `most` images per person."""
    units = np.repeat(np.arange(people), rng.integers(1, most + 1, people))
    return (np.arange(people) % 2 == 0)[units], units


def simulated_answers(
    rng: np.random.Generator, units: NDArray[np.intp], qualities: list[float], seeds: int = 1, luck: float = 0.0
) -> list[NDArray[np.bool_]]:
    """Whether each candidate's answers are right, (seeds, rows) each.

    People are easy or hard, for all candidates and for each. The sum of all noise is N(0, 1.99), so a quality q gives
    the expected balanced accuracy Phi(q / sqrt(1 + 0.49 + 0.5 + luck^2)).
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
    folder.mkdir(parents=True, exist_ok=True)
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
        found = {**METRICS, "schema_version": version, "data": {"leaky": leaky}, "explanations": explanations}
        run.metrics_file.write_text(json.dumps({**found, "cost": {**COST, **(cost or {})}}))
    if maps is not None:
        save_run_maps(run.maps, maps)
    return run


def write_export(
    run: Run, table: pd.DataFrame, name: str = "model.onnx", cost: dict[str, Any] | None = None
) -> ExportedRun:
    """An exported model of a run as `export` leaves it, with what a comparison reads."""
    file = run.folder / "export" / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    table.to_csv(answers_file(file), index=False)
    parity = file.with_name("parity.json")
    files = json.loads(parity.read_text())["files"] if parity.is_file() else {}
    noted = {"answers_hash": answers_hash(table), "cost": cost or {}}
    parity.write_text(json.dumps({"files": {**files, name: noted}}))
    return ExportedRun(file)


def write_elsewhere(
    run: Run,
    name: str,
    table: pd.DataFrame,
    *,
    copies: int = 0,
    near_copies: int = 0,
    people: int = 0,
    version: int = SCHEMA_VERSION,
    root: str = "/data",
) -> ResultFolder:
    """A test of a run on other data as `evaluate` leaves it, with what a comparison reads.

    Args:
        copies: images that the run had seen, and that are not in the table, as `near_copies` and `people`.
        root: the folder of the images.
    """
    folder = run.elsewhere(name)
    folder.folder.mkdir(parents=True)
    left_out = {"copies": copies, "near_copies": near_copies, "people": people, "images": copies + near_copies + people}
    metrics = {"schema_version": version, "elsewhere": {"name": name, "left_out": {**left_out, "remark": None}}}
    folder.metrics_file.write_text(json.dumps(metrics))
    folder.data_file.write_text(json.dumps({"name": name, "root": root}))
    table.assign(split="test").to_csv(folder.predictions, index=False)
    return folder


def explained(*methods: MethodScores, explained_class: str = "predicted") -> Explanations:
    """What `metrics.json` says about the maps of these methods."""
    return {**example_explanations(list(methods)), "explained_class": explained_class}


def scores_of(
    method: str, gain: float | None = 0.1, outside: float | None = 0.3, flagged: bool | None = False
) -> MethodScores:
    """Half the gain for deletion, other gains for the mean baseline; the mass that is not outside is split evenly."""

    scores: Any = example_method("saliency")
    for game in scores["games"]:
        known = gain if gain is None or game["baseline"] == "blurred" else gain - 1
        game["deletion_gain"] = {**undefined(""), "value": None if known is None else known / 2}
        game["insertion_gain"] = {**undefined(""), "value": known}
    for place in scores["places"]:
        is_outside = place["name"] == "outside"
        place["share"] = {**undefined(""), "value": outside if outside is None or is_outside else (1 - outside) / 3}
        place["area"] = 0.52 if is_outside else 0.16
    scores["randomisation"]["flagged"] = flagged
    return {**scores, "name": method, "title": Method(method).title}


def write_yaml(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content))
