"""Export one run: its files are written aside and compared with the run's network; only then they take their names."""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gender_cls.config.evaluation import EvaluationConfig
from gender_cls.config.export import ExportConfig, Format, Smaller
from gender_cls.config.parsing import recorded_config
from gender_cls.config.train import Config
from gender_cls.data.crops import balanced_sample, read_crops
from gender_cls.data.csv_text import csv_text
from gender_cls.data.image_store import ImageStore
from gender_cls.data.run_images import decoded_when_needed, recorded_rows
from gender_cls.errors import first_few, require
from gender_cls.evaluation.against_report import against_report
from gender_cls.evaluation.decisions import DecisionRule
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.evaluation.export_schema import PARITY_VERSION, Check, ExportedFile, Parity, ResizeCheck
from gender_cls.evaluation.predictions import answers_hash, answers_of
from gender_cls.export import run_onnx
from gender_cls.export.answers import answer_rows
from gender_cls.export.graph import ExportedGraph
from gender_cls.export.metadata import metadata_of
from gender_cls.export.onnx_file import write_onnx
from gender_cls.export.parity import Asked, check_batches, check_crops, check_resize, eager_logits
from gender_cls.export.pt2_file import read_pt2, write_pt2
from gender_cls.export.smaller import CALIBRATION_IMAGES, write_smaller
from gender_cls.export.speed import in_openvino, in_torch, measure_speed
from gender_cls.export.validation_crops import ValidationCrops, read_validation_crops, resized
