"""The people of the demo dataset: how they look, how they stand, and the striped panel that they wear."""

import colorsys
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""
Pattern = Literal["lying", "standing"]

OVERSAMPLE = 4  # shapes are drawn this many times larger, then averaged down
STRIPES = 6  # even: either pattern holds as much ink as paper

GARMENTS: tuple[Colour, ...] = (
    (52, 84, 122), (148, 62, 58), (82, 112, 84), (196, 158, 84), (108, 82, 122), (70, 74, 82), (176, 172, 162),
    (46, 118, 122), (202, 120, 86), (126, 100, 76), (34, 42, 60), (156, 140, 168), (136, 158, 178), (120, 44, 66),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (40, 48, 66), (62, 76, 102), (34, 34, 38), (112, 100, 84), (84, 88, 92), (150, 138, 116), (66, 58, 52),
    (58, 70, 58),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((240, 206, 180), (222, 178, 146), (188, 138, 104), (142, 98, 70), (96, 66, 50))
HAIRS: tuple[Colour, ...] = ((34, 28, 26), (70, 48, 36), (118, 80, 50), (176, 142, 94), (150, 148, 144), (96, 46, 32))
SHOES: tuple[Colour, ...] = ((30, 28, 28), (84, 60, 42), (226, 224, 218), (120, 40, 44))
BAGS: tuple[Colour, ...] = ((44, 40, 40), (126, 84, 52), (70, 92, 84), (160, 56, 52), (206, 196, 176))


@dataclass(frozen=True)
class Person:
    """What stays the same in all images of one identity. Lengths are shares of the body's height."""

    garment: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    shoes: Colour
    bag: Colour
    hairstyle: str  # short, long, cap or hood
    carries: str  # nothing, bag or backpack
    sleeves: str  # long or short
    breadth: float  # of the body, 1 on average
    hem: float  # where the garment ends above the ground
    trouser_width: float
    stoop: float


@dataclass(frozen=True)
class Pose:
    """What changes from image to image: the place in pixels, the rest in shares of the body's height."""

    axis: float  # column of the body's axis at the ground
    ground: float  # row of the feet, below the image where they are cut off
    height: float
    lean: float
    turn: float  # -1 to 1: a three-quarter view to the left or right
    stride: float
    from_behind: bool


def invent_person(rng: np.random.Generator) -> Person:
    """Someone whose looks depend on nothing but the random numbers."""

    def one_of(colours: tuple[Colour, ...]) -> Colour:
        return dye(colours[rng.integers(len(colours))], rng.uniform(0.88, 1.12, size=3))

    return Person(
        garment=one_of(GARMENTS),
        trousers=one_of(TROUSERS),
        skin=SKINS[rng.integers(len(SKINS))],
        hair=one_of(HAIRS),
        shoes=one_of(SHOES),
        bag=one_of(BAGS),
        hairstyle=str(rng.choice(["short", "short", "long", "cap", "hood"])),
        carries=str(rng.choice(["nothing", "nothing", "bag", "backpack"])),
        sleeves=str(rng.choice(["long", "long", "short"])),
        breadth=rng.uniform(0.93, 1.15),
        hem=rng.uniform(0.36, 0.49),
        trouser_width=rng.uniform(0.04, 0.052),
        stoop=rng.uniform(-0.01, 0.025),
    )


def strike_pose(person: Person, width: int, height: int, rng: np.random.Generator) -> Pose:
    """A stance that keeps the chest inside the crop; one figure in six is cut off at the shins."""
    if rng.random() < 1 / 6:
        body = height * rng.uniform(1.0, 1.08)
        head_room = height * rng.uniform(0.01, 0.04)
    else:
        body = height * rng.uniform(0.8, 0.97)
        head_room = (height - body) * rng.uniform(0.1, 0.9)
    lean = person.stoop + rng.uniform(-0.03, 0.03)
    chest = width / 2 + (width / 2 - 0.145 * body) * rng.uniform(-1, 1)
    return Pose(
        axis=chest - 0.7 * lean * body,
        ground=head_room + body,
        height=body,
        lean=lean,
        turn=rng.uniform(-1, 1),
        stride=rng.uniform(-1, 1),
        from_behind=bool(rng.random() < 0.35),
    )


class Pencil:
    """Draws in the body's coordinates: x to the right of its axis, y above the ground, in shares of its height."""

    def __init__(self, size: tuple[int, int], pose: Pose) -> None:
        self.layer = Image.new("RGBA", (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE))
        self._draw = ImageDraw.Draw(self.layer)
        self._pose = pose

    def place(self, point: Point) -> Point:
        """The point in pixels of the enlarged layer."""
        x, y = point
        pose = self._pose
        column = pose.axis + (x + pose.lean * y) * pose.height
        return column * OVERSAMPLE, (pose.ground - y * pose.height) * OVERSAMPLE

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """A filled shape through the points."""
        self._draw.polygon([self.place(point) for point in points], fill=colour)

    def oval(self, centre: Point, across: float, up: float, colour: Colour | tuple[int, int, int, int]) -> None:
        """An ellipse with the half axes `across` and `up`."""
        (x, y), unit = self.place(centre), self._pose.height * OVERSAMPLE
        self._draw.ellipse((x - across * unit, y - up * unit, x + across * unit, y + up * unit), fill=colour)

    def limb(self, joints: list[tuple[float, float, float]], colour: Colour) -> None:
        """Rounded, tapering segments through joints (x, y, radius)."""
        for (x0, y0, r0), (x1, y1, r1) in pairwise(joints):
            length = float(np.hypot(x1 - x0, y1 - y0))
            across, along = (y1 - y0) / length, (x0 - x1) / length
            sides = [(x0, y0, r0), (x1, y1, r1), (x1, y1, -r1), (x0, y0, -r0)]
            self.polygon([(x + r * across, y + r * along) for x, y, r in sides], colour)
        for x, y, radius in joints:
            self.oval((x, y), radius, radius, colour)


def draw_figure(
    person: Person, pose: Pose, pattern: Pattern, inverted: bool, size: tuple[int, int]
) -> tuple[Image.Image, Box]:
    """The figure on a transparent layer of `size` (width, height), and the box of its striped panel."""
    pencil = Pencil(size, pose)
    for spread, opacity in ((1.0, 40), (0.8, 70), (0.6, 100)):
        pencil.oval((0.0, 0.012), 0.2 * spread, 0.03 * spread, (0, 0, 0, opacity))
    if person.carries == "backpack":
        pack = [(0.1, 0.815), (0.13, 0.8), (0.145, 0.76), (0.155, 0.6), (0.14, 0.57), (0.1, 0.56)]
        pencil.polygon(_mirrored(pack, person.breadth, -0.05 * pose.turn), person.bag)
    _draw_arms(pencil, person, pose)
    _draw_legs(pencil, person, pose)
    _draw_torso(pencil, person)
    box = _draw_panel(pencil, person, pose, pattern, inverted)
    _draw_head(pencil, person, pose)
    return pencil.layer.reduce(OVERSAMPLE), box


def _draw_legs(pencil: Pencil, person: Person, pose: Pose) -> None:
    wide = person.trouser_width
    for side in (-1, 1):
        step = side * pose.stride
        hip = 0.058 * side * person.breadth
        knee = hip + 0.012 * side + 0.05 * step * pose.turn
        ankle = hip + 0.008 * side + 0.11 * step * pose.turn
        lift = 0.02 + 0.025 * max(step, 0.0)
        pencil.oval((ankle + 0.025 * pose.turn, lift), 0.042, 0.022, person.shoes)
        colour = dye(person.trousers, 1.0 if step < 0 else 0.86)
        pencil.limb([(hip, 0.5, wide + 0.008), (knee, 0.27, wide), (ankle, lift + 0.03, wide - 0.01)], colour)


def _draw_arms(pencil: Pencil, person: Person, pose: Pose) -> None:
    for side in (-1, 1):
        swing = -side * pose.stride
        shoulder = 0.11 * side * person.breadth
        elbow = (shoulder + 0.05 * side + 0.02 * swing * pose.turn, 0.64)
        wrist = (shoulder + (0.042 + 0.012 * swing) * side + 0.06 * swing * pose.turn, 0.49 + 0.025 * abs(swing))
        colour = dye(person.garment, 0.84)
        if side == 1 and person.carries == "bag":
            x, y = wrist
            pencil.limb([(x - 0.03, y - 0.09, 0.005), (x, y, 0.005), (x + 0.03, y - 0.09, 0.005)], dye(person.bag, 0.7))
            sack = [(-0.05, -0.08), (0.05, -0.08), (0.058, -0.19), (0.05, -0.2), (-0.05, -0.2), (-0.058, -0.19)]
            pencil.polygon([(x + right, y + up) for right, up in sack], person.bag)
        forearm = colour if person.sleeves == "long" else person.skin
        pencil.oval((wrist[0], wrist[1] - 0.012), 0.021, 0.026, person.skin)
        pencil.limb([(*elbow, 0.03), (*wrist, 0.022)], forearm)
        pencil.limb([(shoulder, 0.778, 0.034), (*elbow, 0.031)], colour)


def _draw_torso(pencil: Pencil, person: Person) -> None:
    outline = [
        (0.035, 0.852), (0.055, 0.84), (0.09, 0.826), (0.116, 0.808), (0.13, 0.782), (0.13, 0.75), (0.12, 0.69),
        (0.11, 0.63), (0.106, 0.57), (0.11, 0.51), (0.117, person.hem + 0.02), (0.113, person.hem),
        (0.06, person.hem - 0.006),
    ]  # fmt: skip
    pencil.polygon(_mirrored(outline, person.breadth, 0.0), person.garment)


def _draw_panel(pencil: Pencil, person: Person, pose: Pose, pattern: Pattern, inverted: bool) -> Box:
    """The planted cue: six stripes, alternately pale and dark, that lie or stand. Both patterns have the same mean."""
    half = 0.096 * (1 - 0.1 * abs(pose.turn))
    left, right, low, high = 0.02 * pose.turn - half, 0.02 * pose.turn + half, 0.585, 0.785
    hue, saturation, _ = colorsys.rgb_to_hsv(*(channel / 255 for channel in person.garment))
    inks = [_hsv(hue, 0.4 * saturation, 0.86), _hsv(hue, saturation, 0.3)]
    across, up = np.linspace(left, right, STRIPES + 1), np.linspace(low, high, STRIPES + 1)
    for stripe in range(STRIPES):
        if pattern == "standing":
            x0, x1, y0, y1 = across[stripe], across[stripe + 1], low, high
        else:
            x0, x1, y0, y1 = left, right, up[stripe], up[stripe + 1]
        pencil.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], inks[(stripe + inverted) % 2])
    corners = np.array([pencil.place((x, y)) for x in (left, right) for y in (low, high)]) / OVERSAMPLE
    (x0, y0), (x1, y1) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return int(x0), int(y0), int(x1), int(y1)


