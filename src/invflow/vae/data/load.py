"""Images from wherever they are."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from torch import Tensor

from invflow import _checks
from invflow.vae.data import arrays, folder
from invflow.vae.data.images import Images, Source, binarised, split
from invflow.vae.data.named import NAMES
from invflow.vae.likelihood import LIKELIHOODS


def load(what: str, likelihood: str = "auto") -> Images:
    """Return the images of a data set, a file or a folder.

    Args:
        what: "digits" (scikit-learn's, 8x8, 17 levels); "mnist", "fashion-mnist", "cifar10" or
            "freyfaces" (downloaded once, with a checksum); or the path of an `.npz` file or of a
            folder of images. A path that reads like a name needs a "./" before it.
        likelihood: a name in `LIKELIHOODS`, or "auto": "bernoulli" for two levels, for grey
            floating-point numbers and for MNIST (dynamic binarisation), otherwise "logistic".

    Test images that are among the others too, and what is in a file or folder and not read, are
    told of by warnings.

    Raises:
        ImportError: an extra is not installed.
        FileNotFoundError: neither a name nor a path of anything.
        OSError: a download fails.
        ValueError: a file or folder that holds something else than images of one size, or too few.

    Example:
        >>> images = load("digits")
        >>> images.shape, images.levels, len(images.train), len(images.test)
        ((1, 8, 8), 17, 1439, 179)
    """
    chosen = _checks.choice("likelihood", likelihood, ["auto", *LIKELIHOODS])
    source = _source(what)
    images = split(name_of(what), source, source.likelihood if chosen == "auto" else chosen)
    if what not in NAMES and images.known:
        warnings.warn(
            f"{what}: {images.known} of {len(images.test)} test images are among the others too, "
            "which makes the scores of a model better than it is",
            stacklevel=2,
        )
    return images


def name_of(what: str) -> str:
    """Return what images are called: a name as it is, a file's without its suffix, a folder's.

    Example:
        >>> name_of("digits"), name_of("faces/small.npz")
        ('digits', 'small')
    """
    if what in NAMES:
        return what
    path = Path(os.path.abspath(what))  # "." and "pictures/.." have names too
    return path.name if path.is_dir() else path.stem


def scorable(what: str, levels: int, shape: tuple[int, int, int]) -> Tensor:
    """Return images to score under a model of images with so many levels and this shape.

    Args:
        what: a name, for that data set's test images; or the path of an `.npz` file or of a folder,
            for its test images where it has some, otherwise for all.
        levels: how many levels the model knows.
        shape: channels, height and width of its images.

    Returns:
        Levels, uint8, shape (count, channels, height, width); of grey images for a model that knows
        black and white alone, those that `Images.binarised` draws.

    Raises:
        FileNotFoundError, OSError, ValueError: as `load`.
        ValueError: images of another shape, with more levels, or in black and white where the
            model knows grey.
    """
    if what in NAMES:
        known = load(what)
        images, own = known.test, known.levels
    else:
        source = _source(what)
        images = torch.from_numpy(source.train if source.test is None else source.test)
        own = source.levels
        if levels > 2 and own == 2:
            raise ValueError(
                f"{what} must hold grey levels 0 .. {levels - 1} as the model knows them, "
                "got nothing but 0 and 1"
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


def _source(what: str) -> Source:
    if what in NAMES:
        return NAMES[what]()
    path = Path(what)
    if path.is_dir():
        return folder.read(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{what} does not exist; images are one of {', '.join(NAMES)}, "
            "or the path of an .npz file or of a folder"
        )
    return arrays.read(path)
