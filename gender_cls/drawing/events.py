"""The test scores and their figures for TensorBoard, beside the curves of training."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from gender_cls.drawing.event_pictures import add_png
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.schema import Explanations, Metrics
from gender_cls.runs.outputs import HPARAMS_SCORES

SUFFIX = ".evaluation"


def write_events(folder: Path, metrics: Metrics, test: pd.DataFrame, figures: Mapping[str, bytes], step: int) -> None:
    """Write an event file, in the place of that of an earlier evaluation.

    Args:
        folder: of the run.
        metrics: as in `metrics.json`.
        test: the predictions on test.
        figures: name -> PNG.
        step: of the checkpoint that was tested.
    """
    for earlier in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        earlier.unlink()
    validation, by_image, by_identity = metrics["validation"], metrics["test"], metrics["test"]["by_identity"]
    headline = (validation["scores"]["balanced_accuracy"], by_image["scores"]["balanced_accuracy"])
    estimates = dict(zip(HPARAMS_SCORES, (*headline, by_image["scores"]["auroc"]), strict=True))
    estimates |= {f"test/{name}": estimate for name, estimate in by_image["scores"].items()}
    if by_identity is not None:
        estimates |= {f"test_by_identity/{name}": estimate for name, estimate in by_identity["scores"].items()}
    if metrics["explanations"] is not None:
        estimates |= _of_maps(metrics["explanations"])
    with SummaryWriter(folder, filename_suffix=SUFFIX) as writer:
        for tag, estimate in estimates.items():
            if estimate["value"] is not None:
                writer.add_scalar(tag, estimate["value"], step)
        female = (test["label"] == "FEMALE").to_numpy()
        if np.isfinite(test["p_FEMALE"]).all() and female.any():
            writer.add_pr_curve("test/precision_recall_FEMALE", female, test["p_FEMALE"].to_numpy(), step)
        for name, png in figures.items():
            width, height = Image.open(BytesIO(png)).size
            add_png(writer, f"test/{name}", png, (height, width), step)


def _of_maps(explanations: Explanations) -> dict[str, Estimate]:
    """Tag -> areas by game and baseline, shares by place, and `randomisation`: what all weights random leave."""
    estimates: dict[str, Estimate] = {}
    for method in explanations["methods"]:
        tag = f"test_explanations/{method['name']}"
        for game in method["games"]:
            areas = (("deletion", game["deletion"]), ("insertion", game["insertion"]), ("random", game["random"]))
            estimates |= {f"{tag}/{name}_{game['baseline']}": area for name, area in areas}
        estimates |= {f"{tag}/{place['name']}": place["share"] for place in method["places"]}
        if method["randomisation"] is not None:
            estimates[f"{tag}/randomisation"] = method["randomisation"]["stages"][-1]["similarity"]
    return estimates
