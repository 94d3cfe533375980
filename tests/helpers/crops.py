"""Synthetic crops for tests: drawn here, tiny, nothing downloaded."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from gender_cls.config.data import ResizeMode
from gender_cls.data.image_files import read_image
from gender_cls.data.resizing import resize_into
from gender_cls.system.resources import Resources


def write_crop(path: Path, seed: int, size: tuple[int, int] = (24, 48), bright: bool = False) -> None:
    """A noisy picture (width, height); `bright` ones are told apart at a glance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels + np.uint8(140 if bright else 0)).save(path)


def write_crops(root: Path, *names: str) -> Path:
    """Different pictures under these names; returns `root`."""
    for seed, name in enumerate(names):
        write_crop(root / name, seed)
    return root


def draw_folders(root: Path) -> Path:
    """`root/<LABEL>/person<i>_camera<c>_<k>.png`: 8 people a label, 3 crops a person; FEMALE crops are bright."""
    for label_index, label in enumerate(("FEMALE", "MALE")):
        for person in range(8):
            for crop in range(3):
                name = f"person{label_index * 8 + person:02d}_camera{crop % 2}_{crop}.png"
                write_crop(root / label / name, seed=person * 10 + crop, bright=label == "FEMALE")
    return root


def noise(height: int, width: int) -> Tensor:
    """Independent random pixels (3, H, W) uint8, always the same."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def decode(path: Path) -> Tensor:
    """An image file as uint8 (3, H, W)."""
    return pil_to_tensor(read_image(path).image)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """An image (3, H, W) through Pillow's JPEG."""
    file = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def assert_new_image(change: Callable[[Tensor], Tensor], image: Tensor) -> None:
    """The change gives a new image of the same size, the same one for either layout in memory."""
    before, changed = image.clone(), change(image)
    assert (changed.shape, changed.dtype, changed.is_contiguous()) == (image.shape, torch.uint8, True)
    assert torch.equal(image, before)
    channels_last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # as a decoder leaves it
    again = change(channels_last)
    assert torch.equal(again, changed)
    assert again.is_contiguous()


def resize(image: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
    """An image (3, H, W) at `size` = (height, width)."""
    pixels = torch.empty((*size, 3), dtype=torch.uint8)
    resize_into(pixels, image, mode)
    return pixels.permute(2, 0, 1).contiguous()


ON_CPU = Resources("cpu", "32-true", threads=1, num_workers=0)

PATTERN = r"(?P<identity>person\d+)_(?P<camera>camera\d)"
