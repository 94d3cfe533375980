"""The sheet of doubtful images, and videos with boxes and answers."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from helpers.videos import shown_number, write_video
from PIL import Image, ImageColor

from gender_cls.data.image_files import UnreadableError
from gender_cls.data.requests.videos import VideoReader, frame_rate
from gender_cls.drawing.answers import COLOURS, STRIP
from gender_cls.predict.overlay import write_overlays


def rows(path: Path, frames: list[int | None], answers: list[str], **columns: Any) -> pd.DataFrame:
    """Rows of predict's table with a box, 0.2 on the MALE side of the threshold 0.4 or on the other."""
    p_female = np.where(np.array(answers) == "FEMALE", 0.6, 0.2)
    table = {
        "path": str(path), "frame": pd.array(frames, "Int64"), "track": "", "identity": "", "camera": "",
        "label": "unknown", "left": 20, "top": 20, "width": 16, "height": 24, "calibrated_p_FEMALE": p_female,
        "distance": p_female - 0.4, "answer": answers, "fault": "",
    }  # fmt: skip
    frame = pd.DataFrame({**table, **columns})
    return frame.astype({"left": "Int64", "top": "Int64", "width": "Int64", "height": "Int64", "track": "str"})


NO_TRACKS = pd.DataFrame({"track": [], "answer": [], "probability": []})


def written(folder: Path, table: pd.DataFrame, tracks: pd.DataFrame = NO_TRACKS, **settings: int) -> list[str]:
    return [file.name for file in write_overlays(table, tracks, folder, **{"stride": 1, "first_frame": 1, **settings})]


def edge_colour(video: Path, frame: int, scale: int = 10) -> str:
    """FEMALE or MALE, by the colour of the box's left edge in a video that was enlarged by `scale`."""
    pixel = VideoReader(video).frame(frame)[32 * scale, 20 * scale + 1].astype(int)
    return min(COLOURS, key=lambda answer: np.abs(pixel - ImageColor.getrgb(COLOURS[answer])).sum())


def test_a_video_gets_boxes_at_the_frames_of_the_stride(tmp_path: Path) -> None:
    video = write_video(tmp_path / "lobby.mp4")
    table = rows(video, [1, 11, 11, 16], ["MALE", "FEMALE", "FEMALE", "MALE"])
    assert written(tmp_path, table, stride=5) == ["doubtful.png", "overlay_lobby.mp4"]
    made = VideoReader(tmp_path / "overlay_lobby.mp4")
    pictures = [made.frame(number) for number in range(1, 5)]
    assert pictures[0].shape == (480 + STRIP, 640, 3)
    assert [shown_number(picture[:480:10, ::10]) for picture in pictures] == [0, 5, 10, 15], "frame 6 has no box"
    assert [edge_colour(made.video, number) for number in (1, 3, 4)] == ["MALE", "FEMALE", "MALE"]
    with pytest.raises(UnreadableError, match="4 frames"):
        made.frame(5)
    assert frame_rate(made.video) == 5, "25 frames per second, of which every fifth is taken"


