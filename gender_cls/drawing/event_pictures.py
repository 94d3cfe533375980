"""Pictures for TensorBoard that are PNG files already."""

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter


def add_png(writer: SummaryWriter, tag: str, png: bytes, size: tuple[int, ...], step: int) -> None:
    """Write the bytes as they are, where `add_image` would compress the picture again, four times as long.

    Args:
        size: (height, width) in pixels.
    """
    height, width = size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)
