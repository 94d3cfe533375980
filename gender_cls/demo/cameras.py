"""The cameras of the demo dataset: the scene before them, and the images that they take of a person."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from gender_cls.demo.figures import Box, Colour, Pattern, Person, draw_figure, random_pose, rgb

Light = NDArray[np.float32]
"""(height, width, 3), 0 to 255."""

SCENE_WIDTH, SCENE_HEIGHT = 704, 576
HORIZON, WALL_FOOT = 30, 150  # rows of a scene
FEET_PER_HEIGHT = 1.75  # feet stand this many body heights below the horizon, so that near people stand low


class Camera(NamedTuple):
    """The scene before a camera, its optics and its encoder. Lengths are in pixels."""

    wall: Colour
    floor: Colour
    crop_heights: tuple[int, int]
    gain: tuple[float, float, float]  # of red, green and blue
    saturation: float
    light: float  # how much it brightens the right side of a figure; below 0, the left
    blur: float
    noise: float  # standard deviation, of 255
    quality: int  # of the JPEG


CAMERAS = {  # a street by day, a station under warm lamps, a shop under fluorescent tubes, a car park in infrared
    "camera1": Camera(
        wall=(0.09, 0.19, 0.77), floor=(0.0, 0.0, 0.67), crop_heights=(168, 264),
        gain=(1.05, 1.05, 1.05), saturation=1.0, light=0.26, blur=0.4, noise=2.5, quality=88,
    ),
    "camera2": Camera(
        wall=(0.09, 0.15, 0.59), floor=(0.1, 0.16, 0.57), crop_heights=(140, 230),
        gain=(0.98, 0.92, 0.79), saturation=0.9, light=-0.24, blur=0.6, noise=5, quality=72,
    ),
    "camera3": Camera(
        wall=(0.33, 0.03, 0.83), floor=(0.33, 0.03, 0.81), crop_heights=(120, 200),
        gain=(0.94, 1.03, 0.97), saturation=0.75, light=0.14, blur=0.7, noise=4, quality=62,
    ),
    "camera4": Camera(
        wall=(0.0, 0.0, 0.38), floor=(0.0, 0.0, 0.41), crop_heights=(104, 176),
        gain=(0.95, 1.0, 1.0), saturation=0.06, light=-0.26, blur=0.75, noise=7, quality=55,
    ),
}  # fmt: skip


def build_scene(camera: Camera, rng: np.random.Generator) -> Light:
    """What the camera sees when nobody is there, (576, 704, 3): a stained floor up to a wall with panels."""
    image = Image.new("RGB", (SCENE_WIDTH, SCENE_HEIGHT), rgb(camera.floor))
    pen = ImageDraw.Draw(image)
    for column in np.linspace(-2.5 * SCENE_WIDTH, 3.5 * SCENE_WIDTH, 49):
        pen.line((SCENE_WIDTH / 2, HORIZON, column, SCENE_HEIGHT), fill=rgb(camera.floor, 0.88), width=2)
    pen.rectangle((0, 0, SCENE_WIDTH, WALL_FOOT), fill=rgb(camera.wall))
    left = -rng.uniform(0, 30)
    while left < SCENE_WIDTH:
        right, top = left + rng.uniform(30, 85), WALL_FOOT * rng.uniform(0.05, 0.4)
        pen.rectangle((left, top, right, WALL_FOOT), fill=rgb((rng.random(), 0.3, rng.uniform(0.25, 0.9))))
        left = right + rng.uniform(4, 35)
    stains = Image.fromarray(rng.normal(1, 0.06, (18, 22)).astype(np.float32))
    stains = stains.resize((SCENE_WIDTH, SCENE_HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32) * np.asarray(stains)[..., None]


def take_shot(
    scene: Light, camera: Camera, person: Person, pattern: Pattern, rng: np.random.Generator
) -> tuple[Image.Image, Box]:
    """One crop of the person, and the box of the panel in it.

    Both patterns take the same random numbers, so that only the chevrons depend on the pattern.
    """
    height = int(rng.integers(*camera.crop_heights, endpoint=True))
    width = round(height * rng.uniform(0.38, 0.46))
    pose = random_pose(width, height, rng)
    figure, box = draw_figure(person, pose, pattern, bool(rng.integers(2)), (width, height))
    left = rng.integers(SCENE_WIDTH - width)
    top = round(HORIZON + FEET_PER_HEIGHT * pose.height - pose.ground)
    layer = np.asarray(figure, dtype=np.float32)
    opacity = layer[..., 3:] / 255
    sideways = np.clip((np.arange(width) - pose.axis) / (0.15 * pose.height), -1, 1)[:, None]
    lit = layer[..., :3] * (1 + camera.light * sideways)
    background = scene[top : top + height, left : left + width]
    return _photograph(background * (1 - opacity) + lit * opacity, camera, rng), box


def _photograph(pixels: Light, camera: Camera, rng: np.random.Generator) -> Image.Image:
    """The image that the camera makes of the light: exposure, colour, lens and sensor."""
    grey = (pixels * np.array([0.299, 0.587, 0.114], dtype=np.float32)).sum(axis=2, keepdims=True)
    gain = np.array(camera.gain) * rng.uniform(0.9, 1.1)
    seen = _to_image((grey + camera.saturation * (pixels - grey)) * gain)
    seen = seen.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.8, 1.2)))
    grain = rng.normal(0, camera.noise, (*pixels.shape[:2], 1)) + rng.normal(0, camera.noise / 3, pixels.shape)
    return _to_image(np.asarray(seen) + grain)


def _to_image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
