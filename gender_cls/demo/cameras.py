"""The cameras of the demo dataset: the scene before them, and the images that they take of a person."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from gender_cls.demo.figures import Box, Colour, Pattern, Person, draw_figure, dye, strike_pose

Pixels = NDArray[np.float32]
"""(height, width, 3), 0 to 255."""

SCENE_WIDTH, SCENE_HEIGHT = 704, 576
HORIZON, WALL_FOOT = 30, 150  # rows of a scene
FEET_PER_HEIGHT = 1.75  # feet stand this many body heights below the horizon, so that near people stand low


@dataclass(frozen=True)
class Camera:
    """The scene before a camera, its optics and its encoder. Lengths are in pixels."""

    wall: Colour
    panels: tuple[Colour, ...]
    floor: Colour
    crop_heights: tuple[int, int]
    exposure: float
    saturation: float
    tint: tuple[float, float, float]
    light: float  # how much it brightens the right side of a figure; below 0, the left
    blur: float
    noise: float  # standard deviation, of 255
    quality: int  # of the JPEG


CAMERAS = {
    "camera1": Camera(  # a street by day
        wall=(196, 178, 158), panels=((120, 142, 158), (92, 84, 80), (214, 204, 188), (158, 98, 78)),
        floor=(172, 172, 170), crop_heights=(168, 264), exposure=1.05, saturation=1.0, tint=(1.0, 1.0, 1.0),
        light=0.26, blur=0.4, noise=2.5, quality=88,
    ),
    "camera2": Camera(  # a station under warm lamps
        wall=(150, 140, 128), panels=((196, 172, 128), (110, 60, 52), (84, 92, 104), (168, 160, 150)),
        floor=(146, 136, 122), crop_heights=(140, 230), exposure=0.92, saturation=0.9, tint=(1.06, 1.0, 0.86),
        light=-0.24, blur=0.6, noise=5.0, quality=72,
    ),
    "camera3": Camera(  # a shop under fluorescent tubes
        wall=(206, 212, 206), panels=((178, 70, 62), (66, 120, 138), (222, 190, 96), (110, 150, 96), (236, 236, 230)),
        floor=(200, 206, 200), crop_heights=(120, 200), exposure=1.0, saturation=0.75, tint=(0.94, 1.03, 0.97),
        light=0.14, blur=0.7, noise=4.0, quality=62,
    ),
    "camera4": Camera(  # a car park by night, in infrared
        wall=(96, 98, 100), panels=((60, 62, 66), (120, 120, 118), (74, 70, 70)),
        floor=(104, 104, 104), crop_heights=(104, 176), exposure=1.0, saturation=0.06, tint=(0.95, 1.0, 1.0),
        light=-0.26, blur=0.75, noise=7.0, quality=55,
    ),
}  # fmt: skip


def build_scene(camera: Camera, rng: np.random.Generator) -> Pixels:
    """What the camera sees when nobody is there, (576, 704, 3): a tiled floor up to a wall with panels."""
    image = Image.new("RGB", (SCENE_WIDTH, SCENE_HEIGHT), camera.floor)
    pen, joint = ImageDraw.Draw(image), dye(camera.floor, 0.88)
    for depth in np.geomspace(WALL_FOOT - HORIZON, SCENE_HEIGHT - HORIZON, 12):
        pen.line((0, HORIZON + depth, SCENE_WIDTH, HORIZON + depth), fill=joint, width=2)
    for column in np.linspace(-2.5 * SCENE_WIDTH, 3.5 * SCENE_WIDTH, 49):
        pen.line((SCENE_WIDTH / 2, HORIZON, column, SCENE_HEIGHT), fill=joint, width=2)
    pen.rectangle((0, 0, SCENE_WIDTH, WALL_FOOT), fill=camera.wall)
    left = -rng.uniform(0, 30)
    while left < SCENE_WIDTH:
        right, top = left + rng.uniform(30, 85), WALL_FOOT * rng.uniform(0.05, 0.4)
        colour = dye(camera.panels[rng.integers(len(camera.panels))], rng.uniform(0.9, 1.1))
        pen.rectangle((left, top, right, WALL_FOOT), fill=colour)
        left = right + rng.uniform(4, 35)
    stains = Image.fromarray(rng.normal(1, 0.06, (18, 22)).astype(np.float32))
    stains = stains.resize((SCENE_WIDTH, SCENE_HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32) * np.asarray(stains)[..., None]


def take_shot(
    scene: Pixels, camera: Camera, person: Person, pattern: Pattern, rng: np.random.Generator
) -> tuple[Image.Image, Box]:
    """One crop of the person, and the box of the striped panel in it.

    Both patterns take the same random numbers, so that only the stripes depend on the pattern.
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
    return _photograph(background * (1 - opacity) + lit * opacity, camera, rng), box


def _photograph(pixels: Pixels, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """The image that the camera makes of the light: exposure, colour, lens and sensor."""
    grey = (pixels * np.array([0.299, 0.587, 0.114], dtype=np.float32)).sum(axis=2, keepdims=True)
    gain = camera.exposure * rng.uniform(0.9, 1.1) * np.array(camera.tint)
    seen = _to_image((grey + camera.saturation * (pixels - grey)) * gain)
    seen = seen.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.8, 1.2)))
    grain = rng.normal(0, camera.noise, (*pixels.shape[:2], 1)) + rng.normal(0, camera.noise / 3, pixels.shape)
    return _to_image(np.asarray(seen) + grain)


def _to_image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
