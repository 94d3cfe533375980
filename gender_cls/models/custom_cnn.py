"""The project's own small network: a strong baseline that trains from scratch on a few thousand crops."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def _convolution(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class CustomCNN(nn.Module):
    """Stages of two 3x3 convolutions that halve the grid, then global average pooling, dropout and a linear head.

    Four stages end at stride 16: 256x128 pixels give 16x8 cells, 128x64 give 8x4, enough for a Grad-CAM map.
    `forward_features` and `forward_head` split the network as timm's models do.

    Args:
        widths: channels of each stage; the default makes 1.2 M parameters.
        dropout: probability with which a pooled feature is dropped, in [0, 1).
    """

    def __init__(self, num_classes: int = 2, widths: Sequence[int] = (32, 64, 128, 256), dropout: float = 0.0) -> None:
        super().__init__()
        channels = (3, *widths)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_convolution(before, after, stride=2), _convolution(after, after, stride=1))
                for before, after in pairwise(channels)
            )
        )
        self.num_features = channels[-1]
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, num_features, ceil(H / 16), ceil(W / 16)) with the default four stages."""
        return self.stages(images)

    def forward_head(self, features: Tensor) -> Tensor:
        """(B, num_features, h, w) -> logits (B, num_classes)."""
        return self.head(self.dropout(features.mean(dim=(2, 3))))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, num_classes)."""
        return self.forward_head(self.forward_features(images))
