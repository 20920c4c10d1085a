"""Networks that read what a conditional VAE is given beside their other input."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from invflow.vae.networks.maps import Shape


class Joined(nn.Module):
    """A network of two inputs, joined to one vector.

    Args:
        network: takes both inputs as one vector.
        placed: what the second input passes first.

    Example:
        >>> Joined(nn.Linear(3 + 2, 4), nn.Identity())(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 4])
    """

    def __init__(self, network: nn.Module, placed: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.placed = placed

    def forward(self, values: Tensor, given: Tensor) -> Tensor:
        """Return the network's output for `values`, (n, size), and what is given, (n, given)."""
        return self.network(torch.cat([values, self.placed(given)], -1))


def as_features(shape: Shape, given: int) -> tuple[Shape, nn.Module]:
    """Return how what is given becomes more pixels, for a network that does not look at places.

    Args:
        shape: channels, height and width of an image.
        given: number of values.

    Returns:
        The shape of what the network reads, and what maps values to its last entries.
    """
    return (1, 1, math.prod(shape) + given), nn.Identity()


def as_maps(shape: Shape, given: int) -> tuple[Shape, nn.Module]:
    """Return how what is given becomes more channels, by a learned linear map.

    One channel is enough, unless there are more values than places in it.

    Args:
        shape: channels, height and width of an image.
        given: number of values.

    Returns:
        The shape of what the network reads, and what maps values to its last channels.

    Example:
        >>> as_maps((3, 2, 2), given=5)
        ((5, 2, 2), Linear(in_features=5, out_features=8, bias=True))
    """
    channels, height, width = shape
    more = math.ceil(given / (height * width))
    return (channels + more, height, width), nn.Linear(given, more * height * width)
