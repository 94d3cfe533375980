"""What follows from the finished table of `predict`: tracks, summary, scores and overlays."""

import pandas as pd

from gender_cls.config.predict import PredictConfig
from gender_cls.data.csv_text import csv_text
from gender_cls.errors import plural
from gender_cls.evaluation.tracks import fit_track_rule, track_table
from gender_cls.predict.answering import Answerer
from gender_cls.predict.overlay import write_overlays
from gender_cls.predict.store import PredictionFolder
from gender_cls.runs.files import write_atomically
from gender_cls.system.progress import working


def conclude(folder: PredictionFolder, answerer: Answerer, config: PredictConfig) -> list[str]:
    """Write what follows from the table of the folder; return lines that say it."""
    table = pd.concat(folder.answered(), ignore_index=True)
    with working("Summing up"):
        tracks = track_table(table, answerer.combined.rule, fit_track_rule(answerer.combined))
        write_atomically(folder.tracks, csv_text(tracks))
    lines = []
    if config.overlay:
        write_overlays(table, tracks, folder.folder, stride=config.stride, first_frame=config.first_frame)
    if unreadable := int((table["fault"] != "").sum()):
        lines.append(f"{plural(unreadable, 'image')} of {len(table)} cannot be read: their rows have the reason.")
    return lines
