"""The orders in which conditioners take the entries of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invflow import _checks


def raster_order(shape: Sequence[int]) -> Tensor:
    """Return the order in which a `MaskedConvolution` takes the entries of a map.

    The order goes pixel by pixel, row by row, and channel by channel within a pixel. It is a
    permutation of the map's entries as `torch.flatten` numbers them (channel by channel). An
    `Autoregressive` with this `order` takes flattened maps; with the reverse, `.flip(0)`, it takes
    the last pixel first.

    Args:
        shape: channels, height and width of the map.

    Raises:
        TypeError: if `shape` is not a sequence of integers.
        ValueError: if `shape` is not three sizes of at least 1.

    Example:
        >>> raster_order((2, 1, 3))
        tensor([0, 3, 1, 4, 2, 5])
    """
    return patch_order(shape, 1)


def patch_order(shape: Sequence[int], patch: int) -> Tensor:
    """Return the order that takes an image patch by patch.

    The order goes over the patches row by row, and within a patch channel by channel. It is a
    permutation of the image's entries as `torch.flatten` numbers them.

    Args:
        shape: channels, height and width of the image.
        patch: height and width of a patch.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if a size is below 1, or the patch does not divide the height and the width.

    Example:
        >>> patch_order((1, 2, 4), 2)
        tensor([0, 1, 4, 5, 2, 3, 6, 7])
    """
    channels, height, width = _checks.shape("shape", shape)
    patch = _checks.positive_integer("patch", patch)
    if height % patch or width % patch:
        raise ValueError(
            f"patch must divide the height and the width of images of {height} x {width}, "
            f"got {patch}"
        )
    entries = torch.arange(channels * height * width, device="cpu")
    cut = entries.reshape(channels, height // patch, patch, width // patch, patch)
    return cut.permute(1, 3, 0, 2, 4).flatten()
