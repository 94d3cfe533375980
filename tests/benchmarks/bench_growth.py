"""How time and memory grow from 10^3 to 10^6 images, for everything except pixels and networks.

Images and predictions are simulated (`simulated.py`); only the images of the first batch exist. Every size of every
part runs in its own process, on one thread.

The goal: exponents of about 1 (1.15 allows for sorting), and memory that a laptop has. Runs for about ten minutes,
nearly all of it at 10^6.
"""

import gc
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Table, exponent, in_own_process, report

SIZES = (1_000, 10_000, 100_000, 1_000_000)
DISTANCE = 6  # of near duplicates
BATCH = 32
RESAMPLES = 1_000  # of all scores; a tenth of the default
FEW_RESAMPLES = 100  # of everything else that has intervals


Measured = dict[str, tuple[float | None, float]]
"""CPU seconds and MiB, by stage."""


class Stages:
    """CPU seconds and extra MiB of each stage, by name."""

    def __init__(self) -> None:
        self.measured: Measured = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Measure a stage; return its result."""
        gc.collect()
        before = _restarted_peak()
        began = time.process_time()
        result = work()
        seconds = time.process_time() - began
        self.measured[name] = seconds, _status("VmHWM") - before
        return result

    def with_peak(self) -> Measured:
        """Return all stages, and the peak of the whole process."""
        whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {**self.measured, "(all, with the imports)": (None, whole)}


def _restarted_peak() -> float:
    """MiB in use now; the peak (VmHWM) counts from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def images(rows: int) -> Measured:
    """From a table of names to the first batch."""
    from PIL import Image
    from simulated import pretend, simulate_images

    from gender_cls.config.audit import AuditSettings
    from gender_cls.config.data import Balance
    from gender_cls.config.parsing import parse_config
    from gender_cls.config.train import Config
    from gender_cls.data.crops import balanced_sample
    from gender_cls.data.datamodule import CropDataModule
    from gender_cls.data.groups import group_images
    from gender_cls.data.leaks import find_leaks
    from gender_cls.data.manifest import Manifest, read_manifest
    from gender_cls.data.near_duplicates import find_near_duplicates
    from gender_cls.data.prepare import PreparedData
    from gender_cls.data.record import record_data
    from gender_cls.data.samplers import EpochSampler
    from gender_cls.data.scan import scan
    from gender_cls.data.split import assign_splits
    from gender_cls.quality.balance import balance
    from gender_cls.quality.duplicates import find_duplicates, find_identity_conflicts
    from gender_cls.quality.faults import find_faults
    from gender_cls.runs.run import Run

    stage = Stages()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        in_own_process(simulate_images, name, rows)
        pretend()
        asked = {"csv": str(folder / "crops.csv"), "num_workers": 0, "cache": "none"}
        asked |= {"near_duplicate_distance": DISTANCE}
        config: Any = parse_config({"data": asked, "model": {"library": "custom", "name": "custom_cnn"}}, Config)
        data = config.data
        table = stage("manifest from CSV", lambda: read_manifest(data)).table
        found = stage("facts from the database", lambda: scan(table["path"].tolist(), folder, folder / "cache", data))
        facts, images = found.facts, found.images
        near = stage(
            f"near duplicates (distance {DISTANCE})",
            lambda: find_near_duplicates(facts["perceptual_hash"].to_numpy(), DISTANCE),
        )
        groups = stage("groups", lambda: group_images(table, facts["pixels"], near, data.frame_gap))
        sizes = {side: facts[side].astype(str) for side in ("width", "height")}
        table = table.assign(group=groups.astype(str), **sizes, pixels=facts["pixels"])
        table = stage("split", lambda: assign_splits(table, data))
        leaks = stage("leaks", lambda: find_leaks(table, facts["pixels"], near))
        manifest = Manifest(table, folder)
        prepared = PreparedData(manifest, images, facts, near, facts[:0], leaks, "made", [])
        stage("manifest.csv and data.json, with baselines", lambda: record_data(config, Run(folder / "run"), prepared))
        options = {"augment": config.augment, "seed": 0, "batch_size": BATCH, "num_workers": 0}
        module = stage("data module", lambda: CropDataModule(manifest, images, data, **options))
        stage("probe set, without its pixels", lambda: balanced_sample(module.tables["val"], config.explain.images, 0))
        data.balance = Balance.loss
        stage("class weights", lambda: module.class_weights)
        data.balance = Balance.none
        loader = stage("loader", module.train_dataloader)
        rows_of_epoch = stage("order of an epoch", lambda: _drained(iter(loader.batch_sampler.sampler)))
        labels = module.datasets["train"].labels
        drawn = stage("order of an epoch, balanced", lambda: _drained(iter(EpochSampler(labels, 0, balanced=True))))
        assert rows_of_epoch == drawn == len(labels)
        for (_, row), _ in zip(loader.batch_sampler.sampler, range(BATCH), strict=False):
            file = folder / module.datasets["train"].images.paths[row]
            file.parent.mkdir(exist_ok=True)
            Image.new("RGB", (64, 160)).save(file)
        stage("first batch", lambda: next(iter(loader)))
        stage(
            "audit: faults and people",
            lambda: (find_faults(table, facts, AuditSettings()), find_identity_conflicts(table)),
        )
        stage("audit: duplicates", lambda: find_duplicates(table, facts["pixels"], near))
        stage("audit: balance", lambda: balance(table))
    return stage.with_peak()