def test_a_box_has_the_answer_of_its_track(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4")
    table = rows(video, [1, 2, 2, 3], ["MALE", "MALE", "MALE", "MALE"], track=["8", "3", "8", ""])
    tracks = pd.DataFrame({"track": ["8", "3"], "answer": ["FEMALE", "MALE"], "probability": [0.9, 0.1]})
    table.loc[1, ["left", "top"]] = 45, 0
    written(tmp_path, table, tracks)
    assert [edge_colour(tmp_path / "overlay_video.mp4", frame) for frame in (1, 2, 3)] == ["FEMALE", "FEMALE", "MALE"]


@pytest.mark.parametrize("first_frame", [0, 1])
def test_a_mot_folder_gets_a_video_at_its_own_rate(tmp_path: Path, first_frame: int) -> None:
    folder = tmp_path / "MOT17-02"
    (folder / "img1").mkdir(parents=True)
    (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=14\n")
    for number in (1, 2, 4):
        Image.new("RGB", (64, 48), (60 * number, 0, 0)).save(folder / "img1" / f"{number:06}.png")
    frames = [first_frame, first_frame + 2, first_frame + 3]  # the picture of the second one is missing
    table = rows(folder, frames, ["MALE", "MALE", "FEMALE"], fault=["", "missing", ""])
    table["path"] = [str(folder / "img1" / f"{number:06}.png") for number in (1, 3, 4)]
    assert written(tmp_path, table, first_frame=first_frame)[1:] == ["overlay_MOT17-02.mp4"]
    made = VideoReader(tmp_path / "overlay_MOT17-02.mp4")
    reds = [int(made.frame(number)[470, 600, 0]) for number in (1, 2, 3)]
    np.testing.assert_allclose(reds, [60, 120, 240], atol=6)
    assert frame_rate(made.video) == 14


def test_videos_of_one_name_get_two_videos(tmp_path: Path) -> None:
    videos = [tmp_path / name / "video.mp4" for name in ("a", "b")]
    for video in videos:
        video.parent.mkdir()
        write_video(video, times=[0, 40])
    table = pd.concat([rows(video, [1], ["MALE"]) for video in videos], ignore_index=True)
    names = written(tmp_path, table)
    assert len(names) == len(set(names)) == 3
    assert all((tmp_path / name).is_file() for name in names)


def test_pictures_get_a_sheet_with_the_most_doubtful_first_and_each_track_once(tmp_path: Path) -> None:
    reds = [250, 200, 150, 100]
    table = pd.concat(
        [rows(tmp_path / f"{red}.png", [None], ["MALE"], track=track) for red, track in zip(reds, "7717", strict=True)],
        ignore_index=True,
    )
    tracks = pd.DataFrame({"track": ["7", "1"], "answer": "FEMALE", "probability": 0.9})
    table["distance"] = [0.3, -0.1, 0.2, -0.4]
    table["left"] = table["left"].where([True, True, False, True])
    for red in reds:
        Image.new("RGB", (60, 60), (red, 0, 0)).save(tmp_path / f"{red}.png")
    assert written(tmp_path, table, tracks) == ["doubtful.png"]
    sheet = np.asarray(Image.open(tmp_path / "doubtful.png"))
    places = {red: np.argwhere((sheet == (red, 0, 0)).all(-1)) for red in reds}
    assert [red for red in reds if len(places[red])] == [200, 150], (
        "those of track 7 that are less doubtful are left out"
    )
    assert places[200][:, 1].min() < places[150][:, 1].min()
    assert len(places[200]) == 16 * 24 * 8 * 8, "the box alone, enlarged"


def test_a_box_far_behind_the_end_of_a_video_takes_no_time(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", times=[0, 40, 80])
    table = rows(video, [1, 3, 10**9], ["MALE", "MALE", ""], fault=["", "", "missing"])
    written(tmp_path, table)
    with pytest.raises(UnreadableError, match="3 frames"):
        VideoReader(tmp_path / "overlay_video.mp4").frame(4)


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    table = rows(tmp_path / "gone.mp4", [1, 2], ["", ""], fault="missing")
    table[["distance", "calibrated_p_FEMALE"]] = np.nan
    assert written(tmp_path, table) == []
    assert list(tmp_path.iterdir()) == []


def test_without_an_encoder_for_h264_there_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "video.mp4")
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    written(tmp_path, rows(video, [1, 2], ["MALE", "FEMALE"]))
    with av.open(str(tmp_path / "overlay_video.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert edge_colour(tmp_path / "overlay_video.mp4", 2) == "FEMALE"


def test_a_video_of_odd_size_is_written(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.avi", "mpeg4", size=(47, 63), times=[0, 40])
    written(tmp_path, rows(video, [1, 2], ["MALE", "FEMALE"]))
    height, width = VideoReader(tmp_path / "overlay_video.mp4").frame(2).shape[:2]
    assert (height % 2, width % 2) == (0, 0)
