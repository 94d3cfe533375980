"""Of what Lightning says, what tells a user something."""

import logging
import warnings


def quieten_lightning() -> None:
    """Silence its remarks on hardware, workers and folders for the rest of the process."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*LeafSpec.* is deprecated.*",  # between Lightning 2.6 and torch 2.15, no matter of ours
    ):
        warnings.filterwarnings("ignore", message)
