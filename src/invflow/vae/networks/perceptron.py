"""Perceptrons: encoders and decoders of images as vectors.

The initial weights preserve the variance, where torch's default would lose two thirds of it in each
layer, so that contexts have a variance of about one. The decoder's outputs start with a standard
deviation of about 0.1. `benchmarks/starts.py` compares this with other initial weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from invflow.vae.networks.maps import Shape

#: Initial standard deviation of a decoder's outputs.
SMALL = 0.1


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers with ELUs between them, whose initial weights preserve the variance.

    Args:
        widths: sizes of the input, each hidden layer and the output.

    Example:
        >>> perceptron((3, 5, 2))
        Sequential(
          (0): Linear(in_features=3, out_features=5, bias=True)
          (1): ELU(alpha=1.0)
          (2): Linear(in_features=5, out_features=2, bias=True)
        )
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
        layers += [layer, nn.ELU()]
    return nn.Sequential(*layers[:-1])


def encoder(shape: Shape, context: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return a perceptron from images, (batch, pixels), to (batch, context)."""
    return perceptron([math.prod(shape), *hidden, context])


def decoder(
    shape: Shape, outputs: int, latents: int, context: int, hidden: Sequence[int]
) -> nn.Sequential:
    """Return a perceptron from (batch, latents) to (batch, pixels, outputs), `hidden` reversed."""
    pixels = math.prod(shape)
    layers = perceptron([latents, *hidden[::-1], pixels * outputs])
    with torch.no_grad():
        cast(nn.Linear, layers[-1]).weight.mul_(SMALL)
    return layers.append(nn.Unflatten(-1, (pixels, outputs)))
