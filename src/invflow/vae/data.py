"""Images as grey levels: data sets by name, and files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow import _checks

_MNIST = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

_TRAIN = ("train_images", "x_train", "train")
_TEST = ("test_images", "x_test", "test")


@dataclass(frozen=True)
class Images:
    """A data set of grey images.

    Attributes:
        name: what it is called.
        train: levels of the training images, uint8, (count, height, width).
        validation: those to choose by.
        test: those to report on.
        levels: how many grey levels there are.
        likelihood: the one that suits the levels.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    levels: int
    likelihood: str

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.train.shape[1], self.train.shape[2]

    @property
    def digest(self) -> str:
        """SHA-256 of all images, in hexadecimal."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()


def load(name: str) -> Images:
    """Return a data set by name.

    Args:
        name: "digits" (scikit-learn's 8x8 digits, 17 grey levels) or "mnist" (downloaded once,
            with a checksum; modelled with dynamic binarisation).

    Raises:
        ImportError: scikit-learn or pooch is not installed.
        ValueError: an unknown name.

    Example:
        >>> images = load("digits")
        >>> images.shape, images.levels, len(images.train), len(images.test)
        ((8, 8), 17, 1439, 179)
    """
    return DATASETS[_checks.choice("data", name, DATASETS)]()


def _digits() -> Images:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('digits needs scikit-learn: pip install "invflow[vae]"') from error
    bunch: Any = load_digits()
    return _split("digits", bunch.images.astype(np.uint8), levels=17)


def _mnist() -> Images:
    try:
        import pooch
    except ImportError as error:
        raise ImportError('mnist needs pooch: pip install "invflow[vae]"') from error
    try:
        path = pooch.retrieve(
            _MNIST, f"sha256:{_MNIST_SHA256}", "mnist.npz", pooch.os_cache("invflow")
        )
    except OSError as error:
        raise OSError(f"mnist could not be downloaded; give a file with --data: {error}") from error
    return read(Path(path), likelihood="bernoulli", name="mnist")


DATASETS = {"digits": _digits, "mnist": _mnist}


def read(path: Path, *, likelihood: str = "auto", name: str | None = None) -> Images:
    """Return the images of an `.npz` file.

    The file holds either arrays for training and test, named train_images / test_images,
    x_train / x_test or train / test, or one array of images. Where there is no test array, a
    tenth of the images each is set aside for validation and test. Integers and booleans are grey
    levels: up to 17 of them as many as there are, more than that 256. Floating-point numbers
    must lie in [0, 1], and are probabilities of white.

    Args:
        path: the file.
        likelihood: a name in `LIKELIHOODS`, or "auto": "bernoulli" for two levels and for
            floating-point numbers, otherwise "logistic".
        name: of the data set; the file's by default.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an `.npz` file; no images in it, or of different sizes or kinds; entries
            that are NaN, infinite or out of range.
    """
    arrays = _arrays(path)
    train = next((arrays[key] for key in _TRAIN if key in arrays), None)
    test = next((arrays[key] for key in _TEST if key in arrays), None)
    if train is None:
        train = _only(path, arrays)
    elif test is not None and _floating(train) != _floating(test):
        raise ValueError(
            f"{path} must hold training and test images of one kind, "
            f"got dtypes {train.dtype} and {test.dtype}"
        )
    parts = [_levels(path, part) for part in (train, test) if part is not None]
    if parts[-1].shape[1:] != parts[0].shape[1:]:
        raise ValueError(
            f"{path} must hold training and test images of one size, "
            f"got {parts[0].shape[1:]} and {parts[-1].shape[1:]}"
        )
    binary = all(part.max(initial=0) <= 1 for part in parts)
    floating = _floating(train)
    if likelihood == "auto":
        likelihood = "bernoulli" if binary or floating else "logistic"
    levels = 256 if floating else max(2, *(int(part.max(initial=0)) + 1 for part in parts))
    if levels > 17 and not floating:
        levels = 256
    return _split(name or path.stem, *parts, levels=levels, likelihood=likelihood)


def scorable(what: str, levels: int, shape: tuple[int, int]) -> Tensor:
    """Return images to score under a model of images with so many levels and this shape.

    Args:
        what: a name, for that data set's test images; or an `.npz` file, for its test images
            where it has some, otherwise for all.
        levels: how many grey levels the model knows.
        shape: height and width of its images.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as `read`, or images of another shape, with more levels, or in black and white
            where the model knows grey.
    """
    if what in DATASETS:
        images = load(what).test
    else:
        path = Path(what)
        arrays = _arrays(path)
        test = next((arrays[key] for key in _TEST if key in arrays), None)
        given = _only(path, arrays) if test is None else test
        images = torch.from_numpy(_levels(path, given))
        if levels > 2 and not _floating(given) and int(images.max()) <= 1:
            raise ValueError(
                f"{what} must hold grey levels 0 .. {levels - 1} as the model knows them, "
                "got nothing but 0 and 1"
            )
    if tuple(images.shape[1:]) != shape:
        raise ValueError(f"{what} must hold images of {shape}, got {tuple(images.shape[1:])}")
    if int(images.max()) >= levels:
        raise ValueError(
            f"{what} must hold grey levels 0 .. {levels - 1}, got up to {int(images.max())}"
        )
    return images


def _only(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the one array of images in a file."""
    stacks = [array for array in arrays.values() if array.ndim >= 3]
    if len(stacks) != 1:
        raise ValueError(
            f"{path} must hold one array of images (count, height, width), or "
            f"train_images and test_images; it holds {_listing(arrays)}"
        )
    return stacks[0]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # damaged bytes end in errors of many kinds
        raise ValueError(f"{path} is not a readable .npz file") from error


