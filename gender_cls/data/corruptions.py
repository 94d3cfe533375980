"""Damage that cameras, weather, encoders and detectors do to a crop, in five severities.

After ImageNet-C (Hendrycks & Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019, arXiv:1903.12261), with corruptions chosen for CCTV crops. Lengths are shares of the crop's
sides, so that a severity has the same effect on a person of 40 pixels and on one of 300. Low resolution leaves the same
number of rows of both. Only the blocks of JPEG and the grain of noise are measured in native pixels, as in a camera.
"""

import hashlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gender_cls.data.shortcuts import PERSON_BOX
from gender_cls.data.variant_names import SEVERITIES

Pixels = NDArray[np.uint8]
"""(H, W, 3), RGB."""

Seen = NDArray[np.uint8] | NDArray[np.floating]
"""(H, W, 3), 0 to 255, not yet rounded or clipped."""


def apply_corruption(image: Tensor, name: str, severity: int, path: str) -> Tensor:
    """A native crop, before any resize, as a worse camera would have delivered it.

    Random directions, positions, colours and noise depend on `name` and `path` only: they are the same for all
    severities, in any order and process.

    Args:
        image: uint8 (3, H, W) of any size; it is not changed.
        name: a key of CORRUPTIONS.
        severity: 1 to 5. At 5 a human still recognises most people.

    Returns:
        uint8, contiguous, of the same size.
    """
    effect, strengths = _DAMAGES[name]
    strength = strengths[SEVERITIES.index(severity)]
    digest = hashlib.blake2b(f"{name}/{path}".encode(errors="surrogateescape"), digest_size=16).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    seen = effect(image.permute(1, 2, 0).numpy(), strength, rng)
    pixels = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _low_resolution(pixels: Pixels, rows: float, rng: np.random.Generator) -> Seen:
    """The crop reduced to `rows` rows and enlarged again, as from farther away. A smaller crop stays as it is."""
    height, width = pixels.shape[:2]
    if height <= rows:
        return pixels
    image = Image.fromarray(pixels)
    small = image.resize((max(1, round(width * rows / height)), int(rows)), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def _motion_blur(pixels: Pixels, length: float, rng: np.random.Generator) -> Seen:
    """Blurred along a line in a random direction; `length` is a share of the height."""
    angle = rng.uniform(0, np.pi)
    return _blur(pixels, _capsule(0.5, max(length * len(pixels) - 1, 0), angle))


def _defocus(pixels: Pixels, radius: float, rng: np.random.Generator) -> Seen:
    """Every point spread over a disc; `radius` is a share of the height."""
    return _blur(pixels, _capsule(radius * len(pixels)))


def _jpeg(pixels: Pixels, quality: float, rng: np.random.Generator) -> Seen:
    """Encoded by Pillow with its defaults (chroma has half the resolution), and decoded again."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def _low_light(pixels: Pixels, exposure: float, rng: np.random.Generator) -> Seen:
    """A share `exposure` of the light, with the noise of photons and of the sensor.

    Photon counts are drawn from a normal distribution with its mean as variance, so that all severities share one noise
    (Foi et al., Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data, IEEE TIP 2008).
    """
    gamma, photons, read_noise = 2.2, 250, 0.002  # photons of a white pixel in full light; read noise as a share of it
    light = exposure * (pixels / np.float32(255)) ** gamma
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    light += noise * np.sqrt(light / photons + read_noise**2)
    return 255 * np.maximum(light, 0) ** (1 / gamma)


def _infrared(pixels: Pixels, share: float, rng: np.random.Generator) -> Seen:
    """Mixed with an image by the camera's own infrared lamp: no colour, bright reds, a bright middle, grain."""
    height, width = pixels.shape[:2]
    middle, grain = rng.uniform(0.35, 0.65, 2), rng.standard_normal((height, width), dtype=np.float32)
    grey = np.clip(pixels @ np.array([0.7, 0.4, -0.1], dtype=np.float32) / 255, 0, 1)
    grey = (grey + grey**2 * (3 - 2 * grey)) / 2  # steeper in the middle
    down, across = (
        ((np.arange(side) + 0.5) / side - at) ** 2 for side, at in zip((height, width), middle, strict=True)
    )
    seen = 255 * grey * (1.1 - (down[:, None] + across)) + 5 * grain
    return pixels + share * (np.clip(seen, 0, 255)[..., None] - pixels)


def _fog(pixels: Pixels, depth: float, rng: np.random.Generator) -> Seen:
    """A bright veil over the light that its optical `depth` lets through (Koschmieder's law), of uneven density."""
    height, width = pixels.shape[:2]
    veil, density = rng.uniform(190, 230), rng.uniform(0.7, 1.3, (4, 2)).astype(np.float32)
    local = Image.fromarray(density).resize((width, height), Image.Resampling.BICUBIC)
    let_through = np.exp(-depth * np.asarray(local))[..., None]
    return veil + let_through * (pixels - veil)


def _occlusion(pixels: Pixels, share: float, rng: np.random.Generator) -> Seen:
    """A rectangle of one colour from the bottom, the left or the right that hides a `share` of the person's box."""
    side = rng.choice(["bottom", "left", "right"])
    colour = np.rint(rng.uniform(30, 210) + rng.uniform(-20, 20, 3))
    axis = 0 if side == "bottom" else 1
    length, box = pixels.shape[axis], PERSON_BOX[axis]
    reach = max(1, round(length * ((1 - box) / 2 + share * box)))
    hidden = slice(reach) if side == "left" else slice(length - reach, None)
    occluded = pixels.copy()
    occluded[(slice(None),) * axis + (hidden,)] = colour
    return occluded


def _box_shift(pixels: Pixels, error: float, rng: np.random.Generator) -> Seen:
    """The detector's box shifted and scaled by about `error` of its sides; outside the crop its edge is repeated."""
    sides = np.array(pixels.shape[:2])
    angle, growth = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1)
    half = sides * np.exp(error * growth) / 2
    middle = sides * (0.5 + error * np.array([np.sin(angle), np.cos(angle)]))
    margin = np.ceil(sides * error * 2).astype(int) + 1
    padded = Image.fromarray(np.pad(pixels, (*((pad, pad) for pad in margin), (0, 0)), mode="edge"))
    top, left = middle - half + margin
    bottom, right = middle + half + margin
    height, width = sides.tolist()
    return np.asarray(padded.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


_DAMAGES: dict[str, tuple[Callable[[Pixels, float, np.random.Generator], Seen], tuple[float, ...]]] = {
    "low_resolution": (_low_resolution, (80, 56, 40, 28, 20)),
    "motion_blur": (_motion_blur, (0.03, 0.05, 0.07, 0.09, 0.12)),
    "defocus": (_defocus, (0.01, 0.015, 0.02, 0.027, 0.035)),
    "jpeg": (_jpeg, (40, 28, 20, 14, 9)),
    "low_light": (_low_light, (0.6, 0.35, 0.2, 0.12, 0.07)),
    "infrared": (_infrared, (0.3, 0.5, 0.7, 0.85, 1)),
    "fog": (_fog, (0.3, 0.55, 0.85, 1.2, 1.6)),
    "occlusion": (_occlusion, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "box_shift": (_box_shift, (0.03, 0.06, 0.09, 0.12, 0.16)),
}
"""Each corruption's function, and its second argument at severities 1 to 5."""


def _capsule(radius: float, length: float = 0, angle: float = 0) -> NDArray[np.float64]:
    """A kernel of sum 1: a line of `length` thickened by `radius` (pixels), smooth at its edge; a disc at length 0."""
    reach = int(np.ceil(radius + length / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = np.hypot(across, np.maximum(np.abs(along) - length / 2, 0))
    kernel = np.clip(radius + 0.5 - distance, 0, 1)
    return kernel / kernel.sum()


def _blur(pixels: Pixels, kernel: NDArray[np.float64]) -> Seen:
    """Convolution with an odd square kernel; outside the crop its edge is repeated."""
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    shape = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel, shape)[..., None]
    return np.fft.irfft2(spectrum, shape, axes=(0, 1))[2 * reach :, 2 * reach :]  # what comes before is wrapped around
