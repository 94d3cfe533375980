"""Frames of videos: their numbers, and their pixels as FFmpeg's own program has them."""

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.videos import FRAMES, numbered_picture, shown_number, turn_video, write_video
from numpy.typing import NDArray

from gender_cls.data.image_files import UnreadableError
from gender_cls.data.requests import videos
from gender_cls.data.requests.videos import VideoReader, is_video, video_rows
from gender_cls.errors import GenderClsError

UNEVEN = [0, 10, 20, 500, 510, 520, 530, 2000, 2001, 2100, 2200]
KINDS: dict[str, dict] = {
    "b_frames.mp4": {},
    "uneven_times.mkv": {"times": UNEVEN},
    "uneven_times.mp4": {"times": UNEVEN},
    "starts_late.mp4": {"times": range(3000, 4000, 100)},
    "full_range.mp4": {"pixels": "yuvj420p", "colour_range": 2},
    "bt709.mp4": {"colour_matrix": 1},
    "ten_bits.mp4": {"pixels": "yuv420p10le"},
    "422.mp4": {"pixels": "yuv422p"},
    "odd_height.mp4": {"codec": "mpeg4", "size": (47, 64)},
    "odd_width.avi": {"codec": "mpeg4", "size": (48, 63)},
    "transport.ts": {},
    "lossless.mkv": {"codec": "ffv1", "pixels": "bgr0"},
    "pictures.avi": {"codec": "mjpeg", "pixels": "yuvj420p", "bf": "0"},
}
TURNS = [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
MIRRORED = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


def ffmpeg(video: Path, size: Sequence[int], stride: int) -> NDArray[np.uint8]:
    """(frames, height, width, 3): what FFmpeg's program takes at this stride."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(video),
        "-vf",
        rf"select=not(mod(n\,{stride}))",
        "-fps_mode",
        "passthrough",
    ]
    done = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *size)


def turned(picture: NDArray[np.uint8], turn: Sequence[int]) -> NDArray[np.uint8]:
    """Each pixel put where the display matrix says."""
    right, down = np.array(turn[:2]), np.array(turn[2:])
    rows, columns = np.indices(picture.shape[:2])
    to = columns[..., None] * right + rows[..., None] * down
    to -= to.min((0, 1))
    result = np.empty((*(to.max((0, 1)) + 1)[::-1], 3), np.uint8)
    result[to[..., 1], to[..., 0]] = picture
    return result


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's program is not installed")


@needs_ffmpeg
@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_ffmpeg_bit_for_bit(tmp_path: Path, name: str) -> None:
    video = write_video(tmp_path / name, **KINDS[name])
    reader = VideoReader(video)
    theirs = ffmpeg(video, reader.frame(1).shape, stride=5)
    ours = [reader.frame(number) for number in range(1, 1 + 5 * len(theirs), 5)]
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(UnreadableError):
        reader.frame(1 + 5 * len(theirs))


@needs_ffmpeg
@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_video_is_upright_as_ffmpeg_shows_it(tmp_path: Path, turn: tuple[int, ...]) -> None:
    turn_video(video := write_video(tmp_path / "video.mp4"), turn)
    first = VideoReader(video).frame(1)
    np.testing.assert_array_equal(first, ffmpeg(video, first.shape, stride=5)[0])


@pytest.mark.parametrize("turn", TURNS + MIRRORED)
def test_every_turn_and_mirror_image_is_undone(tmp_path: Path, turn: tuple[int, ...]) -> None:
    video = write_video(tmp_path / "video.mp4")
    straight = VideoReader(video).frame(3)
    turn_video(video, turn)
    np.testing.assert_array_equal(VideoReader(video).frame(3), turned(straight, turn))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["b_frames.mp4", "uneven_times.mkv", "starts_late.mp4", "odd_width.avi"])
def test_a_number_is_the_place_in_the_video(tmp_path: Path, name: str, first: int) -> None:
    video = write_video(tmp_path / name, **KINDS[name])
    count = len(KINDS[name].get("times", range(FRAMES)))
    reader = VideoReader(video, first)
    assert [shown_number(reader.frame(first + index)) for index in range(count)] == list(range(count))
    with pytest.raises(UnreadableError, match=f"{count} frames") as error:
        reader.frame(first + count)
    assert error.value.fault == "missing"
    assert ("first_frame=1" in str(error.value)) == (first == 0), "then the boxes may be numbered from 1"


def test_a_lossless_video_has_the_pixels_that_were_written(tmp_path: Path) -> None:
    reader = VideoReader(write_video(tmp_path / "video.mkv", "ffv1", "bgr0"))
    for index in (0, 4, 22):
        np.testing.assert_array_equal(reader.frame(1 + index), numbered_picture(index))


def test_any_order_gives_the_same_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4")
    one_pass = [VideoReader(video).frame(number) for number in range(1, FRAMES + 1)]
    reader = VideoReader(video)
    for number in (17, 17, 20, 3, 23, 1):  # from the middle, again, forward, back
        np.testing.assert_array_equal(reader.frame(number), one_pass[number - 1])
    reader.close()
    np.testing.assert_array_equal(reader.frame(2), one_pass[1])


def test_one_pass_opens_the_video_once_and_converts_what_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "video.mp4")
    opened, converted = [], []
    open_video, convert = av.open, videos.UprightRgb.__call__
    monkeypatch.setattr(av, "open", lambda *given, **named: (opened.append(given), open_video(*given, **named))[1])
    monkeypatch.setattr(
        videos.UprightRgb, "__call__", lambda self, frame: (converted.append(frame.pts), convert(self, frame))[1]
    )
    reader = VideoReader(video)
    for number in (1, 1, 1, 6, 6, 11, 99, 99):
        with contextlib.suppress(UnreadableError):
            reader.frame(number)
    assert (len(opened), len(converted), len(set(converted))) == (1, 3, 3)


def test_frames_after_damage_are_faults_up_to_the_next_one_that_needs_no_other(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.ts", g="8", bf="0")
    with av.open(str(video)) as container:
        start = [packet.pos for packet in container.demux(video=0) if packet.size][10]  # in the second group of eight
    content = bytearray(video.read_bytes())
    content[start + 400 : start + 900] = bytes(500)
    video.write_bytes(content)
    reader, faults = VideoReader(video), {}
    for number in range(1, FRAMES + 1):
        try:
            assert shown_number(reader.frame(number)) == number - 1
        except UnreadableError as error:
            faults[number] = error.fault
    assert set(faults.values()) == {"damaged"}
    assert 11 in faults
    assert set(faults) <= set(range(10, 17))


def test_a_video_that_was_cut_off_has_its_first_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mkv")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    reader = VideoReader(video)
    assert shown_number(reader.frame(5)) == 4
    for number in (23, 22):
        with pytest.raises(UnreadableError):
            reader.frame(number)
    assert shown_number(reader.frame(6)) == 5


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "missing"), (b"", "empty"), (b"no video" * 99, "no_picture"), ("half", "no_picture")]
)
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes | str | None, fault: str) -> None:
    video = tmp_path / "video.mp4"
    if content == "half":  # an MP4 file without its end, where the index is
        content = write_video(video).read_bytes()[:3000]
    if isinstance(content, bytes):
        video.write_bytes(content)
    reader = VideoReader(video)
    for number in (1, 2):
        with pytest.raises(UnreadableError, match=r"video\.mp4") as error:
            reader.frame(number)
        assert error.value.fault == fault


def test_a_playlist_opens_no_other_address(tmp_path: Path) -> None:
    video = tmp_path / "video.ts"
    video.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnreadableError):
        VideoReader(video).frame(1)


def test_rows_of_a_video_at_a_stride(tmp_path: Path) -> None:
    video, boxes = tmp_path / "video.mp4", tmp_path / "boxes.txt"
    boxes.write_text("".join(f"{frame},7,{frame},2,3,4,0.9,-1,-1,-1\n" for frame in range(1, 24)) + "6,-1,9,9,9,9,1\n")
    rows, left_out = video_rows(video, boxes, stride=5, first_frame=1)
    assert rows["frame"].tolist() == [1, 6, 6, 11, 16, 21]
    assert rows["left"].tolist() == [1, 6, 9, 11, 16, 21]
    assert set(rows["path"]) == {str(video)}
    assert rows["track"].tolist() == ["7", "7", "", "7", "7", "7"]
    assert sum(left_out.values()) == 18


def test_a_video_without_boxes_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(GenderClsError, match=r"no detector.*boxes=FILE.*frame,id,left,top,width,height"):
        video_rows(tmp_path / "video.mp4", None, stride=1, first_frame=1)


def test_videos_are_known_by_their_suffix() -> None:
    assert is_video("a/b.MP4")
    assert is_video(Path("b.mkv"))
    assert not is_video("mp4")
    assert not is_video("a.mp4/b.png")
