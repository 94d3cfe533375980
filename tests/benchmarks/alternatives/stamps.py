"""Records when the epochs of a training begin and end; needs only the standard library."""

import json
import time
from typing import Any


class Stamps:
    """Times of `time.time()`, so that another process can compare them with its own."""

    def __init__(self) -> None:
        self.first_step = 0.0
        self.epochs: list[dict[str, Any]] = []

    def epoch_begins(self) -> None:
        """Call before the first batch of a training epoch is loaded."""
        self.epochs.append({"began": time.time(), "ended": 0.0, "images": 0})

    def step_ends(self, images: int) -> None:
        """Call after each step of the optimizer; validation comes later and does not count."""
        now = time.time()
        self.first_step = self.first_step or now
        self.epochs[-1]["ended"] = now
        self.epochs[-1]["images"] += images

    def tell(self) -> None:
        """Print one line of JSON as the last line of stdout; call when training has ended."""
        told = {"first_step": self.first_step, "epochs": self.epochs, "trained": time.time()}
        print("\n" + json.dumps(told), flush=True)
