"""What the candidates look at: their maps' scores, and their maps of the same images in the same colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from gender_cls.config.explain import Method
from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.drawing.canvas import data_uri, webp_bytes
from gender_cls.drawing.map_overviews import density_tile
from gender_cls.evaluation.comparison.schema import Comparison, MeanMethod
from gender_cls.explain.run_maps import RunMaps

MOST_MODELS = 8
"""Columns of maps: the best candidates by validation."""

FEW = 4
"""Models whose tiles are large."""

LARGE, SMALL = (228, 294), (144, 168)  # most (width, height) of a tile in pixels, half as many again as on the page
UNKNOWN_SHAPE = (72, 144)  # (width, height) of a crop whose picture is gone
LEGEND = (220, 12)
SCALE_END = 0.99  # quantile; a single bright pixel shall not darken all the others
GREY = 128  # behind a map whose picture is gone


@dataclass(frozen=True)
class Answer:
    """A network's answer for an image; `probability` is that of the predicted label."""

    label: str
    predicted: str
    probability: float


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """The maps that a candidate has kept.

    Attributes:
        title: of the candidate.
        answers: of the network that the maps are of, by path.
    """

    title: str
    kept: RunMaps
    answers: Mapping[str, Answer]

    @cached_property
    def places(self) -> dict[str, int]:
        """By path, which of the maps is its; of the images with an answer."""
        return {path: index for index, path in enumerate(self.kept.paths) if path in self.answers}


@dataclass(frozen=True)
class MapTile:
    """A model's map of an image: `explained` is the class whose logit it explains, `remark` why it shows nothing."""

    uri: str
    answer: Answer
    explained: str
    remark: str


@dataclass(frozen=True)
class MapRow:
    """An image and its maps, one a model. `uri` is "" where there is no picture."""

    path: str
    name: str
    label: str
    uri: str
    tiles: list[MapTile]


@dataclass(frozen=True)
class MapTable:
    """Maps of one method in one colour scale.

    Attributes:
        models: titles of the columns.
        few: whether there is room for large pictures.
        rows: images on which the models' answers differ first.
        differing: how many these are.
        common: images that all models have kept a map of.
        signed: whether the scale goes from -`most` to `most`, and not from 0.
        most: end of the scale, in the units of `on_crop`.
        legend: the scale as a picture.
    """

    models: list[str]
    few: bool
    rows: list[MapRow]
    differing: int
    common: int
    signed: bool
    most: float
    legend: str


@dataclass(frozen=True)
class Look:
    """One method.

    Attributes:
        title: for people.
        scores: by the candidate's title.
        maps: None where there are none to be shown.
        remarks: sentences about what is missing in `maps`.
    """

    title: str
    scores: dict[str, MeanMethod]
    maps: MapTable | None
    remarks: list[str]


def what_they_look_at(
    comparison: Comparison, models: Sequence[ModelMaps], root: Path | None, images: int
) -> list[Look]:
    """By method, in the order of the configuration.

    Args:
        comparison: of which `explanations` is read.
        models: the best first, at most MOST_MODELS.
        root: the folder that the images' paths are relative to; None where it is not known.
        images: most rows of a table of maps.
    """
    scores: dict[str, dict[str, MeanMethod]] = {}
    for row in comparison["candidates"]:
        for method in row["explanations"]["methods"] if row["explanations"] else []:
            scores.setdefault(method["name"], {})[row["title"]] = method
    enough = min(2, sum(row["compared"] for row in comparison["candidates"]))
    looks = []
    for name, by_title in scores.items():
        shown = [one for one in models if name in one.kept.maps]
        without = [one.title for one in models if one not in shown]
        remarks = [f"No maps of this kind were kept of {', '.join(without)}."] if images and without else []
        maps = None
        if images and shown and len(shown) >= enough:
            maps = _side_by_side(name, shown, root, images)
            if maps is None:
                remarks.append("The candidates have kept maps of different images: none can be laid side by side.")
        looks.append(Look(next(iter(by_title.values()))["title"], by_title, maps, remarks))
    return looks


