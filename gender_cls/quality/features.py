"""Features of crops from a backbone that was never trained on them, for the light classifier of suspect labels."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gender_cls.config.checks import AUTO
from gender_cls.config.data import CLASSES, DataConfig
from gender_cls.config.model import ModelConfig
from gender_cls.data.cache.database import stamp
from gender_cls.data.datamodule import CropDataset, crop_loader
from gender_cls.data.image_store import ImageStore
from gender_cls.errors import GenderClsError, require
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.models.feature_map import find_feature_map
from gender_cls.models.published_weights import OR_RANDOM, UnavailableError
from gender_cls.runs.files import write_atomically
from gender_cls.system.progress import working
from gender_cls.system.resources import choose_resources

IMAGES_PER_BATCH = 32
IMAGES_PER_FILE = 4096  # images whose features share a file; a killed process loses at most so many
STRIPS = 4  # head, chest, hips and legs look different; one mean over the whole person would hide that


def backbone_features(
    images: ImageStore, paths: Sequence[str], data: DataConfig, model: ModelConfig, cache: Path
) -> NDArray[np.float16]:
    """The last feature map of the backbone for each image, averaged over horizontal strips: (n, d).

    Strips as in Sun et al., "Beyond part models: person retrieval with refined part pooling" (ECCV 2018). For a
    transformer with tokens, or if no map is found, the features are the input of the head instead.

    The features of `IMAGES_PER_FILE` images are written into the folder `cache` as soon as they are computed, under a
    name made of the model, the image size and the files with their stamps. So a second call, also after a crash,
    computes only what is missing, changed or damaged. For MobileNetV2 an image takes 4 * 1,280 numbers of two bytes.

    Raises:
        GenderClsError: the backbone or its weights cannot be loaded, a file cannot be read, or `cache` not be written.
    """
    chunks = [paths[start : start + IMAGES_PER_FILE] for start in range(0, len(paths), IMAGES_PER_FILE)]
    files = [cache / f"{_key(images.root, chunk, data, model)}.npy" for chunk in chunks]
    wanted = list(zip(chunks, files, strict=True))
    kept = {file: found for chunk, file in wanted if (found := _load(file, len(chunk))) is not None}
    kept |= _compute(images, [(chunk, file) for chunk, file in wanted if file not in kept], data, model)
    return np.concatenate([kept[file] for file in files])


def _load(file: Path, images: int) -> NDArray[np.float16] | None:
    """The features of this many images from their file; None if it is missing or damaged."""
    if not file.is_file():
        return None
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.float16 and found.shape[:-1] == (images,) else None


def _key(root: Path, paths: Sequence[str], data: DataConfig, model: ModelConfig) -> str:
    """A file name that changes with everything that changes the features of these images."""
    read = [root / path for path in paths] + ([Path(model.weights)] if model.weights is not None else [])
    states = [(os.path.abspath(path), *stamp(str(path))) for path in read]
    settings = {**asdict(model), "library": model.library.value, "strips": STRIPS, "device": _device().type}
    what = json.dumps([settings, list(data.image_size), data.resize_mode.value, states], sort_keys=True)
    return hashlib.blake2b(what.encode(), digest_size=16).hexdigest()


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _compute(
    images: ImageStore, missing: list[tuple[Sequence[str], Path]], data: DataConfig, model: ModelConfig
) -> dict[Path, NDArray[np.float16]]:
    """Write the features of these paths into these files; return them by file."""
    computed: dict[Path, NDArray[np.float16]] = {}
    if not missing:
        return computed
    size = (data.image_size[0], data.image_size[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights must be the same as those of the features that are kept already
        try:
            backbone = build_backbone(model, size, channels_last=True)
        except UnavailableError as error:  # random weights would know nothing about people
            raise GenderClsError(str(error).replace(OR_RANDOM, ", or set audit.suspects=false")) from None
    device = _device()
    network = backbone.network.to(device).eval()
    mean, std = (torch.tensor(value, device=device).view(3, 1, 1) for value in (backbone.mean, backbone.std))
    resources = choose_resources(
        device.type, "32-true", AUTO, data.num_workers, pixels_at_hand=data.keeps_pixels
    ).apply()
    bar = working("Computing the features", sum(len(paths) for paths, _ in missing), "images")
    with bar as work, _collecting(backbone, size) as features, torch.inference_mode():
        for paths, file in missing:
            features.clear()
            table = pd.DataFrame({"path": paths, "label": CLASSES[0]})  # no feature depends on the label
            dataset = CropDataset(table, images, data)
            for pixels, _ in crop_loader(dataset, batch_size=IMAGES_PER_BATCH, num_workers=resources.num_workers):
                network((pixels.to(device) / 255 - mean) / std)  # rounded as in the features that are kept already
                work.advance(len(pixels))
            require(
                sum(map(len, features)) == len(paths),
                f"{model.title} gives no features: its head {backbone.heads[0]} is not called once per image; "
                "choose another model.",
            )
            computed[file] = torch.cat(features).numpy()
            np.save(content := BytesIO(), computed[file])
            try:
                write_atomically(file, content.getvalue())
            except OSError as error:
                raise GenderClsError(
                    f"{file.parent} cannot keep features ({error}): make room, or set audit.suspects=false."
                ) from None
    return computed


@contextmanager
def _collecting(backbone: Backbone, image_size: tuple[int, int]) -> Iterator[list[Tensor]]:
    """A list that gets the features (B, d) of every batch that passes through the network."""
    collected: list[Tensor] = []

    def collect(features: Tensor) -> None:
        largest = torch.finfo(torch.float16).max
        collected.append(features.float().clamp(-largest, largest).half().cpu())

    try:
        found = find_feature_map(backbone.network, image_size, backbone.heads)
    except GenderClsError:
        found = None
    if found is None or found.layout == "tokens":  # the head's input sums up all tokens
        head = backbone.network.get_submodule(backbone.heads[0])
        hook = head.register_forward_pre_hook(lambda _, inputs: collect(_one_vector_per_image(inputs[0])))
    else:
        to_nchw, layer = found.to_nchw, backbone.network.get_submodule(found.layer)
        hook = layer.register_forward_hook(
            lambda _, __, output: collect(adaptive_avg_pool2d(to_nchw(output), (STRIPS, 1)).flatten(1))
        )
    with hook:  # it is removed at the end
        yield collected


def _one_vector_per_image(features: Tensor) -> Tensor:
    """(B, d), (B, d, h, w) in front of a convolution, or (B, tokens, d) -> (B, d)."""
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features.mean(dim=1) if features.ndim == 3 else features
