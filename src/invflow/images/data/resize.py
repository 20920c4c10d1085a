"""Images resized and cropped to one size."""

from __future__ import annotations

import numpy as np

from invflow import _checks
from invflow.images.data.images import Levels

#: Largest size in pixels.
MAX_SIZE = 8192


def checked(size: int | None) -> int | None:
    """Return a valid `size`.

    Raises:
        TypeError: if `size` is not an integer.
        ValueError: if `size` is out of range.
    """
    if size is None:
        return None
    size = _checks.positive_integer("size", size)
    if size > MAX_SIZE:
        raise ValueError(f"size must be at most {MAX_SIZE} pixels, got {size}")
    return size


def resized(levels: Levels, size: int, count: int) -> Levels:
    """Return an image with its shorter side resized to `size` pixels and its centre cropped.

    Uses a Lanczos filter, then rounds to the nearest level; an image of black and white alone stays
    black and white.

    Args:
        levels: (channels, height, width).
        size: height and width of the result, in pixels.
        count: number of levels.

    Returns:
        Levels, (channels, size, size).

    Raises:
        ImportError: if Pillow is not installed.

    Example:
        >>> image = np.repeat([[[0, 9, 9, 0]]], 2, axis=1).astype(np.uint8)
        >>> resized(image, 1, count=10)
        array([[[9]]], dtype=uint8)
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError('size needs Pillow: pip install "invflow[images]"') from error
    top = count - 1
    channels = [
        ImageOps.fit(
            Image.fromarray(channel.astype(np.float32)), (size, size), Image.Resampling.LANCZOS
        )
        for channel in levels
    ]
    values = np.stack([np.asarray(channel) for channel in channels])
    step = top if is_black_and_white(levels, count) else 1
    return (np.round(values.clip(0, top) / step) * step).astype(np.uint8)


def all_resized(images: Levels, size: int, count: int) -> Levels:
    """Return images, (images, channels, height, width), as `resized` returns each of them."""
    return np.stack([resized(image, size, count) for image in images])


def is_black_and_white(levels: Levels, count: int) -> bool:
    """Return whether images use only the lowest and the highest of `count` levels.

    Example:
        >>> is_black_and_white(np.array([0, 255, 255], np.uint8), 256)
        True
    """
    return bool(((levels == 0) | (levels == count - 1)).all())