def _side_by_side(method: str, models: Sequence[ModelMaps], root: Path | None, images: int) -> MapTable | None:
    """None where the models have no image in common."""
    common = [path for path in models[0].places if all(path in one.places for one in models)]
    if not common:
        return None
    differing = [path for path in common if len({one.answers[path].predicted for one in models}) > 1]
    paths = [*differing, *(path for path in common if path not in differing)][:images]
    pictures = [_picture(root, path) for path in paths]
    sizes = [_tile_size(picture, LARGE if len(models) <= FEW else SMALL) for picture in pictures]
    densities = [
        [on_crop(one.kept.maps[method][one.places[path]], one.kept.boxes[one.places[path]], size) for one in models]
        for path, size in zip(paths, sizes, strict=True)
    ]
    signed, most = Method(method).signed, scale_end(densities)
    rows = [
        MapRow(
            path=path,
            name=Path(path).name,
            label=models[0].answers[path].label,
            uri="" if picture is None else _uri(picture.resize(size, Image.Resampling.LANCZOS)),
            tiles=[
                MapTile(
                    uri=_uri(_tile(picture, density, most, signed)),
                    answer=one.answers[path],
                    explained=one.kept.explained[one.places[path]],
                    remark=_remark(density),
                )
                for one, density in zip(models, row, strict=True)
            ],
        )
        for path, picture, size, row in zip(paths, pictures, sizes, densities, strict=True)
    ]
    return MapTable(
        models=[one.title for one in models],
        few=len(models) <= FEW,
        rows=rows,
        differing=min(len(differing), len(rows)),
        common=len(common),
        signed=signed,
        most=most,
        legend=_uri(_legend(most, signed)),
    )


def on_crop(
    values: ArrayLike, box: Sequence[float] | NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """The part of a map that lies on the native crop, whatever the network's input made of that crop.

    Args:
        values: (H, W), in units of an even map over the whole input.
        box: left, top, right, bottom of the crop in pixels of the input; beyond it where the crop was cut.
        size: (width, height) of the result.

    Returns:
        (height, width), in units of a map that is even on what the network sees of the crop and 0 on the padding around
        it, so that inputs of any shape compare. NaN where the network does not see the crop.
    """
    values = np.asarray(values, np.float32)
    left, top, right, bottom = (float(edge) for edge in box)
    seen = max(left, 0.0), max(top, 0.0), min(right, float(values.shape[1])), min(bottom, float(values.shape[0]))
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    columns = _span((seen[0] - left) * across, (seen[2] - left) * across, size[0])
    rows = _span((seen[1] - top) * down, (seen[3] - top) * down, size[1])
    laid = np.full((size[1], size[0]), np.nan, np.float32)
    part = Image.fromarray(values * ((seen[2] - seen[0]) * (seen[3] - seen[1]) / values.size))
    extent = columns.stop - columns.start, rows.stop - rows.start
    laid[rows, columns] = np.asarray(part.resize(extent, Image.Resampling.BILINEAR, box=seen))
    return laid


def _span(low: float, high: float, length: int) -> slice:
    """Whole pixels of `length`, at least one."""
    start = min(round(low), length - 1)
    return slice(start, max(start + 1, round(high)))


def scale_end(densities: Sequence[Sequence[NDArray]]) -> float:
    """Where the colour scale of these maps ends, to two digits; 1 where there is nothing on them."""
    magnitudes = np.abs(np.concatenate([density.ravel() for row in densities for density in row]))
    known = magnitudes[np.isfinite(magnitudes)]
    end = float(np.quantile(known, SCALE_END)) if known.size else 0.0
    return float(f"{end:.2g}") or 1.0


def _picture(root: Path | None, path: str) -> Image.Image | None:
    if root is None:
        return None
    try:
        return read_image(root / path).image
    except UnreadableError:
        return None


def _tile_size(picture: Image.Image | None, most: tuple[int, int]) -> tuple[int, int]:
    """(width, height), in the shape of the native crop."""
    width, height = UNKNOWN_SHAPE if picture is None else picture.size
    scale = min(most[0] / width, most[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _tile(picture: Image.Image | None, density: NDArray[np.float32], most: float, signed: bool) -> Image.Image:
    """Transparent where the network did not see the crop."""
    below = picture or Image.new("RGB", UNKNOWN_SHAPE, (GREY,) * 3)
    height, width = density.shape
    tile = Image.fromarray(density_tile(below, np.nan_to_num(density), most, signed, (height, width)))
    seen = np.isfinite(density)
    if not seen.all():
        tile.putalpha(Image.fromarray(seen))
    return tile


def _legend(most: float, signed: bool) -> Image.Image:
    """The colours of the scale, as they look on mid-grey."""
    width, height = LEGEND
    ramp = np.linspace(-most if signed else 0.0, most, width, dtype=np.float32)
    grey = Image.new("RGB", LEGEND, (GREY,) * 3)
    return Image.fromarray(density_tile(grey, np.tile(ramp, (height, 1)), most, signed, (height, width)))


def _remark(density: NDArray[np.float32]) -> str:
    if np.isnan(density).all():
        return "The map is not finite."
    return "" if np.nan_to_num(density).any() else "The map is all zero."


def _uri(picture: Image.Image) -> str:
    return data_uri(webp_bytes(picture))
