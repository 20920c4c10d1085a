"""Images from a name, a file or a folder."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.images.data import arrays, classes, folder
from invflow.images.data.images import PARTS, Images, Levels, Source, binarised, divided, split
from invflow.images.data.named import NAMES
from invflow.images.data.picture import SUFFIXES
from invflow.images.data.resize import all_resized, checked, is_black_and_white


def load(what: str, size: int | None = None, *, labelled: bool = False) -> Images:
    """Return the images of a data set, a file or a folder.

    Images of black and white alone, 0 and 255, have two levels. Warns of test images that are also
    training or validation images, and of what is ignored in a file or folder.

    Args:
        what: "digits" (8x8, 17 levels) or "photographs" (8x8, 256 levels), from scikit-learn;
            "mnist", "fashion-mnist", "cifar10" or "freyfaces" (downloaded once, with a checksum);
            or the path of an `.npz` or `.npy` file or of a folder of images. A path that looks like
            a name needs "./" in front of it.
        size: resize the shorter side of each image to this many pixels and crop the centre; None
            keeps the images as they are, all of one size.
        labelled: whether to read the class of each image too: the folder that it is in, or its
            label in the file. "photographs" and "freyfaces" have none.

    Raises:
        ImportError: if an extra is not installed.
        FileNotFoundError: if `what` is neither a name nor an existing path.
        OSError: if a download or a folder fails.
        TypeError: if `size` is not an integer.
        ValueError: if the size is out of range, or the file or folder does not hold images of one
            size, enough for all parts, or, if asked for, the class of each.

    Example:
        >>> images = load("digits")
        >>> images.shape, images.levels, len(images.train), len(images.test)
        ((1, 8, 8), 17, 1439, 179)
        >>> load("digits", size=5).shape
        (1, 5, 5)
        >>> images = load("digits", labelled=True)
        >>> images.classes[:3], images.labels["test"].shape
        (('0', '1', '2'), torch.Size([179]))
    """
    source = _with_two_levels(_source(what, checked(size)))
    images = split(name_of(what), source)
    if labelled:
        images = classes.labelled(images, source, what)
    if what not in NAMES and images.leaked:
        warnings.warn(
            f"{what}: {images.leaked} of {len(images.test)} test images are also training or "
            "validation images, which makes scores look better than they are",
            stacklevel=2,
        )
    return images


def name_of(what: str) -> str:
    """Return the name of images: of a data set, a file without its suffix, or a folder.

    Example:
        >>> name_of("digits"), name_of("faces/small.npz")
        ('digits', 'small')
    """
    if what in NAMES:
        return what
    path = Path(os.path.abspath(what))  # "." and "pictures/.." have names too
    return path.name if path.is_dir() else path.stem


def scorable(
    what: str, levels: int, shape: tuple[int, int, int], size: int | None = None
) -> Tensor:
    """Return images to score with a model of images with this number of levels and this shape.

    Args:
        what: a name, for the test images of that data set; or the path of an `.npz` or `.npy` file
            or of a folder, for its test images, or for all images if it has no test part.
        levels: number of levels of the model.
        shape: channels, height and width of the model's images.
        size: resize and crop the images, as in `load`.

    Returns:
        Levels, uint8, shape (count, channels, height, width); for a model with two levels, grey
        images are binarised as by `Images.binarised`.

    Raises:
        FileNotFoundError, OSError, TypeError, ValueError: as `load`.
        ValueError: if the images have another shape or more levels, or are black and white where
            the model has grey levels.
    """
    return _fitting(what, _source(what, checked(size)), levels, shape)


def scorable_labelled(
    what: str,
    levels: int,
    shape: tuple[int, int, int],
    known: Sequence[str],
    size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return images to score with a conditional model, and the number of the class of each.

    Args:
        what: as for `scorable`.
        levels: number of levels of the model.
        shape: channels, height and width of the model's images.
        known: names of the model's classes.
        size: resize and crop the images, as in `load`.

    Returns:
        Levels, as `scorable` returns them, and numbers of classes, int64, (count,).

    Raises:
        FileNotFoundError, OSError, TypeError, ValueError: as `scorable`.
        ValueError: if there are no labels, or one is not a class of the model.
    """
    source = _source(what, checked(size))
    labels = _to_score(what, classes.given(source, what), source.shuffled)
    return _fitting(what, source, levels, shape), classes.numbered(labels, known, what)


def clusters(what: str) -> Tensor | None:
    """Return the number of the cluster of each image that `scorable` returns.

    Returns:
        int64, (count,), as for `Images`; None where all images are independent.
    """
    found = NAMES[what]().clusters if what in NAMES else None
    return None if found is None else torch.from_numpy(found)


def _to_score(what: str, parts: Mapping[str, NDArray[Any]], shuffled: bool) -> NDArray[Any]:
    """Return the images that are scored, or their labels, of those of the parts of a source."""
    train, validation, test = parts["train"], parts.get("validation"), parts.get("test")
    if what in NAMES:
        return divided(train, validation, test, shuffled)[2]
    return train if test is None else test


def _fitting(what: str, source: Source, levels: int, shape: tuple[int, int, int]) -> Tensor:
    """Return the images to score, which must fit the model."""
    images = torch.from_numpy(_to_score(what, _parts(source), source.shuffled))
    own = source.levels
    if levels > 2 and own == 2:
        raise ValueError(
            f"{what} must hold grey levels 0 .. {levels - 1}, as the model expects, "
            "got only 0 and 1"
        )
    if levels == 2 and own > 2:
        images = binarised(images, own, "test")
    if tuple(images.shape[1:]) != shape:
        raise ValueError(
            f"{what} must hold images of {shape} (channels, height, width), "
            f"got {tuple(images.shape[1:])}"
        )
    if int(images.max()) >= levels:
        raise ValueError(
            f"{what} must hold grey levels 0 .. {levels - 1}, got up to {int(images.max())}"
        )
    return images


def _source(what: str, size: int | None) -> Source:
    if what in NAMES:
        return _resized(NAMES[what](), size)
    path = Path(what)
    if path.is_dir():
        return folder.read(path, size)
    if not path.exists():
        raise FileNotFoundError(
            f"{what} is a broken link"
            if path.is_symlink()
            else f"{what} does not exist; images are one of {', '.join(NAMES)}, "
            "or the path of an .npz or .npy file or of a folder"
        )
    if path.suffix.lower() in SUFFIXES:
        raise ValueError(f"{what} is a single image; give the folder that holds the images")
    return arrays.read(path, size)


def _resized(source: Source, size: int | None) -> Source:
    if size is None:
        return source
    parts = {
        part: all_resized(images, size, source.levels) for part, images in _parts(source).items()
    }
    return dataclasses.replace(source, **parts)


def _with_two_levels(source: Source) -> Source:
    """Return images of 0 and 255 alone with two levels, 0 and 1; others as they are."""
    parts = _parts(source)
    if source.levels != 256 or not all(is_black_and_white(each, 256) for each in parts.values()):
        return source
    bits = {part: images // 255 for part, images in parts.items()}
    return dataclasses.replace(source, levels=2, binary=True, **bits)


def _parts(source: Source) -> dict[str, Levels]:
    parts = {part: getattr(source, part) for part in PARTS}
    return {part: images for part, images in parts.items() if images is not None}
