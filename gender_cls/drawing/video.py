"""Pictures -> a video that a browser plays."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from gender_cls.drawing.canvas import Picture
from gender_cls.runs.files import replacing
from gender_cls.system.extras import import_extra

H264 = {"crf": "23", "preset": "veryfast"}  # libx264's quality and speed
MPEG4_BITS = 6_000_000  # per second
BT601, LIMITED = 6, 1  # FFmpeg's numbers of the matrix and the range that it converts RGB with


def write_video(file: Path, pictures: Iterable[Picture], rate: Fraction) -> bool:
    """Write an MP4 file in H.264, or MPEG-4 where PyAV has no encoder for it; False if there are no pictures.

    Its size is that of the first picture, and even; other pictures are resized to it.

    Args:
        rate: frames per second.
    """
    av = import_extra("av", "Writing a video")
    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        return False
    size = first.shape[1] + first.shape[1] % 2, first.shape[0] + first.shape[0] % 2
    has_h264 = "libx264" in av.codecs_available
    with replacing(file) as target, av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264" if has_h264 else "mpeg4", rate=rate.limit_denominator(1001))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = BT601, LIMITED
        if has_h264:
            stream.options = H264
        else:
            stream.bit_rate = MPEG4_BITS
        for picture in chain([first], pictures):
            if picture.shape[1::-1] != size:
                picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return True
