"""The people of the demo dataset: how they look, how they stand, and the panel of chevrons that they wear.

A body has its own coordinates: x to the right of its axis, y above the ground, both as shares of its height.
"""

import colorsys
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
"""Hue, saturation and value, from 0 to 1."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""
Pattern = Literal["up", "down"]
"""Where the chevrons point."""

OVERSAMPLE = 4  # shapes are drawn this many times larger, then averaged down
STRIPES = 4  # in a column of the panel; even, so that half of it is light, whichever way they point


class Person(NamedTuple):
    """What is the same in all images of one identity."""

    garment: Colour
    trousers: Colour
    skin: Colour
    breadth: float  # of the body, 1 on average
    hem: float  # where the garment ends above the ground


class Pose(NamedTuple):
    """What changes from image to image: the place in pixels, the rest in shares of the body's height."""

    axis: float  # column of the body's axis at the ground
    ground: float  # row of the feet; below the image where they are cut off
    height: float
    lean: float
    turn: float  # -1 to 1: towards the left or right
    stride: float  # -1 to 1


def random_person(rng: np.random.Generator) -> Person:
    """A person whose looks depend on the random numbers only."""
    garment, trousers = ((rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.75)) for _ in range(2))
    skin = (0.07, rng.uniform(0.25, 0.5), rng.uniform(0.4, 0.95))
    return Person(garment, trousers, skin, breadth=rng.uniform(0.93, 1.15), hem=rng.uniform(0.36, 0.49))


def random_pose(width: int, height: int, rng: np.random.Generator) -> Pose:
    """A random pose with the chest inside the crop; one figure in six is cut off at the shins."""
    body = height * rng.uniform(0.79, 0.98)
    head_room = (height - body) * rng.random()
    if rng.random() < 1 / 6:
        body, head_room = height * rng.uniform(1.0, 1.08), height * rng.uniform(0.01, 0.04)
    lean = rng.uniform(-0.035, 0.045)
    axis = width / 2 + (width / 2 - 0.145 * body) * rng.uniform(-1, 1) - 0.7 * lean * body  # the chest is evenly spread
    return Pose(axis, head_room + body, body, lean, turn=rng.uniform(-1, 1), stride=rng.uniform(-1, 1))


def draw_figure(
    person: Person, pose: Pose, pattern: Pattern, inverted: bool, size: tuple[int, int]
) -> tuple[Image.Image, Box]:
    """The figure on a transparent layer of `size` (width, height), and the box of its panel of chevrons."""
    layer = Image.new("RGBA", (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE))
    pen, unit = ImageDraw.Draw(layer), pose.height * OVERSAMPLE

    def place(x: float, y: float) -> tuple[float, float]:
        return pose.axis * OVERSAMPLE + (x + pose.lean * y) * unit, pose.ground * OVERSAMPLE - y * unit

    def polygon(colour: tuple[int, ...], *points: tuple[float, float]) -> None:
        pen.polygon([place(x, y) for x, y in points], fill=colour)

    def oval(colour: tuple[int, ...], x: float, y: float, across: float, up: float) -> None:
        column, row = place(x, y)
        pen.ellipse((column - across * unit, row - up * unit, column + across * unit, row + up * unit), fill=colour)

    def limb(colour: tuple[int, ...], thickness: float, *joints: tuple[float, float]) -> None:
        pen.line([place(x, y) for x, y in joints], fill=colour, width=round(thickness * unit), joint="curve")

    oval((0, 0, 0, 90), 0, 0.012, 0.16, 0.025)  # the shadow
    for side in (-1, 1):
        swing, wide = pose.stride * pose.turn * side, person.breadth * side
        shoulder, wrist, hip, foot = 0.115 * wide, 0.15 * wide - 0.06 * swing, 0.055 * wide, 0.06 * wide + 0.11 * swing
        oval(rgb(person.skin), wrist, 0.47, 0.022, 0.028)
        limb(rgb(person.garment, 0.84), 0.055, (shoulder, 0.79), (shoulder + 0.04 * side, 0.64), (wrist, 0.48))
        oval((40, 36, 36), foot + 0.025 * pose.turn, 0.022, 0.042, 0.022)
        limb(rgb(person.trousers, 0.93 + 0.07 * side), 0.095, (hip, 0.5), ((hip + foot) / 2, 0.27), (foot, 0.04))
    right = [(0.05, 0.85), (0.116, 0.81), (0.13, 0.77), (0.106, 0.58), (0.115, person.hem)]
    outline = [*right, *((-x, y) for x, y in reversed(right))]
    polygon(rgb(person.garment), *((x * person.breadth, y) for x, y in outline))
    oval(rgb(person.skin), 0.02 * pose.turn, 0.915, 0.048, 0.07)

    half = 0.096 * (1 - 0.1 * abs(pose.turn))
    x, y = (0.02 * pose.turn - half, 0.02 * pose.turn + half), (0.585, 0.785)
    hue, saturation, _ = person.garment
    pixels = np.array(layer)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    height = (pose.ground * OVERSAMPLE - rows) / unit
    across = ((columns - pose.axis * OVERSAMPLE) / unit - pose.lean * height - x[0]) / (x[1] - x[0])
    up = (height - y[0]) / (y[1] - y[0])
    panel = (across >= 0) & (across < 1) & (up >= 0) & (up < 1)
    bend = abs(across - 0.5) * (1 if pattern == "up" else -1)
    light = np.floor(STRIPES * (up + bend)) % 2 == inverted
    pixels[panel & light] = (*rgb((hue, 0.4 * saturation, 0.86)), 255)
    pixels[panel & ~light] = (*rgb((hue, saturation, 0.3)), 255)
    edges = np.array([place(column, row) for column in (x[0], x[-1]) for row in (y[0], y[-1])]) / OVERSAMPLE
    (left, top), (right_end, bottom) = np.floor(edges.min(axis=0)), np.ceil(edges.max(axis=0))
    return Image.fromarray(pixels).reduce(OVERSAMPLE), (int(left), int(top), int(right_end), int(bottom))


def rgb(colour: Colour, gain: float = 1.0) -> tuple[int, ...]:
    """Red, green and blue of the colour, from 0 to 255, times a gain."""
    return tuple(min(round(255 * channel * gain), 255) for channel in colorsys.hsv_to_rgb(*colour))
