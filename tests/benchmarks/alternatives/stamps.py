"""When the epochs of a training began and ended, told by the script itself; the standard library alone."""

import json
import time
from typing import Any


class Stamps:
    """Times since 1970, as `time.time()` gives them, so that another process can set them against its own."""

    def __init__(self) -> None:
        self.first_step = 0.0
        self.epochs: list[dict[str, Any]] = []

    def epoch_begins(self) -> None:
        """Before the first batch of a training epoch is asked for."""
        self.epochs.append({"began": time.time(), "ended": 0.0, "images": 0})

    def step_ends(self, images: int) -> None:
        """After the optimizer's step; validation comes after the last one and is left out."""
        now = time.time()
        self.first_step = self.first_step or now
        self.epochs[-1]["ended"] = now
        self.epochs[-1]["images"] += images

    def tell(self) -> None:
        """Training has ended: one line of JSON, the last one on stdout."""
        told = {"first_step": self.first_step, "epochs": self.epochs, "trained": time.time()}
        print("\n" + json.dumps(told), flush=True)
