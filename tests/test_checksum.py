import io
import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
from tensorboard.summary.writer import record_writer
from torch.utils.tensorboard import SummaryWriter

from gender_cls.pages.checksum import LENGTH, LONG, crc32c, quicken_event_files
from gender_cls.pages.event_pictures import add_png


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4, and the check value of the catalogue of CRCs
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("size", [4, LENGTH - 1, LENGTH, LENGTH + 1, 2 * LENGTH, 3 * LENGTH + 7, 100_001])
def test_it_equals_tensorboards_own(size: int) -> None:
    data = os.urandom(size)
    assert crc32c(data) == pywrap_tensorflow.crc32c(data)


@pytest.mark.parametrize("size", [3, LONG - 1, LONG, 5 * LONG])
def test_records_have_the_same_bytes(size: int) -> None:
    data = os.urandom(size)
    quicken_event_files()
    file = io.BytesIO()
    record_writer.RecordWriter(file).write(data)
    assert file.getvalue()[-4:] == pywrap_tensorflow.masked_crc32c(data).to_bytes(4, "little")
    assert file.getvalue()[12:-4] == data


def test_a_picture_reaches_tensorboard_as_it_is(tmp_path: Path) -> None:
    png = os.urandom(3 * LONG)
    with SummaryWriter(tmp_path) as writer:
        add_png(writer, "maps/probe", png, (20, 10), 7)
    events = EventAccumulator(str(tmp_path)).Reload()  # which checks the sums
    [event] = events.Images("maps/probe")
    assert (event.encoded_image_string, event.height, event.width, event.step) == (png, 20, 10, 7)
