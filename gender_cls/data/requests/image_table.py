"""A table of images to answer for, CSV or Parquet -> rows of a request."""

from pathlib import Path

import numpy as np
import pandas as pd

from gender_cls.config.data import UNKNOWN, DataConfig
from gender_cls.data.columns import label_names, stands_for_nothing
from gender_cls.data.requests.boxes import SIDES, whole_pixels
from gender_cls.data.requests.names import located
from gender_cls.data.requests.videos import PURPOSE, VIDEO_SUFFIXES
from gender_cls.data.text_table import BLANKS, read_text_table
from gender_cls.errors import GenderClsError, first_few, one_line, require, visible
from gender_cls.system.extras import import_extra

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TEXTS = ("identity", "camera", "track", "label")
COLUMNS = ("path", *TEXTS, "frame", *SIDES)
FARTHEST = 1e9  # what lies beyond lies outside of any image or video


def read_image_table(file: Path, data: DataConfig) -> pd.DataFrame:
    """The rows of a table with `path`, and what it has of TEXTS, `frame` and SIDES; other columns are not read.

    A path is absolute, or relative to the table's folder. A label that is no alias of one is UNKNOWN. A row without any
    of the four sides is about the whole image. The sides are rounded to whole pixels, see `whole_pixels`.

    Raises:
        GenderClsError: the table cannot be read; a row has no path, half a box, or something else than a number; none
            of the files exists; frames of a video are missing or go back.
    """
    table = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    paths = table.pop("path").tolist()
    empty = next((row for row, path in enumerate(paths) if not path.strip(BLANKS)), None)
    require(empty is None, f"{file} has no path in row {(empty or 0) + 1}.")
    rows = pd.DataFrame({"path": located(paths, file.parent, str(file))}, dtype=object)
    for column in TEXTS:
        if column in table:
            rows[column] = _said(table[column])
    if "label" in rows:
        rows["label"] = rows["label"].str.lower().map(label_names(data)).fillna(UNKNOWN).astype("str")
    if "frame" in table:
        frames = _numbers(table["frame"], file)
        _refuse(frames % 1 > 0, table["frame"], file, "no whole number")
        rows["frame"] = frames.where(frames >= 0).clip(upper=FARTHEST).astype("Int64")
    if not set(SIDES).isdisjoint(table.columns):
        rows[list(SIDES)] = _boxes(table, file)
    _check_videos(rows, file)
    return rows


def _csv(file: Path) -> pd.DataFrame:
    table = read_text_table(file, str(file), ("path",), known=COLUMNS, as_written="path", further=False)
    require(len(table) > 0, f"{file} has no rows below its first line.")
    return table


def _parquet(file: Path) -> pd.DataFrame:
    """The columns as texts; "" where there is no value. Whole numbers stay whole next to missing ones."""
    import_extra("pyarrow", "Reading a Parquet table")
    import pyarrow as arrow
    import pyarrow.parquet

    try:
        names = arrow.parquet.read_schema(file).names
        wanted = {name: name.casefold() for name in names if name.casefold() in COLUMNS}
        require(
            sorted({*wanted.values()}) == sorted(wanted.values()), f"{file} names a column twice: {first_few(wanted)}."
        )
        require("path" in wanted.values(), f"{file} has no column 'path', only {first_few(names, most=9)}.")
        table = arrow.parquet.read_table(file, columns=list(wanted))
        texts = {wanted[name]: table[name].cast(arrow.string()).fill_null("") for name in wanted}
    except (arrow.ArrowException, OSError) as error:
        raise GenderClsError(f"{file} cannot be read as Parquet: {one_line(error)}.") from None
    require(len(table) > 0, f"{file} has no rows.")
    return pd.DataFrame({name: column.to_pandas() for name, column in texts.items()}, dtype="str")


def _said(values: pd.Series) -> pd.Series:
    """The texts of a column, and "" for those that stand for nothing."""
    return values.mask(values.isin([value for value in values.unique() if stands_for_nothing(value)]), "")


def _boxes(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """SIDES in whole pixels, nothing where a row has no box."""
    missing = [side for side in SIDES if side not in table]
    require(not missing, f"{file} has no column {first_few(missing)}: a box needs all of {', '.join(SIDES)}.")
    sides = pd.DataFrame({side: _numbers(table[side], file) for side in SIDES})
    empty = sides.isna()
    half = (empty.any(axis=1) & ~empty.all(axis=1)).to_numpy()
    if half.any():
        row = int(half.argmax())
        raise GenderClsError(
            f"{file} has half a box in row {row + 1}, without {first_few(empty.columns[empty.iloc[row]])}: give all "
            "four sides, or none for the whole image."
        )
    pixels = whole_pixels(sides.fillna(0).clip(-FARTHEST, FARTHEST))
    return pd.DataFrame(pixels, sides.index, list(SIDES)).astype("Int64").mask(empty["left"])


def _check_videos(rows: pd.DataFrame, file: Path) -> None:
    """Raise GenderClsError unless each row about a video has a frame, and the next rows about it have later ones."""
    videos = rows["path"].str.lower().str.endswith(tuple(VIDEO_SUFFIXES)).astype("bool")
    if not videos.any():
        return
    import_extra("av", PURPOSE)
    frames = rows["frame"] if "frame" in rows else pd.Series(pd.NA, rows.index, "Int64")
    without = (videos & frames.isna()).to_numpy()
    require(not without.any(), f"{file} names a video without a frame in row {without.argmax() + 1}.")
    back = (videos & (rows["path"] == rows["path"].shift()) & (frames.diff() < 0).fillna(False)).to_numpy()
    require(
        not back.any(),
        f"{file} goes back to an earlier frame of the same video in row {back.argmax() + 1}: sort its rows by path and "
        "frame, because a video can only be read forwards.",
    )


def _numbers(values: pd.Series, file: Path) -> pd.Series:
    """The numbers in a column of texts; NaN where it says nothing."""
    given = values.where((values == "-1") | (_said(values) != ""), "")
    numbers = pd.to_numeric(given, errors="coerce").astype("float64")
    _refuse((given != "") & ~np.isfinite(numbers), values, file, "no number")
    return numbers


def _refuse(wrong: pd.Series, values: pd.Series, file: Path, what: str) -> None:
    """Raise GenderClsError with the first value that is wrong."""
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise GenderClsError(f"{file}: {values.name} in row {row + 1} is {what}: {visible(values.iloc[row])}.")
