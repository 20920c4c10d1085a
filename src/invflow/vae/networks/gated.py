r"""Gated convolutional encoders and decoders, as in Sylvester normalizing flows.

A gated layer is

$$h = (W * x + b) \odot \sigma(V * x + c).$$

The encoder has 5 x 5 convolutions with strides 1, 2, 1, 2, 1, ..., then a fully connected layer to
the context. The decoder mirrors it with transposed convolutions, each with as many output maps as
the convolution it mirrors has inputs, and ends with a 1 x 1 convolution to the outputs, without a
gate. The initial weights preserve the variance through gated layers, where torch's default would
lose nine tenths of it in each, and give outputs with a standard deviation of about 0.1.

References:
    van den Berg et al. 2018, arXiv 1803.05649, whose decoder goes from 64 maps to 32 one layer
    earlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, islice, pairwise

from torch import nn

from invflow.vae.networks.maps import Shape, ToPixels, output_padding, sizes


def encoder(shape: Shape, context: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return gated convolutions that map images, (batch, pixels), to (batch, context).

    Args:
        shape: channels, height and width of an image.
        context: number of outputs; 256 in the paper.
        hidden: feature maps of each layer; every second one halves height and width.
    """
    layers: list[nn.Module] = [nn.Unflatten(-1, shape)]
    strides = _strides(hidden)
    for (inputs, maps), stride in zip(pairwise([shape[0], *hidden]), strides, strict=True):
        layers += _gated(nn.Conv2d(inputs, 2 * maps, 5, stride, padding=2), 25 * inputs)
    height, width = sizes(shape, strides)[-1]
    remaining = hidden[-1] * height * width
    full = nn.Linear(remaining, 2 * context)
    return nn.Sequential(*layers, nn.Flatten(), *_gated(full, remaining))


def decoder(
    shape: Shape, outputs: int, latents: int, context: int, hidden: Sequence[int]
) -> nn.Sequential:
    """Return gated transposed convolutions that map latents to (batch, pixels, outputs).

    Args:
        shape: channels, height and width of an image.
        outputs: number of outputs per pixel.
        latents: number of latents.
        context: unused; part of the contract of `networks.Network`.
        hidden: feature maps of each of the encoder's layers.
    """
    strides = _strides(hidden)
    *larger, (height, width) = sizes(shape, strides)
    full = nn.Linear(latents, 2 * hidden[-1] * height * width)
    layers = [*_gated(full, latents), nn.Unflatten(1, (hidden[-1], height, width))]
    steps = zip(pairwise([hidden[0], *hidden]), strides, larger, strict=True)
    for (maps, inputs), stride, size in reversed(list(steps)):
        padding = output_padding(size, stride)
        transposed = nn.ConvTranspose2d(inputs, 2 * maps, 5, stride, 2, padding)
        layers += _gated(transposed, 25 * inputs / stride**2)
    last = nn.Conv2d(hidden[0], shape[0] * outputs, 1)
    nn.init.normal_(last.weight, std=0.1 / math.sqrt(hidden[0]))
    return nn.Sequential(*layers, last, ToPixels(shape[0]))


def _gated(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, reads: float) -> list[nn.Module]:
    """Return a layer with twice the maps and its gate; each output reads `reads` numbers."""
    # Where a and b are normal with variance 3, the mean square of a sigmoid(b) is one.
    nn.init.normal_(layer.weight, std=math.sqrt(3 / reads))
    return [layer, nn.GLU(1)]


def _strides(hidden: Sequence[int]) -> list[int]:
    return list(islice(cycle((1, 2)), len(hidden)))
