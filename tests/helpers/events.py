"""What TensorBoard would show of a run folder, read back from its event files."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray


@dataclass(frozen=True)
class Events:
    """All values by tag, then by step; a later value at the same step replaces an earlier one."""

    scalars: dict[str, dict[int, float]]
    images: dict[str, dict[int, np.ndarray]]  # (height, width, 3 or 4)
    texts: dict[str, dict[int, str]]
    others: dict[str, list[bytes]]  # of other plugins: the content of their summaries, by tag
    descriptions: dict[str, str]


def read_events(folder: Path | str) -> Events:
    """Read every event file of a folder."""
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    events = Events({}, {}, {}, {}, {})
    for tag in accumulator.Tags()["tensors"]:
        metadata = accumulator.SummaryMetadata(tag)
        events.descriptions[tag] = metadata.summary_description
        values = {event.step: make_ndarray(event.tensor_proto) for event in accumulator.Tensors(tag)}
        match metadata.plugin_data.plugin_name:
            case "scalars":
                events.scalars[tag] = {step: float(value) for step, value in values.items()}
            case "images":
                events.images[tag] = {step: _picture(value) for step, value in values.items()}
            case "text":
                events.texts[tag] = {step: value[0].decode() for step, value in values.items()}
            case _:
                events.others[tag] = [value.item() if value.ndim == 0 else value.tobytes() for value in values.values()]
    return events


def _picture(value: np.ndarray) -> np.ndarray:
    width, height, png = value
    picture = np.asarray(Image.open(io.BytesIO(png)))
    assert picture.shape[:2] == (int(height), int(width))
    return picture
