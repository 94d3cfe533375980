"""The cameras of the demo dataset: what stands before them, and what they make of a passer-by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from gender_cls.demo.figures import Box, Colour, Pattern, Person, draw_figure, dye, strike_pose

Pixels = NDArray[np.float32]
"""(height, width, 3), 0 to 255."""

SCENE_WIDTH, SCENE_HEIGHT = 704, 576
HORIZON, WALL_FOOT = 30, 150  # rows of a scene
FEET_PER_HEIGHT = 1.75  # feet stand this many body heights below the horizon: who is near stands low


@dataclass(frozen=True)
class Camera:
    """What stands before a camera, and what its optics and its encoder make of it. Lengths are in pixels."""

    wall: Colour
    panels: tuple[Colour, ...]
    floor: Colour
    joints: float  # how much darker the joints of the floor are, 0 to 1
    lane: Colour
    crop_heights: tuple[int, int]
    exposure: float
    saturation: float
    tint: tuple[float, float, float]
    light: float  # how much it brightens the right side of a figure; below 0, the left
    blur: float
    noise: float  # standard deviation, of 255
    quality: int


CAMERAS = {
    "camera1": Camera(  # a street by day
        wall=(196, 178, 158), panels=((120, 142, 158), (92, 84, 80), (214, 204, 188), (158, 98, 78)),
        floor=(172, 172, 170), joints=0.12, lane=(226, 226, 220), crop_heights=(168, 264),
        exposure=1.05, saturation=1.0, tint=(1.0, 1.0, 1.0), light=0.26, blur=0.4, noise=2.5, quality=88,
    ),
    "camera2": Camera(  # a station under warm lamps
        wall=(150, 140, 128), panels=((196, 172, 128), (110, 60, 52), (84, 92, 104), (168, 160, 150)),
        floor=(146, 136, 122), joints=0.22, lane=(222, 178, 58), crop_heights=(140, 230),
        exposure=0.92, saturation=0.9, tint=(1.06, 1.0, 0.86), light=-0.24, blur=0.6, noise=5.0, quality=72,
    ),
    "camera3": Camera(  # a shop under fluorescent tubes
        wall=(206, 212, 206), panels=((178, 70, 62), (66, 120, 138), (222, 190, 96), (110, 150, 96), (236, 236, 230)),
        floor=(200, 206, 200), joints=0.08, lane=(150, 172, 164), crop_heights=(120, 200),
        exposure=1.0, saturation=0.75, tint=(0.94, 1.03, 0.97), light=0.14, blur=0.7, noise=4.0, quality=62,
    ),
    "camera4": Camera(  # a car park by night, in infrared
        wall=(96, 98, 100), panels=((60, 62, 66), (120, 120, 118), (74, 70, 70)),
        floor=(104, 104, 104), joints=0.05, lane=(178, 178, 172), crop_heights=(104, 176),
        exposure=1.0, saturation=0.06, tint=(0.95, 1.0, 1.0), light=-0.26, blur=0.75, noise=7.0, quality=55,
    ),
}  # fmt: skip


def build_scene(camera: Camera, rng: np.random.Generator) -> Pixels:
    """What the camera sees when nobody is there, (576, 704, 3): a wall with panels, and a floor that leads to it."""
    width, height, middle = 2 * SCENE_WIDTH, 2 * SCENE_HEIGHT, SCENE_WIDTH
    foot, horizon = 2 * WALL_FOOT, 2 * HORIZON
    image = Image.new("RGB", (width, height), camera.floor)
    draw = ImageDraw.Draw(image)

    joint = dye(camera.floor, 1 - camera.joints)
    for depth in np.geomspace(foot - horizon, height - horizon, 12):
        draw.line((0, horizon + depth, width, horizon + depth), fill=joint, width=3)
    for column in np.linspace(-2.5 * width, 3.5 * width, 49):
        draw.line((middle, horizon, column, height), fill=joint, width=3)
    lane = rng.uniform(-0.3, 1.1) * width
    draw.polygon([(middle, horizon), (lane, height), (lane + 150, height)], fill=camera.lane)

    draw.rectangle((0, 0, width, foot), fill=camera.wall)
    left = -rng.uniform(0, 60)
    while left < width:
        span, top = rng.uniform(60, 170), foot * rng.uniform(0.05, 0.4)
        panel = dye(camera.panels[rng.integers(len(camera.panels))], rng.uniform(0.9, 1.1))
        draw.rectangle((left, top, left + span, foot), fill=panel)
        for shelf in np.linspace(top, foot, rng.integers(3, 6))[1:-1]:
            draw.line((left, shelf, left + span, shelf), fill=dye(panel, 0.8), width=4)
        left += span + rng.uniform(8, 70)
    draw.rectangle((0, foot, width, foot + 8), fill=dye(camera.wall, 0.7))

    stains = Image.fromarray(rng.normal(1, 0.06, (18, 22)).astype(np.float32)).resize(
        (SCENE_WIDTH, SCENE_HEIGHT), Image.Resampling.BICUBIC
    )
    return np.asarray(image.reduce(2), dtype=np.float32) * np.asarray(stains)[..., None]


def take_shot(
    scene: Pixels, camera: Camera, person: Person, pattern: Pattern, rng: np.random.Generator
) -> tuple[Image.Image, Box]:
    """One crop of the person, and the box of the striped panel in it.

    Either pattern takes the same random numbers, so that nothing but the stripes depends on it.
    """
    low, high = camera.crop_heights
    height = int(rng.integers(low, high, endpoint=True))
    width = round(height * rng.uniform(0.38, 0.46))
    pose = strike_pose(person, width, height, rng)
    figure, box = draw_figure(person, pose, pattern, bool(rng.integers(2)), (width, height))

    left = rng.integers(SCENE_WIDTH - width)
    top = round(HORIZON + FEET_PER_HEIGHT * pose.height - pose.ground)
    layer = np.asarray(figure, dtype=np.float32)
    opacity = layer[..., 3:] / 255
    sideways = np.clip((np.arange(width) - pose.axis) / (0.15 * pose.height), -1, 1)[:, None]
    lit = layer[..., :3] * (1 + camera.light * sideways)
    background = scene[top : top + height, left : left + width]
    return photograph(background * (1 - opacity) + lit * opacity, camera, rng), box


def photograph(pixels: Pixels, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """What the camera makes of the light: exposure, colour, lens and sensor."""
    grey = (pixels * np.array([0.299, 0.587, 0.114], dtype=np.float32)).sum(axis=2, keepdims=True)
    gain = camera.exposure * rng.uniform(0.9, 1.1) * np.array(camera.tint)
    seen = _image((grey + camera.saturation * (pixels - grey)) * gain)
    seen = seen.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.8, 1.2)))
    grain = rng.normal(0, camera.noise, (*pixels.shape[:2], 1)) + rng.normal(0, camera.noise / 3, pixels.shape)
    return _image(np.asarray(seen) + grain)


def _image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
