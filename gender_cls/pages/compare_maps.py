"""What the candidates look at: the scores of their maps, and their maps of the same images in the same colours."""

import contextlib
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
from gender_cls.drawing.map_colours import NEUTRAL_GREY, ramp
from gender_cls.drawing.map_overviews import density_tile
from gender_cls.drawing.thumbnails import Thumbnail
from gender_cls.evaluation.comparison.compare_json import Comparison, MeanMethod
from gender_cls.explain.run_maps import RunMaps

MOST_MAPPED = 8  # most candidates whose maps are shown: the best by validation
FEW_TILES = 4  # maps of one image, by all candidates together, up to which tiles are large
LARGE_TILE, SMALL_TILE = (225, 392), (168, 294)  # most (width, height) in pixels, 1.5 times the size on the page
MISSING_SIZE = (72, 144)  # (width, height) of a crop whose file is gone
LEGEND_SIZE = (220, 12)
SCALE_END = 0.99  # a quantile, so that a single bright pixel does not darken all others


@dataclass(frozen=True)
class Prediction:
    """A network's answer for an image."""

    label: str
    predicted: str
    probability: float  # of the predicted label


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """The maps that a candidate has kept, and by path the predictions of the network that they explain."""

    title: str
    maps: RunMaps
    predictions: Mapping[str, Prediction]

    @cached_property
    def places(self) -> dict[str, int]:
        """By path, the index of the image in `maps`; only images with a prediction."""
        return {path: index for index, path in enumerate(self.maps.paths) if path in self.predictions}

    def density(self, method: str, path: str, size: tuple[int, int]) -> NDArray[np.float32] | None:
        """Its map of an image, laid on a crop of this (width, height); see `on_crop`. None if none was kept."""
        if method not in self.maps.maps:
            return None
        place = self.places[path]
        return on_crop(self.maps.maps[method][place], self.maps.boxes[place], size)


@dataclass(frozen=True)
class MapTile:
    """A candidate's map of an image by one method."""

    uri: str
    remark: str  # why the map shows nothing, or ""


@dataclass(frozen=True)
class LookedAt:
    """A candidate's answer for an image, and its maps."""

    prediction: Prediction
    explained: str  # the class that the maps explain
    tiles: list[MapTile | None]  # by each method; None where no such map was kept


@dataclass(frozen=True)
class ColourScale:
    """The colours of a method, the same in every tile."""

    title: str  # of the method
    signed: bool  # whether the scale begins at -`end`, not at 0
    end: float  # of the scale, in the units of `on_crop`
    legend: str  # the scale as a picture


@dataclass(frozen=True)
class MapTable:
    """Maps of the same images: one row per image, and in it, for each candidate, one tile per method."""

    models: list[str]  # titles of the candidates
    few: bool  # whether there is space for large tiles
    methods: list[ColourScale]
    rows: list[tuple[Thumbnail, list[LookedAt]]]  # images with different predictions first
    differing: int  # number of rows with different predictions
    common: int  # number of images of which all candidates have kept maps


@dataclass(frozen=True)
class MethodScores:
    """The scores of a method's maps."""

    title: str
    scores: dict[str, MeanMethod]  # by the title of the candidate


def scores_by_method(comparison: Comparison) -> list[MethodScores]:
    """The scores of maps, in the order of the configuration."""
    scores: dict[str, dict[str, MeanMethod]] = {}
    for row in comparison["candidates"]:
        for method in row["explanations"]["methods"] if row["explanations"] else []:
            scores.setdefault(method["name"], {})[row["title"]] = method
    return [MethodScores(next(iter(found.values()))["title"], found) for found in scores.values()]


