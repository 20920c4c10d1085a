"""Images in three parts: training, validation and test."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Levels = NDArray[np.uint8]
PARTS = ("train", "validation", "test")
#: What the images of a part are called.
WORD = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Images:
    """A data set of images.

    Images are flattened channel by channel.

    Attributes:
        name: the name of the data set.
        train: levels of the training images, uint8, (count, channels, height, width).
        validation: levels of the validation images, which choose the model.
        test: levels of the test images, which score it.
        levels: number of levels of a channel.
        binary: whether images are usually learned in black and white: those of two levels, of grey
            floats, and MNIST.
        classes: names of the classes; none where the images have no labels.
        labels: by part, the number of the class of each image, int64, (count,).
        clusters: for each test image, the number of its cluster; images of different clusters are
            independent. None where all are.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    levels: int
    binary: bool
    classes: tuple[str, ...] = ()
    labels: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    clusters: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.train.shape
        return channels, height, width

    def binarised(self) -> Images:
        """Return the images binarised once, the same every time."""
        parts = {part: binarised(getattr(self, part), self.levels, part) for part in PARTS}
        return dataclasses.replace(self, levels=2, binary=True, **parts)

    @property
    def leaked(self) -> int:
        """Number of test images that are also training or validation images."""
        others = {_digest(image) for part in (self.train, self.validation) for image in part}
        return sum(_digest(image) in others for image in self.test)

    @property
    def digest(self) -> str:
        """SHA-256 of all images, in hexadecimal."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()

    @property
    def labels_digest(self) -> str:
        """SHA-256 of all labels and the names of their classes; empty where there are none."""
        if not self.classes:
            return ""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for part in PARTS:
            digest.update(self.labels[part].numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """Images in a file, a folder or a download.

    Attributes:
        train: levels, (count, channels, height, width); all images where a test part is missing.
        levels: number of levels of a channel.
        binary: as for `Images`.
        validation: levels of the validation images, or None.
        test: levels of the test images, or None.
        shuffled: whether the training images are in random order.
        labels: returns the class of each image of each part, as integers or names, or raises
            ValueError if something is wrong with them; None if there are none.
        clusters: for each test image, the number of its cluster, (count,); None where all test
            images are independent.
    """

    train: Levels
    levels: int
    binary: bool = False
    validation: Levels | None = None
    test: Levels | None = None
    shuffled: bool = False
    labels: Callable[[], Mapping[str, NDArray[Any]]] | None = None
    clusters: NDArray[np.int64] | None = None


def binarised(levels: Tensor, count: int, part: str) -> Tensor:
    """Return images in black and white, drawn with their intensity as the probability of white.

    Args:
        levels: uint8, any shape.
        count: number of levels.
        part: one of `PARTS`; each has its own random numbers.

    Returns:
        0 and 1, uint8; the same for the same images.

    Example:
        >>> binarised(torch.tensor([0, 255], dtype=torch.uint8), 256, "test")
        tensor([0, 1], dtype=torch.uint8)
    """
    generator = torch.Generator().manual_seed(PARTS.index(part))
    return torch.bernoulli(levels.float() / (count - 1), generator=generator).to(torch.uint8)


def split(name: str, source: Source) -> Images:
    """Return the images of a source, split into the parts that it lacks.

    With a test part, a sixth of the training images, at most 10,000, is held out for validation;
    without one, a tenth is held out for each missing part. Images are held out at random, the same
    every time, or from the end if they are already shuffled.

    Raises:
        ValueError: if there are too few images.
    """
    train, validation, test = divided(source.train, source.validation, source.test, source.shuffled)
    if not (len(train) and len(validation) and len(test)):
        raise ValueError(f"{name} must hold at least 10 images, got {_counts(source)}")
    parts = [torch.from_numpy(np.ascontiguousarray(p)) for p in (train, validation, test)]
    clusters = None if source.clusters is None else torch.from_numpy(source.clusters)
    found = parts[0], parts[1], parts[2]
    return Images(name, *found, source.levels, source.binary, clusters=clusters)


def divided(
    train: NDArray[Any],
    validation: NDArray[Any] | None,
    test: NDArray[Any] | None,
    shuffled: bool,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the three parts of images, or of their labels, as `split` describes."""
    if not shuffled:
        train = train[np.random.default_rng(0).permutation(len(train))]
    if test is not None:
        held_out = min(10_000, len(train) // 6)
    else:
        held_out = len(train) // 10
        test, train = train[len(train) - held_out :], train[: len(train) - held_out]
    if validation is None:
        validation, train = train[len(train) - held_out :], train[: len(train) - held_out]
    return train, validation, test


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def _counts(source: Source) -> str:
    """Return the numbers of images as text."""
    if source.test is None and source.validation is None:
        return str(len(source.train))
    given = {"training": source.train, "validation": source.validation, "test": source.test}
    return ", ".join(f"{len(p)} for {part}" for part, p in given.items() if p is not None)
