"""Images as vectors and as maps, and the sizes of maps after strided convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import TypeAlias

from torch import Tensor, nn

#: Channels, height and width of images.
Shape: TypeAlias = tuple[int, int, int]
Size: TypeAlias = tuple[int, int]


def sizes(shape: Shape, strides: Iterable[int]) -> list[Size]:
    """Return the height and width of an image and of the maps after each of several convolutions.

    Kernels are odd and padded by half, so a stride s maps size n to ceil(n / s).

    Example:
        >>> sizes((1, 28, 5), (2, 1, 2))
        [(28, 5), (14, 3), (14, 3), (7, 2)]
    """

    def after(size: Size, stride: int) -> Size:
        return -(-size[0] // stride), -(-size[1] // stride)

    return list(accumulate(strides, after, initial=shape[1:]))


def output_padding(size: Size, stride: int) -> Size:
    """Return the output padding with which a transposed convolution outputs maps of this size.

    Example:
        >>> output_padding((28, 7), stride=2)
        (1, 0)
    """
    return (size[0] - 1) % stride, (size[1] - 1) % stride


class ToPixels(nn.Module):
    """Maps the outputs of all channels to pixels, flattened channel by channel.

    Args:
        channels: number of channels of the image; the maps are ordered by channel, then output.

    Example:
        >>> import torch
        >>> ToPixels(3)(torch.randn(5, 6, 4, 4)).shape
        torch.Size([5, 48, 2])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, channels * height * width, outputs)."""
        return maps.unflatten(1, (self.channels, -1)).movedim(2, -1).flatten(1, 3)
