"""Images from arrays in `.npz` and `.npy` files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invflow import _arrays
from invflow.images.data.images import WORD, Levels, Source
from invflow.images.data.parts import labels as labels_of
from invflow.images.data.parts import parts
from invflow.images.data.resize import all_resized

_SHAPES = "(count, height, width), with an axis of 1 or 3 channels last or second, if any"
#: Images with at most this many levels keep that number; others get 256.
MAX_COUNTED = 17


def read(path: Path, size: int | None = None) -> Source:
    """Return the images of an `.npz` or `.npy` file.

    The file holds either arrays for training and, optionally, validation and test, named
    train_images / validation_images / test_images, x_train / x_val / x_test or train / validation
    (valid, val) / test, in any case; or one array of images. Images are (count, height, width), or
    (count, height, width, channels), or (count, channels, height, width), with 1 or 3 channels; the
    last axis takes precedence. Integers and booleans are levels: as many as there are up to 17,
    otherwise 256. Floats must lie in [0, 1] and become 256 levels; grey floats are probabilities of
    white. Warns of other arrays of images, which are ignored.

    Labels are one-dimensional arrays of integers or names beside the images, named
    train_labels / validation_labels / test_labels or y_train / y_val / y_test, or labels where
    there is one array of images.

    Args:
        path: the file.
        size: resize and crop the images to this many pixels.

    Raises:
        ImportError: if there is a `size` but no Pillow.
        ValueError: if the file cannot be read, has no images, or holds images of different sizes or
            kinds, or values that are NaN, infinite or out of range.
    """
    found = _arrays.read(path)
    arrays = found if isinstance(found, dict) else {"images": found}
    names = parts(path, arrays)
    given = {part: arrays[name] for part, name in names.items()}
    if "train" not in given:
        if given:
            raise ValueError(f"{path} must hold training images too, got {_listing(arrays)}")
        given = {"train": _only(path, arrays)}
    else:
        _warn(path, {name: each for name, each in arrays.items() if name not in names.values()})
    train = given["train"]
    for part, array in given.items():
        if _floating(array) != _floating(train):
            raise ValueError(
                f"{path} must hold training and {part} images of one kind, "
                f"got dtypes {train.dtype} and {array.dtype}"
            )
    whole = {part: _levels(path, array) for part, array in given.items()}
    count = max(2, *(int(levels.max()) + 1 for levels in whole.values()))
    count = 256 if _floating(train) or count > MAX_COUNTED else count
    if size is not None:
        whole = {part: all_resized(levels, size, count) for part, levels in whole.items()}
    shape = whole["train"].shape[1:]
    for part, levels in whole.items():
        if levels.shape[1:] != shape:
            channels = levels.shape[1] != shape[0]
            remedy = (
                "make all of them grey or all of them RGB"
                if channels
                else "set size to resize and crop them"
            )
            raise ValueError(
                f"{path} must hold training and {part} images of one shape "
                f"(channels, height, width), got {shape} and {levels.shape[1:]}; {remedy}"
            )
    labels = {part: arrays[name] for part, name in labels_of(path, arrays).items()}
    probabilities = _floating(train) and shape[0] == 1
    return Source(
        whole["train"],
        validation=whole.get("validation"),
        test=whole.get("test"),
        levels=count,
        binary=probabilities or count == 2,
        labels=partial(_labels, path, labels) if labels else None,
    )


def _labels(path: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return labels as arrays of one dimension.

    Raises:
        ValueError: if there are others.
    """
    found: dict[str, NDArray[Any]] = {}
    for part, labels in arrays.items():
        flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if flat.ndim != 1 or flat.dtype.kind not in "biuU":
            raise ValueError(
                f"{path} must hold an integer or a name as the label of each {WORD[part]} image, "
                f"got {labels.dtype} of shape {labels.shape}; {_label_remedy(labels)}"
            )
        found[part] = flat
    return found


def _label_remedy(labels: NDArray[Any]) -> str:
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        return "if they are one-hot, save labels.argmax(1)"
    return f"save labels.astype({'str' if labels.dtype.kind == 'S' else 'int'})"


def _only(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the one array of images in a file."""
    stacks = [array for array in arrays.values() if array.ndim >= 3]
    if len(stacks) != 1:
        raise ValueError(
            f"{path} must hold one array of images {_SHAPES}; or train_images and test_images; "
            f"got {_listing(arrays)}"
        )
    return stacks[0]


def _warn(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Warn of arrays of images that are not a part."""
    if images := {name: array for name, array in arrays.items() if array.ndim >= 3}:
        warnings.warn(f"{path}: ignored {_listing(images)}", stacklevel=3)


def _listing(arrays: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "no arrays"


def _floating(images: NDArray[Any]) -> bool:
    return images.dtype.kind == "f"


def _levels(path: Path, images: NDArray[Any]) -> Levels:
    """Return images as levels, (count, channels, height, width)."""
    images = _channels_first(path, images)
    if images.dtype.kind not in "buif":
        raise ValueError(f"{path} must hold numbers, got dtype {images.dtype}")
    if _floating(images):
        _check_finite(path, images)
    low, high = images.min(), images.max()
    if low < 0 or high > (1 if _floating(images) else 255):
        expected = "floats in [0, 1]" if _floating(images) else "integer levels 0 .. 255"
        raise ValueError(
            f"{path} must hold {expected}, got {low:g} to {high:g}: {_remedy(images, low, high)}"
        )
    levels = np.round(images * 255) if _floating(images) else images
    return np.ascontiguousarray(levels.astype(np.uint8))


def _channels_first(path: Path, images: NDArray[Any]) -> NDArray[Any]:
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[-1] in (1, 3):
        images = np.moveaxis(images, -1, 1)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        alpha = images.ndim == 4 and {images.shape[1], images.shape[-1]} & {2, 4}
        hint = "; remove an alpha channel, if that is one" if alpha else ""
        raise ValueError(f"{path} must hold images {_SHAPES}, got {images.shape}{hint}")
    return images


def _remedy(images: NDArray[Any], low: Any, high: Any) -> str:
    if _floating(images):
        if low >= 0 and high <= 255:
            return "divide them by 255"
        if low >= -1 and high <= 1:
            return "rescale them from [-1, 1] with (images + 1) / 2"
        return "rescale them to [0, 1]"
    return "rescale them to 0 .. 255 (16-bit levels: images // 257)"


def _check_finite(path: Path, images: NDArray[Any]) -> None:
    bad = ~np.isfinite(images)
    if bad.any():
        image, channel, row, column = np.argwhere(bad)[0]
        where = f"image {image} at row {row}, column {column}"
        if images.shape[1] > 1:
            where += f", channel {channel}"
        raise ValueError(
            f"{path} must hold finite numbers, got {int(bad.sum())} that are NaN or infinite, "
            f"the first in {where}"
        )
