"""What follows from the finished table of `predict`: tracks, summary, scores and overlays."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.parsing import recorded_config
from gender_cls.config.predict import PredictConfig
from gender_cls.data.csv_text import csv_text
from gender_cls.evaluation.request_scores import score_lines, score_requested
from gender_cls.evaluation.request_summary import summarise, summary_lines
from gender_cls.evaluation.tracks import fit_track_rule, track_table
from gender_cls.predict.answering import Answerer
from gender_cls.predict.overlay import write_overlays
from gender_cls.predict.store import PredictionFolder
from gender_cls.runs.files import write_atomically
from gender_cls.system.progress import working
from gender_cls.system.terminal import shortest


def conclude(folder: PredictionFolder, answerer: Answerer, config: PredictConfig) -> list[str]:
    """Write `tracks.csv`, `summary.json`, and `scores.json` where labels are known; return their sentences."""
    combined = answerer.combined
    with working("Summing up"):
        table = pd.concat(folder.answered(), ignore_index=True)
        track_rule = fit_track_rule(combined)
        tracks = track_table(table, combined.rule, track_rule)
        write_atomically(folder.tracks, csv_text(tracks))
        summary = summarise(table, tracks, combined, track_rule)
        _write(folder.summary, summary)
        lines = summary_lines(summary)
        scores = score_requested(table, tracks, combined, _resamples(config, answerer))
        if scores is not None:
            _write(folder.scores, scores)
            lines += score_lines(scores)
    if config.overlay:
        files = write_overlays(table, tracks, folder.folder, stride=config.stride, first_frame=config.first_frame)
        lines += [f"Open {shortest(file)}" for file in files]
    return lines


def _resamples(config: PredictConfig, answerer: Answerer) -> int:
    if config.resamples is not None:
        return config.resamples
    recorded = [recorded_config(run.config_file).evaluation for run in answerer.runs]
    return (recorded or [EvaluationConfig()])[0].resamples


def _write(file: Path, content: Any) -> None:
    write_atomically(file, json.dumps(content, indent=2, allow_nan=False) + "\n")
