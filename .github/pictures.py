"""Draw the README's picture from a finished sweep: `python .github/pictures.py SWEEP [PNG]`; `make pictures` does all.

Left: the leaderboard with its intervals, and how often the maps point at the drawn cue. Right: such maps.
"""

import sys
from io import BytesIO
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from gender_cls.config.data import CLASSES
from gender_cls.config.explain import Method
from gender_cls.data.image_files import read_image
from gender_cls.drawing.chart_style import PALETTE, house_style
from gender_cls.drawing.map_colours import coloured
from gender_cls.evaluation.estimate import Estimate
from gender_cls.evaluation.wording import stated
from gender_cls.explain.run_maps import RunMaps, load_run_maps
from gender_cls.runs.files import read_json, write_atomically
from gender_cls.runs.run import Run

WIDTH, HEIGHT = 838, 474  # CSS pixels of GitHub's page; drawn twice as dense
DENSITY = 2
INCH = 100  # CSS pixels, so that a point of type is 1.39 of them
SIGNED = {Method.saliency.value: False, Method.grad_cam.value: True}
TILE = (92, 184)
BESIDE = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "verticalalignment": "center"}
BY_CHANCE = {"color": PALETTE["faint"], "linestyle": (0, (3, 3)), "linewidth": 1}
RIGHT = WIDTH - 3 * TILE[0] - 2 * 8 - 18


def draw(sweep: Path) -> Figure:
    """The picture, of the runs that the sweep's leaderboard has, and of the maps of its first one."""
    board = read_json(sweep / "leaderboard.json")
    best = Run(sweep / Path(board["candidates"][0]["runs"][0]["folder"]).name)
    with house_style():
        figure = Figure((WIDTH / INCH, HEIGHT / INCH), dpi=INCH * DENSITY, facecolor=PALETTE["paper"])
        name = board["candidates"][0]["title"]
        write(figure, 18, 28, f"Leaderboard: {board['images']} test crops of {board['identities']} drawn people", 9.5)
        scores(figure, board)
        write(figure, 18, 262, f"How often the highest point of {name}'s maps is on the cue", 9.5)
        pointing(area(figure, 148, 276, 222, 132), best.metrics["explanations"])
        write(figure, RIGHT, 28, "What its answers rest on (box: the cue)", 9.5)
        maps(figure, best)
    return figure


def write(figure: Figure, left: float, base: float, text: str, size: float = 8.5, **look: object) -> None:
    """Text whose line begins here, in pixels from the upper left corner; titles (above 9 pt) are bold."""
    look = {"fontweight": "bold" if size > 9 else "normal", **look}
    figure.text(left / WIDTH, 1 - base / HEIGHT, text, fontsize=size, **look)


def area(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at this place, in pixels from the upper left corner."""
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.set_facecolor(PALETTE["paper"])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return axes


def scores(figure: Figure, board: dict) -> None:
    """One line per candidate, the best on validation first, and what the comparison says."""
    rows = [row for row in board["candidates"] if row["test"]["mean"] is not None]
    axes = area(figure, 220, 66, 150, 92)
    intervals(axes, [(row["title"], row["test"] | {"value": row["test"]["mean"]}) for row in rows])
    for place, row in enumerate(rows):
        axes.annotate(f"{row['validation']['mean']:.2f}", (0, place), (-14, 0), **BESIDE, horizontalalignment="right")
    for left, heading in ((148, "validation"), (220, "test, balanced accuracy [95 %]")):
        write(figure, left, 54, heading, color=PALETTE["soft"])
    baseline = rows[0]["baseline"]
    axes.axvline(baseline["balanced_accuracy"], **BY_CHANCE)
    axes.set_xlim(0.4, 1.02)
    axes.set_xlabel(f"dashed: the best trivial baseline ({baseline['title']}, {baseline['balanced_accuracy']:.2f})")
    verdict = " ".join(board["verdict"][1:2]).replace(" < ", "\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}")
    for line, text in enumerate(wrap(verdict, 76)):
        write(figure, 18, 210 + 16 * line, text)


def pointing(axes: Axes, explanations: dict) -> None:
    """One line per method and label."""
    rows = [
        (f"{method['title']}, {label}", method["cue"][label]["hit"])
        for method in explanations["methods"]
        if method["name"] in SIGNED
        for label in CLASSES
    ]
    intervals(axes, rows)
    area_of_cue = np.mean([explanations["methods"][0]["cue"][label]["area"] for label in CLASSES])
    axes.axvline(float(area_of_cue), **BY_CHANCE)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel(f"share of {explanations['images']} images [95 %]; dashed: by chance, {area_of_cue:.2f}")


def intervals(axes: Axes, rows: list[tuple[str, Estimate]]) -> None:
    """For each row its name, a point with its interval, and the same in numbers."""
    for place, (name, score) in enumerate(rows):
        if score["low"] is not None:
            axes.hlines(place, score["low"], score["high"], color=PALETTE["mark"], linewidth=2)
        axes.plot(score["value"], place, "o", color=PALETTE["mark"], markersize=6, clip_on=False)
        axes.annotate(stated(score, digits=2), (1, place), (8, 0), **BESIDE)
        axes.annotate(name, (18 / WIDTH, place), xycoords=("figure fraction", "data"), verticalalignment="center")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])


def maps(figure: Figure, run: Run) -> None:
    """For each label the tallest explained crop: as it is, and below the maps; the cue has an outline."""
    kept = load_run_maps(run.maps)
    assert kept is not None
    manifest = pd.read_csv(run.manifest).set_index("path")
    titles = {method["name"]: method["title"] for method in run.metrics["explanations"]["methods"]}
    for row, label in enumerate(CLASSES):
        shown = manifest.loc[[path for path in kept.paths if manifest.loc[path, "label"] == label]]
        path = str(shown["height"].idxmax())
        cue = shown.loc[path, ["cue_left", "cue_top", "cue_right", "cue_bottom"]].to_numpy(float)
        image = np.asarray(read_image(run.data_root / path).image)
        tiles = [(label, image)] + [(titles[name], overlay(kept, path, name, image)) for name in SIGNED]
        for column, (title, tile) in enumerate(tiles):
            left, top = RIGHT + column * (TILE[0] + 8), 60 + row * (TILE[1] + 22)
            axes = area(figure, left, top, *TILE)
            axes.imshow(tile, aspect="auto", interpolation="lanczos")
            axes.set_axis_off()
            axes.add_patch(Rectangle(cue[:2], *(cue[2:] - cue[:2]), fill=False, edgecolor="white", linewidth=1.2))
            write(figure, left, top - 6, title, 8.5)


def overlay(kept: RunMaps, path: str, method: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The map as the program's pictures have it, in the size of the image."""
    index = kept.paths.index(path)
    left, top, right, bottom = kept.boxes[index]
    values = Image.fromarray(kept.maps[method][index]).resize(
        (image.shape[1], image.shape[0]), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return coloured(np.asarray(values)[None], image[None], SIGNED[method])[0]


if __name__ == "__main__":
    file = BytesIO()
    draw(Path(sys.argv[1])).savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    write_atomically(Path(sys.argv[2] if len(sys.argv) > 2 else ".github/demo.png"), file.getvalue())
