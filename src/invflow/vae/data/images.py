"""Images in three parts: to train on, to choose by, and to report on."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """A data set of images.

    Pixels of one channel follow those of the one before when an image is flattened.

    Attributes:
        name: what it is called.
        train: levels of the training images, uint8, (count, channels, height, width).
        validation: those to choose by.
        test: those to report on.
        levels: how many levels a channel has.
        likelihood: the one that suits the levels.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    levels: int
    likelihood: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.train.shape
        return channels, height, width

    def binarised(self) -> Images:
        """Return the images in black and white, drawn once, the same every time."""
        parts = {
            part: binarised(getattr(self, part), self.levels)
            for part in ("train", "validation", "test")
        }
        return dataclasses.replace(self, levels=2, **parts)

    @property
    def digest(self) -> str:
        """SHA-256 of all images, in hexadecimal."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """Images as a file, a folder or a download holds them.

    Attributes:
        train: levels, (count, channels, height, width): all images where no test is given.
        test: those for the test, or None.
        levels: how many levels a channel has.
        likelihood: the one that suits the levels.
    """

    train: Levels
    test: Levels | None
    levels: int
    likelihood: str


def binarised(levels: Tensor, count: int) -> Tensor:
    """Return images in black and white, drawn once with their intensity as the chance of white.

    Args:
        levels: uint8, of any shape.
        count: how many levels there are.

    Returns:
        0 and 1, uint8; the same for the same images.

    Example:
        >>> binarised(torch.tensor([0, 255], dtype=torch.uint8), 256)
        tensor([0, 1], dtype=torch.uint8)
    """
    white = levels.float() / (count - 1)
    return torch.bernoulli(white, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def split(name: str, source: Source, likelihood: str) -> Images:
    """Set images aside for validation, and for the test where the source has none.

    Of given training images the last sixth, at most 10,000, is for validation; of a single array,
    a random tenth each for validation and test, the same ones every time.

    Raises:
        ValueError: there are too few images.
    """
    train, test = source.train, source.test
    if test is not None:
        aside = min(10_000, len(train) // 6)
        if not aside or not len(test):
            raise ValueError(
                f"data: {name} must hold at least 6 images for training and 1 for the test, "
                f"got {len(train)} and {len(test)}"
            )
    else:
        aside = len(train) // 10
        if not aside:
            raise ValueError(f"data: {name} must hold at least 10 images, got {len(train)}")
        train = train[np.random.default_rng(0).permutation(len(train))]
        test, train = train[len(train) - aside :], train[: len(train) - aside]
    cut = len(train) - aside
    parts = [torch.from_numpy(np.ascontiguousarray(p)) for p in (train[:cut], train[cut:], test)]
    return Images(name, parts[0], parts[1], parts[2], source.levels, likelihood)
