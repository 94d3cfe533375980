"""Export one run: files are written aside and compared with the run's network; only then they take their names."""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.export import ExportConfig, Format, Smaller
from gender_cls.data.csv_text import csv_text
from gender_cls.errors import first_few
from gender_cls.evaluation.against_report import against_report, changed_answers
from gender_cls.evaluation.export_schema import PARITY_VERSION, ExportedFile, Parity, Speed
from gender_cls.evaluation.predictions import answers_hash
from gender_cls.export import run_onnx
from gender_cls.export.answers import answers_by_file
from gender_cls.export.float32_files import nhwc, opened, write_and_check
from gender_cls.export.parity import Ask
from gender_cls.export.smaller import write_smaller
from gender_cls.export.source import Source, read_source
from gender_cls.export.speed import BATCH, in_openvino, in_torch, measure_speed
from gender_cls.export.validation_crops import ValidationCrops, read_validation_crops
from gender_cls.pages.exported import exported_card
from gender_cls.runs.environment import environment, processor
from gender_cls.runs.exported_run import PARITY_FILE, answers_file, weights_of
from gender_cls.runs.files import file_sha256, write_atomically
from gender_cls.runs.locks import locked
from gender_cls.runs.run import Run
from gender_cls.system.progress import working

log = logging.getLogger(__name__)

SCRIPT = "run_onnx.py"
TITLES = {
    "model.onnx": "ONNX Runtime",
    "model_float16.onnx": "ONNX Runtime, float16",
    "model_int8.onnx": "ONNX Runtime, int8",
    "model.pt2": "torch.export",
}
"""Of the files that take resized pixels, in tables of the speed."""

BEGUN = "begun"
"""In the folder of exported files: those of an export that has not ended."""


def export_run(run: Run, config: ExportConfig) -> Parity:
    """Write `RUN/export`, and return what its `parity.json` says.

    Files of an earlier export that are not made again are removed, because they may hold other weights or another rule.

    Raises:
        GenderClsError: the run was not evaluated, its images are gone, or an exported file answers differently from
            the run's network. Then nothing has changed.
    """
    source = read_source(run, config)
    with locked(run.exported), _written_aside(run.exported) as begun:
        crops = read_validation_crops(source.report, source.images, source.config.data, config.images)
        written = write_and_check(source, config.formats, crops, begun)
        files = written.resized | _write_smaller(source, config.smaller, begun)
        answering = {name: ask for name, ask in files.items() if name != "model.pt2" or "model.onnx" not in files}
        tables = answers_by_file(answering, source.report, source.images, source.config.data, run.metrics)
        speed = _measure_speed(source, files, crops, begun, config.seconds) if config.seconds else {}
        parity = Parity(
            version=PARITY_VERSION,
            model=run.metrics["model"],
            checkpoint_sha256=file_sha256(run.best_checkpoint),
            precision=source.precision,
            report_hash=answers_hash(source.report),
            rule=asdict(source.rule),
            images=len(crops.names),
            checks=written.checks,
            resize=written.resize,
            files={name: _about(source, begun / name, tables, speed) for name in tables},
            threads=source.threads,
            speed=speed,
            environment=_environment(),
        )
        for name, table in tables.items():
            write_atomically(answers_file(begun / name), csv_text(table))
        if Format.onnx in config.formats:
            write_atomically(begun / SCRIPT, Path(run_onnx.__file__).read_bytes())
        write_atomically(begun / run.model_card.name, exported_card(run, parity))
        write_atomically(begun / PARITY_FILE, json.dumps(parity, indent=2) + "\n")
    return parity


@contextlib.contextmanager
def _written_aside(folder: Path) -> Iterator[Path]:
    """A new folder for files that move to `folder` when all of them are there; if something fails, it is removed."""
    begun = folder / BEGUN
    shutil.rmtree(begun, ignore_errors=True)  # of an export that was killed
    begun.mkdir()
    try:
        yield begun
        (folder / PARITY_FILE).unlink(missing_ok=True)  # it comes last: a folder without it is not whole
        names = sorted((file.name for file in begun.iterdir()), key=PARITY_FILE.__eq__)
        _remove_outdated(folder, names)
        for name in names:
            (begun / name).replace(folder / name)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _remove_outdated(folder: Path, made: list[str]) -> None:
    models = [*TITLES, "model_native.onnx", "model_native.pt2"]
    every = {SCRIPT, *models, *(answers_file(folder / name).name for name in TITLES)}
    outdated = sorted(name for name in every.difference(made) if (folder / name).exists())
    for name in outdated:
        (folder / name).unlink()
    if outdated:
        log.info(f"Removed, because they are of an earlier export: {first_few(outdated, len(outdated))}.")


def _write_smaller(source: Source, kinds: list[Smaller], begun: Path) -> dict[str, Ask]:
    files = {}
    for kind in kinds:
        target = begun / f"model_{kind.value}.onnx"
        with working(f"Writing {target.name}"):
            write_smaller(kind, begun / "model.onnx", source.training_crops, target)
        files[target.name] = opened(target, source.threads)
    return files


def _measure_speed(
    source: Source, files: Mapping[str, Ask], crops: ValidationCrops, begun: Path, seconds: float
) -> dict[str, Speed]:
    forms = {f"torch, {name}": in_torch(source.in_precision(name)) for name in ("32-true", source.precision)}
    forms |= {TITLES[name]: ask for name, ask in files.items()}
    openvino = in_openvino(begun / "model.onnx", source.threads) if "model.onnx" in files else None
    if openvino is not None:
        forms["OpenVINO"] = openvino
    pixels = nhwc(crops.images[np.arange(BATCH) % len(crops.images)])
    return measure_speed(forms, pixels, seconds, source.threads)


def _about(source: Source, file: Path, tables: Mapping[str, pd.DataFrame], speed: Mapping[str, Speed]) -> ExportedFile:
    table, weights = tables[file.name], weights_of(file)
    resamples, precision = source.config.evaluation.resamples, source.precision
    compared = against_report(source.report, table, source.rule, resamples, file=file.name, precision=precision)
    return ExportedFile(
        weights=weights,
        bytes=file.stat().st_size,
        answers_hash=answers_hash(table),
        **compared,
        changed_by_rounding=None if weights == "float32" else changed_answers(tables["model.onnx"], table, source.rule),
        cost=speed.get(TITLES[file.name]),
    )


def _environment() -> dict[str, str]:
    libraries = [name for name in ("onnx", "onnxscript", "onnxruntime", "openvino") if find_spec(name) is not None]
    return {**environment(), **{name: version(name) for name in libraries}, "processor": processor()}
