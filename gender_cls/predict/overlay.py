"""`overlay=true`: a sheet of the most doubtful images, and videos with boxes and answers."""

import contextlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from gender_cls.config.data import UNKNOWN, folder_name
from gender_cls.data.image_files import UnreadableError, read_image
from gender_cls.data.requests.boxes import SIDES
from gender_cls.data.requests.crops import inside
from gender_cls.data.requests.mot import is_mot_folder, picture_number, read_sequence, renumbered, scene_of
from gender_cls.data.requests.videos import VideoReader, frame_rate, is_video
from gender_cls.drawing.answers import Answered, answer_sheet, frame_with_answers
from gender_cls.drawing.canvas import Picture, png_bytes
from gender_cls.drawing.video import write_video
from gender_cls.errors import GenderClsError, count, plural
from gender_cls.evaluation.tracks import track_of
from gender_cls.runs.files import write_atomically
from gender_cls.system.progress import working

SHEET = "doubtful.png"
MOST_DOUBTFUL = 48  # images on the sheet
LARGEST, SMALLEST = (1920, 1080), 640  # (width, height) of a video, and its longer side, in pixels
USUAL_RATE, SLOWEST, FASTEST = Fraction(25), Fraction(5), Fraction(60)  # frames per second


def write_overlays(
    table: pd.DataFrame, tracks: pd.DataFrame, folder: Path, *, stride: int, first_frame: int
) -> list[Path]:
    """Write SHEET and, for each video and MOT folder, `overlay_NAME.mp4`; return the files.

    Args:
        table: the finished table of `predict`.
        tracks: its `track_table`; the box of a track then has the answer of the track.
        stride: as in `read_requested`, as is `first_frame`.
    """
    files = []
    pictures = _Pictures(first_frame)
    answered = table[table["distance"].notna()]
    if len(answered):
        write_atomically(folder / SHEET, png_bytes(_sheet(answered, pictures)))
        files.append(folder / SHEET)
    shown = _with_answers_of_tracks(table, tracks)
    shown = shown[(shown["frame"].notna() & shown["left"].notna()).to_numpy()]
    places = {path: Path(scene_of(path)) for path in shown["path"].unique()}
    for video, rows in shown.groupby(shown["path"].map(places), sort=False):
        file = folder / f"overlay_{folder_name(video.stem if is_video(video) else video.name, 'video')}.mp4"
        if file in files:  # another video of the same name
            file = file.with_stem(f"{file.stem}_{len(files)}")
        if write_video(file, _frames(video, rows, stride, pictures), _rate(video, stride)):
            files.append(file)
    return files


class _Pictures:
    """Pictures and frames of videos; the video that was read last stays open."""

    def __init__(self, first_frame: int) -> None:
        self._first_frame = first_frame
        self._reader: VideoReader | None = None

    def read(self, path: Path, frame: Any) -> Picture:
        """(H, W, 3); UnreadableError if there is none."""
        if not is_video(path):
            return np.asarray(read_image(path).image)
        if self._reader is None or self._reader.video != path:
            self._reader = VideoReader(path, self._first_frame)
        return self._reader.frame(int(frame))


def _sheet(table: pd.DataFrame, pictures: _Pictures) -> Picture:
    """The images nearest to the threshold, the nearest first; of each track one."""
    nearest = table.loc[table["distance"].abs().sort_values(kind="stable").index]
    again = pd.Series(track_of(nearest)).duplicated().to_numpy() & (nearest["track"] != "").to_numpy()
    nearest = nearest[~again].head(MOST_DOUBTFUL).reset_index(drop=True)
    rows: list[Any] = nearest.to_dict("records")
    crops: dict[int, Picture] = {}
    for place in nearest.sort_values(["path", "frame"]).index:  # a video is read once
        with contextlib.suppress(UnreadableError):  # it was there when it was answered
            crops[place] = _cut(pictures.read(Path(rows[place]["path"]), rows[place]["frame"]), rows[place])
    shown = sorted(crops)
    threshold = (table["calibrated_p_FEMALE"] - table["distance"]).median()
    once = " Of each track there is one, with the answer for this image." if (table["track"] != "").any() else ""
    return answer_sheet(
        [crops[place] for place in shown],
        [_answered(rows[place]) for place in shown],
        f"The {plural(len(shown), 'most doubtful image')} of {count(len(table))}",
        f"Those whose calibrated p(FEMALE) is nearest to the threshold, {threshold:.3f}, the nearest first.{once}",
    )


