"""What a run writes for TensorBoard: scalars and pictures with their descriptions, text, charts and settings.

TensorBoard sorts groups of tags by name, digits and capitals first, and opens the first two. So the groups of the
learning curves have a capital: `Train/` and `Val/`, of what is logged as `train/...` and `val/...`.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import custom_scalars, hparams, text

from gender_cls.runs.run import HPARAMS_SCORES

FIRST = ("train", "val")  # groups that come first, with a capital

CHARTS = {
    "Learning curves": {
        "loss": ["Multiline", ["Train/loss$", "Val/loss$"]],
        "balanced accuracy": ["Multiline", ["Train/balanced_accuracy$", "Val/balanced_accuracy$"]],
    },
    "Explanations": {
        "outside the person": ["Multiline", ["explanations_scores/outside/.*"]],
        "stability": ["Multiline", ["explanations_scores/stability/.*"]],
    },
}
"""The tab Custom Scalars: title of a category -> title of a chart -> the tags in it, as regular expressions."""

DESCRIPTIONS = {
    "Train/loss": "Mean training loss of the epoch, while the weights were changing and with augmentation.",
    "Train/loss_step": "Training loss of one batch.",
    "Train/accuracy": "Share of right answers during the epoch, with augmentation.",
    "Train/balanced_accuracy": "Mean of the recalls of FEMALE and MALE during the epoch, with augmentation.",
    "Val/loss": "Cross-entropy on validation after the epoch. If it rises while Train/loss falls, the model overfits.",
    "Val/accuracy": "Share of right answers on validation; the answer is the more probable label (threshold 0.5).",
    "Val/balanced_accuracy": "Mean of the recalls of FEMALE and MALE on validation, at the threshold 0.5. "
    "0.5 is chance.",
    "Val/auroc": "Area under the ROC curve on validation: how well p(FEMALE) sorts the images. 0.5 is chance.",
    "Val/f1_FEMALE": "F1 of FEMALE on validation, at the threshold 0.5.",
    "Val/f1_MALE": "F1 of MALE on validation, at the threshold 0.5.",
    "lr/head": "Learning rate of the layer that makes the two logits.",
    "lr/backbone": "Learning rate of all other layers; 0 while they are frozen.",
    "speed/train_images_per_second": "Training speed of the epoch, without validation.",
    "speed/head_images_per_second": "Training speed of an epoch that trains the head alone, on kept features.",
    "hp/validation_balanced_accuracy": "Balanced accuracy on validation of the checkpoint that was tested.",
    "hp/test_balanced_accuracy": "Balanced accuracy on test, at the threshold 0.5.",
    "hp/test_auroc": "Area under the ROC curve on test.",
}
"""What tags mean, in Markdown; TensorBoard shows it next to their titles."""


class RunLogger(TensorBoardLogger):
    """Lightning's logger of one run folder: with descriptions, and without Lightning's curve of the epoch number.

    It writes settings without scores. The final test writes these, so a run that has none shows no number.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="", default_hp_metric=False)
        self._described: set[str] = set()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars; the first of each tag has the description."""
        for name, value in metrics.items():
            if name == "epoch":
                continue
            tag = tag_of(name)
            description = "" if tag in self._described else DESCRIPTIONS.get(tag, "")
            self._described.add(tag)
            add_scalar(self.experiment, tag, float(value), step, description)

    def log_start(self, settings: Mapping[str, Any], experiment: str) -> None:
        """Write what the tabs HParams, Custom Scalars and Text show of a run that begins.

        Args:
            settings: numbers and text by name.
            experiment: what the experiment is, in Markdown.
        """
        self.hparams.update(settings)
        shown, started, _ = hparams(dict(settings), dict.fromkeys(HPARAMS_SCORES, 0.0))  # of scores it takes the names
        for summary in (shown, started, custom_scalars(CHARTS)):
            self.experiment._get_file_writer().add_summary(summary)
        add_text(self.experiment, "experiment", experiment, 0)


def tag_of(name: str) -> str:
    """The tag of a logged metric: `Val/loss` for `val/loss`."""
    return name[0].upper() + name[1:] if name.split("/")[0] in FIRST else name


def add_scalar(writer: SummaryWriter, tag: str, value: float, step: int | None, description: str = "") -> None:
    """Write one point of a curve."""
    tensor = TensorProto(dtype="DT_FLOAT", float_val=[value], tensor_shape=TensorShapeProto())
    add(writer, _value(tag, tensor, "scalars", "DATA_CLASS_SCALAR"), step, description)


def add_picture(writer: SummaryWriter, tag: str, file: bytes, step: int, description: str = "") -> None:
    """Write a PNG or JPEG file as it is; `add_image` would compress it again, which takes much longer."""
    width, height = Image.open(BytesIO(file)).size
    parts = [str(width).encode(), str(height).encode(), file]
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(parts))])
    tensor = TensorProto(dtype="DT_STRING", string_val=parts, tensor_shape=shape)
    add(writer, _value(tag, tensor, "images", "DATA_CLASS_BLOB_SEQUENCE"), step, description)


def add_text(writer: SummaryWriter, tag: str, markdown: str, step: int) -> None:
    """Write text; `SummaryWriter.add_text` would lengthen the tag."""
    (value,) = text(tag, markdown).value
    value.tag = tag
    add(writer, value, step, "")


def add_end(writer: SummaryWriter) -> None:
    """Write that the run has come to its end, for the tab HParams."""
    writer._get_file_writer().add_summary(hparams({}, {})[2])


def add(writer: SummaryWriter, value: Summary.Value, step: int | None, description: str) -> None:
    """Write one value with the description of its tag."""
    value.metadata.summary_description = description
    writer._get_file_writer().add_summary(Summary(value=[value]), step)


def _value(tag: str, tensor: TensorProto, plugin: str, data_class: str) -> Summary.Value:
    """A value in the form of TensorBoard 2: it drops the descriptions of values in the older forms of torch."""
    of_plugin = SummaryMetadata.PluginData(plugin_name=plugin)
    metadata = SummaryMetadata(plugin_data=of_plugin, data_class=data_class)
    return Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
