"""Compare image classifiers on CCTV crops: train, explain, sweep, test, use.

`gender_cls.load(run).predict(images)` answers in Python; everything else is a command, such as
`python -m gender_cls.train`.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gender_cls.predict.api import LoadedModel

__version__ = "0.1.0"


def load(
    run: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    accelerator: str = "auto",
    precision: str | None = None,
) -> "LoadedModel":
    """Load a finished run to answer for images, with its temperature, threshold and abstention band.

    Args:
        run: its folder; several, or a sweep's folder, answer together; or an exported `.onnx` file.
        accelerator: auto, cpu, gpu, cuda or mps.
        precision: None: as in the run's own test; else one of `conf/predict.yaml`.

    Raises:
        GenderClsError: there is no finished run, or a value is wrong.
    """
    from gender_cls.predict.api import load as load_model  # imports torch

    return load_model(run, accelerator=accelerator, precision=precision)