def _drained(rows: Any) -> int:
    return sum(1 for _ in rows)


def answers(rows: int) -> Measured:
    """From probabilities to conclusions, and two runs compared."""
    from simulated import simulate_predictions

    from gender_cls.config.evaluation import EvaluationConfig
    from gender_cls.evaluation.calibration import calibrate
    from gender_cls.evaluation.conclusions import with_answers
    from gender_cls.evaluation.decisions import DecisionRule, choose_abstention, choose_operating_point
    from gender_cls.evaluation.metrics import score_split
    from gender_cls.evaluation.predictions import predictions_table, read_predictions
    from gender_cls.evaluation.shift import split_shift
    from gender_cls.evaluation.slices import slice_scores

    stage = Stages()
    manifest, probabilities = simulate_predictions(rows)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "predictions.csv"
        table = stage("predictions as a table", lambda: predictions_table(manifest, probabilities))
        stage("predictions.csv written", lambda: table.to_csv(file, index=False))
        table = stage("predictions.csv read", lambda: read_predictions(file))
    validation, test = (table[table["split"] == split].reset_index(drop=True) for split in ("val", "test"))
    stage("scores of a split", lambda: score_split(test, FEW_RESAMPLES))
    calibration = stage("calibration", lambda: calibrate(validation, test, FEW_RESAMPLES))
    temperature = calibration["temperature"]
    rule = EvaluationConfig().operating_point
    point = stage("threshold", lambda: choose_operating_point(validation, test, temperature, rule, FEW_RESAMPLES))
    abstention = stage(
        "abstention",
        lambda: choose_abstention(
            validation, test, DecisionRule(temperature, point["threshold"], None), 0.1, FEW_RESAMPLES
        ),
    )
    stage("slices", lambda: slice_scores(test, FEW_RESAMPLES))
    stage("shift", lambda: split_shift(validation, test))
    found = {"calibration": calibration, "operating_point": point, "abstention": abstention}
    stage("answers", lambda: with_answers(table, found))
    return stage.with_peak()


def bootstrap(rows: int) -> Measured:
    """All scores with their intervals."""
    from simulated import simulate_predictions

    from gender_cls.evaluation.metrics import score_rows
    from gender_cls.evaluation.predictions import predictions_table

    stage = Stages()
    table = predictions_table(*simulate_predictions(rows))
    score_rows(table[:100], 10)  # imports and first calls
    stage(f"all scores, {RESAMPLES:,} resamples", lambda: score_rows(table, RESAMPLES))
    return stage.with_peak()


def compare(rows: int) -> Measured:
    """Two runs of one test set."""
    from simulated import simulate_predictions

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from helpers.comparing import write_run

    from gender_cls.evaluation.predictions import predictions_table
    from gender_cls.reports.comparison import write_comparison

    stage = Stages()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        runs = [
            write_run(folder / model, predictions_table(*simulate_predictions(rows, seed)), model)
            for seed, model in enumerate(("one", "other"))
        ]
        arguments = {"name": "compare", "resamples": FEW_RESAMPLES, "thumbnails": 0}
        stage("two runs compared", lambda: write_comparison(folder, runs, **arguments))
    return stage.with_peak()


PARTS = {"images": images, "answers": answers, "bootstrap": bootstrap, "compare": compare}


def tables(sizes: tuple[int, ...] = SIZES) -> list[Table]:
    """Seconds and memory, one row per stage."""
    headings = [f"10^{len(str(size)) - 1}" for size in sizes]
    seconds = Table("CPU seconds against images", ["stage", *headings, "exponent"])
    memory = Table("Extra memory in MiB against images", ["stage", *headings, "bytes per image"])
    for part, work in PARTS.items():
        measured = [in_own_process(work, size) for size in sizes]
        for name in measured[0]:
            times, mib = zip(*(one[name] for one in measured), strict=True)
            if times[0] is not None:
                seconds.rows.append([name, *times, exponent(sizes, times)])
            an_image = 2**20 * (mib[-1] - mib[-2]) / (sizes[-1] - sizes[-2])
            memory.rows.append([f"{part} {name}" if times[0] is None else name, *mib, an_image])
    seconds.note = (
        "The exponent is between the two largest sizes. Unless the stage says otherwise, intervals take "
        f"{FEW_RESAMPLES} resamples."
    )
    memory.note = "Beyond what was in use before the stage; bytes per image are between the two largest sizes."
    return [seconds, memory]


def main() -> None:
    """All parts and sizes."""
    os.nice(10)
    report("growth", tables())


if __name__ == "__main__":
    main()