def side_by_side(models: Sequence[ModelMaps], root: Path | None, images: int) -> MapTable | None:
    """The maps of the images that all models have maps of; None where there is no such image.

    Args:
        models: the best first, at most MOST_MAPPED, at least one.
        root: the folder that the images' paths are relative to; None where it is not known.
        images: most rows.
    """
    common = [path for path in models[0].places if all(path in model.places for model in models)]
    if not common:
        return None
    differing = [path for path in common if len({model.predictions[path].predicted for model in models}) > 1]
    paths = [*differing, *(path for path in common if path not in differing)][:images]
    methods = list(dict.fromkeys(method for model in models for method in model.maps.maps))
    few = len(models) * len(methods) <= FEW_TILES
    crops = [_read_crop(root, path, LARGE_TILE if few else SMALL_TILE) for path in paths]
    scales, tiles = [], []
    for method in methods:
        densities = [
            [model.density(method, path, crop.size) for model in models]
            for path, (crop, _) in zip(paths, crops, strict=True)
        ]
        signed, end = Method(method).signed, scale_end(densities)
        legend = Image.fromarray(ramp(LEGEND_SIZE[0], signed).repeat(LEGEND_SIZE[1], axis=0))
        scales.append(ColourScale(Method(method).title, signed, end, _uri(legend)))
        tiles.append(
            [
                [_map_tile(crop, density, end, signed) for density in of_path]
                for (crop, _), of_path in zip(crops, densities, strict=True)
            ]
        )
    rows = [
        (
            Thumbnail(path, _uri(crop) if found else "", models[0].predictions[path].label),
            [
                LookedAt(
                    prediction=model.predictions[path],
                    explained=model.maps.explained[model.places[path]],
                    tiles=[of_method[row][column] for of_method in tiles],
                )
                for column, model in enumerate(models)
            ],
        )
        for row, (path, (crop, found)) in enumerate(zip(paths, crops, strict=True))
    ]
    return MapTable(
        models=[model.title for model in models],
        few=few,
        methods=scales,
        rows=rows,
        differing=min(len(differing), len(rows)),
        common=len(common),
    )


def on_crop(
    values: ArrayLike, box: Sequence[float] | NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """The part of a map that lies on the native crop, (height, width); NaN where the network does not see the crop.

    The unit of the result is a map that is even on what the network sees of the crop and 0 on the padding around it, so
    that maps of inputs with different shapes can be compared.

    Args:
        values: (H, W), in units of a uniform map over the whole input.
        box: left, top, right, bottom of the crop in pixels of the input; outside of the input where the crop was cut.
        size: (width, height) of the result.
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


def scale_end(densities: Sequence[Sequence[NDArray | None]]) -> float:
    """The end of a colour scale for these maps, with two digits; 1 where all of them show nothing."""
    kept = [density.ravel() for row in densities for density in row if density is not None]
    magnitudes = np.abs(np.concatenate(kept))
    known = magnitudes[np.isfinite(magnitudes)]
    end = float(np.quantile(known, SCALE_END)) if known.size else 0.0
    return float(f"{end:.2g}") or 1.0


def _read_crop(root: Path | None, path: str, most: tuple[int, int]) -> tuple[Image.Image, bool]:
    """The crop, as large as fits into a tile, and True; or a grey one and False where it cannot be read."""
    crop = None
    with contextlib.suppress(UnreadableError):
        crop = None if root is None else read_image(root / path).image
    shown = crop or Image.new("RGB", MISSING_SIZE, (NEUTRAL_GREY,) * 3)
    scale = min(most[0] / shown.width, most[1] / shown.height)
    size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
    return shown.resize(size, Image.Resampling.LANCZOS), crop is not None


def _map_tile(crop: Image.Image, density: NDArray[np.float32] | None, end: float, signed: bool) -> MapTile | None:
    """The map in colours, transparent where the network did not see the crop."""
    if density is None:
        return None
    height, width = density.shape
    tile = Image.fromarray(density_tile(crop, np.nan_to_num(density), end, signed, (height, width)))
    seen = np.isfinite(density)
    if not seen.all():
        tile.putalpha(Image.fromarray(seen))
    return MapTile(_uri(tile), _remark(density))


def _remark(density: NDArray[np.float32]) -> str:
    if np.isnan(density).all():
        return "The map is not finite."
    return "" if np.nan_to_num(density).any() else "The map is all zero."


def _uri(picture: Image.Image) -> str:
    return data_uri(webp_bytes(picture, quality=50))  # as many as 130 pictures in a page
