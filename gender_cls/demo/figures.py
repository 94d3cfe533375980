"""The people of the demo dataset: how they look, how they stand, and the striped panel that they wear.

A body has its own coordinates: x to the right of its axis, y above the ground, both as shares of its height.
"""

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""
Pattern = Literal["lying", "standing"]

OVERSAMPLE = 4  # shapes are drawn this many times larger, then averaged down
STRIPES = 6  # even, so that either pattern holds as much light as dark
CLOTHES: tuple[Colour, ...] = (
    (52, 84, 122), (148, 62, 58), (82, 112, 84), (196, 158, 84), (108, 82, 122), (70, 74, 82), (176, 172, 162),
    (46, 118, 122), (202, 120, 86), (126, 100, 76), (34, 42, 60), (156, 140, 168), (40, 48, 66), (112, 100, 84),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((240, 206, 180), (222, 178, 146), (188, 138, 104), (142, 98, 70), (96, 66, 50))


@dataclass(frozen=True)
class Person:
    """What is the same in all images of one identity."""

    garment: Colour
    trousers: Colour
    skin: Colour
    breadth: float  # of the body, 1 on average
    hem: float  # where the garment ends above the ground
    stoop: float


@dataclass(frozen=True)
class Pose:
    """What changes from image to image: the place in pixels, the rest in shares of the body's height."""

    axis: float  # column of the body's axis at the ground
    ground: float  # row of the feet; below the image where they are cut off
    height: float
    lean: float
    turn: float  # -1 to 1: towards the left or right
    stride: float  # -1 to 1


def invent_person(rng: np.random.Generator) -> Person:
    """A person whose looks depend on the random numbers only."""
    garment, trousers = (dye(CLOTHES[rng.integers(len(CLOTHES))], rng.uniform(0.88, 1.12, size=3)) for _ in range(2))
    skin = SKINS[rng.integers(len(SKINS))]
    return Person(garment, trousers, skin, rng.uniform(0.93, 1.15), rng.uniform(0.36, 0.49), rng.uniform(-0.01, 0.025))


def strike_pose(person: Person, width: int, height: int, rng: np.random.Generator) -> Pose:
    """A stance that keeps the chest inside the crop; one figure in six is cut off at the shins."""
    if rng.random() < 1 / 6:
        body, head_room = height * rng.uniform(1.0, 1.08), height * rng.uniform(0.01, 0.04)
    else:
        body = height * rng.uniform(0.8, 0.97)
        head_room = (height - body) * rng.uniform(0.1, 0.9)
    lean = person.stoop + rng.uniform(-0.03, 0.03)
    chest = width / 2 + (width / 2 - 0.145 * body) * rng.uniform(-1, 1)
    return Pose(chest - 0.7 * lean * body, head_room + body, body, lean, rng.uniform(-1, 1), rng.uniform(-1, 1))


def draw_figure(
    person: Person, pose: Pose, pattern: Pattern, inverted: bool, size: tuple[int, int]
) -> tuple[Image.Image, Box]:
    """The figure on a transparent layer of `size` (width, height), and the box of its striped panel."""
    layer = Image.new("RGBA", (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE))
    pen, unit = ImageDraw.Draw(layer), pose.height * OVERSAMPLE

    def place(x: float, y: float) -> tuple[float, float]:
        return pose.axis * OVERSAMPLE + (x + pose.lean * y) * unit, pose.ground * OVERSAMPLE - y * unit

    def polygon(colour: Colour, *points: tuple[float, float]) -> None:
        pen.polygon([place(x, y) for x, y in points], fill=colour)

    def oval(colour: tuple[int, ...], x: float, y: float, across: float, up: float) -> None:
        column, row = place(x, y)
        pen.ellipse((column - across * unit, row - up * unit, column + across * unit, row + up * unit), fill=colour)

    def limb(colour: Colour, thickness: float, *joints: tuple[float, float]) -> None:
        pen.line([place(x, y) for x, y in joints], fill=colour, width=round(thickness * unit), joint="curve")

    oval((0, 0, 0, 90), 0, 0.012, 0.16, 0.025)  # the shadow
    wide = person.breadth
    for side in (-1, 1):
        swing = pose.stride * pose.turn * side
        shoulder, wrist = 0.115 * side * wide, 0.15 * side * wide - 0.06 * swing
        hip, foot = 0.055 * side * wide, 0.06 * side * wide + 0.11 * swing
        oval(person.skin, wrist, 0.47, 0.022, 0.028)
        limb(dye(person.garment, 0.84), 0.055, (shoulder, 0.79), (shoulder + 0.04 * side, 0.64), (wrist, 0.48))
        oval((40, 36, 36), foot + 0.025 * pose.turn, 0.022, 0.042, 0.022)
        limb(dye(person.trousers, 0.93 + 0.07 * side), 0.095, (hip, 0.5), ((hip + foot) / 2, 0.27), (foot, 0.04))
    limb(dye(person.skin, 0.85), 0.06, (0, 0.83), (0.012 * pose.turn, 0.9))
    right = [(0.05, 0.85), (0.116, 0.81), (0.13, 0.77), (0.106, 0.58), (0.115, person.hem)]
    polygon(person.garment, *((x * wide, y) for x, y in right), *((-x * wide, y) for x, y in reversed(right)))
    oval(person.skin, 0.02 * pose.turn, 0.925, 0.048, 0.06)

    half = 0.096 * (1 - 0.1 * abs(pose.turn))
    x, y = np.linspace(-half, half, STRIPES + 1) + 0.02 * pose.turn, np.linspace(0.585, 0.785, STRIPES + 1)
    hue, saturation, _ = colorsys.rgb_to_hsv(*(channel / 255 for channel in person.garment))
    inks = [
        dye((255, 255, 255), colorsys.hsv_to_rgb(hue, *ink)) for ink in ((0.4 * saturation, 0.86), (saturation, 0.3))
    ]
    for stripe in range(STRIPES):
        x0, x1, y0, y1 = x[0], x[-1], y[stripe], y[stripe + 1]
        if pattern == "standing":
            x0, x1, y0, y1 = x[stripe], x[stripe + 1], y[0], y[-1]
        polygon(inks[(stripe + inverted) % 2], (x0, y0), (x1, y0), (x1, y1), (x0, y1))
    corners = np.array([place(column, row) for column in (x[0], x[-1]) for row in (y[0], y[-1])]) / OVERSAMPLE
    (left, top), (after, below) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return layer.reduce(OVERSAMPLE), (int(left), int(top), int(after), int(below))


def dye(colour: Colour, gain: float | tuple[float, ...] | NDArray[np.float64]) -> Colour:
    """The colour times one gain, or one gain per channel."""
    red, green, blue = np.minimum(np.rint(np.multiply(colour, gain)), 255).astype(int).tolist()
    return red, green, blue
