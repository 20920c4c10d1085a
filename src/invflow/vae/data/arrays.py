"""Images from arrays in `.npz` files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invflow import _files
from invflow.vae.data.images import Levels, Source
from invflow.vae.data.parts import parts

_SHAPES = "(count, height, width), or (count, height, width, channels) with 1 or 3 channels, last"


def read(path: Path) -> Source:
    """Return the images of an `.npz` file.

    The file holds either arrays for training and, where there are any, validation and test, named
    train_images / validation_images / test_images, x_train / x_val / x_test or train / validation
    (valid, val) / test, in any capitals; or one array of images: (count, height, width), or with
    colours (count, height, width, 3). Integers and booleans are levels: up to 17 of them as many as
    there are, more than that 256. Floating-point numbers must lie in [0, 1], and become 256 levels;
    grey ones are taken for probabilities of white. Other arrays of images are told of by a warning.

    Raises:
        ValueError: not an `.npz` file; no images in it, or of different sizes or kinds; entries
            that are NaN, infinite or out of range.
    """
    arrays = _arrays(path)
    names = parts(path, arrays)
    given = {part: arrays[name] for part, name in names.items()}
    if "train" not in given:
        if given:
            raise ValueError(f"{path} must hold training images too, got {_listing(arrays)}")
        given = {"train": _only(path, arrays)}
    else:
        _tell(path, {name: each for name, each in arrays.items() if name not in names.values()})
    train = given["train"]
    for part, array in given.items():
        if _floating(array) != _floating(train):
            raise ValueError(
                f"{path} must hold training and {part} images of one kind, "
                f"got dtypes {train.dtype} and {array.dtype}"
            )
    whole = {part: _levels(path, array) for part, array in given.items()}
    shape = whole["train"].shape[1:]
    for part, levels in whole.items():
        if levels.shape[1:] != shape:
            raise ValueError(
                f"{path} must hold training and {part} images of one size "
                f"(channels, height, width), got {shape} and {levels.shape[1:]}"
            )
    count = max(2, *(int(levels.max()) + 1 for levels in whole.values()))
    chances = _floating(train) and shape[0] == 1
    return Source(
        whole["train"],
        validation=whole.get("validation"),
        test=whole.get("test"),
        levels=256 if _floating(train) or count > 17 else count,
        likelihood="bernoulli" if chances or count == 2 else "logistic",
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with _files.opened(path) as handle, np.load(handle, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # damaged bytes end in errors of many kinds
        raise ValueError(f"{path} is not a readable .npz file") from error


def _only(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the one array of images in a file."""
    stacks = [array for array in arrays.values() if array.ndim >= 3]
    if len(stacks) != 1:
        raise ValueError(
            f"{path} must hold one array of images {_SHAPES}; or train_images and test_images; "
            f"it holds {_listing(arrays)}"
        )
    return stacks[0]


def _tell(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Warn of arrays of images that stand for no part."""
    if images := {name: array for name, array in arrays.items() if array.ndim >= 3}:
        warnings.warn(f"{path} holds {_listing(images)} beside the parts: not read", stacklevel=3)


def _listing(arrays: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"


def _floating(images: NDArray[Any]) -> bool:
    return images.dtype.kind == "f"


def _levels(path: Path, images: NDArray[Any]) -> Levels:
    """Return images as levels, (count, channels, height, width)."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise ValueError(f"{path} must hold images {_SHAPES}, got {images.shape}")
    if images.dtype.kind not in "buif":
        raise ValueError(f"{path} must hold numbers, got dtype {images.dtype}")
    if _floating(images):
        _require_probabilities(path, images)
        images = np.round(images * 255)
    elif images.min() < 0 or images.max() > 255:
        raise ValueError(
            f"{path} must hold grey levels 0 .. 255, got {images.min()} to {images.max()}"
        )
    return np.ascontiguousarray(np.moveaxis(images.astype(np.uint8), -1, 1))


def _require_probabilities(path: Path, images: NDArray[Any]) -> None:
    bad = ~np.isfinite(images)
    if bad.any():
        image, row, column, channel = np.argwhere(bad)[0]
        where = f"image {image} at row {row}, column {column}"
        if images.shape[-1] > 1:
            where += f", channel {channel}"
        raise ValueError(
            f"{path} must hold finite numbers, got {int(bad.sum())} that are NaN or infinite, "
            f"the first in {where}"
        )
    if images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"{path} must hold integers, or floating-point numbers in [0, 1], "
            f"got numbers from {images.min():g} to {images.max():g}"
        )
