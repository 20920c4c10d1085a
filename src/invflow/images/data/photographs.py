"""Patches of two photographs, the parts of the data taken from separate blocks of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invflow.images.data.images import Levels, Source

#: Height and width of a patch, in pixels.
PATCH = 8
#: Distance between the corners of neighbouring blocks, and height and width of a block. What lies
#: between blocks, a margin as wide as a patch, is not used.
CELL, BLOCK = 48, 40
#: Distance between neighbouring validation or test patches. It is odd, so that patches fall on
#: all places of the grid of 8 x 8 pixels that JPEG compresses, as the training patches do.
STRIDE = 5
#: Weights of red, green and blue in the brightness (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


class Block(NamedTuple):
    """A block of a photograph: the part of the data that it is for, and its corner."""

    part: str
    picture: int
    row: int
    column: int


def photographs() -> Source:
    """Return grey patches of scikit-learn's two photographs.

    Training patches are all those in the training blocks; validation and test patches overlap less.
    Patches of different parts share no pixel and do not touch. Test patches in the same block look
    alike, so the source says which block each is from.

    Raises:
        ImportError: if scikit-learn is not installed.
    """
    pictures = _pictures()
    blocks = laid([picture.shape for picture in pictures])
    found = {
        part: [patches(pictures[b.picture], b, stride) for b in blocks if b.part == part]
        for part, stride in (("train", 1), ("validation", STRIDE), ("test", STRIDE))
    }
    train, validation, test = (np.concatenate(each)[:, None] for each in found.values())
    clusters = np.repeat(np.arange(len(found["test"])), len(found["test"][0]))
    return Source(train, 256, validation=validation, test=test, clusters=clusters)


def laid(shapes: list[tuple[int, ...]]) -> list[Block]:
    """Return the blocks of pictures: of every eight, five train, one validates and two test.

    Args:
        shapes: heights and widths of the pictures.
    """
    uses = ("test", "train", "train", "validation", "test", "train", "train", "train")
    return [
        # A shift of 3 per row keeps blocks of the same use apart.
        Block(uses[(column + 3 * row) % len(uses)], picture, row * CELL, column * CELL)
        for picture, (height, width) in enumerate(shapes)
        for row in range((height - BLOCK) // CELL + 1)
        for column in range((width - BLOCK) // CELL + 1)
    ]


def patches(picture: Levels, block: Block, stride: int) -> Levels:
    """Return the patches of a block, (count, PATCH, PATCH), whose corners are `stride` apart."""
    inside = picture[block.row : block.row + BLOCK, block.column : block.column + BLOCK]
    windows = np.lib.stride_tricks.sliding_window_view(inside, (PATCH, PATCH))
    return windows[::stride, ::stride].reshape(-1, PATCH, PATCH)


def _pictures() -> list[Levels]:
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise ImportError(
            'photographs needs scikit-learn: pip install "invflow[images]"'
        ) from error
    bunch: Any = load_sample_images()
    images: list[NDArray[np.uint8]] = bunch.images
    return [np.rint(image @ np.array(LUMA)).astype(np.uint8) for image in images]
