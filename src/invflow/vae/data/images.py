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
PARTS = ("train", "validation", "test")


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
        parts = {part: binarised(getattr(self, part), self.levels, part) for part in PARTS}
        return dataclasses.replace(self, levels=2, likelihood="bernoulli", **parts)

    @property
    def known(self) -> int:
        """How many test images are among those to train on or to choose by."""
        others = {_digest(image) for part in (self.train, self.validation) for image in part}
        return sum(_digest(image) in others for image in self.test)

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
        levels: how many levels a channel has.
        likelihood: the one that suits the levels.
        validation: those to choose by, or None.
        test: those for the test, or None.
        mixed: whether the training images are in a random order.
    """

    train: Levels
    levels: int
    likelihood: str
    validation: Levels | None = None
    test: Levels | None = None
    mixed: bool = False


def binarised(levels: Tensor, count: int, part: str) -> Tensor:
    """Return images in black and white, drawn once with their intensity as the chance of white.

    Args:
        levels: uint8, of any shape.
        count: how many levels there are.
        part: one of `PARTS`, each of which has random numbers of its own.

    Returns:
        0 and 1, uint8; the same for the same images.

    Example:
        >>> binarised(torch.tensor([0, 255], dtype=torch.uint8), 256, "test")
        tensor([0, 1], dtype=torch.uint8)
    """
    generator = torch.Generator().manual_seed(PARTS.index(part))
    return torch.bernoulli(levels.float() / (count - 1), generator=generator).to(torch.uint8)


def split(name: str, source: Source, likelihood: str) -> Images:
    """Set images aside for validation and for the test, where the source has none.

    Beside images for the test, a sixth of the others, at most 10,000, is for validation; beside
    images for validation, or of a single array, a tenth of the others is for each that is missing.
    It is a random part, the same one every time; the last one where the images are mixed already.

    Raises:
        ValueError: there are too few images.
    """
    train, validation, test = source.train, source.validation, source.test
    if not source.mixed:
        train = train[np.random.default_rng(0).permutation(len(train))]
    if test is not None:
        aside = min(10_000, len(train) // 6)
    else:
        aside = len(train) // 10
        test, train = train[len(train) - aside :], train[: len(train) - aside]
    if validation is None:
        validation, train = train[len(train) - aside :], train[: len(train) - aside]
    if not (len(train) and len(validation) and len(test)):
        raise ValueError(f"data: {name} must hold at least 10 images, got {_counts(source)}")
    parts = [torch.from_numpy(np.ascontiguousarray(p)) for p in (train, validation, test)]
    return Images(name, parts[0], parts[1], parts[2], source.levels, likelihood)


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def _counts(source: Source) -> str:
    """Return in words how many images there are."""
    if source.test is None and source.validation is None:
        return str(len(source.train))
    given = {"training": source.train, "validation": source.validation, "test": source.test}
    return ", ".join(f"{len(p)} for {part}" for part, p in given.items() if p is not None)