def _draw_head(pencil: Pencil, person: Person, pose: Pose) -> None:
    nod = 0.012 * pose.turn
    if person.hairstyle == "hood":
        pencil.limb([(nod, 0.93, 0.066), (0.0, 0.855, 0.06)], dye(person.garment, 0.88))
    if person.hairstyle == "long":
        pencil.limb([(nod, 0.94, 0.056), (0.0, 0.85, 0.054)], person.hair)
    if person.hairstyle in ("short", "cap") or (person.hairstyle == "long" and not pose.from_behind):
        pencil.oval((0.0, 0.842), 0.036, 0.016, dye(person.skin, 0.8))
        pencil.limb([(0.0, 0.845, 0.028), (nod, 0.9, 0.03)], dye(person.skin, 0.86))
    if pose.from_behind:
        pencil.oval((nod, 0.928), 0.05, 0.062, person.garment if person.hairstyle == "hood" else person.hair)
    else:
        pencil.oval((nod, 0.938), 0.051, 0.056, person.hair)
        pencil.oval((1.8 * nod, 0.914), 0.044, 0.056, person.skin)
    if person.hairstyle == "cap":
        crown = [(nod + 0.053 * np.cos(angle), 0.945 + 0.055 * np.sin(angle)) for angle in np.linspace(0, np.pi, 16)]
        pencil.polygon(crown, person.bag)
        pencil.oval((nod + 0.03 * pose.turn, 0.945), 0.055, 0.009, dye(person.bag, 0.75))


def dye(colour: Colour, gain: float | NDArray[np.float64]) -> Colour:
    """The colour times one gain, or one gain a channel."""
    red, green, blue = np.minimum(np.rint(np.multiply(colour, gain)), 255).astype(int).tolist()
    return red, green, blue


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _mirrored(right: list[Point], breadth: float, shift: float) -> list[Point]:
    """The outline whose right half, from top to bottom, is given."""
    return [(x * breadth + shift, y) for x, y in right] + [(shift - x * breadth, y) for x, y in reversed(right)]
