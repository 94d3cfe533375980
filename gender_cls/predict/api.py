"""Finished runs in Python: `gender_cls.load(run).predict(images)` and `.explain(images)`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gender_cls.config.parsing import parse_config
from gender_cls.config.predict import STANDARD_INPUT, PredictConfig
from gender_cls.data.image_files import UnreadableError, picture_pixels, read_image
from gender_cls.data.requests.crops import Crop, crop_batch
from gender_cls.data.requests.requested import REQUEST_COLUMNS
from gender_cls.errors import GenderClsError, require, visible
from gender_cls.evaluation.evaluated import require_evaluated
from gender_cls.predict.answering import Answerer
from gender_cls.predict.models import RunModel
from gender_cls.predict.table import typed
from gender_cls.runs.run import fitted_runs

if TYPE_CHECKING:
    from gender_cls.explain.explanation import Explanation

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | Tensor

_KINDS = (
    "a path, a PIL picture, a numpy array (H, W, 3) or a torch tensor (3, H, W) or (B, 3, H, W), both uint8 in RGB, or "
    "a list of these"
)


class LoadedModel:
    """What `gender_cls.load` gives: the networks of finished runs, or an exported model."""

    def __init__(self, answerer: Answerer, max_megapixels: float) -> None:
        self._answerer, self._max_megapixels = answerer, max_megapixels

    def predict(self, images: Picture | Sequence[Picture]) -> pd.DataFrame:
        """Answer for images.

        Args:
            images: one, or a list of mixed kinds: paths of files; PIL pictures; numpy arrays (H, W, 3) and torch
                tensors (3, H, W) or (B, 3, H, W), both uint8 in RGB. A tensor of B images gives B rows.

        Returns:
            One row per image with the columns of `predictions.csv`; a missing text is empty, a missing number NA or
            NaN. Only an image from a file has a `path`; a file that cannot be read has a `fault` and a `reason`.

        Raises:
            GenderClsError: there are no images, or one is of no such kind, type or shape.
        """
        single = _listed(images)
        size = self._answerer.batch_size
        tables = [self._answered(single[start : start + size]) for start in range(0, len(single), size)]
        return pd.concat(tables, ignore_index=True)

    def explain(
        self,
        images: Picture | Sequence[Picture],
        methods: Sequence[str] | str = ("saliency", "grad_cam"),
        label: str | None = None,
    ) -> "list[Explanation]":
        """Maps of which pixels the answers depend on, by Captum.

        A map explains by how much the logit of a label is above that of the other one.

        Args:
            images: as in `predict`.
            methods: some of saliency, smoothgrad, grad_cam, integrated_gradients and occlusion; the last ones cost up
                to a hundred passes of each image.
            label: FEMALE or MALE, whose maps are wanted; None: of each image the predicted one, at the threshold 0.5.

        Returns:
            One for each image, with `maps[method]` (H, W) float32 and pictures of them.

        Raises:
            GenderClsError: these are several runs or an exported model; an image cannot be read; a method or a label
                is unknown; the network has no layer for Grad-CAM.
        """
        from gender_cls.explain.explanation import explain_batch, methods_of  # answering needs no maps

        chosen, single = methods_of(methods), _listed(images)
        models = self._answerer.models
        model = models[0] if len(models) == 1 else None
        if not isinstance(model, RunModel):
            what = f"{len(models)} runs answer together here" if len(models) > 1 else "An exported model has no layers"
            raise GenderClsError(f"{what}: load one run, and explain with it.")
        crops = [self._crop(image) for image in single]
        for crop in crops:
            if isinstance(crop, UnreadableError):
                raise crop
        classifier, found = model.predictor.device_classifier(), list["Explanation"]()
        for start in range(0, len(crops), model.batch_size):
            part = crops[start : start + model.batch_size]
            found += explain_batch(classifier, crop_batch(iter(part), len(part), [model.form]).inputs[0], chosen, label)
        return found

    def _answered(self, images: Sequence[Path | NDArray[np.uint8]]) -> pd.DataFrame:
        batch = crop_batch(map(self._crop, images), len(images), self._answerer.forms)
        paths = [str(image) if isinstance(image, Path) else "" for image in images]
        rows = typed(pd.DataFrame({**dict.fromkeys(REQUEST_COLUMNS, ""), "path": paths}))
        return self._answerer.table(rows, batch.facts, self._answerer.probabilities(batch))

    def _crop(self, image: Path | NDArray[np.uint8]) -> Crop | UnreadableError:
        if isinstance(image, np.ndarray):
            return Crop.of(image)
        try:
            return Crop.of(np.array(read_image(image, self._max_megapixels).image))
        except UnreadableError as error:
            return error


def load(
    run: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    accelerator: str = "auto",
    precision: str | None = None,
) -> LoadedModel:
    """Load a finished run to answer for images, with its temperature, threshold and abstention band.

    Args:
        run: its folder; several, or a sweep's folder, answer together; or an exported `.onnx` file.
        accelerator: auto, cpu, gpu, cuda or mps.
        precision: None: as in the run's own test; else one of `conf/predict.yaml`.

    Raises:
        GenderClsError: there is no finished run, or a value is wrong.
    """
    listed = [str(one) for one in (run if isinstance(run, list | tuple) else [run])]
    # The settings are checked as those of the command; nothing is read from standard input.
    given = {"run": listed, "images": STANDARD_INPUT, "accelerator": accelerator, "precision": precision}
    config = parse_config({**given, "threads": torch.get_num_threads()}, PredictConfig)
    runs = [] if config.exported else fitted_runs(config.folders)
    for one in runs:
        require_evaluated(one)
    return LoadedModel(Answerer.of(config, runs), config.data.max_megapixels)


def _listed(images: Any) -> list[Path | NDArray[np.uint8]]:
    """Each image as a Path or as its pixels (H, W, 3) uint8; GenderClsError if there are none, or one is of no kind."""
    several = isinstance(images, list | tuple)
    given: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    single = [
        one
        for number, image in enumerate(given)
        for one in _single(image, f"images[{number}]" if several else "images")
    ]
    require(bool(single), f"images is empty: give {_KINDS}.")
    return single


def _single(image: Any, name: str) -> list[Path | NDArray[np.uint8]]:
    """One image as a Path or as its pixels (H, W, 3) uint8; each of a tensor (B, 3, H, W).

    Raises:
        GenderClsError: it is nothing of that; the sentence says what would be right.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image).expanduser().absolute()
        require(not path.is_dir(), f"{visible(path)} is a folder: list its files, or name it to the command predict.")
        return [path]
    if isinstance(image, Image.Image):
        return [picture_pixels(image, name)]
    if isinstance(image, Tensor):
        _require_bytes(image.dtype == torch.uint8, str(image.dtype), bool(image.isnan().any()), name)
        fits = image.ndim in (3, 4) and image.shape[-3] == 3 and image.numel() > 0
        hint = "; permute(2, 0, 1) makes it so" if image.ndim == 3 and image.shape[-1] == 3 else ""
        require(fits, f"{name} has the shape {tuple(image.shape)}: a tensor is (3, H, W) or (B, 3, H, W){hint}.")
        batch = image.detach().cpu().reshape(-1, *image.shape[-3:])
        return [one.permute(1, 2, 0).numpy() for one in batch]
    if isinstance(image, np.ndarray):
        is_float = np.issubdtype(image.dtype, np.floating)
        _require_bytes(image.dtype == np.uint8, str(image.dtype), is_float and bool(np.isnan(image).any()), name)
        fits = image.ndim == 3 and image.shape[2] == 3 and image.size > 0
        hint = "; give list(array) for several images" if image.ndim == 4 else ""
        hint = "; transpose(1, 2, 0) makes it so" if image.ndim == 3 and image.shape[0] == 3 else hint
        require(fits, f"{name} has the shape {image.shape}: an array is (H, W, 3) in RGB{hint}.")
        return [image]
    raise GenderClsError(f"{name} is of the type {type(image).__name__}: give {_KINDS}.")


def _require_bytes(fits: bool, kind: str, has_nan: bool, name: str) -> None:
    nan = ", some of them NaN" if has_nan else ""
    require(
        fits,
        f"{name} holds values of the type {kind}{nan}: give uint8 from 0 to 255; numbers from 0 to 1 are multiplied "
        "by 255 and rounded.",
    )
