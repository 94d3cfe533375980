"""An exported ONNX file, run by ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gender_cls.config.data import ResizeMode
from gender_cls.data.input_form import InputForm
from gender_cls.errors import GenderClsError, one_line, require
from gender_cls.models.exported import OUTPUTS, Metadata
from gender_cls.system.extras import import_extra


class Outputs(NamedTuple):
    """What an exported model says of B images; see OUTPUTS."""

    logits: NDArray[np.float32]  # (B, 2) in the order of the classes
    probability: NDArray[np.float32]  # (B,) of FEMALE, calibrated
    answer: NDArray[np.int64]  # (B,) indexes into ANSWERS


class OnnxModel:
    """A file that `python -m gender_cls.export` wrote. Nothing but its graph is run, and nothing else is read.

    Args:
        threads: of the CPU.

    Raises:
        GenderClsError: ONNX Runtime is not installed; the file is missing, damaged, or no model of this package.
    """

    def __init__(self, file: Path, threads: int) -> None:
        self.file = file
        self._session = _open_session(file, threads)
        self.metadata = Metadata.from_texts(self._session.get_modelmeta().custom_metadata_map, file)
        names = [one.name for one in self._session.get_outputs()]
        inputs = self._session.get_inputs()
        fits = len(inputs) == 1 and inputs[0].type == "tensor(uint8)" and names == list(OUTPUTS)
        require(fits, f"{file} has other inputs or outputs than exported models have: export the run again.")
        self._input = inputs[0].name

    @property
    def form(self) -> InputForm:
        """The size of its input and how a crop is brought to it.

        Raises:
            GenderClsError: it is of the native form, which takes one crop of any size.
        """
        metadata = self.metadata
        require(
            not metadata.native,
            f"{self.file} resizes one crop at a time by itself: name the file next to it that takes resized pixels, "
            "without _native in its name.",
        )
        height, width = metadata.image_size
        return InputForm(height, width, ResizeMode(metadata.resize_mode))

    def outputs(self, pixels: NDArray[np.uint8]) -> Outputs:
        """What the model says.

        Args:
            pixels: (B, H, W, 3) of the size of its input; for the native form, one crop (H, W, 3) of any size.
        """
        return Outputs(*self._session.run(list(OUTPUTS), {self._input: pixels}))

    def probabilities(self, images: Tensor) -> NDArray[np.float64]:
        """Images (B, 3, H, W) uint8 of the size of its input -> (B, 2), in the order of the classes, not calibrated."""
        logits = self.outputs(images.permute(0, 2, 3, 1).numpy()).logits
        return torch.from_numpy(logits).double().softmax(dim=1).numpy()


def _open_session(file: Path, threads: int) -> Any:
    onnxruntime = import_extra("onnxruntime", f"To run {file.name}, gender_cls")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors come as exceptions; without this, they are printed too
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        raise GenderClsError(
            f"{file} cannot be run by ONNX Runtime ({one_line(error)}): export the run again."
        ) from None