def _floating(images: NDArray[Any]) -> bool:
    return images.dtype.kind == "f"


def _listing(arrays: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"


def _levels(path: Path, images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images as grey levels, (count, height, width)."""
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim != 3 or 0 in images.shape:
        raise ValueError(f"{path} must hold images (count, height, width), got {images.shape}")
    if images.dtype.kind not in "buif":
        raise ValueError(f"{path} must hold numbers, got dtype {images.dtype}")
    if _floating(images):
        bad = ~np.isfinite(images)
        if bad.any():
            where = np.argwhere(bad)[0]
            raise ValueError(
                f"{path} must hold finite numbers, got {int(bad.sum())} that are NaN or infinite, "
                f"the first in image {where[0]} at row {where[1]}, column {where[2]}"
            )
        if images.min() < 0 or images.max() > 1:
            raise ValueError(
                f"{path} must hold integers, or floating-point numbers in [0, 1], "
                f"got numbers from {images.min():g} to {images.max():g}"
            )
        images = np.round(images * 255)
    elif images.min() < 0 or images.max() > 255:
        raise ValueError(
            f"{path} must hold grey levels 0 .. 255, got {images.min()} to {images.max()}"
        )
    return images.astype(np.uint8)


def _split(
    name: str,
    train: NDArray[np.uint8],
    test: NDArray[np.uint8] | None = None,
    *,
    levels: int,
    likelihood: str = "logistic",
) -> Images:
    """Set images aside for validation, and for the test where there are none.

    Of given training images the last sixth, at most 10,000, is for validation; of a single array,
    a random tenth each for validation and test, the same ones every time.
    """
    if test is None:
        train = train[np.random.default_rng(0).permutation(len(train))]
        tenth = len(train) // 10
        test, train = train[len(train) - tenth :], train[: len(train) - tenth]
        aside = tenth
    else:
        aside = min(10_000, len(train) // 6)
    if not aside or not len(test):
        raise ValueError(f"data: {name} must hold at least 10 images, got {len(train) + len(test)}")
    cut = len(train) - aside
    parts = [torch.from_numpy(np.ascontiguousarray(p)) for p in (train[:cut], train[cut:], test)]
    return Images(name, parts[0], parts[1], parts[2], levels, likelihood)
