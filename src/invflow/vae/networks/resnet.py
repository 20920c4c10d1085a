r"""Residual encoders and decoders with weight normalisation, as in the IAF paper's MNIST model.

All layers are weight-normalised, all kernels are 3 x 3, and $\phi$ is the ELU. A residual block is

$$y = \phi\big(s(h) + C_2 * \phi(C_1 * h)\big),$$

where s is the identity in a block of stride 1. In a block of stride 2, $C_1$ and s are separate
convolutions, or transposed convolutions, of that stride. The encoder is

    block of stride 2, block of stride 1, block of stride 2, .., block of stride 2, full layer, ELU

with [16, 32, 32] maps and 450 units in the paper: between two blocks of stride 2 there is one of
stride 1, as wide as the first of the two. The decoder is

    full layer, ELU, full layer, ELU, block of stride 2, block of stride 1, .., block of stride 2

with [32, 32, 16] maps, followed by a convolution to the outputs. Initially the outputs of $C_2$ and
of this last convolution have standard deviation 0.1, those of all other layers 1.

The paper does not specify where in a block the ELUs are, the kernels of s, what follows the last
block and how $C_2$ is initialised.

References:
    Kingma et al. 2016, arXiv 1606.04934, appendix B; He et al. 2015, arXiv 1512.03385.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from invflow.vae.networks.maps import Shape, Size, ToPixels, sizes
from invflow.vae.networks.weightnorm import (
    WeightNormConv2d,
    WeightNormConvTranspose2d,
    WeightNormLinear,
)

#: Initial standard deviation of the outputs that start small.
SMALL = 0.1


class Block(nn.Module):
    r"""A residual block: $y = \phi\big(s(h) + C_2 * \phi(C_1 * h)\big)$ with $\phi$ the ELU.

    Args:
        skip: s.
        first: $C_1$.
        maps: number of output maps of s, $C_1$ and $C_2$.
    """

    def __init__(self, skip: nn.Module, first: nn.Module, maps: int) -> None:
        super().__init__()
        self.skip = skip
        self.first = first
        self.second = WeightNormConv2d(maps, maps, 3, scale=SMALL)

    def forward(self, h: Tensor) -> Tensor:
        """Return maps y of maps `h`."""
        return F.elu(self.skip(h) + self.second(F.elu(self.first(h))))


def encoder(shape: Shape, context: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return a residual network from images, (batch, pixels), to (batch, context).

    Args:
        shape: channels, height and width of an image.
        context: units of the fully connected layer; 450 in the paper.
        hidden: feature maps of the blocks of stride 2, each of which halves height and width.
    """
    downs = [_down(inputs, maps) for inputs, maps in pairwise([shape[0], *hidden])]
    height, width = sizes(shape, [2] * len(hidden))[-1]
    return nn.Sequential(
        nn.Unflatten(-1, shape),
        *_spaced(downs, hidden),
        nn.Flatten(),
        WeightNormLinear(hidden[-1] * height * width, context),
        nn.ELU(),
    )


def decoder(
    shape: Shape, outputs: int, latents: int, context: int, hidden: Sequence[int]
) -> nn.Sequential:
    """Return a residual network from (batch, latents) to (batch, pixels, outputs).

    Args:
        shape: channels, height and width of an image.
        outputs: number of outputs per pixel.
        latents: number of latents.
        context: units of the first fully connected layer; 450 in the paper.
        hidden: feature maps of the encoder's blocks of stride 2.
    """
    maps = hidden[::-1]
    (height, width), *larger = reversed(sizes(shape, [2] * len(hidden)))
    units = maps[0] * height * width
    steps = zip(pairwise([maps[0], *maps]), larger, strict=True)
    ups = [_up(before, after, size) for (before, after), size in steps]
    return nn.Sequential(
        WeightNormLinear(latents, context),
        nn.ELU(),
        WeightNormLinear(context, units),
        nn.ELU(),
        nn.Unflatten(1, (maps[0], height, width)),
        *_spaced(ups, maps),
        WeightNormConv2d(maps[-1], shape[0] * outputs, 3, scale=SMALL),
        ToPixels(shape[0]),
    )


def _spaced(blocks: Sequence[Block], maps: Sequence[int]) -> list[Block]:
    """Return the blocks with a block of stride 1 between every two."""
    pairs = [(block, _same(width)) for block, width in zip(blocks, maps, strict=True)]
    return [block for pair in pairs for block in pair][:-1]


def _same(maps: int) -> Block:
    return Block(nn.Identity(), WeightNormConv2d(maps, maps, 3), maps)


def _down(inputs: int, maps: int) -> Block:
    def convolution() -> nn.Module:
        return WeightNormConv2d(inputs, maps, 3, stride=2)

    return Block(convolution(), convolution(), maps)


def _up(inputs: int, maps: int, size: Size) -> Block:
    def convolution() -> nn.Module:
        return WeightNormConvTranspose2d(inputs, maps, 3, 2, size)

    return Block(convolution(), convolution(), maps)