def _cut(picture: Picture, row: Mapping[str, Any]) -> Picture:
    """The part of the picture inside the row's box."""
    return picture if pd.isna(row["left"]) else inside(picture, [row[side] for side in SIDES])


def _answered(row: Mapping[str, Any]) -> Answered:
    name = Path(row["path"]).name + (f" {row['frame']}" if is_video(row["path"]) else "")
    name = f"{name} #{row['track']}" if row["track"] else name
    return Answered(row["answer"], row["calibrated_p_FEMALE"], name, "" if row["label"] == UNKNOWN else row["label"])


def _with_answers_of_tracks(table: pd.DataFrame, tracks: pd.DataFrame) -> pd.DataFrame:
    """The table with `shown` and `shown_p`: the answer of the track, else of the image, else why there is none."""
    answer, p_female = table["answer"].to_numpy(object), table["calibrated_p_FEMALE"].to_numpy(np.float64)
    readable = (table["fault"] == "").to_numpy()
    track = track_of(table)
    if len(tracks):
        answer = np.where(track >= 0, tracks["answer"].to_numpy(object)[track], answer)
        p_female = np.where(track >= 0, tracks["probability"].to_numpy(np.float64)[track], p_female)
    return table.assign(shown=np.where(readable, answer, table["fault"]), shown_p=np.where(readable, p_female, np.nan))


def _rate(video: Path, stride: int) -> Fraction:
    """Frames per second, so that the video lasts as long as the original if that is neither too slow nor too fast."""
    rate = None
    if is_video(video):
        rate = frame_rate(video)
    elif is_mot_folder(video):
        with contextlib.suppress(GenderClsError):
            rate = read_sequence(video).rate
    return min(max((rate or USUAL_RATE) / stride, SLOWEST), FASTEST)


def _frames(video: Path, rows: pd.DataFrame, stride: int, pictures: _Pictures) -> Iterator[Picture]:
    """The frames from the first to the last one that was read, as they are written; unreadable ones are left out."""
    by_frame = dict(list(rows.groupby(rows["frame"].astype(int))))
    read = rows.loc[rows["fault"] == "", "frame"].astype(int)
    numbers = set(by_frame)
    if len(read) and (is_video(video) or is_mot_folder(video)):  # those without boxes too
        numbers.update(range(read.min(), read.max() + 1, stride))
    first, example = int(rows["frame"].iloc[0]), Path(rows["path"].iloc[0])
    with working(f"Drawing boxes on the frames of {video.name}", len(numbers), "frames") as work:
        for number in sorted(numbers):
            work.advance()
            boxes = by_frame.get(number, rows[:0])
            path = Path(boxes["path"].iloc[0]) if len(boxes) else _later(example, number - first)
            with contextlib.suppress(UnreadableError):
                yield _drawn(pictures.read(path, number), boxes, f"{video.name} · frame {number}")


def _later(picture: Path, frames: int) -> Path:
    """Where the frame is that comes so much later than the one in this picture; a video itself."""
    number = picture_number(picture)
    return picture if is_video(picture) or number is None else renumbered(picture, number + frames)


def _drawn(picture: Picture, boxes: pd.DataFrame, where: str) -> Picture:
    height, width = picture.shape[:2]
    longer = max(height, width)
    scale = ceil(SMALLEST / longer) if longer < SMALLEST else min(1.0, LARGEST[0] / width, LARGEST[1] / height)
    if scale != 1:
        size = max(2, round(width * scale)), max(2, round(height * scale))
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    counts = boxes["shown"].value_counts()
    said = ", ".join(f"{counts[answer]} {answer}" for answer in sorted(counts.index)) or "no boxes"
    of_track = " of its track" if (boxes["track"] != "").any() else ""
    return frame_with_answers(
        picture,
        np.rint(boxes[[*SIDES]].to_numpy(np.float64) * scale).tolist(),
        [
            Answered(answer, p_female, f"#{track}" if track else "")
            for answer, p_female, track in zip(boxes["shown"], boxes["shown_p"], boxes["track"], strict=True)
        ],
        f"{where} · {said} · next to an answer: calibrated p(FEMALE){of_track}",
    )
