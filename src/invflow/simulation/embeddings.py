"""Networks that summarise data: series, sets and images, trained together with the flow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._modes import evaluating
from invflow._random import seeded

#: Width of the hidden layers, and number of features of what is returned.
WIDTH, FEATURES = 64, 16
#: Feature maps of the first convolution; each halving of the image doubles them.
CHANNELS = 16


class Perceptron(nn.Sequential):
    """Vectors: two hidden layers.

    Args:
        summaries: size of the vectors.
    """

    def __init__(self, summaries: int) -> None:
        super().__init__(
            *(nn.Linear(summaries, WIDTH), nn.ELU()),
            *(nn.Linear(WIDTH, WIDTH), nn.ELU()),
            nn.Linear(WIDTH, FEATURES),
        )


class LSTM(nn.Module):
    """Series, (rows, steps, channels): the last state of an LSTM.

    Args:
        steps: ignored: series may have any length.
        channels: of each step.
    """

    def __init__(self, steps: int, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (rows, features), of series, (rows, steps, channels)."""
        states, _ = self.lstm(x)
        return self.out(states[:, -1])


class Mean(nn.Module):
    """Sets, (rows, points, channels): the mean of a network of each point (deep sets).

    Args:
        points: ignored: sets may have any size.
        channels: of each point.

    References:
        Zaheer et al. 2017, arXiv 1703.06114.
    """

    def __init__(self, points: int, channels: int) -> None:
        super().__init__()
        self.each = nn.Sequential(
            *(nn.Linear(channels, WIDTH), nn.ELU()), *(nn.Linear(WIDTH, WIDTH), nn.ELU())
        )
        self.out = nn.Linear(WIDTH, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (rows, features), of sets, (rows, points, channels)."""
        return self.out(self.each(x).mean(-2))


class Attention(nn.Module):
    """Sets, (rows, points, channels): two layers of self-attention, and their mean.

    Args:
        points: ignored: sets may have any size.
        channels: of each point.

    References:
        Lee et al. 2019, arXiv 1810.00825.
    """

    def __init__(self, points: int, channels: int) -> None:
        super().__init__()
        layers = [
            nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True)
            for _ in range(2)
        ]
        self.each = nn.Sequential(nn.Linear(channels, WIDTH), *layers)
        self.out = nn.Linear(WIDTH, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (rows, features), of sets, (rows, points, channels)."""
        return self.out(self.each(x).mean(-2))


class Convolution(nn.Module):
    """Images, (rows, channels, height, width): convolutions that halve them until they are small.

    Args:
        channels: of the images.
        height: of the images.
        width: of the images.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        maps, size = CHANNELS, max(height, width)
        while not layers or size > 4:
            layers += [nn.Conv2d(channels, maps, 3, stride=2, padding=1), nn.ELU()]
            channels, maps, size = maps, min(2 * maps, 4 * CHANNELS), -(-size // 2)
            height, width = -(-height // 2), -(-width // 2)
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(channels * height * width, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (rows, features), of images, (rows, channels, height, width)."""
        return self.out(self.layers(x).flatten(1))


#: By name, the network, and the axes of the data that it takes.
EMBEDDINGS: Mapping[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
    "perceptron": (Perceptron, ("summaries",)),
    "lstm": (LSTM, ("steps", "channels")),
    "mean": (Mean, ("points", "channels")),
    "attention": (Attention, ("points", "channels")),
    "convolution": (Convolution, ("channels", "height", "width")),
}


def embedding(what: str | nn.Module | None, shape: tuple[int, ...], seed: int) -> nn.Module:
    """Return a new network that turns data, (rows, *shape), into features, (rows, features).

    Args:
        what: a name in `EMBEDDINGS`, a module, of which a copy is returned, or None for vectors
            as they are.
        shape: of the data of one simulation.
        seed: of the initial weights.

    Raises:
        ValueError: if it is unknown, or does not take data of this shape.

    Example:
        >>> embedding("mean", (50, 2), seed=0)(torch.randn(3, 50, 2)).shape
        torch.Size([3, 16])
    """
    if isinstance(what, nn.Module):
        return copy.deepcopy(what)
    if what is None:
        if len(shape) != 1:
            raise ValueError(
                f"data of shape {shape} need an embedding: one of {', '.join(EMBEDDINGS)}, or a "
                "module"
            )
        return nn.Identity()
    build, axes = EMBEDDINGS[_checks.choice("embedding", what, EMBEDDINGS)]
    if len(shape) != len(axes):
        raise ValueError(
            f"the embedding {what!r} takes data of shape ({', '.join(axes)}), got {shape}"
        )
    with seeded(seed):
        return build(*shape)


@torch.no_grad()
def size(network: nn.Module, data: Tensor) -> int:
    """Return the number of features that a network gives for data, (rows, *shape).

    Raises:
        ValueError: if these do not have shape (rows, features).
    """
    with evaluating(network):
        found: Any = network(data)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(data):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"embedding must return shape (rows, features) for {len(data)} rows, got {shape}"
        )
    return found.shape[1]
