"""Crops -> numbers that a backbone which was never trained on them gives, for a light classifier to learn from."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from gender_cls.config.checks import AUTO
from gender_cls.config.data import DataConfig, PixelCache
from gender_cls.config.model import ModelConfig
from gender_cls.data.image_store import ImageSequence
from gender_cls.data.transforms import resize
from gender_cls.errors import GenderClsError, require
from gender_cls.models.backbones import Backbone, build_backbone
from gender_cls.models.feature_map import find_feature_map
from gender_cls.runs.files import write_atomically
from gender_cls.system.processes import forking
from gender_cls.system.resources import choose_resources

BATCH = 32

IMAGES_PER_FILE = 4096
"""Images whose features share a file; what a killed run loses at most."""

STRIPS = 4
"""Head, chest, hips and legs say different things of a standing person, and one mean over all of them says less."""


def frozen_features(pictures: ImageSequence, data: DataConfig, model: ModelConfig, cache: Path) -> NDArray[np.float16]:
    """The backbone's last feature map for each crop, averaged over horizontal strips.

    Of a transformer with tokens, or where no map can be found, what the head is given instead. Strips as in Sun et al.,
    "Beyond part models: person retrieval with refined part pooling" (ECCV 2018). Crops are read and resized as
    evaluation does.

    Every chunk of images is written into `cache` when it is done, under a name made from the model, the image size and
    the files with their sizes and times: a second call, or one after a crash, computes only what is missing or changed.

    Args:
        pictures: readable ones.
        data: its `image_size`, `resize_mode`, `num_workers` and `cache` count.
        cache: a folder, made if need be.

    Returns:
        (n, d); for MobileNetV2 d is 4 * 1,280: 10 kB an image in memory and in `cache`.

    Raises:
        GenderClsError: the backbone or its weights cannot be had, a file cannot be read, or `cache` not be written.
    """
    chunks = [pictures.part(start, start + IMAGES_PER_FILE) for start in range(0, len(pictures), IMAGES_PER_FILE)]
    files = [cache / f"{_key(chunk, data, model)}.npy" for chunk in chunks]
    missing = [(chunk, file) for chunk, file in zip(chunks, files, strict=True) if not file.is_file()]
    if missing:
        size = (data.image_size[0], data.image_size[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # with random weights, features kept from an earlier audit are of the same network
            backbone = build_backbone(model, size)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        backbone.network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch declares no such
        at_hand = data.cache is not PixelCache.none
        resources = choose_resources(device.type, "32-true", AUTO, data.num_workers, pixels_at_hand=at_hand).apply()
        workers = resources.num_workers
        context = forking() if workers else None
        total = sum(len(chunk) for chunk, _ in missing)
        with (
            _listening(backbone, size) as heard,
            tqdm(total=total, desc="Features", unit="img", delay=1) as progress,
        ):
            for chunk, file in missing:
                heard.clear()
                for batch in DataLoader(
                    _Crops(chunk, data), BATCH, num_workers=workers, multiprocessing_context=context
                ):
                    _show(batch.to(device), backbone)
                    progress.update(len(batch))
                require(
                    sum(map(len, heard)) == len(chunk),
                    f"{model.title} gives no features: its head {backbone.heads[0]} is not called once for a picture; "
                    "choose another model.",
                )
                _keep(file, torch.cat(heard).numpy())
    return np.concatenate([np.load(file) for file in files])


def _key(chunk: ImageSequence, data: DataConfig, model: ModelConfig) -> str:
    """Whatever changes the features of this chunk changes its name."""
    read = [chunk.root / path for path in chunk.paths] + ([Path(model.weights)] if model.weights is not None else [])
    states = [(os.path.abspath(path), (state := path.stat()).st_size, state.st_mtime_ns) for path in read]
    settings = {**asdict(model), "library": model.library.value, "strips": STRIPS}
    what = json.dumps([settings, list(data.image_size), data.resize_mode.value, states], sort_keys=True)
    return hashlib.blake2b(what.encode(), digest_size=16).hexdigest()


class _Crops(Dataset[Tensor]):
    """Crops (3, H, W) uint8."""

    def __init__(self, pictures: ImageSequence, data: DataConfig) -> None:
        self.pictures = pictures
        self.size = (data.image_size[0], data.image_size[1])
        self.mode = data.resize_mode

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, row: int) -> Tensor:
        return resize(self.pictures[row], self.size, self.mode)


@torch.inference_mode()
def _show(images: Tensor, backbone: Backbone) -> None:
    """Images (B, 3, H, W) uint8, normalised as the backbone wants them."""
    mean, std = (torch.tensor(value, device=images.device).view(3, 1, 1) for value in (backbone.mean, backbone.std))
    backbone.network((images / 255 - mean) / std)


@contextmanager
def _listening(backbone: Backbone, image_size: tuple[int, int]) -> Iterator[list[Tensor]]:
    """Collect the features (B, d) of every batch that passes through the network."""
    heard: list[Tensor] = []

    def keep(features: Tensor) -> None:
        most = torch.finfo(torch.float16).max
        heard.append(features.float().clamp(-most, most).half().cpu())

    try:
        where = find_feature_map(backbone.network, image_size, backbone.heads)
    except GenderClsError:  # the head's input will do
        where = None
    if where is None or where.layout == "tokens":  # of these one says what the others have told it
        head = backbone.network.get_submodule(backbone.heads[0])
        hook = head.register_forward_pre_hook(lambda _, inputs: keep(_flat(inputs[0])))
    else:
        to_nchw: Callable[[Tensor], Tensor] = where.to_nchw
        layer = backbone.network.get_submodule(where.layer)
        hook = layer.register_forward_hook(
            lambda _, __, output: keep(adaptive_avg_pool2d(to_nchw(output), (STRIPS, 1)).flatten(1))
        )
    try:
        yield heard
    finally:
        hook.remove()


def _flat(features: Tensor) -> Tensor:
    """(B, d), (B, d, h, w) in front of a convolution, or (B, tokens, d) -> (B, d)."""
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features.mean(dim=1) if features.ndim == 3 else features


def _keep(file: Path, features: NDArray[np.float16]) -> None:
    content = BytesIO()
    np.save(content, features)
    try:
        write_atomically(file, content.getvalue())
    except OSError as error:
        raise GenderClsError(
            f"{file.parent} cannot keep features ({error}): make room, or set audit.suspects=false."
        ) from None
