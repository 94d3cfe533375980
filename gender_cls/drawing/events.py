"""TensorBoard: the test scores and figures next to the curves of training, and PNG files as they are."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import Explanations, Metrics
from gender_cls.runs.run import HPARAMS_SCORES

SUFFIX = ".evaluation"


def add_png(writer: SummaryWriter, tag: str, png: bytes, step: int) -> None:
    """Write a PNG file as it is; `add_image` would compress it again, which takes much longer."""
    width, height = Image.open(BytesIO(png)).size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def write_events(folder: Path, metrics: Metrics, test: pd.DataFrame, figures: Mapping[str, bytes], step: int) -> None:
    """Write one event file; it replaces the file of an earlier evaluation.

    Args:
        folder: of the run.
        test: the predictions on test.
        figures: name -> PNG.
        step: of the checkpoint that was tested.
    """
    for earlier in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        earlier.unlink()
    female = (test["label"] == "FEMALE").to_numpy()
    with SummaryWriter(folder, filename_suffix=SUFFIX) as writer:
        for tag, estimate in _tagged(metrics).items():
            if estimate["value"] is not None:
                writer.add_scalar(tag, estimate["value"], step)
        if np.isfinite(test["p_FEMALE"]).all() and female.any():
            writer.add_pr_curve("test/precision_recall_FEMALE", female, test["p_FEMALE"].to_numpy(), step)
        for name, png in figures.items():
            add_png(writer, f"test/{name}", png, step)


def _tagged(metrics: Metrics) -> dict[str, Estimate]:
    """Tag -> score."""
    test, by_identity = metrics["test"]["scores"], metrics["test"]["by_identity"]
    headline = (metrics["validation"]["scores"]["balanced_accuracy"], test["balanced_accuracy"], test["auroc"])
    tagged = dict(zip(HPARAMS_SCORES, headline, strict=True))
    tagged |= {f"test/{name}": estimate for name, estimate in test.items()}
    if by_identity is not None:
        tagged |= {f"test_by_identity/{name}": estimate for name, estimate in by_identity["scores"].items()}
    return tagged if metrics["explanations"] is None else tagged | _tagged_maps(metrics["explanations"])


def _tagged_maps(explanations: Explanations) -> dict[str, Estimate]:
    """Areas by game and baseline, shares by place, and the similarity that is left with all weights random."""
    tagged: dict[str, Estimate] = {}
    for method in explanations["methods"]:
        tag = f"test_explanations/{method['name']}"
        for game in method["games"]:
            tagged[f"{tag}/deletion_{game['baseline']}"] = game["deletion"]
            tagged[f"{tag}/insertion_{game['baseline']}"] = game["insertion"]
            tagged[f"{tag}/random_{game['baseline']}"] = game["random"]
        tagged |= {f"{tag}/{place['name']}": place["share"] for place in method["places"]}
        if method["randomisation"] is not None:
            tagged[f"{tag}/randomisation"] = method["randomisation"]["stages"][-1]["similarity"]
    return tagged
